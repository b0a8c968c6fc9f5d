// The frame of a kernel: work items, arena, the walk over keys, and the dispatch
// of tile ops to the files that lower them.
#include "compiler/target/cpu/KernelLowering.h"

#include "compiler/target/cpu/TopScalars.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "llvm/ADT/TypeSwitch.h"

#include <numeric>

using namespace mlir;
using namespace mlir::attn;

//===-- Arena ------------------------------------------------------------------===//

int64_t CpuLowering::reserve(int64_t bytes) {
  int64_t offset = arenaSize;
  arenaSize += (bytes + 63) / 64 * 64;
  return offset;
}

// Scratch that both bodies use in turn.
int64_t CpuLowering::reserveOnce(StringRef name, int64_t bytes) {
  auto [entry, isNew] = reserved.try_emplace(name, 0);
  if (isNew)
    entry->second = reserve(bytes);
  return entry->second;
}

Plane CpuLowering::newPlane(int64_t rows) {
  int64_t subTileCount = kernel.getBlockQ() / laneCount();
  return {reserve(subTileCount * rows * laneCount() * 4), rows};
}

Value CpuLowering::arenaAddress(LaneBuilder &b, int64_t offset) {
  return b.address(arena, b.i8(), offset);
}

Value CpuLowering::planeAddress(LaneBuilder &b, const Plane &plane, Value subTile) {
  Value bytes = b.add(b.mul(subTile, plane.rows * laneCount() * 4), plane.offset);
  return b.address(arena, b.i8(), bytes);
}

Value CpuLowering::planeAddress(LaneBuilder &b, const Plane &plane, const Body &body) {
  Value address = planeAddress(b, plane, body.subTile);
  return body.full ? address : b.address(address, b.f32(), body.lane);
}

Value CpuLowering::firstLane(LaneBuilder &b, const Body &body) {
  Value lane = b.mul(body.subTile, laneCount());
  return body.full ? lane : b.add(lane, body.lane);
}

SmallVector<Value> CpuLowering::loadRow(LaneBuilder &b, Value address, int64_t count) {
  SmallVector<Value> vectors;
  for (int64_t j = 0; j < count; ++j)
    vectors.push_back(
        b.load(b.lanes(b.f32()), b.address(address, b.f32(), j * arch.width), arch.width * 4));
  return vectors;
}

void CpuLowering::storeRow(LaneBuilder &b, ValueRange vectors, Value address) {
  for (auto [j, vector] : llvm::enumerate(vectors))
    b.store(vector, b.address(address, b.f32(), j * arch.width), arch.width * 4);
}

// The vectors of a rank-1 tile.
SmallVector<Value> CpuLowering::lanesOf(LaneBuilder &b, Value tile, Value subTile) {
  const CpuTileValue &value = tiles[tile];
  if (value.kind == CpuTileValue::Kind::lanes)
    return value.vectors;
  return loadRow(b, planeAddress(b, value.plane, subTile));
}

SmallVector<Value> CpuLowering::lanesOf(LaneBuilder &b, Value tile, const Body &body) {
  const CpuTileValue &value = tiles[tile];
  if (value.kind == CpuTileValue::Kind::lanes)
    return value.vectors;
  return loadRow(b, planeAddress(b, value.plane, body), vectorsOf(body));
}

void CpuLowering::forSubTiles(LaneBuilder &b, llvm::function_ref<void(Value)> body) {
  b.loop(b.constI64(0), subTiles, 1, body);
}

//===-- Choices ------------------------------------------------------------------===//

// The dequantisation that the product does on its accumulators, before they are
// stored; null if there is none or something else reads the integers.
tile::DequantizeScoresOp CpuLowering::fusedDequantize(tile::DotQKOp op) {
  if (!op || !op.getResult().hasOneUse())
    return nullptr;
  return dyn_cast<tile::DequantizeScoresOp>(*op.getResult().user_begin());
}

LogicalResult CpuLowering::unsupported(Operation &op, const Twine &why) {
  return op.emitOpError() << "cannot be lowered for cpu:" << arch.name << ": " << why;
}

LogicalResult CpuLowering::check() {
  std::string problem = checkCpuSchedule(arch, schedule);
  if (!problem.empty())
    return kernel.emitOpError() << problem;
  if (kernel.getBlockQ() % laneCount() != 0)
    return kernel.emitOpError("has block_q ")
           << kernel.getBlockQ() << "; cpu:" << arch.name << " takes multiples of " << laneCount();
  // The keys of a block are whole register tiles, and whole iterations of a
  // product that takes two keys per step.
  int64_t unit = std::lcm<int64_t>(schedule.rows, std::max<int64_t>(8, 2 * schedule.unroll));
  if (kernel.getBlockK() % unit != 0)
    return kernel.emitOpError("has block_k ")
           << kernel.getBlockK() << "; cpu:" << arch.name << " takes multiples of " << unit;
  return success();
}

//===-- Frame --------------------------------------------------------------------===//

LogicalResult CpuLowering::lower(OpBuilder &builder, StringRef symbol) {
  if (failed(check()))
    return failure();
  Location loc = kernel.getLoc();
  LaneBuilder b(builder, loc, arch);
  Type pointer = b.pointer(), i32 = b.i32();
  auto func = func::FuncOp::create(
      builder, loc, symbol, builder.getFunctionType({pointer, pointer, pointer, i32, i32}, {}));
  for (unsigned i = 0; i < 3; ++i)
    func.setArgAttr(i, "llvm.noalias", builder.getUnitAttr());
  OpBuilder::InsertionGuard guard(builder);
  Block *entry = func.addEntryBlock();
  builder.setInsertionPointToStart(entry);
  frame.emplace(kernel, entry->getArgument(0), entry->getArgument(1));
  arena = entry->getArgument(2);
  scoresOffset = reserve(kernel.getBlockK() * laneCount() * 4);
  frame->enterCall(b);
  LogicalResult result = success();
  b.loop(b.widen(entry->getArgument(3)), b.widen(entry->getArgument(4)), 1, [&](Value item) {
    frame->enterItem(b, b.narrow(item));
    Value rows = b.add(b.widen(frame->qCount), laneCount() - 1);
    subTiles = arith::DivUIOp::create(builder, loc, rows, b.constI64(laneCount()));
    for (Operation &op : kernel.getBody().front())
      if (succeeded(result))
        result = lowerTopLevel(b, op);
  });
  func::ReturnOp::create(builder, loc);
  return result;
}

LogicalResult CpuLowering::lowerTopLevel(LaneBuilder &outer, Operation &op) {
  LaneBuilder b(outer.builder, op.getLoc(), arch);
  return llvm::TypeSwitch<Operation *, LogicalResult>(&op)
      .Case([&](tile::SortRowsOp op) { return lowerSortRows(b, op); })
      .Case([&](tile::LoadQueriesOp op) { return lowerLoadQueries(b, op); })
      .Case([&](tile::StoreQueriesOp op) { return lowerStoreQueries(b, op); })
      .Case([&](tile::QuantizeOp op) { return lowerQuantize(b, op); })
      .Case([&](tile::ForKeysOp op) { return lowerForKeys(b, op); })
      .Case([&](tile::SoftmaxInitOp op) {
        return startSoftmax(b, op.getMax(), op.getSum(), op.getOut()), success();
      })
      .Case([&](tile::MergePartsOp op) { return lowerMergeParts(b, op); })
      .Case([&](tile::SoftmaxFinishOp op) { return lowerSoftmaxFinish(b, op), success(); })
      .Case([&](tile::OutputOp op) { return lowerOutput(b, op); })
      .Default([&](Operation *op) -> LogicalResult {
        if (!isTopScalar(*op))
          return unsupported(*op, "not known at the top of a kernel");
        lowerTopScalar(b, *op, *frame, scalars);
        return success();
      });
}

//===-- Keys ---------------------------------------------------------------------===//

// The tiles that the loop carries stay where they were initialised.
LogicalResult CpuLowering::lowerForKeys(LaneBuilder &b, tile::ForKeysOp op) {
  SmallVector<CpuTileValue> state;
  for (auto [init, result] : llvm::zip(op.getInits(), op.getResults())) {
    CpuTileValue value = tiles.lookup(init);
    if (value.kind != CpuTileValue::Kind::plane)
      return unsupported(*op, "an initial value is not a tile of queries");
    state.push_back(value);
    tiles[result] = value;
  }
  keyBindings.clear();
  op.walk([&](tile::LoadKeysOp load) {
    int64_t binding = load.getBinding();
    if (!keyBindings.contains(binding))
      keyBindings[binding] = frame->rows(b, binding);
  });
  LogicalResult result = success();
  KeyWalkHooks hooks;
  hooks.blocksAtOnce = true;
  hooks.loadWord = [&](OpBuilder &builder, Location loc, Value index) {
    LaneBuilder inner(builder, loc, arch);
    return frame->wordAt(inner, index);
  };
  hooks.body = [&](OpBuilder &builder, Location loc, bool full, const KeyBlock &block, ValueRange) {
    LaneBuilder inner(builder, loc, arch);
    Body body{full, block, inner.widen(block.slot),
              full ? inner.constI64(kernel.getBlockK()) : inner.widen(block.count)};
    Region &region = full ? op.getFull() : op.getPartial();
    if (succeeded(result))
      result = lowerBody(inner, region.front(), state.data(), body);
    return SmallVector<Value>();
  };
  buildKeyWalk(b.builder, b.loc, op, frame->item, kernel.getBlockK(), /*skipBlocks=*/8, {},
               frame->scalars(arch), hooks);
  return result;
}

// What depends on the keys alone is done once, then each sub-tile of queries
// passes over the block while K and V are in cache.
LogicalResult CpuLowering::lowerBody(LaneBuilder &b, Block &region, const CpuTileValue *state,
                                     Body body) {
  for (BlockArgument argument : region.getArguments().drop_front())
    tiles[argument] = state[argument.getArgNumber() - 1];
  for (Operation &op : region.without_terminator()) {
    if (auto load = dyn_cast<tile::LoadKeysOp>(op)) {
      ArrayRef<int64_t> shape = load.getType().getShape();
      CpuTileValue &value = tiles[load.getResult()];
      value.kind = CpuTileValue::Kind::keys;
      value.keys = {int64_t(load.getBinding()), shape.size() == 2 ? shape[1] : 0, Value()};
    } else if (auto scaled = dyn_cast<tile::DequantizeKeysOp>(op)) {
      CpuTileValue value = tiles[scaled.getX()];
      value.keys.scale = scaled.getScale();
      tiles[scaled.getResult()] = value;
    }
  }
  for (Operation &op : region.without_terminator()) {
    LaneBuilder at(b.builder, op.getLoc(), arch);
    if (auto dot = dyn_cast<tile::DotQKOp>(op))
      packKeys(at, dot, body);
    else if (auto dot = dyn_cast<tile::DotPVOp>(op))
      packValues(at, dot, body);
  }
  LogicalResult result = success();
  auto visit = [&] {
    for (Operation &op : region.without_terminator())
      if (succeeded(result) && !isa<tile::LoadKeysOp, tile::DequantizeKeysOp>(op)) {
        LaneBuilder at(b.builder, op.getLoc(), arch);
        result = lowerInBody(at, op, body);
      }
    if (failed(result))
      return;
    for (auto [index, yielded] : llvm::enumerate(region.getTerminator()->getOperands())) {
      const CpuTileValue &value = tiles[yielded];
      if (value.kind == CpuTileValue::Kind::lanes)
        storeRow(b, value.vectors, planeAddress(b, state[index].plane, body));
      else if (value.plane.offset != state[index].plane.offset)
        result = unsupported(*region.getTerminator(), "a tile changes its place");
    }
  };
  forSubTiles(b, [&](Value subTile) {
    body.subTile = subTile;
    if (body.full)
      return visit();
    Value left = b.sub(b.widen(frame->qCount), b.mul(subTile, laneCount()));
    b.loop(b.constI64(0), b.min(left, b.constI64(laneCount())), arch.width, [&](Value lane) {
      body.lane = lane;
      prefetchShare(b, region, body);
      body.listed = listKeys(b, cast<tile::ForKeysOp>(region.getParentOp()), body);
      b.ifThen(b.less(b.constI64(0), body.listed), visit);
    });
  });
  return result;
}

LogicalResult CpuLowering::lowerInBody(LaneBuilder &b, Operation &op, const Body &body) {
  return llvm::TypeSwitch<Operation *, LogicalResult>(&op)
      .Case([&](tile::DotQKOp op) { return lowerDotQK(b, op, body); })
      .Case([&](tile::DotPVOp op) { return lowerDotPV(b, op, body); })
      .Case([&](tile::MaskOp op) { return lowerMask(b, op, body); })
      .Case([&](tile::ScoreOp op) { return lowerScore(b, op, body); })
      .Case([&](tile::DequantizeScoresOp op) { return lowerDequantizeScores(b, op, body); })
      .Case([&](tile::SoftmaxStepOp op) { return lowerSoftmaxStep(b, op, body); })
      .Default([&](Operation *op) { return unsupported(*op, "not known in a body"); });
}
