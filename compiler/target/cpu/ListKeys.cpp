// Partial blocks: which keys one vector of queries attends. Groups of keys are asked
// about as intervals, all groups of the block in the lanes of one vector; what stays in
// doubt is masked pair by pair. Products then see the keys of the list only:
//
//   keys of the block   0  1  2  3 | 4  5  6  7 | 8  9 10 11 | ...
//   group               none       | some       | all        |
//   list                             5  7         8  9 10 11
//   bits of the lanes                .. ..        1s 1s 1s 1s
#include "compiler/target/cpu/KernelLowering.h"

#include "compiler/conversion/RunValues.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace mlir::attn;

// One bit per lane; at least a byte of memory.
IntegerType CpuLowering::bitsType(LaneBuilder &b) {
  return b.builder.getIntegerType(std::max<int64_t>(8, arch.width));
}

Value CpuLowering::listAddress(LaneBuilder &b, Value row) {
  int64_t bytes = (kernel.getBlockK() + kListUnit) * 4;
  return b.address(arenaAddress(b, reserveOnce("list", bytes)), b.i32(), row);
}

Value CpuLowering::bitsAddress(LaneBuilder &b, Value row) {
  int64_t bytes = (kernel.getBlockK() + kListUnit) * bitsType(b).getWidth() / 8;
  return b.address(arenaAddress(b, reserveOnce("bits", bytes)), bitsType(b), row);
}

Value CpuLowering::keyOfRow(LaneBuilder &b, const Body &body, Value row) {
  return body.full ? row : b.widen(b.load(b.i32(), listAddress(b, row)));
}

// A vector of i1 as an integer of as many bits, and back.
static Value toBits(LaneBuilder &b, Value lanes) {
  auto type = b.builder.getIntegerType(cast<VectorType>(lanes.getType()).getNumElements());
  return LLVM::BitcastOp::create(b.builder, b.loc, type, lanes);
}

Value CpuLowering::admittedLanes(LaneBuilder &b, Value row) {
  Value bits = b.load(bitsType(b), bitsAddress(b, row));
  Type exact = b.builder.getIntegerType(arch.width);
  if (exact != bits.getType())
    bits = arith::TruncIOp::create(b.builder, b.loc, exact, bits);
  return LLVM::BitcastOp::create(b.builder, b.loc, b.lanes(b.builder.getI1Type()), bits);
}

namespace {

/// Values that are kept from key to key while a list is made.
class MaskBits {
public:
  MaskBits(LaneBuilder &b, ScalarRegionInliner forQueries, Block &mask)
      : forQueries(forQueries), runs(mask, /*key=*/mask.getArgument(1),
                                     /*query=*/mask.getArgument(0)) {
    if (runs.empty())
      return;
    // Only emission tells which values have lanes.
    OpBuilder::InsertionGuard guard(b.builder);
    Block scratch;
    Value position = scratch.addArgument(b.i32(), b.loc);
    b.builder.setInsertionPointToEnd(&scratch);
    for (Value value : runs.emit(b.builder, b.loc, forQueries, position))
      types.push_back(value.getType());
  }

  /// Nothing is known yet: the first run ends before its first key.
  SmallVector<Value> start(LaneBuilder &b) {
    SmallVector<Value> state;
    for (Type type : types)
      state.push_back(arith::ConstantOp::create(b.builder, b.loc, b.builder.getZeroAttr(type)));
    return state;
  }

  /// The mask for the key at `position`, an i1 or one for each lane; updates `state`.
  Value at(LaneBuilder &b, Value position, SmallVector<Value> &state) {
    ScalarRegionInliner region = forQueries;
    if (!runs.empty()) {
      Value over =
          arith::CmpIOp::create(b.builder, b.loc, arith::CmpIPredicate::uge, position, state[0]);
      auto ifOp = scf::IfOp::create(
          b.builder, b.loc, over,
          [&](OpBuilder &builder, Location loc) {
            scf::YieldOp::create(builder, loc, runs.emit(builder, loc, forQueries, position));
          },
          [&](OpBuilder &builder, Location loc) { scf::YieldOp::create(builder, loc, state); });
      state.assign(ifOp.getResults().begin(), ifOp.getResults().end());
      for (auto [value, known] : llvm::zip_equal(runs.values(), ArrayRef(state).drop_front()))
        region.set(value, known);
    }
    return region.finish(b.builder, {Value(), position, Value(), Value()})[0];
  }

private:
  ScalarRegionInliner forQueries;
  RunValues runs;
  SmallVector<Type> types;
};

} // namespace

Value CpuLowering::listKeys(LaneBuilder &b, tile::ForKeysOp walk, const Body &body) {
  OpBuilder &builder = b.builder;
  Location loc = b.loc;
  auto add = [&](Value x, Value y) -> Value { return arith::AddIOp::create(builder, loc, x, y); };
  auto smaller = [&](Value x, Value y) -> Value {
    return arith::MinSIOp::create(builder, loc, x, y);
  };
  auto masks = walk.getPartial().getOps<tile::MaskOp>();
  int64_t step = 1;
  for (auto dot : walk.getPartial().getOps<tile::DotPVOp>())
    step = elementsPerStep(outputDot(dot));
  Value i32One = b.constI32(1), position = body.block.position;
  Value lastKey = arith::SubIOp::create(builder, loc, body.block.count, i32One);

  // Groups of kListUnit keys, one in each lane.
  int64_t groups = llvm::divideCeil(kernel.getBlockK(), kListUnit);
  int64_t lanes = std::max<int64_t>(8, llvm::PowerOf2Ceil(groups));
  auto vectorOf = [&](Value scalar) -> Value {
    return vector::BroadcastOp::create(builder, loc, VectorType::get(lanes, scalar.getType()),
                                       scalar);
  };
  auto count = [&](int64_t offset) -> Value {
    SmallVector<int32_t> numbers;
    for (int64_t i = 0; i < lanes; ++i)
      numbers.push_back(i * kListUnit + offset);
    return arith::ConstantOp::create(
        builder, loc, DenseElementsAttr::get(VectorType::get(lanes, b.i32()), ArrayRef(numbers)));
  };
  Value first = count(0), last = count(kListUnit - 1), most = vectorOf(lastKey);
  Value at = vectorOf(position);
  Value lane = firstLane(b, body);
  SmallVector<Value> asked;
  if (sortRows) {
    asked = boxOf(b, lane);
  } else {
    Value qLow = add(frame->item.qLow, b.narrow(lane));
    asked = {qLow, smaller(add(qLow, b.constI32(arch.width - 1)), frame->item.qHigh)};
  }
  asked.append(
      {add(at, smaller(first, most)), add(at, smaller(last, most)), frame->head, frame->batch});
  Block &classify = sortRows ? sortRows.getClassify().front() : walk.getClassify().front();
  SmallVector<Value> classes = inlineScalarRegion(builder, classify, asked, frame->scalars(arch));
  auto groupBits = [&](Value truth, Value lastOfGroup) -> Value {
    if (!isa<VectorType>(truth.getType()))
      truth = vectorOf(truth);
    Value exists =
        arith::CmpIOp::create(builder, loc, arith::CmpIPredicate::sle, lastOfGroup, most);
    Value bits = toBits(b, arith::AndIOp::create(builder, loc, truth, exists));
    return lanes == 64 ? bits
                       : Value(arith::ExtUIOp::create(builder, loc, builder.getI64Type(), bits));
  };
  Value some = groupBits(classes[0], first), all = groupBits(classes[1], last);
  auto bitOf = [&](Value bits, Value group) -> Value {
    Value shifted = arith::ShRUIOp::create(builder, loc, bits, group);
    return arith::TruncIOp::create(builder, loc, builder.getI1Type(), shifted);
  };

  // What depends on the queries alone stays outside of the loop over keys.
  std::optional<MaskBits> mask;
  if (!masks.empty()) {
    Block &region = (*masks.begin()).getBody().front();
    ScalarRegionInliner forQueries(region, frame->scalars(arch));
    forQueries.hoist(builder, {queryPositions(b, lane, 1)[0], Value(), frame->head, frame->batch});
    mask.emplace(b, forQueries, region);
  }
  Value none = arith::ConstantOp::create(builder, loc, builder.getZeroAttr(bitsType(b)));
  Value every = arith::ConstantOp::create(
      builder, loc,
      builder.getIntegerAttr(bitsType(b),
                             llvm::APInt::getLowBitsSet(bitsType(b).getWidth(), arch.width)));
  auto unit = [&](Type element) { return VectorType::get(kListUnit, element); };

  // Appends the key `index` of the block; with pairs, the second decides for both.
  auto append = [&](Value index, ValueRange state) {
    SmallVector<Value> kept(state.drop_front(2));
    Value listed = state[0], key = b.narrow(index), bits = every;
    if (mask) {
      Value truth = mask->at(b, add(position, key), kept);
      if (isa<VectorType>(truth.getType())) {
        bits = toBits(b, truth);
        if (bits.getType() != none.getType())
          bits = arith::ExtUIOp::create(builder, loc, none.getType(), bits);
      } else {
        bits = b.select(truth, every, none);
      }
    }
    bits = b.select(b.less(index, body.count), bits, none);
    Value odd = b.constI64(0), found = bits;
    if (step == 2) {
      odd = arith::AndIOp::create(builder, loc, index, b.constI64(1));
      found = arith::OrIOp::create(builder, loc, bits, state[1]);
    }
    b.store(smaller(key, lastKey), listAddress(b, b.add(listed, odd)));
    b.store(bits, bitsAddress(b, b.add(listed, odd)));
    Value attended = arith::CmpIOp::create(builder, loc, arith::CmpIPredicate::ne, found, none);
    Value taken = b.select(attended, b.constI64(step), b.constI64(0));
    if (step == 2)
      taken = b.mul(taken, odd);
    SmallVector<Value> next{b.add(listed, taken), step == 2 ? bits : none};
    next.append(kept);
    return next;
  };
  auto appendGroup = [&](Value group, ValueRange state) {
    Value index = b.mul(group, kListUnit);
    SmallVector<int32_t> numbers;
    for (int64_t i = 0; i < kListUnit; ++i)
      numbers.push_back(i);
    Value ascending = arith::ConstantOp::create(
        builder, loc, DenseElementsAttr::get(unit(b.i32()), ArrayRef(numbers)));
    Value base = vector::BroadcastOp::create(builder, loc, unit(b.i32()), b.narrow(index));
    b.store(add(base, ascending), listAddress(b, state[0]));
    b.store(vector::BroadcastOp::create(builder, loc, unit(bitsType(b)), every),
            bitsAddress(b, state[0]));
    SmallVector<Value> next(state);
    next[0] = b.add(state[0], kListUnit);
    return next;
  };
  auto branch = [&](Value condition, function_ref<SmallVector<Value>()> then,
                    function_ref<SmallVector<Value>()> otherwise) {
    auto ifOp = scf::IfOp::create(
        builder, loc, condition,
        [&](OpBuilder &, Location) { scf::YieldOp::create(builder, loc, then()); },
        [&](OpBuilder &, Location) { scf::YieldOp::create(builder, loc, otherwise()); });
    return SmallVector<Value>(ifOp.getResults());
  };
  SmallVector<Value> state{b.constI64(0), none};
  if (mask)
    state.append(mask->start(b));
  state = b.loop(b.constI64(0), b.constI64(groups), 1, state, [&](Value group, ValueRange state) {
    SmallVector<Value> unchanged(state);
    return branch(
        bitOf(some, group),
        [&] {
          return branch(
              bitOf(all, group), [&] { return appendGroup(group, state); },
              [&] {
                Value begin = b.mul(group, kListUnit);
                return b.loop(begin, b.add(begin, kListUnit), 1, unchanged, append);
              });
        },
        [&] { return unchanged; });
  });

  // The last key is repeated, without lanes, for products of whole units.
  Value listed = state[0];
  Value final =
      b.select(b.less(b.constI64(0), listed), b.sub(listed, b.constI64(step)), b.constI64(0));
  Value again = b.load(b.i32(), listAddress(b, final));
  b.store(vector::BroadcastOp::create(builder, loc, unit(b.i32()), again), listAddress(b, listed));
  b.store(arith::ConstantOp::create(builder, loc, builder.getZeroAttr(unit(bitsType(b)))),
          bitsAddress(b, listed));
  return b.roundUp(listed, 2);
}
