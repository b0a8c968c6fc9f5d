// Emits segments > runs of blocks > blocks, asking the classify region at the
// last two levels, and about the parts of blocks that stay in doubt. What is said
// of one block by scalars is said of all blocks of a run by vectors.
#include "compiler/conversion/KeyWalk.h"

#include "runtime/bundle/kernel_abi.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace mlir::attn;

namespace {

class WalkBuilder {
public:
  WalkBuilder(const KeyClasses &classes, const WalkItem &item, int64_t blockK,
              const ScalarContext &context, const KeyWalkHooks &hooks)
      : classes(classes), item(item), blockK(blockK), context(context), hooks(hooks),
        forItem(classes.classify, context) {}

  SmallVector<Value> segments(OpBuilder &b, Location loc, int64_t skipBlocks, ValueRange state) {
    // What depends on the work item alone stays outside of the loops.
    if (!hooks.registersAreDear && !differsByHead())
      hoistQueries(b, forItem, {item.qLow, item.qHigh});
    if (cuts())
      queryParts = partsOf(b, loc, *classes.queryCuts, {item.qLow, item.qHigh});
    Value count = word(b, loc, ATTN_W_SEGMENTS);
    Value base = arith::AddIOp::create(
        b, loc, word(b, loc, ATTN_W_SEGMENT_BASE),
        arith::MulIOp::create(b, loc, item.batch, word(b, loc, ATTN_W_SEGMENT_STRIDE)));
    SmallVector<Value> carried(state);
    if (item.keyBegin) // the number of keys in the segments so far comes last
      carried.push_back(constant(b, loc, 0));
    carried = loop(b, loc, constant(b, loc, 0), count, 1, carried,
                   [&](OpBuilder &b, Value segment, ValueRange carried) {
                     return segmentOf(b, loc, segment, base, skipBlocks, carried);
                   });
    if (item.keyBegin)
      carried.pop_back();
    return carried;
  }

private:
  struct Segment {
    Value index, slot, length, position;
  };

  SmallVector<Value> segmentOf(OpBuilder &b, Location loc, Value index, Value base,
                               int64_t skipBlocks, ValueRange state) {
    Value record = arith::AddIOp::create(
        b, loc, base, arith::MulIOp::create(b, loc, index, constant(b, loc, ATTN_SEG_WORDS)));
    Segment s{index, field(b, loc, record, ATTN_SEG_FIRST_SLOT),
              field(b, loc, record, ATTN_SEG_LENGTH),
              field(b, loc, record, ATTN_SEG_FIRST_POSITION)};
    Value begin = constant(b, loc, 0), end = s.length, before;
    if (item.keyBegin) {
      before = state.back();
      state = state.drop_back();
      auto within = [&](Value key) -> Value {
        Value at = arith::SubIOp::create(b, loc, key, before);
        at = arith::MaxSIOp::create(b, loc, at, constant(b, loc, 0));
        return arith::MinSIOp::create(b, loc, at, s.length);
      };
      begin = within(item.keyBegin);
      end = within(item.keyEnd);
    }
    SmallVector<Value> next = skipBlocks > 1
                                  ? runs(b, loc, s, begin, end, blockK * skipBlocks, state)
                                  : blocks(b, loc, s, begin, end, Value(), state);
    if (item.keyBegin)
      next.push_back(arith::AddIOp::create(b, loc, before, s.length));
    return next;
  }

  // Walks runs of `run` keys, each skipped whole when nothing in it is admitted.
  SmallVector<Value> runs(OpBuilder &b, Location loc, const Segment &s, Value first, Value last,
                          int64_t run, ValueRange state) {
    return loop(b, loc, first, last, run, state, [&](OpBuilder &b, Value begin, ValueRange state) {
      Value end = clampedEnd(b, loc, begin, run, last);
      if (hooks.blocksAtOnce)
        return blocksAtOnce(b, loc, s, begin, end, run / blockK, state);
      // Where everything is admitted, blocks are not asked about again.
      auto [any, all] = classify(b, loc, keyRange(b, loc, s, begin, end));
      Value known = hooks.registersAreDear ? Value() : all;
      return branch(
          b, loc, any, state,
          [&](OpBuilder &b) { return blocks(b, loc, s, begin, end, known, state); },
          [&](OpBuilder &) { return SmallVector<Value>(state); });
    });
  }

  // `known`: whether every pair is admitted, unless null.
  SmallVector<Value> blocks(OpBuilder &b, Location loc, const Segment &s, Value begin, Value end,
                            Value known, ValueRange state) {
    return loop(b, loc, begin, end, blockK, state, [&](OpBuilder &b, Value first, ValueRange state) {
      Positions keys = keyRange(b, loc, s, first, clampedEnd(b, loc, first, blockK, end));
      auto [any, all] = known ? unlessKnown(b, loc, keys, known) : classifyBlocks(b, loc, keys);
      return branch(
          b, loc, any, state, [&](OpBuilder &b) { return visit(b, loc, s, first, end, all, state); },
          [&](OpBuilder &) { return SmallVector<Value>(state); });
    });
  }

  // The same, with a lane for each of `count` blocks, of which some may lie behind the end.
  SmallVector<Value> blocksAtOnce(OpBuilder &b, Location loc, const Segment &s, Value begin,
                                  Value end, int64_t count, ValueRange state) {
    SmallVector<int32_t> offsets;
    for (int64_t i = 0; i < count; ++i)
      offsets.push_back(i * blockK);
    Value one = constant(b, loc, 1);
    Value places = arith::ConstantOp::create(b, loc, b.getI32VectorAttr(offsets));
    auto lanes = [&](Value scalar) { return like(b, loc, scalar, places); };
    Value first = arith::AddIOp::create(b, loc, lanes(begin), places);
    Value inside = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::slt, first, lanes(end));
    first = arith::MinSIOp::create(b, loc, first, lanes(arith::SubIOp::create(b, loc, end, one)));
    Positions keys = keyRange(b, loc, s, first, clampedEnd(b, loc, first, blockK, end));
    auto [any, all] = classifyBlocks(b, loc, keys);
    any = arith::AndIOp::create(b, loc, inside, like(b, loc, any, inside));
    Value anyBits = laneBits(b, loc, any), allBits = laneBits(b, loc, like(b, loc, all, inside));
    SmallVector<Value> carried(state);
    carried.push_back(anyBits);
    Value visits = math::CtPopOp::create(b, loc, anyBits);
    carried = loop(
        b, loc, constant(b, loc, 0), visits, 1, carried,
        [&](OpBuilder &b, Value, ValueRange carried) {
          Value left = carried.back();
          Value lane = math::CountTrailingZerosOp::create(b, loc, left);
          Value offset = arith::MulIOp::create(b, loc, lane, constant(b, loc, blockK));
          Value all = arith::TruncIOp::create(b, loc, b.getI1Type(),
                                              arith::ShRUIOp::create(b, loc, allBits, lane));
          SmallVector<Value> next =
              visit(b, loc, s, arith::AddIOp::create(b, loc, begin, offset), end, all,
                    carried.drop_back());
          Value others = arith::SubIOp::create(b, loc, left, one);
          next.push_back(arith::AndIOp::create(b, loc, left, others));
          return next;
        });
    carried.pop_back();
    return carried;
  }

  // The body of the block of keys that begins at `first`.
  SmallVector<Value> visit(OpBuilder &b, Location loc, const Segment &s, Value first, Value end,
                           Value all, ValueRange state) {
    Value last = clampedEnd(b, loc, first, blockK, end);
    KeyBlock block{arith::AddIOp::create(b, loc, s.slot, first),
                   arith::AddIOp::create(b, loc, s.position, first),
                   arith::SubIOp::create(b, loc, last, first), s.index, first};
    Value whole = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::eq, block.count,
                                        constant(b, loc, blockK));
    Value full = arith::AndIOp::create(b, loc, all, whole);
    if (hooks.sharedBody)
      return hooks.sharedBody(b, loc, full, block, state);
    return branch(
        b, loc, full, state,
        [&](OpBuilder &b) { return hooks.body(b, loc, /*full=*/true, block, state); },
        [&](OpBuilder &b) { return hooks.body(b, loc, /*full=*/false, block, state); });
  }

  // Heads that the classes differ by are asked about one by one.
  bool differsByHead() const {
    return item.headEnd && !classes.classify.getArgument(tile::ForKeysOp::Head).use_empty();
  }
  bool cuts() const { return classes.keyCuts && !hooks.registersAreDear && !differsByHead(); }

  struct Positions {
    Value low, high; // scalars, or a lane for each of several ranges
  };

  // (any, all) for ranges of keys.
  std::pair<Value, Value> classify(OpBuilder &b, Location loc, Positions keys) {
    if (differsByHead())
      return classifyHeads(b, loc, keys);
    ScalarRegionInliner asked = forItem;
    if (hooks.registersAreDear)
      hoistQueries(b, asked, {item.qLow, item.qHigh});
    return classify(b, asked, keys);
  }

  std::pair<Value, Value> classifyHeads(OpBuilder &b, Location loc, Positions k) {
    Value no = like(b, loc, truth(b, loc, false), k.low);
    Value yes = like(b, loc, truth(b, loc, true), k.low);
    SmallVector<Value> answer =
        loop(b, loc, item.head, item.headEnd, 1, {no, yes},
             [&](OpBuilder &b, Value head, ValueRange state) -> SmallVector<Value> {
               SmallVector<Value> one = inlineScalarRegion(
                   b, classes.classify, {item.qLow, item.qHigh, k.low, k.high, head, item.batch},
                   context);
               return {arith::OrIOp::create(b, loc, state[0], like(b, loc, one[0], k.low)),
                       arith::AndIOp::create(b, loc, state[1], like(b, loc, one[1], k.low))};
             });
    return {answer[0], answer[1]};
  }
  void hoistQueries(OpBuilder &b, ScalarRegionInliner &region, Positions q) {
    region.hoist(b, {q.low, q.high, Value(), Value(), item.head, item.batch});
  }
  // For the queries that `queries` has been hoisted for.
  static std::pair<Value, Value> classify(OpBuilder &b, ScalarRegionInliner queries, Positions k) {
    SmallVector<Value> answer =
        queries.finish(b, {Value(), Value(), k.low, k.high, Value(), Value()});
    return {answer[0], answer[1]};
  }

  std::pair<Value, Value> classifyBlocks(OpBuilder &b, Location loc, Positions keys) {
    auto [any, all] = classify(b, loc, keys);
    return cuts() ? classifyParts(b, loc, keys, any, all) : std::pair(any, all);
  }

  std::pair<Value, Value> unlessKnown(OpBuilder &b, Location loc, Positions keys, Value known) {
    SmallVector<Value> answer = branch(
        b, loc, known, {known, known},
        [&](OpBuilder &) { return SmallVector<Value>{known, known}; },
        [&](OpBuilder &b) {
          auto [any, all] = classifyBlocks(b, loc, keys);
          return SmallVector<Value>{any, all};
        });
    return {answer[0], answer[1]};
  }

  Positions keyRange(OpBuilder &b, Location loc, const Segment &s, Value begin, Value end) {
    Value position = like(b, loc, s.position, begin);
    Value low = arith::AddIOp::create(b, loc, position, begin);
    Value high = arith::SubIOp::create(b, loc, arith::AddIOp::create(b, loc, position, end),
                                       like(b, loc, constant(b, loc, 1), begin));
    return {low, high};
  }

  // Begins of the parts of [low, high], and one past its end.
  SmallVector<Value> partsOf(OpBuilder &b, Location loc, Block &cuts, Positions range) {
    SmallVector<Value> parts{range.low};
    for (Value cut : inlineScalarRegion(b, cuts, {range.low, range.high}, context))
      parts.push_back(like(b, loc, cut, range.low));
    parts.push_back(arith::AddIOp::create(b, loc, range.high,
                                          like(b, loc, constant(b, loc, 1), range.high)));
    return parts;
  }

  // Blocks that the whole ranges leave in doubt are asked about part by part, until
  // the answer for each is "some".
  std::pair<Value, Value> classifyParts(OpBuilder &b, Location loc, Positions keys, Value any,
                                        Value all) {
    any = like(b, loc, any, keys.low);
    all = like(b, loc, all, keys.low);
    Value doubt = arith::AndIOp::create(b, loc, any, isNot(b, loc, all));
    SmallVector<Value> answer = branch(
        b, loc, isAnywhere(b, loc, doubt), {any, all},
        [&](OpBuilder &b) {
          SmallVector<Value> keyParts = partsOf(b, loc, *classes.keyCuts, keys);
          SmallVector<Value> parts = forParts(
              b, loc, queryParts, {isNot(b, loc, doubt), doubt},
              [&](OpBuilder &b, Positions q, Value, ValueRange state) {
                ScalarRegionInliner part(classes.classify, context);
                hoistQueries(b, part, q);
                return forParts(
                    b, loc, keyParts, state,
                    [&](OpBuilder &b, Positions k, Value asked, ValueRange state) {
                      auto [some, every] = classify(b, part, k);
                      some = arith::AndIOp::create(b, loc, asked, like(b, loc, some, asked));
                      every = arith::OrIOp::create(b, loc, isNot(b, loc, asked),
                                                   like(b, loc, every, asked));
                      return SmallVector<Value>{arith::OrIOp::create(b, loc, state[0], some),
                                                arith::AndIOp::create(b, loc, state[1], every)};
                    });
              });
          return SmallVector<Value>{arith::AndIOp::create(b, loc, any, parts[0]),
                                    arith::OrIOp::create(b, loc, all, parts[1])};
        },
        [&](OpBuilder &) { return SmallVector<Value>{any, all}; });
    return {answer[0], answer[1]};
  }

  // Visits the parts that are not empty where `state`, (any, all), is in doubt: `asked`.
  SmallVector<Value>
  forParts(OpBuilder &b, Location loc, ArrayRef<Value> parts, ValueRange state,
           function_ref<SmallVector<Value>(OpBuilder &, Positions, Value asked, ValueRange)> body) {
    auto visit = [&](OpBuilder &b, Value begin, Value end, ValueRange state) {
      Value open = arith::OrIOp::create(b, loc, state[1], isNot(b, loc, state[0]));
      Value asked = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::slt, begin, end);
      if (isa<VectorType>(asked.getType()))
        asked = arith::AndIOp::create(b, loc, asked, open);
      else
        asked = arith::AndIOp::create(b, loc, asked, isAnywhere(b, loc, open));
      // Where it is empty for one block, any position may stand for it.
      Value high = arith::SubIOp::create(b, loc, end, like(b, loc, constant(b, loc, 1), end));
      if (isa<VectorType>(begin.getType()))
        high = arith::MaxSIOp::create(b, loc, begin, high);
      return branch(
          b, loc, isAnywhere(b, loc, asked), state,
          [&](OpBuilder &b) { return body(b, {begin, high}, asked, state); },
          [&](OpBuilder &) { return SmallVector<Value>(state); });
    };
    if (parts.size() == 2)
      return visit(b, parts[0], parts[1], state);
    // The parts that are to come are carried along.
    SmallVector<Value> carried(state);
    llvm::append_range(carried, parts);
    carried = loop(b, loc, constant(b, loc, 1), constant(b, loc, parts.size()), 1, carried,
                   [&](OpBuilder &b, Value, ValueRange carried) {
                     ValueRange left = carried.drop_front(2);
                     SmallVector<Value> next = visit(b, left[0], left[1], carried.take_front(2));
                     llvm::append_range(next, left.drop_front());
                     next.push_back(left.back());
                     return next;
                   });
    carried.truncate(2);
    return carried;
  }

  Value clampedEnd(OpBuilder &b, Location loc, Value begin, int64_t size, Value limit) {
    Value end = arith::AddIOp::create(b, loc, begin, like(b, loc, constant(b, loc, size), begin));
    return arith::MinSIOp::create(b, loc, end, like(b, loc, limit, begin));
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
  static Value truth(OpBuilder &b, Location loc, bool value) {
    return arith::ConstantIntOp::create(b, loc, value, 1);
  }

  // `value` in as many lanes as `model` has.
  static Value like(OpBuilder &b, Location loc, Value value, Value model) {
    auto vector = dyn_cast<VectorType>(model.getType());
    return vector && !isa<VectorType>(value.getType())
               ? vector::BroadcastOp::create(b, loc, vector.clone(value.getType()), value)
               : value;
  }
  static Value isNot(OpBuilder &b, Location loc, Value value) {
    return arith::XOrIOp::create(b, loc, value, like(b, loc, truth(b, loc, true), value));
  }
  // Bit i of the i32 result is lane i.
  static Value laneBits(OpBuilder &b, Location loc, Value lanes) {
    int64_t count = cast<VectorType>(lanes.getType()).getNumElements();
    auto packed = VectorType::get(1, b.getIntegerType(count));
    Value bits = vector::ExtractOp::create(
        b, loc, vector::BitCastOp::create(b, loc, packed, lanes), int64_t(0));
    return arith::ExtUIOp::create(b, loc, b.getI32Type(), bits);
  }
  static Value isAnywhere(OpBuilder &b, Location loc, Value lanes) {
    if (!isa<VectorType>(lanes.getType()))
      return lanes;
    return arith::CmpIOp::create(b, loc, arith::CmpIPredicate::ne, laneBits(b, loc, lanes),
                                 constant(b, loc, 0));
  }

  Value word(OpBuilder &b, Location loc, int64_t index) {
    return hooks.loadWord(b, loc, constant(b, loc, index));
  }
  Value field(OpBuilder &b, Location loc, Value record, int64_t offset) {
    return hooks.loadWord(b, loc, arith::AddIOp::create(b, loc, record, constant(b, loc, offset)));
  }

  const KeyClasses classes;
  const WalkItem &item;
  int64_t blockK;
  const ScalarContext &context;
  const KeyWalkHooks &hooks;
  ScalarRegionInliner forItem; // the classify region for all of the item's queries
  SmallVector<Value> queryParts;
};

} // namespace

SmallVector<Value> mlir::attn::buildKeyWalk(OpBuilder &builder, Location loc,
                                            const KeyClasses &classes, const WalkItem &item, int64_t blockK,
                                            int64_t skipBlocks, ValueRange state,
                                            const ScalarContext &context,
                                            const KeyWalkHooks &hooks) {
  return WalkBuilder(classes, item, blockK, context, hooks).segments(builder, loc, skipBlocks, state);
}
