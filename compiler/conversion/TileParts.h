// How the walk over keys finds the class of a tile whose ranges are cut into
// parts, for who evaluates the regions on numbers instead of emitting them.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

namespace mlir::attn {

struct PositionRange {
  int64_t low = 0, high = -1; ///< both included
};

/// The parts of `range` that are not empty; `cuts` ascend.
inline std::vector<PositionRange> partsOf(PositionRange range, const std::vector<int64_t> &cuts) {
  std::vector<PositionRange> parts;
  int64_t low = range.low;
  for (int64_t cut : cuts) {
    if (low < cut)
      parts.push_back({low, cut - 1});
    low = cut;
  }
  if (low <= range.high)
    parts.push_back({low, range.high});
  return parts;
}

/// (any, all) over the pairs of parts of a tile; `classify(q, k)` gives those of
/// one pair.
template <typename Classify>
std::pair<bool, bool> classifyParts(const std::vector<PositionRange> &queries,
                                    const std::vector<PositionRange> &keys, Classify classify) {
  bool any = false, all = true;
  for (PositionRange q : queries)
    for (PositionRange k : keys) {
      auto [some, every] = classify(q, k);
      any |= some;
      all &= every;
    }
  return {any, all};
}

} // namespace mlir::attn
