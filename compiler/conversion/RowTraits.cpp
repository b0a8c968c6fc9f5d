// Sorts the ops of a mask by the side that they depend on, and its traits by how fast
// they change along the rows.
#include "compiler/conversion/RowTraits.h"

#include "compiler/conversion/Classify.h"
#include "compiler/conversion/KernelBuilder.h"

using namespace mlir;
using namespace mlir::attn;

// A lowering keeps two numbers per trait and vector of rows.
static constexpr size_t kMaxTraits = 8, kMaxAxes = 3;
// Lines of the fastest axis in a tile: patches of 16 are 4 x 4. A tile grows for them up
// to three times: its queries and outputs are to stay in a second-level cache.
static constexpr int64_t kLeastLines = 2, kGoodLines = 4, kMostTiles = 3;
// A sparse tile multiplies few of the keys that it reads. Where all of them do not stay in
// a cache, two tiles in one read them half as often.
static constexpr int64_t kCachedKeys = 1 << 14;

namespace {

class TraitFinder {
public:
  TraitFinder(Block &mask, AttentionOp attention) : mask(mask), attention(attention) {
    ranges[mask.getArgument(AttentionOp::MaskQuery)] = {0, kMaxPosition};
    ranges[mask.getArgument(AttentionOp::MaskKey)] = {0, kMaxPosition};
    ranges[mask.getArgument(AttentionOp::MaskHead)] = kItemRange;
    ranges[mask.getArgument(AttentionOp::MaskBatch)] = kItemRange;
  }

  RowTraits find(int64_t blockQ);

private:
  /// How a value changes along the rows: not more often than every `stride` of them,
  /// and its coordinate returns after `period` of them at the earliest.
  struct Pace {
    int64_t stride = 0, period = 0; // 0: unknown or never
  };
  bool dependsOn(Value value, Value token) { return dependent[token].contains(value); }
  void follow(Operation &op);
  Pace paceOf(Value value);
  Pace fastestOf(Operation *op);
  IntRange rangeOf(Value value) {
    auto known = ranges.find(value);
    return known == ranges.end() ? IntRange::all() : known->second;
  }

  Block &mask;
  AttentionOp attention;
  DenseMap<Value, IntRange> ranges;
  DenseMap<Value, DenseSet<Value>> dependent; // on a token
  DenseMap<Value, Pace> paces;
};

void TraitFinder::follow(Operation &op) {
  SmallVector<IntRange> operands;
  for (Value operand : op.getOperands())
    operands.push_back(rangeOf(operand));
  for (unsigned side : {AttentionOp::MaskQuery, AttentionOp::MaskKey}) {
    Value token = mask.getArgument(side);
    if (llvm::any_of(op.getOperands(), [&](Value x) { return x == token || dependsOn(x, token); }))
      dependent[token].insert(op.getResult(0));
  }
  ranges[op.getResult(0)] = rangeOfResult(&op, operands, attention);
}

// That of the fastest coordinate that a value is computed from; once for each value, as
// many may share one.
TraitFinder::Pace TraitFinder::paceOf(Value value) {
  Operation *op = value.getDefiningOp();
  if (!op || op->getBlock() != &mask)
    return {};
  auto known = paces.find(value);
  if (known != paces.end())
    return known->second;
  Pace pace = fastestOf(op);
  paces[value] = pace;
  return pace;
}

TraitFinder::Pace TraitFinder::fastestOf(Operation *op) {
  if (auto coord = dyn_cast<CoordOp>(op)) {
    IntRange divisor = rangeOf(coord.getDivisor());
    if (!divisor.isConstant() || !divisor.positive())
      return {};
    IntRange modulus = coord.getModulus() ? rangeOf(coord.getModulus()) : IntRange::all();
    return {divisor.min, modulus.positive() ? divisor.min * modulus.min : 0};
  }
  if (isa<PositionOp>(op))
    return {1, 0};
  Pace fastest;
  for (Value operand : op->getOperands()) {
    Pace pace = paceOf(operand);
    if (pace.stride && (!fastest.stride || pace.stride < fastest.stride))
      fastest = pace;
  }
  return fastest;
}

// Whether there may be more tokens than a cache holds keys.
static bool hasManyTokens(AttentionOp attention) {
  int64_t tokens = 0;
  for (auto space : attention.getSpaces().getAsRange<SpaceAttr>()) {
    int64_t product = 1;
    for (AxisAttr axis : space.getAxes()) {
      if (axis.getExtent() <= 0)
        return true;
      product *= axis.getExtent();
    }
    tokens += product;
  }
  return tokens > kCachedKeys;
}

RowTraits TraitFinder::find(int64_t blockQ) {
  Value query = mask.getArgument(AttentionOp::MaskQuery),
        key = mask.getArgument(AttentionOp::MaskKey);
  for (Operation &op : mask.without_terminator())
    follow(op);
  RowTraits traits;
  SmallVector<Pace> pacesOfTraits;
  for (Operation &op : mask.without_terminator()) {
    Value value = op.getResult(0);
    bool needed = llvm::any_of(op.getUsers(), [&](Operation *user) {
      return user == mask.getTerminator() || dependsOn(user->getResult(0), key);
    });
    if (!needed || !dependsOn(value, query) || dependsOn(value, key))
      continue;
    if (!value.getType().isInteger(32) && !value.getType().isInteger(1))
      return {};
    traits.values.push_back(value);
    traits.ranges.push_back(rangeOf(value));
    pacesOfTraits.push_back(paceOf(value));
  }
  if (traits.values.size() > kMaxTraits)
    return {};
  // One trait for each pace, the slowest first.
  for (auto [index, pace] : llvm::enumerate(pacesOfTraits))
    if (pace.stride && llvm::none_of(traits.axes, [&](int64_t other) {
          return pacesOfTraits[other].stride == pace.stride;
        }))
      traits.axes.push_back(index);
  llvm::sort(traits.axes, [&](int64_t a, int64_t b) { return pacesOfTraits[a].stride > pacesOfTraits[b].stride; });
  if (traits.axes.size() > kMaxAxes)
    traits.axes.erase(traits.axes.begin(), traits.axes.end() - kMaxAxes);
  // A tile has neighbours along the second axis only if the first returns within it.
  int64_t period = traits.axes.size() < 2 ? 0 : pacesOfTraits[traits.axes.back()].period;
  const int64_t mostTiles = std::min(kMostTiles, kMaxSortedRows / blockQ);
  if (period == 0 || kLeastLines * period > mostTiles * blockQ) {
    traits.axes.clear();
    return traits;
  }
  int64_t times = llvm::divideCeil(kGoodLines * period, blockQ);
  if (hasManyTokens(attention))
    times = std::max<int64_t>(times, 2);
  traits.tileRows = blockQ * std::min(times, mostTiles);
  return traits;
}

} // namespace

RowTraits mlir::attn::findRowTraits(Block &mask, AttentionOp attention, int64_t blockQ) {
  return TraitFinder(mask, attention).find(blockQ);
}
