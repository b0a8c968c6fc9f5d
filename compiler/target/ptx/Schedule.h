// Chooses how one tile.kernel is spread over warps and shared memory on sm_80.
// Takes a kernel, leaves the numbers that its lowering follows.
#pragma once

#include "dialects/tile/TileDialect.h"

namespace mlir::attn {

/// A matrix in shared memory: rows of 16-byte chunks, chunk c of row r at chunk
/// position c ^ f(r), so that eight rows read at one chunk hit different banks.
///
///   128-byte rows           row 0   c0 c1 c2 c3 c4 c5 c6 c7
///   (f(r) = r mod 8)        row 1   c1 c0 c3 c2 c5 c4 c7 c6
///                           row 2   c2 c3 c0 c1 c6 c7 c4 c5   ...
struct SharedLayout {
  int64_t rows = 0;
  int64_t dim = 0; ///< elements of a row that exist in memory
  int64_t elementBytes = 0;
  int64_t chunks = 0; ///< 16-byte chunks of a row, padded to whole k steps

  static SharedLayout get(int64_t rows, int64_t dim, int64_t elementBytes);
  int64_t rowBytes() const { return chunks * 16; }
  int64_t bytes() const { return rows * rowBytes(); }
  int64_t usedChunks() const { return dim * elementBytes / 16; }
  bool padded() const { return usedChunks() != chunks; }
  /// f(r) = (r >> swizzleShift) & swizzleMask.
  int64_t swizzleMask() const;
  int64_t swizzleShift() const;
};

/// Where the rows of one binding are staged, per key block.
struct StagedKeys {
  int64_t binding = 0;
  bool vector = false; ///< one f32 per key (a scale) instead of a row
  bool ahead = false;  ///< copied while the block before is computed: two stages
  SharedLayout layout;
  int64_t offset = 0;     ///< of stage 0, bytes
  int64_t stageBytes = 0; ///< distance of the stages
  int64_t stages() const { return ahead ? 2 : 1; }
};

struct PtxSchedule {
  int64_t blockQ = 0, blockK = 0, qkDim = 0, vDim = 0;
  int64_t warps = 0;
  int64_t rowTiles = 0;           ///< 16-row tiles per warp
  int64_t outTiles = 0;           ///< 8-column tiles of the output accumulators
  bool singlePrecision = false;   ///< f32 keys: the bound is 1e-5
  bool queriesInRegisters = true; ///< otherwise read from shared memory at each use
  int64_t queryOffset = 0;        ///< staged query tile; overlaps the key stages
                                  ///< when the queries stay in registers
  int64_t quantizedOffset = 0;    ///< int8 query tile and its row scales
  int64_t expandedOffset = 0;     ///< int8 values turned into bf16
  SmallVector<StagedKeys> keys;
  int64_t sharedBytes = 0;
  int64_t skipBlocks = 16;

  int64_t threads() const { return warps * 32; }
  int64_t warpRows() const { return rowTiles * 16; }
  const StagedKeys &keysOf(int64_t binding) const;
};

/// Fails with a diagnostic where sm_80 cannot run the kernel. `sharedLimit` is
/// the dynamic shared memory one block may have.
FailureOr<PtxSchedule> choosePtxSchedule(tile::KernelOp kernel, int64_t sharedLimit);

/// Shared memory one block may have on `arch` ("sm_86"), in bytes.
int64_t sharedMemoryLimit(StringRef arch);

} // namespace mlir::attn
