// Walks all tiles of a call the way a kernel does and counts.
#include "compiler/explain/Explain.h"

#include <chrono>

using namespace mlir;
using namespace mlir::attn;

// Beyond this many pairs in partial tiles, only some of the tiles are counted.
static constexpr double kExactPairs = 5e7;

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
  return view;
}

std::pair<bool, bool> MaskView::classify(PositionRange q, PositionRange k,
                                         const EvaluatorInputs &inputs) {
  const auto &answer = classifier.run({integer(q.low), integer(q.high), integer(k.low),
                                       integer(k.high), integer(inputs.head),
                                       integer(inputs.batch)},
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

namespace {
struct PartialTile {
  int64_t qLow, qHigh, kLow, kHigh;
  double pairs() const { return double(qHigh - qLow + 1) * double(kHigh - kLow + 1); }
};
} // namespace

Explanation mlir::attn::explain(MaskView &view, const CallShape &shape) {
  Explanation result;
  std::vector<PartialTile> partial;
  double partialPairs = 0;
  auto start = std::chrono::steady_clock::now();
  for (int64_t q = 0; q < shape.qLength; q += view.blockQ) {
    int64_t qLow = shape.qPosition + q;
    int64_t qHigh = shape.qPosition + std::min(q + view.blockQ, shape.qLength) - 1;
    for (const Segment &segment : shape.segments)
      for (int64_t k = 0; k < segment.length; k += view.blockK) {
        int64_t end = std::min(k + view.blockK, segment.length);
        PartialTile tile{qLow, qHigh, segment.firstPosition + k, segment.firstPosition + end - 1};
        TileClass which = view.classify(qLow, qHigh, tile.kLow, tile.kHigh,
                                        end - k == view.blockK, shape.inputs);
        ++result.tiles[int(which)];
        if (which == TileClass::full)
          result.pairs += tile.pairs();
        if (which == TileClass::partial) {
          partial.push_back(tile);
          partialPairs += tile.pairs();
        }
        if (which != TileClass::empty)
          result.visitedPairs += tile.pairs();
      }
  }
  result.derivationMs = std::chrono::duration<double, std::milli>(
                            std::chrono::steady_clock::now() - start)
                            .count();
  size_t stride = 1 + size_t(partialPairs / kExactPairs);
  result.estimated = stride > 1;
  double counted = 0, admitted = 0;
  for (size_t i = 0; i < partial.size(); i += stride) {
    const PartialTile &tile = partial[i];
    double inTile = 0;
    for (int64_t q = tile.qLow; q <= tile.qHigh; ++q)
      for (int64_t k = tile.kLow; k <= tile.kHigh; ++k)
        inTile += view.admits(q, k, shape.inputs);
    admitted += inTile;
    counted += tile.pairs();
    bool whole = tile.kHigh - tile.kLow + 1 == view.blockK;
    result.conservative += inTile == 0 || (whole && inTile == tile.pairs());
  }
  if (counted > 0)
    result.pairs += result.estimated ? admitted / counted * partialPairs : admitted;
  double all = double(shape.qLength) * double(shape.keyCount());
  result.density = all > 0 ? result.pairs / all : 0;
  return result;
}
