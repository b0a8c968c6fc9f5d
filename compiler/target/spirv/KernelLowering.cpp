// The frame of a kernel: rows of an invocation, loads, stores and the walk over
// keys. TileArithmetic.cpp has the arithmetic.
#include "compiler/target/spirv/KernelLowering.h"

#include "compiler/target/spirv/Emit.h"

#include "mlir/Dialect/SCF/IR/SCF.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace mlir::attn;

KernelLowering::KernelLowering(tile::KernelOp kernel, const SpirvSchedule &schedule,
                               gpu::GPUFuncOp func)
    : kernel(kernel), schedule(schedule), func(func) {}

LogicalResult KernelLowering::run() {
  OpBuilder b = OpBuilder::atBlockEnd(&func.getBody().front());
  Location loc = kernel.getLoc();
  Emit e{b, loc};
  auto id = [&](Value index) -> Value {
    return arith::IndexCastOp::create(b, loc, b.getI32Type(), index);
  };
  Value tile = id(gpu::BlockIdOp::create(b, loc, gpu::Dimension::x));
  Value head = id(gpu::BlockIdOp::create(b, loc, gpu::Dimension::y));
  Value batch = id(gpu::BlockIdOp::create(b, loc, gpu::Dimension::z));
  Value invocation = id(gpu::ThreadIdOp::create(b, loc, gpu::Dimension::x));
  buffers.emplace(kernel, func, head, batch);

  context.param = [this](OpBuilder &, Location, int64_t index, Type type) {
    return buffers->param(index, type);
  };
  context.item = [this](OpBuilder &, Location, int64_t which) {
    return which == 0   ? buffers->head()
           : which == 1 ? buffers->batch()
                        : buffers->word(ATTN_W_LAYER);
  };
  context.tableLoad = [this](OpBuilder &b, Location loc, int64_t binding, ValueRange indices,
                             Type type) {
    return buffers->tableElement(b, loc, binding, indices, type);
  };

  Value qLen = buffers->word(ATTN_W_Q_LEN), qPosition = buffers->word(ATTN_W_Q_POSITION);
  int64_t blockQ = kernel.getBlockQ();
  Value firstRow = e.mulI(tile, e.i32(blockQ));
  Value lastRow = e.subI(qLen, e.i32(1));
  for (int64_t r = 0; r < schedule.rows; ++r) {
    Value row = e.addI(firstRow, e.addI(invocation, e.i32(r * schedule.workgroup)));
    rowValid.push_back(e.less(row, qLen));
    // A row past the end computes the last row again and is not stored.
    rowToken.push_back(e.minI(row, lastRow));
    rowPosition.push_back(e.addI(qPosition, rowToken.back()));
  }
  Value lastOfTile = e.minI(e.addI(firstRow, e.i32(blockQ - 1)), lastRow);
  item = {e.addI(qPosition, firstRow), e.addI(qPosition, lastOfTile), head, batch};

  if (failed(lowerBlock(b, kernel.getBody().front())))
    return failure();
  gpu::ReturnOp::create(b, loc);
  return success();
}

LogicalResult KernelLowering::lowerBlock(OpBuilder &b, Block &block) {
  for (Operation &op : block)
    if (!isa<tile::YieldOp>(op) && failed(lower(b, op)))
      return failure();
  return success();
}

LogicalResult KernelLowering::lower(OpBuilder &b, Operation &op) {
  return TypeSwitch<Operation *, LogicalResult>(&op)
      .Case([&](tile::LoadQueriesOp op) { return loadQueries(b, op); })
      .Case([&](tile::StoreQueriesOp op) { return storeQueries(b, op); })
      .Case([&](tile::LoadKeysOp op) { return loadKeys(b, op); })
      .Case([&](tile::ForKeysOp op) { return forKeys(b, op); })
      .Case([&](tile::DotQKOp op) { return dotQK(b, op); })
      .Case([&](tile::DotPVOp op) { return dotPV(b, op); })
      .Case([&](tile::QuantizeOp op) { return quantize(b, op); })
      .Case([&](tile::DequantizeScoresOp op) { return dequantizeScores(b, op); })
      .Case([&](tile::DequantizeKeysOp op) { return dequantizeKeys(b, op); })
      .Case([&](tile::ScoreOp op) { return score(b, op); })
      .Case([&](tile::MaskOp op) { return mask(b, op); })
      .Case([&](tile::SoftmaxInitOp op) { return softmaxInit(b, op); })
      .Case([&](tile::SoftmaxStepOp op) { return softmaxStep(b, op); })
      .Case([&](tile::SoftmaxFinishOp op) { return softmaxFinish(b, op); })
      .Default([&](Operation *op) { return lowerScalar(b, *op); });
}

// Ops between the tile ops: parameters, items, tables and plain arithmetic.
LogicalResult KernelLowering::lowerScalar(OpBuilder &b, Operation &op) {
  Location loc = op.getLoc();
  if (auto factor = dyn_cast<tile::ScoreFactorOp>(op)) {
    Emit e{b, loc};
    Value log2e = e.f32(1.4426950408889634);
    scalars.map(factor.getResult(),
                factor.getPlain() ? log2e : e.mul(e.asFloat(buffers->word(ATTN_W_SCALE)), log2e));
    return success();
  }
  if (auto param = dyn_cast<tile::ParamOp>(op)) {
    scalars.map(param.getResult(), context.param(b, loc, param.getIndex(), param.getType()));
    return success();
  }
  if (auto which = dyn_cast<tile::IndexOp>(op)) {
    scalars.map(which.getResult(), context.item(b, loc, which.getWhich()));
    return success();
  }
  if (auto load = dyn_cast<tile::TableLoadOp>(op)) {
    SmallVector<Value> indices;
    for (Value index : load.getIndices())
      indices.push_back(scalars.lookup(index));
    scalars.map(load.getResult(),
                context.tableLoad(b, loc, load.getBinding(), indices, load.getType()));
    return success();
  }
  if (isa<arith::ArithDialect, math::MathDialect>(op.getDialect()) && op.getNumRegions() == 0) {
    b.clone(op, scalars);
    return success();
  }
  return op.emitOpError("has no lowering to spirv");
}

FailureOr<int64_t> KernelLowering::pieceWidth(Operation *op, tile::TileType type, int64_t binding) {
  int64_t dim = type.getShape().size() == 2 ? type.getShape()[1] : 1;
  if (type.getShape().size() == 1)
    return 1;
  int64_t width = dim % 4 == 0 ? 4 : dim % 2 == 0 ? 2 : 1;
  Type stored = buffers->binding(binding).getElementType();
  int64_t perWord = 32 / std::min<int64_t>(32, stored.getIntOrFloatBitWidth());
  if (width % perWord != 0)
    return op->emitOpError() << "has rows of " << dim << " elements of " << stored
                             << "; spirv packs them in words and allows multiples of " << perWord;
  return width;
}

//===-- Loads and stores ------------------------------------------------------===//

LogicalResult KernelLowering::loadQueries(OpBuilder &b, tile::LoadQueriesOp op) {
  auto type = op.getResult().getType();
  FailureOr<int64_t> width = pieceWidth(op, type, op.getBinding());
  if (failed(width))
    return failure();
  int64_t dim = type.getShape().size() == 2 ? type.getShape()[1] : 1;
  RowTile tile;
  for (Value token : rowToken) {
    Value row = buffers->row(b, op.getLoc(), op.getBinding(), token);
    SmallVector<Value> &pieces = tile.rows.emplace_back();
    for (int64_t d = 0; d < dim; d += *width)
      pieces.push_back(buffers->loadPiece(b, op.getLoc(), op.getBinding(), row, d, *width));
  }
  setRows(op.getResult(), std::move(tile));
  return success();
}

LogicalResult KernelLowering::storeQueries(OpBuilder &b, tile::StoreQueriesOp op) {
  auto type = op.getValue().getType();
  FailureOr<int64_t> width = pieceWidth(op, type, op.getBinding());
  if (failed(width))
    return failure();
  RowTile tile = rowTiles.lookup(op.getValue());
  for (auto [r, pieces] : llvm::enumerate(tile.rows)) {
    auto stores = scf::IfOp::create(b, op.getLoc(), rowValid[r], /*withElseRegion=*/false);
    OpBuilder then = stores.getThenBodyBuilder();
    Value row = buffers->row(then, op.getLoc(), op.getBinding(), rowToken[r]);
    for (auto [i, piece] : llvm::enumerate(pieces))
      buffers->storePiece(then, op.getLoc(), op.getBinding(), row, i * *width, piece);
  }
  return success();
}

LogicalResult KernelLowering::loadKeys(OpBuilder &b, tile::LoadKeysOp op) {
  if (failed(pieceWidth(op, op.getResult().getType(), op.getBinding())))
    return failure();
  int64_t binding = op.getBinding();
  Location loc = op.getLoc();
  keyTiles[op.getResult()].open = [=, this](OpBuilder &b, const Key &key) -> PieceLoader {
    Value row = buffers->row(b, loc, binding, key.slot);
    return [=, this](OpBuilder &b, int64_t dim, int64_t width) {
      return buffers->loadPiece(b, loc, binding, row, dim, width);
    };
  };
  return success();
}

//===-- The walk over keys -----------------------------------------------------===//

// Tiles that a loop carries, flattened in order.
static SmallVector<Value> flatten(const DenseMap<Value, RowTile> &tiles, ValueRange values) {
  SmallVector<Value> flat;
  for (Value value : values)
    for (const SmallVector<Value> &pieces : tiles.find(value)->second.rows)
      llvm::append_range(flat, pieces);
  return flat;
}

// The tiles of `like` with their values taken from `flat`.
static void unflatten(DenseMap<Value, RowTile> &tiles, ValueRange like, ValueRange as,
                      ValueRange flat) {
  for (auto [from, to] : llvm::zip(like, as)) {
    RowTile tile = tiles.lookup(from);
    for (SmallVector<Value> &pieces : tile.rows)
      for (Value &piece : pieces) {
        piece = flat.front();
        flat = flat.drop_front();
      }
    tiles[to] = std::move(tile);
  }
}

LogicalResult KernelLowering::forKeys(OpBuilder &b, tile::ForKeysOp op) {
  LogicalResult result = success();
  KeyWalkHooks hooks;
  hooks.loadWord = [this](OpBuilder &b, Location loc, Value index) {
    return buffers->wordAt(b, loc, index);
  };
  // Drivers compile in time that grows faster than code, so full blocks run the
  // partial body too and step over its masks. A body folds its keys into the
  // state: a block is folded step by step.
  hooks.sharedBody = [&](OpBuilder &b, Location loc, Value full, const KeyBlock &block,
                         ValueRange state) -> SmallVector<Value> {
    Block &body = op.getPartial().front();
    Emit e{b, loc};
    auto loop = scf::ForOp::create(
        b, loc, e.i32(0), block.count, e.i32(schedule.keys), state,
        [&](OpBuilder &b, Location loc, Value first, ValueRange state) {
          Emit e{b, loc};
          step = Step{e.addI(block.slot, first), e.addI(block.position, first),
                      e.subI(block.count, first), full};
          unflatten(rowTiles, op.getInits(), body.getArguments().drop_front(), state);
          SmallVector<Value> next(state);
          if (succeeded(lowerBlock(b, body)))
            next = flatten(rowTiles, body.getTerminator()->getOperands());
          else
            result = failure();
          step.reset();
          scf::YieldOp::create(b, loc, next);
        });
    return SmallVector<Value>(loop.getResults());
  };
  SmallVector<Value> state =
      buildKeyWalk(b, op.getLoc(), op, item, kernel.getBlockK(), schedule.skipBlocks,
                   flatten(rowTiles, op.getInits()), context, hooks);
  unflatten(rowTiles, op.getInits(), op.getResults(), state);
  return result;
}

SmallVector<Value> KernelLowering::forEachKey(
    OpBuilder &b, Location loc, ValueRange carried,
    function_ref<SmallVector<Value>(OpBuilder &, Value index, ValueRange)> body) {
  Emit e{b, loc};
  if (!schedule.rollKeys) {
    SmallVector<Value> values(carried);
    for (int64_t i = 0; i < schedule.keys; ++i)
      values = body(b, e.i32(i), values);
    return values;
  }
  auto loop = scf::ForOp::create(b, loc, e.i32(0), e.i32(schedule.keys), e.i32(1), carried,
                                 [&](OpBuilder &b, Location loc, Value index, ValueRange values) {
                                   scf::YieldOp::create(b, loc, body(b, index, values));
                                 });
  return SmallVector<Value>(loop.getResults());
}

Key KernelLowering::keyAt(OpBuilder &b, Location loc, Value index) const {
  Emit e{b, loc};
  // Slots past the end may hold anything; the last valid one is read instead.
  Value last = e.subI(step->remaining, e.i32(1));
  Key key;
  key.slot = e.addI(step->slot, e.minI(index, last));
  key.position = e.addI(step->position, index);
  key.valid = e.less(index, step->remaining);
  key.full = step->full;
  return key;
}
