// Emits segments > runs of blocks > blocks, asking the classify region at the
// last two levels, and about the parts of blocks that stay in doubt.
#include "compiler/conversion/KeyWalk.h"

#include "runtime/bundle/kernel_abi.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

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
      queryParts = partsOf(b, loc, *classes.queryCuts, item.qLow, item.qHigh);
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

  // Walks runs of `run` keys, each skipped whole when nothing in it is admitted,
  // and not asked about again when everything is.
  SmallVector<Value> runs(OpBuilder &b, Location loc, const Segment &s, Value first, Value last,
                          int64_t run, ValueRange state) {
    return loop(b, loc, first, last, run, state,
                [&](OpBuilder &b, Value begin, ValueRange state) {
                  Value end = clampedEnd(b, loc, begin, run, last);
                  auto [any, all] = classify(b, loc, s, begin, end);
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
      Value last = clampedEnd(b, loc, first, blockK, end);
      KeyBlock block{arith::AddIOp::create(b, loc, s.slot, first),
                     arith::AddIOp::create(b, loc, s.position, first),
                     arith::SubIOp::create(b, loc, last, first), s.index, first};
      auto [any, all] = known ? unlessKnown(b, loc, s, first, last, known)
                              : classifyBlock(b, loc, s, first, last);
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

  // Heads that the classes differ by are asked about one by one.
  bool differsByHead() const {
    return item.headEnd && !classes.classify.getArgument(tile::ForKeysOp::Head).use_empty();
  }
  bool cuts() const { return classes.keyCuts && !hooks.registersAreDear && !differsByHead(); }

  // (any, all) for the keys [begin, end) of a segment.
  std::pair<Value, Value> classify(OpBuilder &b, Location loc, const Segment &s, Value begin,
                                   Value end) {
    if (differsByHead())
      return classifyHeads(b, loc, keyRange(b, loc, s, begin, end));
    ScalarRegionInliner asked = forItem;
    if (hooks.registersAreDear)
      hoistQueries(b, asked, {item.qLow, item.qHigh});
    return classify(b, asked, keyRange(b, loc, s, begin, end));
  }

  struct Positions {
    Value low, high;
  };
  std::pair<Value, Value> classifyHeads(OpBuilder &b, Location loc, Positions k) {
    Value no = arith::ConstantIntOp::create(b, loc, 0, 1);
    Value yes = arith::ConstantIntOp::create(b, loc, 1, 1);
    SmallVector<Value> answer =
        loop(b, loc, item.head, item.headEnd, 1, {no, yes},
             [&](OpBuilder &b, Value head, ValueRange state) -> SmallVector<Value> {
               SmallVector<Value> one = inlineScalarRegion(
                   b, classes.classify, {item.qLow, item.qHigh, k.low, k.high, head, item.batch},
                   context);
               return {arith::OrIOp::create(b, loc, state[0], one[0]),
                       arith::AndIOp::create(b, loc, state[1], one[1])};
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

  std::pair<Value, Value> classifyBlock(OpBuilder &b, Location loc, const Segment &s, Value begin,
                                        Value end) {
    auto [any, all] = classify(b, loc, s, begin, end);
    return cuts() ? classifyParts(b, loc, s, begin, end, any, all) : std::pair(any, all);
  }

  std::pair<Value, Value> unlessKnown(OpBuilder &b, Location loc, const Segment &s, Value begin,
                                      Value end, Value known) {
    SmallVector<Value> answer = branch(
        b, loc, known, {known, known},
        [&](OpBuilder &) { return SmallVector<Value>{known, known}; },
        [&](OpBuilder &b) {
          auto [any, all] = classifyBlock(b, loc, s, begin, end);
          return SmallVector<Value>{any, all};
        });
    return {answer[0], answer[1]};
  }

  Positions keyRange(OpBuilder &b, Location loc, const Segment &s, Value begin, Value end) {
    Value low = arith::AddIOp::create(b, loc, s.position, begin);
    Value high = arith::SubIOp::create(b, loc, arith::AddIOp::create(b, loc, s.position, end),
                                       constant(b, loc, 1));
    return {low, high};
  }

  // Begins of the parts of [low, high], and one past its end.
  SmallVector<Value> partsOf(OpBuilder &b, Location loc, Block &cuts, Value low, Value high) {
    SmallVector<Value> parts{low};
    llvm::append_range(parts, inlineScalarRegion(b, cuts, {low, high}, context));
    parts.push_back(arith::AddIOp::create(b, loc, high, constant(b, loc, 1)));
    return parts;
  }

  // A block that the whole ranges leave in doubt is asked about part by part,
  // until the answer is "some".
  std::pair<Value, Value> classifyParts(OpBuilder &b, Location loc, const Segment &s, Value begin,
                                        Value end, Value any, Value all) {
    Positions keys = keyRange(b, loc, s, begin, end);
    Value no = arith::ConstantIntOp::create(b, loc, 0, 1);
    Value yes = arith::ConstantIntOp::create(b, loc, 1, 1);
    Value doubt = arith::AndIOp::create(b, loc, any, arith::XOrIOp::create(b, loc, all, yes));
    SmallVector<Value> answer = branch(
        b, loc, doubt, {any, all},
        [&](OpBuilder &b) {
          SmallVector<Value> keyParts = partsOf(b, loc, *classes.keyCuts, keys.low, keys.high);
          return forParts(b, loc, queryParts, {no, yes}, [&](OpBuilder &b, Positions q,
                                                             ValueRange state) {
            ScalarRegionInliner part(classes.classify, context);
            hoistQueries(b, part, q);
            return forParts(b, loc, keyParts, state, [&](OpBuilder &b, Positions k,
                                                         ValueRange state) {
              auto [some, every] = classify(b, part, k);
              return SmallVector<Value>{arith::OrIOp::create(b, loc, state[0], some),
                                        arith::AndIOp::create(b, loc, state[1], every)};
            });
          });
        },
        [&](OpBuilder &) { return SmallVector<Value>{any, all}; });
    return {answer[0], answer[1]};
  }

  // Visits the parts that are not empty while `state`, (any, all), is in doubt.
  SmallVector<Value>
  forParts(OpBuilder &b, Location loc, ArrayRef<Value> parts, ValueRange state,
           function_ref<SmallVector<Value>(OpBuilder &, Positions, ValueRange)> body) {
    Value one = constant(b, loc, 1);
    auto visit = [&](OpBuilder &b, Value begin, Value end, ValueRange state) {
      Value high = arith::SubIOp::create(b, loc, end, one);
      Value some = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::slt, begin, end);
      Value open = arith::OrIOp::create(
          b, loc, state[1],
          arith::XOrIOp::create(b, loc, state[0], arith::ConstantIntOp::create(b, loc, 1, 1)));
      return branch(
          b, loc, arith::AndIOp::create(b, loc, some, open), state,
          [&](OpBuilder &b) { return body(b, {begin, high}, state); },
          [&](OpBuilder &) { return SmallVector<Value>(state); });
    };
    if (parts.size() == 2)
      return visit(b, parts[0], parts[1], state);
    return loop(b, loc, constant(b, loc, 0), constant(b, loc, parts.size() - 1), 1, state,
                [&](OpBuilder &b, Value index, ValueRange state) {
                  Value begin = parts[0], end = parts[1];
                  for (size_t i = 1; i + 1 < parts.size(); ++i) {
                    Value at = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::eq, index,
                                                     constant(b, loc, i));
                    begin = arith::SelectOp::create(b, loc, at, parts[i], begin);
                    end = arith::SelectOp::create(b, loc, at, parts[i + 1], end);
                  }
                  return visit(b, begin, end, state);
                });
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
