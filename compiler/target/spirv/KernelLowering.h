// Visits the ops of one tile.kernel and emits what a single invocation does.
#pragma once

#include "compiler/conversion/KeyWalk.h"
#include "compiler/target/spirv/Emit.h"
#include "compiler/target/spirv/KernelBuffers.h"
#include "compiler/target/spirv/SpirvSchedule.h"
#include "compiler/target/spirv/TileValues.h"

#include "mlir/IR/IRMapping.h"
#include "llvm/ADT/StringMap.h"

namespace mlir::attn {

class SpirvLowering {
public:
  SpirvLowering(tile::KernelOp kernel, const SpirvSchedule &schedule, gpu::GPUFuncOp func);

  /// Emits the whole kernel.
  LogicalResult run();

private:
  /// The keys being computed: a part of a block.
  struct Step {
    Value slot, position; ///< of the first key
    Value count;          ///< number of keys, at most the schedule's
    Value full;           ///< i1: every pair is admitted
  };

  LogicalResult lowerBlock(OpBuilder &b, Block &block);
  LogicalResult lower(OpBuilder &b, Operation &op);
  LogicalResult lowerScalar(OpBuilder &b, Operation &op);

  LogicalResult loadQueries(OpBuilder &b, tile::LoadQueriesOp op);
  LogicalResult storeQueries(OpBuilder &b, tile::StoreQueriesOp op);
  LogicalResult loadKeys(OpBuilder &b, tile::LoadKeysOp op);
  LogicalResult forKeys(OpBuilder &b, tile::ForKeysOp op);
  LogicalResult dotQK(OpBuilder &b, tile::DotQKOp op);
  LogicalResult dotPV(OpBuilder &b, tile::DotPVOp op);
  LogicalResult quantize(OpBuilder &b, tile::QuantizeOp op);
  LogicalResult dequantizeScores(OpBuilder &b, tile::DequantizeScoresOp op);
  LogicalResult dequantizeKeys(OpBuilder &b, tile::DequantizeKeysOp op);
  LogicalResult score(OpBuilder &b, tile::ScoreOp op);
  LogicalResult mask(OpBuilder &b, tile::MaskOp op);
  LogicalResult softmaxInit(OpBuilder &b, tile::SoftmaxInitOp op);
  LogicalResult softmaxStep(OpBuilder &b, tile::SoftmaxStepOp op);
  LogicalResult softmaxFinish(OpBuilder &b, tile::SoftmaxFinishOp op);
  LogicalResult mergeParts(OpBuilder &b, tile::MergePartsOp op);
  LogicalResult loadInput(OpBuilder &b, tile::LoadQueriesOp op);
  LogicalResult output(OpBuilder &b, tile::OutputOp op);

  using LoopBody = function_ref<SmallVector<Value>(OpBuilder &, Value index, ValueRange carried)>;
  SmallVector<Value> loop(OpBuilder &b, Location loc, Value end, int64_t step, ValueRange carried,
                          LoopBody body);
  /// Emits `body` for invocations that own rows; its results, i32 or f32, are
  /// zero elsewhere.
  SmallVector<Value> onOwners(OpBuilder &b, Location loc, TypeRange types,
                              function_ref<SmallVector<Value>(OpBuilder &)> body);

  /// A vector in workgroup memory, allocated on first use.
  Value shared(StringRef name, int64_t elements, Type type);
  Value loadShared(OpBuilder &b, Location loc, Value memory, Value index);
  void storeShared(OpBuilder &b, Location loc, Value value, Value memory, Value index);
  Value scores() { return shared("scores", kernel.getBlockQ() * (schedule.keys + 1), f32Type()); }
  Value factors() { return shared("factors", kernel.getBlockQ(), f32Type()); }
  Type f32Type() { return Float32Type::get(kernel.getContext()); }
  /// Index of (row of the tile, key of the step) in scores().
  Value scoreIndex(OpBuilder &b, Location loc, Value row, Value key);
  void barrier(OpBuilder &b, Location loc);

  /// Sets the widths of pieces from the element types and dims.
  void chooseWidths();
  LogicalResult checkDims();
  int64_t outputUnits() const {
    return (kernelVDim / outputWidth + schedule.columns - 1) / schedule.columns;
  }
  /// Dim of unit `unit` of this invocation; i1 whether it exists, or null if
  /// all do.
  std::pair<Value, Value> outputDim(OpBuilder &b, Location loc, int64_t unit);

  struct Row;
  /// What `read` gives for row `row` of the register tile. On a tier with
  /// broadcast, each invocation reads for one row and hands it to the others.
  Value ofRow(OpBuilder &b, Location loc, int64_t row, function_ref<Value(const Row &)> read);

  tile::KernelOp kernel;
  const SpirvSchedule &schedule;
  gpu::GPUFuncOp func;
  std::optional<KernelBuffers> buffers;
  ScalarContext context;
  WalkItem item;

  /// A query row: its index in the tile, its token (clamped into the call), its
  /// position, and whether it is in the call at all.
  struct Row {
    Value index, token, position, valid;
  };
  SmallVector<Row> tileRows; ///< of this invocation's register tile
  SmallVector<Row> ownRows;  ///< whose softmax it runs
  std::optional<Row> readRow; ///< that it reads for its subgroup, with broadcast
  Value column;              ///< of this invocation
  Value isOwner;             ///< i1: has own rows; null if all have

  int64_t dotWidth = 1;    ///< elements of a piece along qk_dim
  int64_t outputWidth = 1; ///< elements of a piece along v_dim
  int64_t kernelVDim = 0;

  std::optional<Step> step;
  IRMapping scalars;
  llvm::StringMap<Value> sharedMemory;
  DenseMap<Value, RowTile> rowTiles;
  DenseMap<Value, QueryTile> queryTiles; // and inputs of the output expression
  DenseMap<Value, SpirvKeyTile> keyTiles;
  DenseMap<Value, ScoreTile> scoreTiles;
  DenseMap<Value, OutputTile> outputTiles;
};

} // namespace mlir::attn
