// Finds the periods and borders of a mask's coordinates and emits the cuts.
#include "compiler/conversion/Cuts.h"

#include "compiler/conversion/Classify.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/IRMapping.h"

using namespace mlir;
using namespace mlir::attn;

// Each cut costs a few operations for a tile that is in doubt.
static constexpr size_t kMaxLevels = 3, kMaxBorders = 2;
// Tiles span so many values of a shorter period that cutting at it tells nothing.
static constexpr int64_t kShortest = 4;
static constexpr int64_t kLongest = int64_t(1) << 30;

// Whether a value is the same for all positions.
static bool isUniform(Value value) {
  Operation *op = value.getDefiningOp();
  if (!op)
    return !isa<PositionType>(value.getType()) && !isa<BlockArgument>(value);
  return llvm::all_of(op->getOperands(), isUniform);
}

static std::optional<int64_t> constantOf(Value value) {
  IntegerAttr attr;
  if (auto constant = value.getDefiningOp<arith::ConstantOp>())
    attr = dyn_cast<IntegerAttr>(constant.getValue());
  return attr ? std::optional(attr.getInt()) : std::nullopt;
}

IntRange Cuts::rangeOf(Value value) const {
  if (!value)
    return IntRange::constant(1);
  Operation *op = value.getDefiningOp();
  SmallVector<IntRange> operands;
  for (Value operand : op->getOperands())
    operands.push_back(rangeOf(operand));
  return rangeOfResult(op, operands, attention);
}

Cuts::Cuts(Block &mask, Side side, AttentionOp attention) : attention(attention) {
  auto isOurs = [&](Value token) {
    return cast<PositionType>(token.getType()).getSide() == side;
  };
  for (Operation &op : mask.without_terminator()) {
    if (auto coord = dyn_cast<CoordOp>(op); coord && isOurs(coord.getToken())) {
      if (constantOf(coord.getBase()) != 0)
        addBorder({coord.getBase()});
      if (coord.getModulus())
        addLevel({coord.getBase(), coord.getDivisor(), coord.getModulus()});
    }
    // A remainder of a coordinate or of the position itself.
    if (auto mod = dyn_cast<FloorModOp>(op)) {
      auto divisor = constantOf(mod.getRhs());
      if (auto coord = mod.getLhs().getDefiningOp<CoordOp>();
          coord && divisor && *divisor > 0 && isOurs(coord.getToken()))
        addLevel({coord.getBase(), coord.getDivisor(), Value(), *divisor});
      if (auto position = mod.getLhs().getDefiningOp<PositionOp>();
          position && divisor && *divisor > 0 && isOurs(position.getToken()))
        addLevel({Value(), Value(), Value(), *divisor});
    }
    // The place within a document.
    if (auto place = dyn_cast<arith::SubIOp>(op)) {
      auto position = place.getLhs().getDefiningOp<PositionOp>();
      auto begin = place.getRhs().getDefiningOp<TableLoadOp>();
      if (position && begin && isOurs(position.getToken()) && begin.getIndices().size() == 1 &&
          begin.getIndices()[0].getDefiningOp<PositionOp>() &&
          attention.findTable(begin.getTable()).first.getSorted())
        documents = begin;
    }
    // position < border, and the like; or a coordinate that never wraps.
    if (auto compare = dyn_cast<arith::CmpIOp>(op); compare && isUniform(compare.getRhs())) {
      bool after = compare.getPredicate() == arith::CmpIPredicate::sgt ||
                   compare.getPredicate() == arith::CmpIPredicate::sle;
      auto position = compare.getLhs().getDefiningOp<PositionOp>();
      auto coord = compare.getLhs().getDefiningOp<CoordOp>();
      if (position && isOurs(position.getToken()))
        addBorder({compare.getRhs(), after});
      else if (coord && !coord.getModulus() && isOurs(coord.getToken()))
        addBorder({compare.getRhs(), after, coord.getDivisor(), coord.getBase()});
    }
  }
  llvm::sort(levels, [](const Level &a, const Level &b) {
    return a.period.max < b.period.max;
  });
  if (levels.size() > kMaxLevels)
    levels.erase(levels.begin(), levels.end() - kMaxLevels);
}

void Cuts::addLevel(Level level) {
  for (Value part : {level.base, level.divisor, level.modulus})
    if (part && !isUniform(part))
      return;
  level.period = mulRange(mulRange(rangeOf(level.divisor), rangeOf(level.modulus)),
                          IntRange::constant(level.factor));
  if (level.period.min < kShortest && level.period.isConstant())
    return;
  if (!level.period.positive() || level.period.max > kLongest)
    return;
  for (const Level &known : levels) {
    bool same = known.divisor == level.divisor && known.modulus == level.modulus &&
                known.factor == level.factor;
    if (same || (known.period.isConstant() && known.period == level.period))
      return;
  }
  levels.push_back(level);
}

void Cuts::addBorder(Border border) {
  for (Value part : {border.position, border.divisor, border.base})
    if (part && !isUniform(part))
      return;
  auto same = [](Value a, Value b) {
    return a == b || (a && b && constantOf(a) && constantOf(a) == constantOf(b));
  };
  for (const Border &known : borders)
    if (known.offset == border.offset && same(known.position, border.position) &&
        same(known.divisor, border.divisor) && same(known.base, border.base))
      return;
  if (borders.size() < kMaxBorders)
    borders.push_back(border);
}

SmallVector<Value> Cuts::emit(OpBuilder &builder, Location loc, Value low, Value high) const {
  IntervalBuilder b(builder, loc);
  IntRange positions{0, kMaxPosition};
  IRMapping map;
  std::function<Interval(Value)> copy = [&](Value value) {
    if (!map.contains(value)) {
      Operation *op = value.getDefiningOp();
      for (Value operand : op->getOperands())
        copy(operand);
      builder.clone(*op, map);
    }
    return b.point(map.lookup(value), rangeOf(value));
  };
  Interval first = b.point(low, positions), last = b.point(high, positions);
  Interval end = b.add(last, b.constant(1));
  // Cuts of the levels from outside to inside: `up` from the beginning, `down`
  // from the end; each lies between the ones before it.
  SmallVector<Interval> up, down;
  Interval least = first, most = end;
  for (const Level &level : levels) {
    Interval period = b.constant(level.factor);
    if (level.divisor)
      period = b.mul(period, copy(level.divisor));
    if (level.modulus)
      period = b.mul(period, copy(level.modulus));
    Interval base = level.base ? copy(level.base) : b.constant(0);
    auto begin = [&](Interval position) {
      return b.sub(position, b.floorMod(b.sub(position, base), period));
    };
    Interval nextUp = b.add(begin(first), period), nextDown = begin(last);
    least = b.max(least, b.min(nextUp, most));
    most = b.max(least, b.min(nextDown, most));
    up.push_back(least);
    down.push_back(most);
  }
  SmallVector<Value> cuts;
  for (const Interval &cut : up)
    cuts.push_back(cut.low);
  if (documents) {
    StringRef table = TableLoadOp(documents).getTable();
    auto beginOf = [&](Value position) {
      Value begin = TableLoadOp::create(builder, loc, builder.getI32Type(), table,
                                        ValueRange{position});
      return b.max(b.point(begin, IntRange::all()), b.constant(0));
    };
    Interval newest = beginOf(high);
    Interval before = beginOf(b.sub(newest, b.constant(1)).low);
    for (const Interval &begin : {before, newest}) {
      least = b.max(least, b.min(begin, most));
      cuts.push_back(least.low);
    }
  }
  for (const Border &border : borders) {
    Interval position = b.add(copy(border.position), b.constant(border.offset));
    if (border.divisor)
      position = b.mul(position, copy(border.divisor));
    if (border.base)
      position = b.add(position, copy(border.base));
    least = b.max(least, b.min(position, most));
    cuts.push_back(least.low);
  }
  for (const Interval &cut : llvm::reverse(down))
    cuts.push_back(cut.low);
  return cuts;
}
