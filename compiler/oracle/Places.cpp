// Evaluates the coordinate expressions that the checker left in token groups.
#include "compiler/oracle/Places.h"

#include <algorithm>
#include <set>

namespace attn::oracle {

using spec::Side;

static bool readsUnknownTable(const spec::Expr &expr, const Bindings &bindings) {
  if (expr.op == spec::Op::Gather && bindings.tables[expr.index()].extents.empty())
    return true;
  for (const spec::ExprPtr &operand : expr.operands)
    if (readsUnknownTable(*operand, bindings))
      return true;
  return false;
}

Places::Place Places::at(Side side, int32_t position) const {
  Evaluator evaluator(bindings);
  Point point;
  (side == Side::Query ? point.queryPosition : point.keyPosition) = position;
  const auto &groups = tokens(side).groups;
  const spec::TokenGroup *found = nullptr;
  for (const spec::TokenGroup &group : groups) {
    int64_t base = group.base.isStatic()
                       ? group.base.value
                       : static_cast<int64_t>(evaluator.value(*group.base.dynamic, point));
    if (position >= base)
      found = &group;
  }
  if (!found)
    return {};
  Place place{spec.spaces[found->space].name, {}};
  for (const spec::NamedCoordinate &coordinate : found->coordinates)
    if (coordinate.value && !readsUnknownTable(*coordinate.value, bindings))
      place.coordinates.emplace_back(
          coordinate.name, static_cast<int32_t>(evaluator.value(*coordinate.value, point)));
  return place;
}

std::string Places::describe(Side side, int32_t position) const {
  Place place = at(side, position);
  std::string text = place.space;
  for (const auto &[name, value] : place.coordinates)
    text += " " + name + "=" + std::to_string(value);
  return text;
}

std::string Places::describe(Side side, const std::vector<int32_t> &positions) const {
  if (positions.size() == 1)
    return describe(side, positions[0]);
  // A box holds as many tokens as its sides allow; then sides say it all.
  Place start = at(side, positions[0]);
  std::vector<std::set<int32_t>> values(start.coordinates.size());
  bool box = true;
  for (size_t i = 0; i < positions.size() && box; ++i) {
    Place place = at(side, positions[i]);
    box = place.space == start.space;
    for (size_t a = 0; a < values.size() && box; ++a)
      values[a].insert(place.coordinates[a].second);
  }
  size_t axes = 0; // derived ones do not span the box
  for (const spec::SpaceInfo &space : spec.spaces)
    if (space.name == start.space)
      axes = std::min(space.axes.size(), values.size());
  size_t product = 1;
  for (size_t a = 0; a < axes && box; ++a)
    product *= values[a].size();
  if (!box || product != positions.size())
    return describe(side, positions.front()) + " .. " + describe(side, positions.back());
  std::string text = start.space;
  for (size_t a = 0; a < values.size(); ++a) {
    int32_t low = *values[a].begin(), high = *values[a].rbegin();
    text += " " + start.coordinates[a].first + "=" + std::to_string(low);
    if (low == high)
      continue;
    int32_t apart = *std::next(values[a].begin()) - low;
    bool even = low + apart * int64_t(values[a].size() - 1) == high;
    text += ".." + std::to_string(high);
    if (apart != 1 || !even)
      text += even ? " step " + std::to_string(apart) : " (some)";
  }
  return text;
}

std::optional<int32_t> Places::find(Side side, int32_t first, int64_t count,
                                    const std::map<std::string, int64_t> &coordinates) const {
  for (int64_t i = 0; i < count; ++i) {
    auto position = static_cast<int32_t>(first + i);
    Place place = at(side, position);
    size_t matched = 0;
    for (const auto &[name, value] : place.coordinates) {
      auto wanted = coordinates.find(name);
      if (wanted == coordinates.end())
        wanted = coordinates.find(place.space + "." + name);
      matched += wanted != coordinates.end() && wanted->second == value;
    }
    if (matched == coordinates.size())
      return position;
  }
  return std::nullopt;
}

std::vector<std::string> Places::names(Side side) const {
  std::vector<std::string> result;
  for (const spec::TokenGroup &group : tokens(side).groups)
    for (const spec::NamedCoordinate &coordinate : group.coordinates) {
      result.push_back(coordinate.name);
      result.push_back(spec.spaces[group.space].name + "." + coordinate.name);
    }
  return result;
}

} // namespace attn::oracle
