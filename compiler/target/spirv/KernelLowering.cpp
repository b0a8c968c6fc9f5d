// The frame of a kernel: rows of an invocation, loads, stores and the walk over
// keys. TileArithmetic.cpp has the arithmetic.
#include "compiler/target/spirv/KernelLowering.h"

#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/SPIRV/IR/SPIRVOps.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace mlir::attn;

SpirvLowering::SpirvLowering(tile::KernelOp kernel, const SpirvSchedule &schedule,
                             gpu::GPUFuncOp func)
    : kernel(kernel), schedule(schedule), func(func), kernelVDim(kernel.getVDim()) {}

LogicalResult SpirvLowering::run() {
  OpBuilder b = OpBuilder::atBlockEnd(&func.getBody().front());
  Location loc = kernel.getLoc();
  Emit e{b, loc};
  auto id = [&](Value index) -> Value {
    return arith::IndexCastOp::create(b, loc, b.getI32Type(), index);
  };
  Value tile = id(gpu::BlockIdOp::create(b, loc, gpu::Dimension::x));
  Value head = id(gpu::BlockIdOp::create(b, loc, gpu::Dimension::y));
  Value batch = id(gpu::BlockIdOp::create(b, loc, gpu::Dimension::z));
  Value invocation = id(gpu::ThreadIdOp::create(b, loc, gpu::Dimension::x)), lane;
  if (schedule.tier.broadcast) {
    // How invocations fall into subgroups is the device's choice: this order of
    // them is ours.
    lane = id(gpu::LaneIdOp::create(b, loc, IntegerAttr()));
    Value subgroup = id(gpu::SubgroupIdOp::create(b, loc, IntegerAttr()));
    invocation = e.addI(e.mulI(subgroup, e.i32(SpirvTier::kSubgroup)), lane);
  }
  buffers.emplace(kernel, schedule.tier, func, head, batch);
  chooseWidths();
  if (failed(checkDims()))
    return failure();

  context.param = [this](OpBuilder &, Location, int64_t index, Type type) {
    return buffers->param(index, type);
  };
  context.item = [this](OpBuilder &, Location, int64_t which) {
    return which == 0   ? buffers->head()
           : which == 1 ? buffers->batch()
                        : buffers->word(which == 2   ? ATTN_W_LAYER
                                        : which == 3 ? ATTN_W_HEADS
                                                     : ATTN_W_KV_HEADS);
  };
  context.tableLoad = [this](OpBuilder &b, Location loc, int64_t binding, ValueRange indices,
                             Type type) {
    return buffers->tableElement(b, loc, binding, indices, type);
  };

  Value qLen = buffers->word(ATTN_W_Q_LEN), qPosition = buffers->word(ATTN_W_Q_POSITION);
  int64_t blockQ = kernel.getBlockQ();
  Value firstRow = e.mulI(tile, e.i32(blockQ)), lastRow = e.subI(qLen, e.i32(1));
  auto rowAt = [&](Value index) {
    Value row = e.addI(firstRow, index);
    // A row past the end computes the last row again and is not stored.
    Value token = e.minI(row, lastRow);
    return Row{index, token, e.addI(qPosition, token), e.less(row, qLen)};
  };
  column = arith::RemUIOp::create(b, loc, invocation, e.i32(schedule.columns));
  Value group = arith::DivUIOp::create(b, loc, invocation, e.i32(schedule.columns));
  Value firstOfGroup = e.mulI(group, e.i32(schedule.rows));
  for (int64_t i = 0; i < schedule.rows; ++i)
    tileRows.push_back(rowAt(e.addI(firstOfGroup, e.i32(i))));
  if (lane)
    readRow = rowAt(e.addI(firstOfGroup, e.minI(lane, e.i32(schedule.rows - 1))));
  for (int64_t i = 0; i < schedule.ownRows; ++i)
    ownRows.push_back(rowAt(e.addI(invocation, e.i32(i * schedule.workgroup))));
  if (schedule.idleLanes)
    isOwner = e.less(ownRows.back().index, e.i32(blockQ));
  Value lastOfTile = e.minI(e.addI(firstRow, e.i32(blockQ - 1)), lastRow);
  item = {e.addI(qPosition, firstRow), e.addI(qPosition, lastOfTile), head, batch};

  if (failed(lowerBlock(b, kernel.getBody().front())))
    return failure();
  gpu::ReturnOp::create(b, loc);
  return success();
}

LogicalResult SpirvLowering::lowerBlock(OpBuilder &b, Block &block) {
  for (Operation &op : block)
    if (!isa<tile::YieldOp>(op) && failed(lower(b, op)))
      return failure();
  return success();
}

LogicalResult SpirvLowering::lower(OpBuilder &b, Operation &op) {
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
      .Case([&](tile::MergePartsOp op) { return mergeParts(b, op); })
      .Case([&](tile::OutputOp op) { return output(b, op); })
      .Default([&](Operation *op) { return lowerScalar(b, *op); });
}

// Ops between the tile ops: parameters, items, tables and plain arithmetic.
LogicalResult SpirvLowering::lowerScalar(OpBuilder &b, Operation &op) {
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

// The least width that both sides of a product can be read in, whole accesses.
void SpirvLowering::chooseWidths() {
  auto widest = [&](ArrayRef<tile::Role> roles) {
    int64_t width = 1;
    for (int64_t i = 0; i < int64_t(kernel.getBindings().size()); ++i)
      if (llvm::is_contained(roles, buffers->binding(i).getRole()))
        width = std::max(width, buffers->perAccess(i));
    return width;
  };
  dotWidth = widest({tile::Role::q, tile::Role::k});
  outputWidth = widest({tile::Role::v, tile::Role::o, tile::Role::input, tile::Role::part_o});
}

LogicalResult SpirvLowering::checkDims() {
  for (auto [dim, width] : {std::pair(int64_t(kernel.getQkDim()), dotWidth),
                            std::pair(kernelVDim, outputWidth)})
    if (dim % width != 0)
      return kernel.emitOpError() << "has head dim " << dim << " of elements that are read "
                                  << width << " at a time; spirv allows multiples of " << width
                                  << ": pad it with zeros under a `scale` clause, or leave this target out";
  return success();
}

Value SpirvLowering::ofRow(OpBuilder &b, Location loc, int64_t row,
                           function_ref<Value(const Row &)> read) {
  if (!readRow)
    return read(tileRows[row]);
  // Reads of the same row are one read after common subexpressions are merged.
  Value mine = read(*readRow);
  Value lane = spirv::ConstantOp::create(b, loc, b.getI32Type(), b.getI32IntegerAttr(row));
  return spirv::GroupNonUniformBroadcastOp::create(b, loc, mine.getType(), spirv::Scope::Subgroup,
                                                   mine, lane);
}

//===-- Loops and workgroup memory ----------------------------------------------===//

SmallVector<Value> SpirvLowering::loop(OpBuilder &b, Location loc, Value end, int64_t step,
                                       ValueRange carried, LoopBody body) {
  Emit e{b, loc};
  auto forOp = scf::ForOp::create(b, loc, e.i32(0), end, e.i32(step), carried,
                                  [&](OpBuilder &b, Location loc, Value index, ValueRange values) {
                                    scf::YieldOp::create(b, loc, body(b, index, values));
                                  });
  return SmallVector<Value>(forOp.getResults());
}

SmallVector<Value> SpirvLowering::onOwners(OpBuilder &b, Location loc, TypeRange types,
                                           function_ref<SmallVector<Value>(OpBuilder &)> body) {
  if (!isOwner)
    return body(b);
  auto branch = scf::IfOp::create(
      b, loc, isOwner, [&](OpBuilder &b, Location loc) { scf::YieldOp::create(b, loc, body(b)); },
      [&](OpBuilder &b, Location loc) {
        Emit e{b, loc};
        SmallVector<Value> zeros;
        for (Type type : types)
          zeros.push_back(type.isF32() ? e.f32(0) : e.i32(0));
        scf::YieldOp::create(b, loc, zeros);
      });
  return SmallVector<Value>(branch.getResults());
}

Value SpirvLowering::shared(StringRef name, int64_t elements, Type type) {
  Value &memory = sharedMemory[name];
  if (!memory) {
    OpBuilder b = OpBuilder::atBlockBegin(&func.getBody().front());
    auto space = spirv::StorageClassAttr::get(kernel.getContext(), spirv::StorageClass::Workgroup);
    memory = memref::AllocOp::create(
        b, kernel.getLoc(), MemRefType::get({elements}, type, MemRefLayoutAttrInterface(), space));
  }
  return memory;
}

Value SpirvLowering::loadShared(OpBuilder &b, Location loc, Value memory, Value index) {
  Value at = arith::IndexCastOp::create(b, loc, b.getIndexType(), index);
  return memref::LoadOp::create(b, loc, memory, at);
}

void SpirvLowering::storeShared(OpBuilder &b, Location loc, Value value, Value memory,
                                Value index) {
  Value at = arith::IndexCastOp::create(b, loc, b.getIndexType(), index);
  memref::StoreOp::create(b, loc, value, memory, at);
}

Value SpirvLowering::scoreIndex(OpBuilder &b, Location loc, Value row, Value key) {
  Emit e{b, loc};
  return e.addI(e.mulI(row, e.i32(schedule.keys + 1)), key);
}

void SpirvLowering::barrier(OpBuilder &b, Location loc) { gpu::BarrierOp::create(b, loc); }

std::pair<Value, Value> SpirvLowering::outputDim(OpBuilder &b, Location loc, int64_t unit) {
  // Neighbouring invocations have neighbouring units, so that loads coalesce.
  Emit e{b, loc};
  Value index = e.addI(column, e.i32(unit * schedule.columns));
  int64_t units = kernelVDim / outputWidth;
  Value exists;
  if ((unit + 1) * schedule.columns > units) {
    exists = e.less(index, e.i32(units));
    index = e.minI(index, e.i32(units - 1));
  }
  return {e.mulI(index, e.i32(outputWidth)), exists};
}

//===-- Loads and stores ------------------------------------------------------===//

LogicalResult SpirvLowering::loadQueries(OpBuilder &b, tile::LoadQueriesOp op) {
  int64_t binding = op.getBinding();
  if (buffers->binding(binding).getRole() == tile::Role::input)
    return loadInput(b, op);
  Location loc = op.getLoc();
  auto rowOf = [&](const Row &row) { return buffers->row(b, loc, binding, row.token); };
  SmallVector<Value> own = llvm::map_to_vector(ownRows, rowOf);
  auto load = [=, this](OpBuilder &b, Value row, Value dim, int64_t width) {
    return buffers->load(b, loc, binding, arith::AddIOp::create(b, loc, row, dim), width);
  };
  QueryTile &tile = queryTiles[op.getResult()];
  tile.width = buffers->perAccess(binding);
  tile.piece = [=, this](OpBuilder &b, int64_t row, Value dim, int64_t width) {
    return ofRow(b, loc, row, [&](const Row &r) {
      return load(b, buffers->row(b, loc, binding, r.token), dim, width);
    });
  };
  tile.ownPiece = [=](OpBuilder &b, int64_t row, Value dim, int64_t width) {
    return load(b, own[row], dim, width);
  };
  return success();
}

LogicalResult SpirvLowering::storeQueries(OpBuilder &b, tile::StoreQueriesOp op) {
  int64_t binding = op.getBinding();
  Location loc = op.getLoc();
  auto storeIf = [&](OpBuilder &b, Value condition, function_ref<void(OpBuilder &)> store) {
    auto branch = scf::IfOp::create(b, loc, condition, /*withElseRegion=*/false);
    OpBuilder then = branch.getThenBodyBuilder();
    store(then);
  };
  auto numbers = rowTiles.find(op.getValue());
  if (numbers != rowTiles.end()) {
    for (auto [row, value] : llvm::zip(ownRows, numbers->second.values)) {
      Value stored = value, valid = row.valid;
      if (isOwner)
        valid = arith::AndIOp::create(b, loc, valid, isOwner);
      storeIf(b, valid, [&](OpBuilder &b) {
        buffers->store(b, loc, binding, buffers->row(b, loc, binding, row.token), stored);
      });
    }
    return success();
  }
  auto output = outputTiles.find(op.getValue());
  if (output == outputTiles.end())
    return op.emitOpError("stores a tile that is no output; spirv stores outputs and row numbers");
  int64_t units = outputUnits();
  for (auto [r, row] : llvm::enumerate(tileRows))
    storeIf(b, row.valid, [&](OpBuilder &b) {
      Value base = buffers->row(b, loc, binding, row.token);
      for (int64_t unit = 0; unit < units; ++unit) {
        auto [dim, exists] = outputDim(b, loc, unit);
        Value element = arith::AddIOp::create(b, loc, base, dim);
        Value piece = output->second.pieces[r * units + unit];
        auto store = [&](OpBuilder &b) { buffers->store(b, loc, binding, element, piece); };
        if (exists)
          storeIf(b, exists, store);
        else
          store(b);
      }
    });
  return success();
}

LogicalResult SpirvLowering::loadKeys(OpBuilder &b, tile::LoadKeysOp op) {
  int64_t binding = op.getBinding();
  Location loc = op.getLoc();
  SpirvKeyTile &tile = keyTiles[op.getResult()];
  tile.width = buffers->perAccess(binding);
  if (buffers->binding(binding).getElementType().isInteger(8))
    tile.openWords = [=, this](OpBuilder &b, Value slot) -> WordLoader {
      Value row = buffers->row(b, loc, binding, slot);
      return [=, this](OpBuilder &b, Value dim, int64_t width) {
        return buffers->loadWords(b, loc, binding, arith::AddIOp::create(b, loc, row, dim), width);
      };
    };
  tile.open = [=, this](OpBuilder &b, Value slot) -> PieceLoader {
    Value row = buffers->row(b, loc, binding, slot);
    return [=, this](OpBuilder &b, Value dim, int64_t width) {
      Value element = dim ? arith::AddIOp::create(b, loc, row, dim).getResult() : row;
      return buffers->load(b, loc, binding, element, width);
    };
  };
  return success();
}

//===-- The walk over keys -----------------------------------------------------===//

LogicalResult SpirvLowering::forKeys(OpBuilder &b, tile::ForKeysOp op) {
  auto valuesOf = [&](Value tile) -> SmallVector<Value> & {
    auto numbers = rowTiles.find(tile);
    return numbers != rowTiles.end() ? numbers->second.values : outputTiles[tile].pieces;
  };
  auto flatten = [&](ValueRange tiles) {
    SmallVector<Value> flat;
    for (Value tile : tiles)
      llvm::append_range(flat, valuesOf(tile));
    return flat;
  };
  // Gives `tiles`, of the same kinds as the initial ones, the values of `flat`.
  auto unflatten = [&](ValueRange tiles, ValueRange flat) {
    for (auto [like, tile] : llvm::zip(op.getInits(), tiles)) {
      size_t count = valuesOf(like).size();
      SmallVector<Value> values(flat.take_front(count));
      flat = flat.drop_front(count);
      if (rowTiles.contains(like))
        rowTiles[tile].values = std::move(values);
      else
        outputTiles[tile].pieces = std::move(values);
    }
  };

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
    return loop(
        b, loc, block.count, schedule.keys, state,
        [&](OpBuilder &b, Value first, ValueRange state) {
          Emit e{b, loc};
          Value count = e.minI(e.subI(block.count, first), e.i32(schedule.keys));
          step = Step{e.addI(block.slot, first), e.addI(block.position, first), count, full};
          unflatten(body.getArguments().drop_front(), state);
          SmallVector<Value> next(state);
          if (succeeded(lowerBlock(b, body)))
            next = flatten(body.getTerminator()->getOperands());
          else
            result = failure();
          step.reset();
          return next;
        });
  };
  SmallVector<Value> state =
      buildKeyWalk(b, op.getLoc(), op, item, kernel.getBlockK(), schedule.skipBlocks,
                   flatten(op.getInits()), context, hooks);
  unflatten(op.getResults(), state);
  return result;
}
