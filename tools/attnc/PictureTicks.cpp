// Walks the tokens of one side and notes where their space, or their value on
// its first axis, changes.
#include "tools/attnc/PictureTicks.h"

#include "compiler/oracle/Places.h"

namespace attn::tools {

using mlir::attn::PictureTick;

static constexpr int64_t maxTicks = 12;

// The smallest 1, 2 or 5 times a power of ten that leaves at most maxTicks.
static int64_t roundStep(int64_t count) {
  for (int64_t power = 1;; power *= 10)
    for (int64_t digit : {1, 2, 5})
      if (count / (digit * power) < maxTicks)
        return digit * power;
}

std::vector<PictureTick> pictureTicks(const spec::AttentionSpec &attention, const SpecCall &call,
                                      spec::Side side) {
  bool query = side == spec::Side::Query;
  int64_t count = query ? call.queries : call.keys;
  oracle::Places places(attention, call.bindings);
  const auto &groups = query ? attention.query.groups : attention.keys.groups;
  std::vector<PictureTick> frames, spaces;
  oracle::Places::Place before;
  for (int64_t i = 0; i < count; ++i) {
    oracle::Places::Place place = places.at(side, query ? call.queryAt(i) : call.keyAt(i));
    bool fresh = i == 0 || place.space != before.space;
    if (fresh && groups.size() > 1)
      spaces.push_back({i, place.space});
    bool grid = place.coordinates.size() > 1;
    if (grid && (fresh || place.coordinates[0].second != before.coordinates[0].second))
      frames.push_back({i, (fresh && groups.size() > 1 ? place.space + " " : "") +
                               place.coordinates[0].first + "=" +
                               std::to_string(place.coordinates[0].second)});
    else if (fresh && groups.size() > 1)
      frames.push_back({i, place.space});
    before = std::move(place);
  }
  // Coordinates that change all the time (tiled, in Z-order) say little.
  bool useful = frames.size() > 1 && int64_t(frames.size()) * 4 <= count;
  if (!useful) {
    if (spaces.size() > 1)
      return spaces;
    std::vector<PictureTick> ticks;
    int64_t first = query ? call.queryPosition : call.keyPosition, step = roundStep(count);
    for (int64_t at = (first + step - 1) / step * step; at < first + count; at += step)
      ticks.push_back({at - first, std::to_string(at)});
    return ticks;
  }
  // Where a space begins is kept; of the rest, every n-th.
  size_t every = (frames.size() + maxTicks - 1) / maxTicks;
  std::vector<PictureTick> ticks;
  for (size_t i = 0; i < frames.size(); ++i) {
    bool begins = false;
    for (const PictureTick &space : spaces)
      begins |= space.index == frames[i].index;
    if (begins || i % every == 0)
      ticks.push_back(frames[i]);
  }
  return ticks;
}

} // namespace attn::tools
