// Asks the oracle about every key of one query and says the answer in runs.
#include "tools/attnc/ExplainAt.h"

#include "tools/attnc/ExplainReport.h"

#include "compiler/oracle/Places.h"
#include "compiler/oracle/Witness.h"

#include "llvm/Support/JSON.h"
#include "llvm/Support/raw_ostream.h"

#include <charconv>
#include <iostream>
#include <map>

namespace attn::tools {

namespace {

constexpr size_t maxLines = 200;
constexpr int64_t maxNamed = 1 << 17; // keys whose coordinates are looked up for one line

// The keys of a call in the order in which they are listed: by position, or, where
// the tokens of a space are not in row-major order, by coordinates.
struct KeyList {
  std::vector<int32_t> positions;
  bool byCoordinates = false;
};

KeyList listKeys(const spec::AttentionSpec &spec, const SpecCall &call,
                 const oracle::Places &places) {
  KeyList list;
  for (int64_t i = 0; i < call.keys; ++i)
    list.positions.push_back(call.keyAt(i));
  for (const spec::TokenGroup &group : spec.keys.groups)
    list.byCoordinates |= spec.spaces[group.space].order.kind != spec::OrderKind::RowMajor;
  if (!list.byCoordinates)
    return list;
  std::vector<std::pair<std::vector<int32_t>, int32_t>> keyed;
  std::string before;
  int32_t part = -1; // of a concatenation: its spaces stay in their order
  for (int32_t position : list.positions) {
    oracle::Places::Place place = places.at(spec::Side::Key, position);
    part += place.space != before || part < 0;
    before = place.space;
    std::vector<int32_t> key{part};
    for (const auto &[name, value] : place.coordinates)
      key.push_back(value);
    keyed.emplace_back(std::move(key), position);
  }
  std::sort(keyed.begin(), keyed.end());
  std::transform(keyed.begin(), keyed.end(), list.positions.begin(),
                 [](const auto &entry) { return entry.second; });
  return list;
}

// `length` keys of the list from `first` on; all of that `count` times, each `step` further;
// all of that again, and so on: an axis of a box each.
struct Run {
  struct Level {
    int64_t count, step;
    bool operator==(const Level &) const = default;
  };
  int64_t first; // index into the list
  int64_t length = 1;
  std::vector<Level> levels;
  oracle::Witness why;

  bool alike(const Run &other) const {
    return length == other.length && levels == other.levels && why == other.why;
  }
  std::vector<int64_t> indices() const {
    std::vector<int64_t> result;
    for (int64_t i = 0; i < length; ++i)
      result.push_back(first + i);
    for (const Level &level : levels) {
      size_t size = result.size();
      for (int64_t i = 1; i < level.count; ++i)
        for (size_t j = 0; j < size; ++j)
          result.push_back(result[j] + i * level.step);
    }
    return result;
  }
  int64_t count() const {
    int64_t result = length;
    for (const Level &level : levels)
      result *= level.count;
    return result;
  }
  int64_t last() const {
    int64_t result = first + length - 1;
    for (const Level &level : levels)
      result += (level.count - 1) * level.step;
    return result;
  }
};

std::string coordinates(const oracle::Places &places, const KeyList &list, const Run &run) {
  if (run.count() > maxNamed)
    return places.describe(spec::Side::Key, list.positions[size_t(run.first)]) + " .. " +
           places.describe(spec::Side::Key, list.positions[size_t(run.last())]);
  std::vector<int32_t> positions;
  for (int64_t index : run.indices())
    positions.push_back(list.positions[size_t(index)]);
  return places.describe(spec::Side::Key, positions);
}

// Alike runs at equal distances become one, if they are a box of coordinates or
// many. False if there were none.
template <typename IsBox> bool fold(std::vector<Run> &runs, IsBox isBox) {
  constexpr size_t many = 4;
  std::vector<Run> folded;
  for (size_t i = 0; i < runs.size();) {
    size_t end = i + 1;
    int64_t step = end < runs.size() ? runs[end].first - runs[i].first : 0;
    while (end < runs.size() && runs[end].alike(runs[i]) &&
           runs[end].first - runs[end - 1].first == step)
      ++end;
    Run whole = runs[i];
    whole.levels.push_back({static_cast<int64_t>(end - i), step});
    if (end - i == 1 || (end - i < many && !isBox(whole))) {
      folded.push_back(runs[i++]);
      continue;
    }
    folded.push_back(std::move(whole));
    i = end;
  }
  bool fewer = folded.size() < runs.size();
  runs = std::move(folded);
  return fewer;
}

// Neighbouring keys with one reason, folded.
std::vector<Run> findRuns(const spec::AttentionSpec &spec, const SpecCall &call,
                          const oracle::Places &places, const KeyList &list, oracle::Point point) {
  std::vector<Run> runs;
  for (int64_t i = 0; i < call.keys; ++i) {
    point.keyPosition = list.positions[size_t(i)];
    oracle::Witness why = oracle::witness(*spec.mask, call.bindings, point);
    if (!why.admitted)
      continue;
    if (!runs.empty() && runs.back().first + runs.back().length == i && runs.back().why == why)
      ++runs.back().length;
    else
      runs.push_back({i, 1, {}, std::move(why)});
  }
  auto isBox = [&](const Run &run) {
    return coordinates(places, list, run).find(" .. ") == std::string::npos;
  };
  while (fold(runs, isBox)) {
  }
  return runs;
}

// Positions, unless they lie scattered.
std::string keysOf(const KeyList &list, const Run &run) {
  if (list.byCoordinates)
    return std::to_string(run.count()) + (run.count() == 1 ? " key" : " keys");
  int64_t first = list.positions[size_t(run.first)];
  std::string text = (run.count() == 1 ? "key " : "keys ") + std::to_string(first);
  size_t level = 0;
  if (run.length > 1) {
    text += ".." + std::to_string(first + run.length - 1);
  } else if (!run.levels.empty()) {
    const Run::Level &l = run.levels[level++];
    text +=
        ".." + std::to_string(first + (l.count - 1) * l.step) + " step " + std::to_string(l.step);
  }
  for (; level < run.levels.size(); ++level)
    text += ", " + std::to_string(run.levels[level].count) + " times, each " +
            std::to_string(run.levels[level].step) + " further";
  return text;
}

int parse(const std::vector<std::string> &at, std::map<std::string, int64_t> &values) {
  for (const std::string &item : at) {
    size_t equals = item.find('=');
    int64_t value = 0;
    const char *end = item.data() + item.size();
    bool good = equals != std::string::npos && equals != 0 && equals + 1 != item.size() &&
                std::from_chars(item.data() + equals + 1, end, value).ptr == end;
    if (!good) {
      std::cerr << "attnc: error: --at has '" << item
                << "'; write q=N, or axis=N for axes of the query, separated by commas\n";
      return kUsage;
    }
    if (!values.emplace(item.substr(0, equals), value).second) {
      std::cerr << "attnc: error: --at gives " << item.substr(0, equals)
                << " twice; give it once\n";
      return kUsage;
    }
  }
  return kDone;
}

// `several`: other queries have the coordinates that are given, too.
int findQuery(const spec::AttentionSpec &spec, const SpecCall &call, const oracle::Places &places,
              std::map<std::string, int64_t> values, oracle::Point &point, bool &several) {
  auto take = [&](const char *name, int64_t otherwise) {
    auto it = values.find(name);
    int64_t value = it == values.end() ? otherwise : it->second;
    if (it != values.end())
      values.erase(it);
    return value;
  };
  point.head = static_cast<int32_t>(take("head", call.head));
  point.batch = static_cast<int32_t>(take("batch", 0));
  if (point.head < 0 || point.head >= call.heads || point.batch < 0 || point.batch >= call.batch) {
    std::cerr << "attnc: error: --at asks for head " << point.head << ", batch " << point.batch
              << "; there are " << call.heads << " heads and " << call.batch << " batch entries\n";
    return kUsage;
  }
  if (values.count("q")) {
    int64_t row = take("q", 0) - call.queryPosition;
    if (!values.empty() || row < 0 || row >= call.queries) {
      std::cerr << "attnc: error: --at q takes no axes beside it and lies in " << call.queryPosition
                << ".." << call.queryPosition + call.queries - 1 << "\n";
      return kUsage;
    }
    point.queryPosition = call.queryAt(row);
    return kDone;
  }
  std::vector<std::string> names = places.names(spec::Side::Query);
  for (const auto &[name, value] : values)
    if (std::find(names.begin(), names.end(), name) == names.end()) {
      std::cerr << "attnc: error: --at names '" << name << "'; axes of the query are ";
      for (size_t i = 0; i < names.size(); i += 2)
        std::cerr << (i ? ", " : "") << names[i];
      std::cerr << "\n";
      return kUsage;
    }
  auto found = places.find(spec::Side::Query, call.queryAt(0), call.queries, values);
  if (!found) {
    std::cerr << "attnc: error: no query of the call has the coordinates of --at; enlarge --shape "
                 "or change them\n";
    return kUsage;
  }
  point.queryPosition = *found;
  int64_t behind = call.queryPosition + call.queries - 1 - *found;
  several = behind > 0 && places.find(spec::Side::Query, *found + 1, behind, values);
  return kDone;
}

} // namespace

int explainAt(const spec::CheckedSpec &checked, const spec::AttentionSpec &attention,
              const SpecCall &call, const std::vector<std::string> &at, bool json) {
  std::map<std::string, int64_t> values;
  if (int code = parse(at, values); code != kDone)
    return code;
  if (!haveTables(attention, *attention.mask, call))
    return kUsage;
  oracle::Places places(attention, call.bindings);
  oracle::Point point;
  bool several = false;
  if (int code = findQuery(attention, call, places, values, point, several); code != kDone)
    return code;
  KeyList keys = listKeys(attention, call, places);
  std::vector<Run> runs = findRuns(attention, call, places, keys, point);
  int64_t seen = 0;
  for (const Run &run : runs)
    seen += run.count();
  std::string query = places.describe(spec::Side::Query, point.queryPosition);
  if (json) {
    llvm::json::Array list;
    for (const Run &run : runs) {
      llvm::json::Array clauses;
      for (const oracle::Clause &clause : run.why.clauses)
        clauses.push_back(llvm::json::Object{{"text", oracle::sourceText(checked, clause)},
                                             {"place", oracle::sourcePlace(checked, clause)}});
      llvm::json::Array levels;
      for (const Run::Level &level : run.levels)
        levels.push_back(llvm::json::Object{{"count", level.count}, {"step", level.step}});
      list.push_back(llvm::json::Object{{"first", run.first},
                                        {"length", run.length},
                                        {"repeats", std::move(levels)},
                                        {"coordinates", coordinates(places, keys, run)},
                                        {"clauses", std::move(clauses)}});
    }
    llvm::json::Object object{
        {"spec", attention.name},  {"head", point.head},
        {"batch", point.batch},    {"query", point.queryPosition},
        {"coordinates", query},    {"keys", call.keys},
        {"admitted", seen},        {"listed_by", keys.byCoordinates ? "coordinates" : "position"},
        {"runs", std::move(list)}, {"assumed", assumptionsJson(call)},
        {"first_of_several", several}};
    llvm::outs() << llvm::formatv("{0:2}", llvm::json::Value(std::move(object))) << "\n";
    return kDone;
  }
  std::cout << attention.name << ": query " << point.queryPosition << " (" << query << ") of head "
            << point.head << " sees " << seen << " of " << call.keys << " keys\n";
  if (std::string assumed = describeAssumptions(call); !assumed.empty())
    std::cout << "  assumed " << assumed << "\n";
  if (several)
    std::cout << "  the first of several queries with the coordinates of --at; name more axes, or "
                 "q, for others\n";
  for (size_t i = 0; i < runs.size() && i < maxLines; ++i) {
    const Run &run = runs[i];
    std::cout << "  " << keysOf(keys, run) << "   " << coordinates(places, keys, run) << "\n      "
              << oracle::explainClauses(checked, run.why);
    if (!run.why.clauses.empty())
      std::cout << "   (" << oracle::sourcePlace(checked, run.why.clauses.front()) << ")";
    std::cout << "\n";
  }
  if (runs.size() > maxLines)
    std::cout << "  and " << runs.size() - maxLines << " more runs; --json lists all\n";
  return kDone;
}

} // namespace attn::tools
