// The order of a work item's query rows: lanes of a vector take rows whose traits are
// close, so that they attend few keys together. Rows lie in memory as before; which row a
// lane has is read from a list. A tile of three rows of a picture, as strips of three:
//
//   rows in memory   0  1  2  3  4  5  6  7        lanes   0 3 6 9 ..
//                    8  9 10 11 12 13 14 15                1 4 7 ..
//                   16 17 18 19 20 21 22 23                2 5 8 ..
//
// A key is made of each row's traits, and a row's lane is the number of smaller keys.
#include "compiler/target/cpu/KernelLowering.h"

#include "compiler/conversion/RowTraits.h"
#include "compiler/conversion/ScalarRegion.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace mlir::attn;

// A key from its lowest bit: the row itself, the place within a strip, the fastest trait,
// the strip, the slowest trait. Traits that need more bits than they have are cut off:
// any order is right.
static constexpr int kRowBits = 10, kPlaceBits = 2, kFastBits = 10, kStripBits = 4, kSlowBits = 5;

namespace {

// Integer arithmetic on lanes.
struct Lanes {
  LaneBuilder &b;
  Value add(Value x, Value y) { return arith::AddIOp::create(b.builder, b.loc, x, y); }
  Value sub(Value x, Value y) { return arith::SubIOp::create(b.builder, b.loc, x, y); }
  Value mul(Value x, Value y) { return arith::MulIOp::create(b.builder, b.loc, x, y); }
  Value min(Value x, Value y) { return arith::MinSIOp::create(b.builder, b.loc, x, y); }
  Value max(Value x, Value y) { return arith::MaxSIOp::create(b.builder, b.loc, x, y); }
  Value divide(Value x, Value y) { return arith::DivUIOp::create(b.builder, b.loc, x, y); }
  Value shiftRight(Value x, int bits) {
    return arith::ShRUIOp::create(b.builder, b.loc, x, b.splatI32(bits));
  }
  Value append(Value key, Value x, int bits) {
    x = min(x, b.splatI32((1 << bits) - 1));
    key = arith::ShLIOp::create(b.builder, b.loc, key, b.splatI32(bits));
    return arith::OrIOp::create(b.builder, b.loc, key, x);
  }
  Value reduce(vector::CombiningKind kind, Value x) {
    return vector::ReductionOp::create(b.builder, b.loc, kind, x);
  }
  Value least(Value x) { return reduce(vector::CombiningKind::MINSI, x); }
  Value greatest(Value x) { return reduce(vector::CombiningKind::MAXSI, x); }
};

} // namespace

Value CpuLowering::laneNumbers(LaneBuilder &b) {
  SmallVector<int32_t> numbers;
  for (int64_t i = 0; i < arch.width; ++i)
    numbers.push_back(i);
  return arith::ConstantOp::create(b.builder, b.loc,
                                   DenseElementsAttr::get(b.lanes(b.i32()), ArrayRef(numbers)));
}

Value CpuLowering::rowAddress(LaneBuilder &b, Value lane) {
  return b.address(arenaAddress(b, rowsOffset), b.i32(), lane);
}

// Lanes behind the last row have its address, but no row.
Value CpuLowering::rowOfLane(LaneBuilder &b, Value lane) {
  if (!sortRows)
    return b.min(lane, b.add(b.widen(frame->qCount), -1));
  return b.widen(b.load(b.i32(), rowAddress(b, lane)));
}

SmallVector<Value> CpuLowering::boxOf(LaneBuilder &b, Value firstLane) {
  int64_t numbers = 2 * sortRows.getTraitCount();
  Value vector = arith::DivUIOp::create(b.builder, b.loc, firstLane, b.constI64(arch.width));
  Value at = b.address(arenaAddress(b, boxesOffset), b.i32(), b.mul(vector, numbers));
  SmallVector<Value> box;
  for (int64_t i = 0; i < numbers; ++i)
    box.push_back(b.load(b.i32(), b.address(at, b.i32(), i)));
  return box;
}

LogicalResult CpuLowering::lowerSortRows(LaneBuilder &b, tile::SortRowsOp op) {
  const int64_t width = arch.width, blockQ = kernel.getBlockQ(), traitCount = op.getTraitCount();
  if (!tiles.empty() || sortRows)
    return unsupported(*op, "rows have been loaded in another order");
  static_assert(kMaxSortedRows == 1 << kRowBits);
  if (blockQ > kMaxSortedRows)
    return unsupported(*op, "a tile has more than " + Twine(kMaxSortedRows) + " rows");
  ArrayRef<int64_t> axes = op.getAxes();
  const unsigned fast = axes.size() - 1, strip = fast - 1;
  const bool hasSlow = strip > 0;
  rowsOffset = reserve(blockQ * 4);
  boxesOffset = reserve(blockQ / width * 2 * traitCount * 4);
  const int64_t keysOffset = reserve(blockQ * 4), ranksOffset = reserve(blockQ * 4);
  SmallVector<int64_t> planes;
  for (unsigned i = 0; i < axes.size(); ++i)
    planes.push_back(reserve(blockQ * 4));
  Lanes v{b};
  Type vectorType = b.lanes(b.i32());
  auto at = [&](int64_t offset, Value lane) {
    return b.address(arenaAddress(b, offset), b.i32(), lane);
  };
  auto traitsOf = [&](Value rows) {
    Value positions = v.add(b.splat(frame->item.qLow), rows);
    SmallVector<Value> traits =
        inlineScalarRegion(b.builder, op.getTraits().front(),
                           {positions, frame->head, frame->batch}, frame->scalars(arch));
    for (Value &trait : traits)
      if (!isa<VectorType>(trait.getType()))
        trait = b.splat(trait);
    return traits;
  };
  Value numbers = laneNumbers(b), zero = b.constI64(0);
  Value lanes = b.mul(subTiles, laneCount()); // of the item
  Value lastRow = b.splat(arith::SubIOp::create(b.builder, b.loc, frame->qCount, b.constI32(1)));
  auto rowsAt = [&](Value lane) { return v.add(b.splat(b.narrow(lane)), numbers); };

  // The traits in the order of memory, the least of each, and the strips' greatest.
  SmallVector<Value> bounds(axes.size(), b.splatI32(INT32_MAX));
  bounds.push_back(b.splatI32(INT32_MIN));
  bounds = b.loop(zero, lanes, width, bounds, [&](Value lane, ValueRange state) {
    SmallVector<Value> next, traits = traitsOf(v.min(rowsAt(lane), lastRow));
    for (auto [i, axis] : llvm::enumerate(axes)) {
      b.store(traits[axis], at(planes[i], lane), width * 4);
      next.push_back(v.min(state[i], traits[axis]));
    }
    next.push_back(v.max(state.back(), traits[axes[strip]]));
    return next;
  });
  // Strips of equal size, of at most as many places as make a patch square. A quotient
  // by their size is a product: places are few.
  SmallVector<Value> least;
  for (Value bound : ArrayRef(bounds).drop_back())
    least.push_back(v.least(bound));
  int64_t side = 1;
  while (side * side < width && side < 1 << kPlaceBits)
    ++side;
  auto i32 = [&](int64_t x) { return b.constI32(x); };
  const int64_t mostPlaces = 255;
  Value places = v.add(v.sub(v.greatest(bounds.back()), least[strip]), i32(1));
  places = v.max(v.min(places, i32(mostPlaces)), i32(1));
  Value strips = v.divide(v.add(places, i32(side - 1)), i32(side));
  Value size = v.divide(v.sub(v.add(places, strips), i32(1)), strips);
  Value factor = b.splat(v.divide(v.add(i32(0xffff), size), size)); // 2^16 / size, rounded up
  Value sizes = b.splat(size);
  b.loop(zero, lanes, width, [&](Value lane) {
    auto trait = [&](unsigned i) {
      return v.sub(b.load(vectorType, at(planes[i], lane), width * 4), b.splat(least[i]));
    };
    Value place = v.max(v.min(trait(strip), b.splatI32(mostPlaces)), b.splatI32(0));
    Value number = v.shiftRight(v.mul(place, factor), 16);
    Value key = hasSlow ? v.max(v.min(trait(0), b.splatI32((1 << kSlowBits) - 1)), b.splatI32(0))
                        : b.splatI32(0);
    key = v.append(key, number, kStripBits);
    key = v.append(key, v.max(trait(fast), b.splatI32(0)), kFastBits);
    key = v.append(key, v.sub(place, v.mul(number, sizes)), kPlaceBits);
    Value row = rowsAt(lane);
    Value absent = arith::CmpIOp::create(b.builder, b.loc, arith::CmpIPredicate::sgt, row, lastRow);
    key = b.select(absent, b.splatI32(INT32_MAX >> kRowBits), key);
    b.store(v.append(key, row, kRowBits), at(keysOffset, lane), width * 4);
  });

  b.loop(zero, lanes, laneCount(), [&](Value lane) {
    SmallVector<Value> keys, ranks(schedule.vectors, b.splatI32(0));
    for (int64_t j = 0; j < schedule.vectors; ++j)
      keys.push_back(b.load(vectorType, at(keysOffset, b.add(lane, j * width)), width * 4));
    ranks = b.loop(zero, lanes, 1, ranks, [&](Value other, ValueRange state) {
      Value key = b.splat(b.load(b.i32(), at(keysOffset, other)));
      SmallVector<Value> next;
      for (auto [mine, rank] : llvm::zip_equal(keys, state)) {
        Value smaller =
            arith::CmpIOp::create(b.builder, b.loc, arith::CmpIPredicate::slt, key, mine);
        next.push_back(b.select(smaller, v.add(rank, b.splatI32(1)), rank));
      }
      return next;
    });
    for (auto [j, rank] : llvm::enumerate(ranks))
      b.store(rank, at(ranksOffset, b.add(lane, int64_t(j) * width)), width * 4);
  });
  Value last = b.add(b.widen(frame->qCount), -1);
  b.loop(zero, lanes, 1, [&](Value row) {
    Value rank = b.widen(b.load(b.i32(), at(ranksOffset, row)));
    b.store(b.narrow(b.min(row, last)), at(rowsOffset, rank));
  });

  // The box of each vector's traits.
  b.loop(zero, lanes, width, [&](Value lane) {
    SmallVector<Value> traits = traitsOf(b.load(vectorType, at(rowsOffset, lane), width * 4));
    Value vector = arith::DivUIOp::create(b.builder, b.loc, lane, b.constI64(width));
    Value to = at(boxesOffset, b.mul(vector, 2 * traitCount));
    for (auto [i, trait] : llvm::enumerate(traits)) {
      b.store(v.least(trait), b.address(to, b.i32(), 2 * int64_t(i)));
      b.store(v.greatest(trait), b.address(to, b.i32(), 2 * int64_t(i) + 1));
    }
  });
  sortRows = op;
  return success();
}
