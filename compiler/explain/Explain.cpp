// Walks all tiles of a call the way a kernel does and counts.
#include "compiler/explain/Explain.h"

#include "llvm/ADT/bit.h"

#include <chrono>
#include <cmath>
#include <numeric>

using namespace mlir;
using namespace mlir::attn;

// Steps of the mask's region that pairs in partial tiles may take; beyond, only some of
// the tiles are counted.
static constexpr double kExactWork = 8e8;

int64_t CallShape::keyCount() const {
  int64_t count = 0;
  for (const Segment &segment : segments)
    count += segment.length;
  return count;
}

static Scalar integer(int64_t value) {
  Scalar scalar;
  scalar.i = value;
  return scalar;
}

std::optional<MaskView> MaskView::create(tile::KernelOp kernel, std::string &reason) {
  tile::ForKeysOp walk;
  kernel.walk([&](tile::ForKeysOp op) { walk = op; });
  if (!walk) {
    reason = "the kernel walks no keys";
    return std::nullopt;
  }
  int64_t firstTable = 0;
  for (auto binding : kernel.getBindings().getAsRange<tile::BindingAttr>()) {
    if (binding.getRole() == tile::Role::table)
      break;
    ++firstTable;
  }
  auto classifier = RegionEvaluator::create(walk.getClassify().front(), firstTable, reason);
  if (!classifier)
    return std::nullopt;
  std::optional<RegionEvaluator> mask;
  bool failed = false;
  walk.getPartial().walk([&](tile::MaskOp op) {
    mask = RegionEvaluator::create(op.getBody().front(), firstTable, reason);
    failed = !mask;
  });
  if (failed)
    return std::nullopt;
  MaskView view(std::move(*classifier), std::move(mask), kernel.getBlockQ(), kernel.getBlockK());
  if (walk.getQueryCuts()) {
    view.queryCuts = RegionEvaluator::create(walk.getQueryCuts()->front(), firstTable, reason);
    view.keyCuts = RegionEvaluator::create(walk.getKeyCuts()->front(), firstTable, reason);
    if (!view.queryCuts || !view.keyCuts)
      return std::nullopt;
  }
  for (auto sort : kernel.getBody().getOps<tile::SortRowsOp>()) {
    view.traits = RegionEvaluator::create(sort.getTraits().front(), firstTable, reason);
    if (!view.traits)
      return std::nullopt;
    view.axes = sort.getAxes().vec();
  }
  return view;
}

std::vector<int64_t> MaskView::rowsOfLanes(int64_t qLow, int64_t count, int64_t width,
                                           const EvaluatorInputs &inputs) {
  std::vector<int64_t> rows(count);
  std::iota(rows.begin(), rows.end(), 0);
  if (!traits)
    return rows;
  // Slowest trait, strip, fastest trait, place within the strip, row.
  std::vector<std::array<int64_t, 5>> keys(count);
  int64_t least = INT64_MAX, greatest = INT64_MIN;
  for (int64_t row : rows) {
    const auto &values =
        traits->run({integer(qLow + row), integer(inputs.head), integer(inputs.batch)}, inputs);
    size_t fast = axes.size() - 1;
    keys[row] = {fast > 1 ? values[axes[0]].i : 0, 0, values[axes[fast]].i,
                 values[axes[fast - 1]].i, row};
    least = std::min(least, keys[row][3]);
    greatest = std::max(greatest, keys[row][3]);
  }
  int64_t side = int64_t(std::ceil(std::sqrt(double(width)))), places = greatest - least + 1;
  int64_t strips = (places + side - 1) / side, size = (places + strips - 1) / strips;
  for (auto &key : keys) {
    int64_t place = key[3] - least;
    key[1] = place / size, key[3] = place % size;
  }
  std::sort(rows.begin(), rows.end(), [&](int64_t a, int64_t b) { return keys[a] < keys[b]; });
  return rows;
}

std::pair<bool, bool> MaskView::classify(PositionRange q, PositionRange k,
                                         const EvaluatorInputs &inputs) {
  const auto &answer =
      classifier.run({integer(q.low), integer(q.high), integer(k.low), integer(k.high),
                      integer(inputs.head), integer(inputs.batch)},
                     inputs);
  return {answer[0].i != 0, answer[1].i != 0};
}

static std::vector<PositionRange> parts(RegionEvaluator &cuts, PositionRange range,
                                        const EvaluatorInputs &inputs) {
  std::vector<int64_t> places;
  for (const Scalar &cut : cuts.run({integer(range.low), integer(range.high)}, inputs))
    places.push_back(cut.i);
  return partsOf(range, places);
}

TileClass MaskView::classify(int64_t qLow, int64_t qHigh, int64_t kLow, int64_t kHigh, bool whole,
                             const EvaluatorInputs &inputs) {
  PositionRange q{qLow, qHigh}, k{kLow, kHigh};
  auto [any, all] = classify(q, k, inputs);
  if (any && !all && queryCuts)
    std::tie(any, all) =
        classifyParts(parts(*queryCuts, q, inputs), parts(*keyCuts, k, inputs),
                      [&](PositionRange q, PositionRange k) { return classify(q, k, inputs); });
  if (!any)
    return TileClass::empty;
  return all && whole ? TileClass::full : TileClass::partial;
}

bool MaskView::admits(int64_t qPosition, int64_t kPosition, const EvaluatorInputs &inputs) {
  return !mask || mask->run({integer(qPosition), integer(kPosition), integer(inputs.head),
                             integer(inputs.batch)},
                            inputs)[0]
                      .i;
}

// Not in the middle but at the roundest position, where rows and tiles of the tokens
// often begin: boxes of coordinates are classified exactly.
static std::pair<PositionRange, PositionRange> split(PositionRange range) {
  int64_t differing = llvm::bit_floor(uint64_t(range.low ^ range.high));
  int64_t at = range.high & ~(differing - 1);
  return {{range.low, at - 1}, {at, range.high}};
}

// As countPairs takes them.
static bool isSmall(PositionRange q, PositionRange k) {
  constexpr int64_t side = RegionEvaluator::kSide;
  return q.high - q.low < side && k.high - k.low < side;
}

int64_t MaskView::countEach(PositionRange q, PositionRange k, const EvaluatorInputs &inputs) {
  int64_t rows = q.high - q.low + 1, columns = k.high - k.low + 1;
  return mask ? mask->countPairs(q.low, size_t(rows), k.low, size_t(columns), inputs)
              : rows * columns;
}

double MaskView::count(PositionRange q, PositionRange k, const EvaluatorInputs &inputs) {
  if (isSmall(q, k))
    return double(countEach(q, k, inputs));
  int64_t rows = q.high - q.low + 1, columns = k.high - k.low + 1;
  auto [any, all] = classify(q, k, inputs);
  if (!any || all)
    return any ? double(rows) * double(columns) : 0;
  bool byRow = rows >= columns;
  auto [first, second] = split(byRow ? q : k);
  return byRow ? count(first, k, inputs) + count(second, k, inputs)
               : count(q, first, inputs) + count(q, second, inputs);
}

std::optional<bool> MaskView::uniform(PositionRange q, PositionRange k,
                                      const EvaluatorInputs &inputs) {
  // Most boxes in doubt are mixed, which a few scattered pairs show.
  constexpr int64_t probes = 16;
  int64_t rows = q.high - q.low + 1, columns = k.high - k.low + 1;
  bool first = admits(q.low, k.low, inputs);
  for (int64_t i = 1; i < probes; ++i)
    if (admits(q.low + rows * i / probes, k.low + columns * (i * 7 % probes) / probes, inputs) !=
        first)
      return std::nullopt;
  return uniformBox(q, k, inputs);
}

std::optional<bool> MaskView::uniformBox(PositionRange q, PositionRange k,
                                         const EvaluatorInputs &inputs) {
  int64_t rows = q.high - q.low + 1, columns = k.high - k.low + 1;
  if (isSmall(q, k)) {
    int64_t admitted = countEach(q, k, inputs);
    return admitted == 0 || admitted == rows * columns ? std::optional(admitted != 0)
                                                       : std::nullopt;
  }
  auto [any, all] = classify(q, k, inputs);
  if (!any || all)
    return any;
  bool byRow = rows >= columns;
  auto [first, second] = split(byRow ? q : k);
  std::optional<bool> left = byRow ? uniformBox(first, k, inputs) : uniformBox(q, first, inputs);
  if (!left)
    return std::nullopt;
  std::optional<bool> right = byRow ? uniformBox(second, k, inputs) : uniformBox(q, second, inputs);
  return left == right ? left : std::nullopt;
}

namespace {
struct PartialTile {
  int64_t qLow, qHigh, kLow, kHigh;
  double pairs() const { return double(qHigh - qLow + 1) * double(kHigh - kLow + 1); }
};
} // namespace

Explanation mlir::attn::explain(MaskView &view, const CallShape &shape,
                                const Explanation *counted) {
  Explanation result;
  std::vector<PartialTile> partial;
  double partialPairs = 0;
  auto start = std::chrono::steady_clock::now();
  // Tiles [q0, q1) x [k0, k1) of a segment: where all are empty or all are full they
  // are counted together.
  auto walk = [&](auto &self, const Segment &segment, int64_t q0, int64_t q1, int64_t k0,
                  int64_t k1) -> void {
    int64_t qLow = shape.qPosition + q0 * view.blockQ,
            kLow = segment.firstPosition + k0 * view.blockK;
    int64_t kEnd = std::min(k1 * view.blockK, segment.length);
    PartialTile box{qLow, shape.qPosition + std::min(q1 * view.blockQ, shape.qLength) - 1, kLow,
                    segment.firstPosition + kEnd - 1};
    bool whole = kEnd == k1 * view.blockK;
    TileClass which = TileClass::partial;
    bool single = q1 - q0 == 1 && k1 - k0 == 1;
    if (single) {
      which = view.classify(box.qLow, box.qHigh, box.kLow, box.kHigh, whole, shape.inputs);
    } else {
      auto [any, all] = view.classify({box.qLow, box.qHigh}, {box.kLow, box.kHigh}, shape.inputs);
      which = !any ? TileClass::empty : all && whole ? TileClass::full : TileClass::partial;
    }
    if (!single && which == TileClass::partial) {
      int64_t q = (q0 + q1) / 2, k = (k0 + k1) / 2;
      if (q1 - q0 >= k1 - k0) {
        self(self, segment, q0, q, k0, k1);
        self(self, segment, q, q1, k0, k1);
      } else {
        self(self, segment, q0, q1, k0, k);
        self(self, segment, q0, q1, k, k1);
      }
      return;
    }
    result.tiles[int(which)] += (q1 - q0) * (k1 - k0);
    if (which == TileClass::full)
      result.pairs += box.pairs();
    if (which == TileClass::partial) {
      partial.push_back(box);
      partialPairs += box.pairs();
    }
    if (which != TileClass::empty)
      result.visitedPairs += box.pairs();
  };
  for (const Segment &segment : shape.segments)
    if (shape.qLength > 0 && segment.length > 0)
      walk(walk, segment, 0, (shape.qLength + view.blockQ - 1) / view.blockQ, 0,
           (segment.length + view.blockK - 1) / view.blockK);
  result.derivationMs =
      std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
  size_t stride = 1 + size_t(partialPairs * double(view.stepsOfPair()) / kExactWork);
  if (counted && stride > 1)
    stride *= 4; // what is left to see is how many tiles are conservative
  double seen = 0, admitted = 0;
  for (size_t i = 0; i < partial.size(); i += stride) {
    const PartialTile &tile = partial[i];
    PositionRange q{tile.qLow, tile.qHigh}, k{tile.kLow, tile.kHigh};
    std::optional<bool> uniform;
    if (counted) {
      uniform = view.uniform(q, k, shape.inputs);
    } else {
      double inTile = view.count(q, k, shape.inputs);
      if (inTile == 0 || inTile == tile.pairs())
        uniform = inTile > 0;
      admitted += inTile;
      seen += tile.pairs();
    }
    bool whole = tile.kHigh - tile.kLow + 1 == view.blockK;
    result.conservative += uniform && (whole || !*uniform);
  }
  if (counted) {
    result.pairs = counted->pairs;
    result.estimated = counted->estimated;
  } else {
    result.estimated = stride > 1;
    if (seen > 0)
      result.pairs += result.estimated ? admitted / seen * partialPairs : admitted;
  }
  double all = double(shape.qLength) * double(shape.keyCount());
  result.density = all > 0 ? result.pairs / all : 0;
  return result;
}
