// Emits segments > runs of blocks > blocks, asking the classify region at the
// last two levels.
#include "compiler/conversion/KeyWalk.h"

#include "runtime/bundle/kernel_abi.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

using namespace mlir;
using namespace mlir::attn;

namespace {

class WalkBuilder {
public:
  WalkBuilder(Block &classifyBlock, const WalkItem &item, int64_t blockK,
              const ScalarContext &context, const KeyWalkHooks &hooks)
      : classifyBlock(classifyBlock), item(item), blockK(blockK), context(context), hooks(hooks) {}

  SmallVector<Value> segments(OpBuilder &b, Location loc, int64_t skipBlocks, ValueRange state) {
    Value count = word(b, loc, ATTN_W_SEGMENTS);
    Value base = arith::AddIOp::create(
        b, loc, word(b, loc, ATTN_W_SEGMENT_BASE),
        arith::MulIOp::create(b, loc, item.batch, word(b, loc, ATTN_W_SEGMENT_STRIDE)));
    return loop(b, loc, constant(b, loc, 0), count, 1, state,
                [&](OpBuilder &b, Value segment, ValueRange state) {
                  Value record = arith::AddIOp::create(
                      b, loc, base,
                      arith::MulIOp::create(b, loc, segment, constant(b, loc, ATTN_SEG_WORDS)));
                  Segment s{segment, field(b, loc, record, ATTN_SEG_FIRST_SLOT),
                            field(b, loc, record, ATTN_SEG_LENGTH),
                            field(b, loc, record, ATTN_SEG_FIRST_POSITION)};
                  return skipBlocks > 1
                             ? runs(b, loc, s, blockK * skipBlocks, state)
                             : blocks(b, loc, s, constant(b, loc, 0), s.length, state);
                });
  }

private:
  struct Segment {
    Value index, slot, length, position;
  };

  // Walks runs of `run` keys, each skipped whole when nothing in it is admitted.
  SmallVector<Value> runs(OpBuilder &b, Location loc, const Segment &s, int64_t run,
                          ValueRange state) {
    return loop(b, loc, constant(b, loc, 0), s.length, run, state,
                [&](OpBuilder &b, Value begin, ValueRange state) {
                  Value end = clampedEnd(b, loc, begin, run, s.length);
                  Value any = classify(b, loc, s, begin, end).first;
                  return branch(
                      b, loc, any, state,
                      [&](OpBuilder &b) { return blocks(b, loc, s, begin, end, state); },
                      [&](OpBuilder &) { return SmallVector<Value>(state); });
                });
  }

  SmallVector<Value> blocks(OpBuilder &b, Location loc, const Segment &s, Value begin, Value end,
                            ValueRange state) {
    return loop(b, loc, begin, end, blockK, state, [&](OpBuilder &b, Value first, ValueRange state) {
      Value last = clampedEnd(b, loc, first, blockK, end);
      KeyBlock block{arith::AddIOp::create(b, loc, s.slot, first),
                     arith::AddIOp::create(b, loc, s.position, first),
                     arith::SubIOp::create(b, loc, last, first), s.index, first};
      auto [any, all] = classify(b, loc, s, first, last);
      Value whole = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::eq, block.count,
                                          constant(b, loc, blockK));
      Value full = arith::AndIOp::create(b, loc, all, whole);
      return branch(
          b, loc, any, state,
          [&](OpBuilder &b) {
            if (hooks.sharedBody)
              return hooks.sharedBody(b, loc, full, block, state);
            return branch(
                b, loc, full, state,
                [&](OpBuilder &b) { return hooks.body(b, loc, /*full=*/true, block, state); },
                [&](OpBuilder &b) { return hooks.body(b, loc, /*full=*/false, block, state); });
          },
          [&](OpBuilder &) { return SmallVector<Value>(state); });
    });
  }

  // (any, all) for the keys [begin, end) of a segment.
  std::pair<Value, Value> classify(OpBuilder &b, Location loc, const Segment &s, Value begin,
                                   Value end) {
    Value low = arith::AddIOp::create(b, loc, s.position, begin);
    Value high = arith::SubIOp::create(b, loc, arith::AddIOp::create(b, loc, s.position, end),
                                       constant(b, loc, 1));
    SmallVector<Value> answer =
        inlineScalarRegion(b, classifyBlock,
                           {item.qLow, item.qHigh, low, high, item.head, item.batch}, context);
    return {answer[0], answer[1]};
  }

  Value clampedEnd(OpBuilder &b, Location loc, Value begin, int64_t size, Value limit) {
    Value end = arith::AddIOp::create(b, loc, begin, constant(b, loc, size));
    return arith::MinSIOp::create(b, loc, end, limit);
  }

  static SmallVector<Value>
  loop(OpBuilder &b, Location loc, Value begin, Value end, int64_t step, ValueRange state,
       function_ref<SmallVector<Value>(OpBuilder &, Value, ValueRange)> body) {
    auto forOp = scf::ForOp::create(
        b, loc, begin, end, constant(b, loc, step), state,
        [&](OpBuilder &b, Location loc, Value index, ValueRange state) {
          scf::YieldOp::create(b, loc, body(b, index, state));
        });
    return SmallVector<Value>(forOp.getResults());
  }

  static SmallVector<Value> branch(OpBuilder &b, Location loc, Value condition, ValueRange state,
                                   function_ref<SmallVector<Value>(OpBuilder &)> then,
                                   function_ref<SmallVector<Value>(OpBuilder &)> otherwise) {
    auto ifOp = scf::IfOp::create(
        b, loc, condition,
        [&](OpBuilder &b, Location loc) { scf::YieldOp::create(b, loc, then(b)); },
        [&](OpBuilder &b, Location loc) { scf::YieldOp::create(b, loc, otherwise(b)); });
    return SmallVector<Value>(ifOp.getResults());
  }

  static Value constant(OpBuilder &b, Location loc, int64_t value) {
    return arith::ConstantIntOp::create(b, loc, value, 32);
  }
  Value word(OpBuilder &b, Location loc, int64_t index) {
    return hooks.loadWord(b, loc, constant(b, loc, index));
  }
  Value field(OpBuilder &b, Location loc, Value record, int64_t offset) {
    return hooks.loadWord(b, loc, arith::AddIOp::create(b, loc, record, constant(b, loc, offset)));
  }

  Block &classifyBlock;
  const WalkItem &item;
  int64_t blockK;
  const ScalarContext &context;
  const KeyWalkHooks &hooks;
};

} // namespace

SmallVector<Value> mlir::attn::buildKeyWalk(OpBuilder &builder, Location loc, Block &classify,
                                            const WalkItem &item, int64_t blockK,
                                            int64_t skipBlocks, ValueRange state,
                                            const ScalarContext &context,
                                            const KeyWalkHooks &hooks) {
  return WalkBuilder(classify, item, blockK, context, hooks).segments(builder, loc, skipBlocks, state);
}
