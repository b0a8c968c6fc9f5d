// Decides how a tile kernel is spread over the invocations of a workgroup. An
// arch and the kernel's dims and blocks enter, the schedule leaves.
#pragma once

#include "dialects/tile/TileDialect.h"

namespace mlir::attn {

/// What a tier may use beside Vulkan 1.1 and 32-bit storage.
struct SpirvTier {
  bool narrowStorage = false; ///< 8- and 16-bit storage and f16 arithmetic
  bool integerDot = false;    ///< four int8 products in one instruction
  bool broadcast = false;     ///< subgroups fixed at kSubgroup invocations
  static constexpr int64_t kSubgroup = 8;
};

/// The tier called "t0", "t1" or "t1-subgroup8"; none otherwise.
std::optional<SpirvTier> spirvTier(StringRef arch);

/// The Feature bits that `kernel` needs on `tier`: a kernel without narrow
/// elements needs no narrow storage.
uint32_t requiredFeatures(tile::KernelOp kernel, const SpirvTier &tier);

/// A workgroup computes one work item. Its invocations form a grid of
/// `rowGroups` x `columns`; each multiplies a small tile held in registers:
///
///              keys of a step (S = Q K^T)           dims (O = P V)
///              c0 c1 c2 c3 c0 c1 c2 c3              c0 c1 c2 c3 c0 c1 ...
///   rows    +------------------------+           +------------------------+
///   of g0   | (g0,c0) has 2 columns  |           | (g0,c0)                |
///   rows    +------------------------+           +------------------------+
///   of g1   | (g1,c0) ...            |           |                        |
///           +------------------------+           +------------------------+
///
/// Scores of a step lie in workgroup memory between the two products; there,
/// invocation i runs softmax, score functions and masks for rows i, i + W, ...
///
/// On a tier with `broadcast`, the invocations of a subgroup lie in one row
/// group. What all of them read of the rows (queries, probabilities) one
/// invocation per row reads and broadcasts.
struct SpirvSchedule {
  SpirvTier tier;
  int64_t workgroup = 32; ///< invocations, rowGroups * columns
  int64_t rows = 8;       ///< rows of a register tile
  int64_t keys = 64;      ///< keys of a step; divides block_k
  int64_t columns = 8;
  /// Blocks of keys that one classification may skip together.
  int64_t skipBlocks = 8;

  int64_t ownRows = 1;    ///< rows of one invocation's softmax
  bool idleLanes = false; ///< some invocations have no such row
  int64_t keyTile() const { return (keys + columns - 1) / columns; }
};

/// The schedule of `kernel` for `arch`. Fails, with a message on the kernel,
/// when its block or head dims cannot be spread.
FailureOr<SpirvSchedule> chooseSchedule(tile::KernelOp kernel, StringRef arch);

} // namespace mlir::attn
