// Walks the keys with a body that only writes down what it is asked to do.
#include "compiler/target/cpu/RangesFunction.h"

#include "runtime/bundle/kernel_abi.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

using namespace mlir;
using namespace mlir::attn;

namespace {
// What the walk carries: ranges so far, and the last one to extend.
enum State { Count, Segment, End, Class, StateSize };
} // namespace

// Appends the block to the list, or lengthens the last range with it.
static SmallVector<Value> record(LaneBuilder &b, bool full, const KeyBlock &block, ValueRange state,
                                 Value out, Value capacity) {
  OpBuilder &builder = b.builder;
  Location loc = b.loc;
  auto equal = [&](Value x, Value y) -> Value {
    return arith::CmpIOp::create(builder, loc, arith::CmpIPredicate::eq, x, y);
  };
  auto both = [&](Value x, Value y) -> Value { return arith::AndIOp::create(builder, loc, x, y); };
  Value tileClass = b.constI32(full ? ATTN_TILE_FULL : ATTN_TILE_PARTIAL);
  Value end = b.add(block.begin, block.count);
  Value extends = both(both(equal(state[Segment], block.segment), equal(state[End], block.begin)),
                       equal(state[Class], tileClass));
  Value isNew = arith::XOrIOp::create(builder, loc, extends,
                                      arith::ConstantIntOp::create(builder, loc, 1, 1));
  Value count = b.add(state[Count], arith::ExtUIOp::create(builder, loc, b.i32(), isNew));
  Value slot = arith::SubIOp::create(builder, loc, count, b.constI32(1));
  Value fits = arith::CmpIOp::create(builder, loc, arith::CmpIPredicate::ult, slot, capacity);
  Value entry = b.address(out, b.i32(), b.mul(b.widen(slot), 4));
  b.ifThen(fits, [&] { b.store(end, b.address(entry, b.i32(), 2)); });
  b.ifThen(both(fits, isNew), [&] {
    b.store(block.segment, entry);
    b.store(block.begin, b.address(entry, b.i32(), 1));
    b.store(tileClass, b.address(entry, b.i32(), 3));
  });
  return {count, block.segment, end, tileClass};
}

void mlir::attn::emitRangesFunction(OpBuilder &builder, tile::KernelOp kernel, const CpuArch &arch,
                                    StringRef symbol) {
  tile::ForKeysOp walk;
  kernel.walk([&](tile::ForKeysOp op) { walk = op; });
  if (!walk)
    return;
  Location loc = kernel.getLoc();
  LaneBuilder b(builder, loc, arch);
  Type pointer = b.pointer(), i32 = b.i32();
  auto func =
      func::FuncOp::create(builder, loc, (symbol + "_ranges").str(),
                           builder.getFunctionType(
                               {pointer, pointer, i32, i32, i32, pointer, i32}, {i32}));
  OpBuilder::InsertionGuard guard(builder);
  Block *entry = func.addEntryBlock();
  builder.setInsertionPointToStart(entry);
  CallFrame frame(kernel, entry->getArgument(0), entry->getArgument(1));
  Value out = entry->getArgument(5), capacity = entry->getArgument(6);
  frame.enterCall(b);
  frame.enterItem(b, entry->getArgument(2), entry->getArgument(3), entry->getArgument(4));
  KeyWalkHooks hooks;
  hooks.blocksAtOnce = true;
  hooks.loadWord = [&](OpBuilder &builder, Location loc, Value index) {
    LaneBuilder inner(builder, loc, arch);
    return frame.wordAt(inner, index);
  };
  hooks.body = [&](OpBuilder &builder, Location loc, bool full, const KeyBlock &block,
                   ValueRange state) {
    LaneBuilder inner(builder, loc, arch);
    return record(inner, full, block, state, out, capacity);
  };
  Value zero = b.constI32(0), none = b.constI32(-1);
  SmallVector<Value> state =
      buildKeyWalk(builder, loc, walk, frame.item, kernel.getBlockK(), /*skipBlocks=*/8,
                   {zero, none, none, none}, frame.scalars(arch), hooks);
  func::ReturnOp::create(builder, loc, state[Count]);
}
