// Visits the ops of one tile.kernel and emits what a single invocation does.
#pragma once

#include "compiler/conversion/KeyWalk.h"
#include "compiler/target/spirv/KernelBuffers.h"
#include "compiler/target/spirv/SpirvSchedule.h"
#include "compiler/target/spirv/TileValues.h"

#include "mlir/IR/IRMapping.h"

namespace mlir::attn {

class KernelLowering {
public:
  KernelLowering(tile::KernelOp kernel, const SpirvSchedule &schedule, gpu::GPUFuncOp func);

  /// Emits the whole kernel.
  LogicalResult run();

private:
  /// Keys [slot, slot + keys) of the step being computed.
  struct Step {
    Value slot, position;
    Value remaining; ///< keys up to the end of the block
    Value full;      ///< i1: the block is whole and every pair is admitted
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

  /// Runs `body` for each key of the step, in order, carrying values.
  SmallVector<Value>
  forEachKey(OpBuilder &b, Location loc, ValueRange carried,
             function_ref<SmallVector<Value>(OpBuilder &, Value index, ValueRange)> body);
  Key keyAt(OpBuilder &b, Location loc, Value index) const;

  /// Width of a row's pieces for a tile of `type` in `binding` (-1: none).
  FailureOr<int64_t> pieceWidth(Operation *op, tile::TileType type, int64_t binding);
  void setRows(Value tile, RowTile rows) { rowTiles[tile] = std::move(rows); }

  tile::KernelOp kernel;
  const SpirvSchedule &schedule;
  gpu::GPUFuncOp func;
  std::optional<KernelBuffers> buffers;
  ScalarContext context;
  WalkItem item;

  /// Per row of this invocation: its token (clamped into the call), its
  /// position, and whether it is in the call at all.
  SmallVector<Value> rowToken, rowPosition, rowValid;

  std::optional<Step> step;
  IRMapping scalars;
  DenseMap<Value, RowTile> rowTiles;
  DenseMap<Value, KeyTile> keyTiles;
  DenseMap<Value, ScoreTile> scoreTiles;
  DenseMap<Value, ProbabilityTile> probabilityTiles;
};

} // namespace mlir::attn
