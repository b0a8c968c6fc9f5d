// Turns one tile.kernel into an nvvm kernel function, op by op. Every tile
// becomes values of the threads that hold it; see PtxTileValue for the layouts.
#pragma once

#include "compiler/conversion/KeyWalk.h"
#include "compiler/conversion/ScalarRegion.h"
#include "compiler/target/ptx/PtxBuilder.h"
#include "compiler/target/ptx/Schedule.h"

#include "mlir/IR/IRMapping.h"
#include "llvm/ADT/DenseMap.h"

namespace mlir::attn {

/// A tile as the threads of a warp hold it. Lane = 4 g + t.
///
///   accumulator  per 16x8 tile, registers 0..3      rows     one value per row
///
///            col 2t    2t+1                                  row g      r0
///   row g      r0       r1                                   row g + 8  r1
///   row g + 8  r2       r3                                   (equal in all t)
struct PtxTileValue {
  enum Kind { shared, queries, accumulator, rows, keyVector, input } kind = shared;
  /// queries: [row tile][k step][4 words]; accumulator: [row tile][column tile][4];
  /// rows: [row tile][2].
  SmallVector<Value> values;
  /// shared, and queries that are read at each use: where the tile lies.
  SharedLayout layout;
  Value base; ///< byte offset in shared memory (also of a keyVector)
  Type element;
  /// rows: every lane of a quad has a part of the sum (see softmax_step).
  bool partial = false;
  /// shared: real value = element * scale of its row (keyVector at this offset).
  Value scaleBase;
  int64_t columns = 0; ///< accumulator: column tiles
  int64_t binding = 0; ///< input: read where the output expression needs it

  Value &at(int64_t rowTile, int64_t column, int64_t r) {
    return values[(rowTile * columns + column) * 4 + r];
  }
};

class PtxLowering;

/// Addresses of chunks of one shared tile, for lanes that each name a row and a
/// first chunk of 0 or 1. Even steps to other chunks are an exclusive or within
/// the swizzle and a constant beyond it, so few registers hold all addresses.
class ChunkAddress {
public:
  /// `row` decides the swizzle; `rowAbove` (a multiple of 8 rows) is added to it.
  ChunkAddress(PtxBuilder &p, PtxLowering &kernel, const PtxTileValue &tile, Value row, Value chunk,
               Value rowAbove = {});
  /// The pointer to `chunk` (even) chunks further, `row` (a multiple of 8) rows below.
  Value at(PtxBuilder &p, int64_t chunk, int64_t row);

private:
  SharedLayout layout;
  SmallVector<Value> variants;
};

class PtxLowering {
public:
  PtxLowering(tile::KernelOp kernel, const PtxSchedule &schedule) : kernel(kernel), s(schedule) {}
  virtual ~PtxLowering() = default;

  /// Creates the kernel function before `kernel` under the name `symbol`.
  LogicalResult lower(StringRef symbol, LLVM::GlobalOp sharedMemory);

protected:
  friend class ChunkAddress;
  /// Kernel parameters behind the bindings' pointers.
  virtual void addParameters(SmallVectorImpl<Type> &) {}
  /// What the function needs besides: attributes, shared memory that is set up.
  virtual void begin(PtxBuilder &, LLVM::LLVMFuncOp) {}
  /// One binding as the prologue prepared it.
  struct Buffer {
    Value pointer;    ///< as passed
    Value base;       ///< of this item's batch entry and head
    Value tokenBytes; ///< i64
    Value vectorized; ///< i1: rows are 16-byte aligned
    Value paired;     ///< i1: rows are aligned to two elements
    Type element;
  };

  // KernelLowering.cpp: words, item and buffers.
  void prologue(PtxBuilder &p, LLVM::LLVMFuncOp function, LLVM::GlobalOp sharedMemory);
  Value word(PtxBuilder &p, Value index);
  Value word(PtxBuilder &p, int64_t index) { return word(p, p.i32(index)); }
  void prepareBuffer(PtxBuilder &p, int64_t binding, Value kvHead);
  ScalarContext scalarContext();
  Value tableLoad(OpBuilder &b, Location loc, int64_t binding, ValueRange indices, Type type);

  // Ops, in KernelLowering.cpp by dispatch.
  virtual LogicalResult lowerOp(PtxBuilder &p, Operation &op);
  LogicalResult lowerBlock(PtxBuilder &p, Block &block);

  // LowerMemory.cpp
  struct CopyRange {
    Value first; ///< token of row 0
    Value count; ///< rows that exist; null: all
  };
  void copyTile(PtxBuilder &p, const Buffer &buffer, const SharedLayout &layout, Value base,
                const CopyRange &range);
  void copyTileByElements(PtxBuilder &p, const Buffer &buffer, const SharedLayout &layout,
                          Value base, const CopyRange &range);
  void copyVector(PtxBuilder &p, const Buffer &buffer, int64_t rows, Value base,
                  const CopyRange &range);
  void copyKeys(PtxBuilder &p, const StagedKeys &keys, Value stage, const CopyRange &range);
  /// The chunk position of chunk `chunk` in row `row`, in bytes.
  Value swizzledBytes(PtxBuilder &p, const SharedLayout &layout, Value row, Value chunk);
  LogicalResult lowerLoadQueries(PtxBuilder &p, tile::LoadQueriesOp op);
  LogicalResult lowerLoadKeys(PtxBuilder &p, tile::LoadKeysOp op);
  LogicalResult lowerStoreQueries(PtxBuilder &p, tile::StoreQueriesOp op);
  LogicalResult lowerQuantize(PtxBuilder &p, tile::QuantizeOp op);
  SmallVector<Value> loadQueryFragment(PtxBuilder &p, const PtxTileValue &q, int64_t rowTile,
                                       int64_t step);
  PtxTileValue queryFragments(PtxBuilder &p, const PtxTileValue &staged);
  Value sharedAt(PtxBuilder &p, Value bytes) { return p.offset(sharedBase, bytes); }

  // LowerDots.cpp
  LogicalResult lowerDotQK(PtxBuilder &p, tile::DotQKOp op);
  LogicalResult lowerDotPV(PtxBuilder &p, tile::DotPVOp op);
  LogicalResult lowerDequantizeKeys(PtxBuilder &p, tile::DequantizeKeysOp op);
  void multiplyHalf(PtxBuilder &p, PtxTileValue &out, PtxTileValue &probabilities,
                    const PtxTileValue &v, MmaKind kind);
  void multiplySingle(PtxBuilder &p, PtxTileValue &out, PtxTileValue &probabilities,
                      const PtxTileValue &v);
  /// scale[first], scale[first + 1] of a staged key vector.
  std::pair<Value, Value> loadScalePair(PtxBuilder &p, Value base, int64_t columnTile);

  // LowerScores.cpp
  LogicalResult lowerDequantizeScores(PtxBuilder &p, tile::DequantizeScoresOp op);
  /// Products of narrow types are far less exact than the fast functions are.
  void allowFastFunctions(Region &body);
  LogicalResult lowerScore(PtxBuilder &p, tile::ScoreOp op);
  LogicalResult lowerMask(PtxBuilder &p, tile::MaskOp op);
  LogicalResult lowerSoftmaxInit(PtxBuilder &p, tile::SoftmaxInitOp op);
  LogicalResult lowerSoftmaxStep(PtxBuilder &p, tile::SoftmaxStepOp op);
  LogicalResult lowerSoftmaxFinish(PtxBuilder &p, tile::SoftmaxFinishOp op);
  Value queryPosition(PtxBuilder &p, int64_t rowTile, int64_t half);
  /// Column of a lane's register 0 within each column tile.
  Value laneColumn(PtxBuilder &p);

  // LowerOutput.cpp
  LogicalResult lowerOutput(PtxBuilder &p, tile::OutputOp op);
  /// The row of a lane's registers 2 h and 2 h + 1, or the call's last row.
  Value validRow(PtxBuilder &p, int64_t rowTile, int64_t half);
  /// What a lane holds of a row of `binding`, from `elements` after its beginning:
  /// columns 2t and 2t + 1 of every column tile, or the row's one number.
  SmallVector<Value> loadRow(PtxBuilder &p, int64_t binding, bool hasDim, Value row,
                             Value elements = {});

  // LowerMerge.cpp
  LogicalResult lowerMergeParts(PtxBuilder &p, tile::MergePartsOp op);

  // LowerWalk.cpp
  LogicalResult lowerForKeys(PtxBuilder &p, tile::ForKeysOp op);
  SmallVector<Value> lowerKeyBlock(PtxBuilder &p, tile::ForKeysOp op, bool full,
                                   const KeyBlock &block, ValueRange state);
  void prefetch(PtxBuilder &p, tile::ForKeysOp op, const KeyBlock &block, Value stage,
                SmallVectorImpl<Value> &nextState);
  /// Waits for the copies of this block that were not made ahead, once.
  void waitForLateKeys(PtxBuilder &p);

  tile::KernelOp kernel;
  const PtxSchedule &s;
  DenseMap<Value, PtxTileValue> tiles;
  IRMapping scalars;
  SmallVector<Buffer> buffers;
  Value words, sharedBase, thread, lane, warpRow; // warpRow: first row of this warp
  Value head, batch, firstRow, rowCount;          // rowCount: valid rows of this item
  WalkItem item;
  Value scale;

  // The block being lowered.
  KeyBlock keyBlock;
  bool fullBlock = false, lateKeysReady = false;
  Value keyStage;
  bool failed = false;
};

} // namespace mlir::attn
