// The cache and its recache. cache_c1, the heart: every key that the mask can
// admit is in the call or retained, shown for all blocks by interval reasoning.
#include "compiler/spec/Bounds.h"
#include "compiler/spec/Checker.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace attn::spec {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr int64_t maxRetained = 1 << 20;
constexpr int64_t maxLanes = 64;
constexpr unsigned maxBoxes = 20000;
constexpr unsigned maxSteps = 4000000; // of evaluation, over all boxes

// The blocks of an axis along the first axis of a space: `t`, or `t // 3`.
struct BlockAxis {
  uint32_t space = 0;
  int64_t perBlock = 1;
};
std::optional<BlockAxis> blockAxisOf(const Expr &expr) {
  if (expr.op == Op::Coordinate) {
    if (expr.coordinate().axis != 0)
      return std::nullopt;
    return BlockAxis{expr.coordinate().space, 1};
  }
  std::optional<int64_t> by =
      expr.op == Op::FloorDiv ? constantInt(expr.operands[1]) : std::nullopt;
  std::optional<BlockAxis> inner = by && *by > 0 ? blockAxisOf(*expr.operands[0]) : std::nullopt;
  if (inner)
    inner->perBlock *= *by;
  return inner;
}

// Searches pairs (key block, query block = key block + distance) that the mask
// may admit although the key is not there.
class RetentionSearch {
public:
  RetentionSearch(const AttentionSpec &spec, const Expr &mask, BlockAxis axis, int64_t lane)
      : mask(mask) {
    env.spec = &spec;
    env.space = axis.space;
    env.perBlock = static_cast<double>(axis.perBlock);
    if (spec.queryBlock && spec.queryBlock->from)
      env.callBlocks = static_cast<double>(spec.queryBlock->maximum);
    if (spec.cache->lanes > 1)
      env.batch = static_cast<double>(lane);
  }

  struct Box {
    double firstBlock, lastBlock, minDistance, maxDistance;
  };

  double callBlocks() const { return env.callBlocks; }

  // Absent: the mask is false on the whole box.
  std::optional<std::pair<double, double>> find(Box box) {
    // No query lies before block 0.
    box.firstBlock = std::max(box.firstBlock, -box.maxDistance);
    box.minDistance = std::max(box.minDistance, -box.lastBlock);
    if (box.firstBlock > box.lastBlock || box.minDistance > box.maxDistance)
      return std::nullopt;
    env.firstBlock = box.firstBlock;
    env.lastBlock = box.lastBlock;
    env.minDistance = box.minDistance;
    env.maxDistance = box.maxDistance;
    Bounds bounds = boundsOf(mask, env);
    if (bounds.isFalse())
      return std::nullopt;
    bool point = box.firstBlock == box.lastBlock && box.minDistance == box.maxDistance;
    if (bounds.isTrue() || point || ++boxes > maxBoxes || boxes > maxSteps / mask.treeSize)
      return corner(box);
    // Distances first: at one distance most masks are decided for every block.
    // Of an unbounded side, a finite part is cut off.
    bool splitBlock = box.minDistance == box.maxDistance;
    double low = splitBlock ? box.firstBlock : box.minDistance;
    double high = splitBlock ? box.lastBlock : box.maxDistance;
    double middle;
    if (std::isfinite(low) && std::isfinite(high))
      middle = std::floor((low + high) / 2);
    else if (std::isfinite(low))
      middle = low < reach ? reach : infinity;
    else
      middle = high > -reach ? -reach - 1 : -infinity;
    if (!std::isfinite(middle)) // both sides were cut: nothing finer is known
      return corner(box);
    Box below = box, above = box;
    (splitBlock ? below.lastBlock : below.maxDistance) = middle;
    (splitBlock ? above.firstBlock : above.minDistance) = middle + 1;
    // Small numbers first: the example should be readable.
    bool belowFirst = std::isfinite(low);
    if (auto found = find(belowFirst ? below : above))
      return found;
    return find(belowFirst ? above : below);
  }

private:
  static constexpr double reach = 4096;

  static std::pair<double, double> corner(const Box &box) {
    double distance = box.minDistance >= 0 ? box.minDistance : box.maxDistance;
    return {std::max(box.firstBlock, -distance), distance};
  }

  const Expr &mask;
  BoundsEnvironment env;
  unsigned boxes = 0;
};

std::string blocks(double first, double last) {
  if (first > last)
    return "";
  std::string text = std::to_string(static_cast<int64_t>(first));
  return first == last ? text : text + ".." + std::to_string(static_cast<int64_t>(last));
}

} // namespace

// cache_c3
bool Checker::checkCacheCount(const ast::Expr &expr, const char *what, int64_t least, int64_t most,
                              int64_t &out) {
  std::optional<int64_t> count = constantInteger(expr, "`" + std::string(what) + "`");
  if (count && (*count < least || *count > most)) {
    report(DiagnosticId::cache_c3, expr.range,
           {what, std::to_string(*count), std::to_string(least) + ".." + std::to_string(most)});
    count.reset();
  }
  out = count.value_or(1);
  return count.has_value();
}

// cache_c9
bool Checker::checkTail(const ast::Cache &cache, const ast::Name &name) {
  const bool whole = std::any_of(cache.items.begin(), cache.items.end(), [](const auto &item) {
    return item.kind == ast::CacheItem::Kind::Whole;
  });
  const bool ragged = spec.keys.groups.size() == 1 &&
                      spec.spaces[spec.keys.groups[0].space].axes[0].kind == AxisKind::Ragged;
  const bool param = std::any_of(spec.params.begin(), spec.params.end(), [&](const ParamInfo &p) {
    return p.name == name.text && p.type == Type::Int;
  });
  if (whole && ragged && param)
    return true;
  report(DiagnosticId::cache_c9, name.range, {"`" + name.text + "`"});
  return false;
}

// cache_c4, cache_c5, cache_c10
bool Checker::checkCacheItems(const ast::Cache &cache, CacheInfo &info) {
  using Kind = ast::CacheItem::Kind;
  static const char *const words[] = {"`pin`",   "`ring`",  "`whole`", "`refill`", "`store`",
                                      "`write`", "`spare`", "`lanes`", "`tail`",   "`kind`"};
  std::set<Kind> seen;
  bool good = true;
  for (const ast::CacheItem &item : cache.items) {
    if (!seen.insert(item.kind).second && item.kind != Kind::OfKind) {
      report(DiagnosticId::clause_c1, item.range, {words[static_cast<size_t>(item.kind)]});
      good = false;
      continue;
    }
    switch (item.kind) {
    case Kind::Pin:
      info.pinAdjacent = item.adjacent;
      good = checkCacheCount(*item.count, "pin", 0, maxRetained, info.pin) && good;
      break;
    case Kind::Ring:
      good = checkCacheCount(*item.count, "ring", 1, maxRetained, info.ring) && good;
      break;
    case Kind::Spare:
      good = checkCacheCount(*item.count, "spare", 0, maxRetained, info.spare) && good;
      break;
    case Kind::Lanes:
      good = checkCacheCount(*item.count, "lanes", 1, maxLanes, info.lanes) && good;
      break;
    case Kind::OfKind: {
      CacheKind kind;
      kind.name = item.word.text;
      good = (!item.pin || checkCacheCount(*item.pin, "pin", 0, maxRetained, kind.pin)) &&
             checkCacheCount(*item.count, "ring", 1, maxRetained, kind.ring) &&
             (!item.of || checkCacheCount(*item.of, "of", 1, maxRetained, kind.of)) && good;
      info.kinds.push_back(kind);
      break;
    }
    case Kind::Tail:
      info.tail = item.word.text;
      good = checkTail(cache, item.word) && good;
      break;
    case Kind::Whole:
      info.whole = true;
      break;
    case Kind::Refill:
      good = wordAmong(item.word, "event", "prompt") && good;
      info.refillOn = item.word.text;
      break;
    case Kind::Store:
      good = wordAmong(item.word, "form", "raw or roped") && good;
      info.storeRoped = item.word.text == "roped";
      if (item.element)
        info.element = elementNamed(*item.element, "f32, bf16, f16 or int8");
      if (!item.per.empty()) {
        std::set<std::string> per;
        for (const ast::Name &name : item.per)
          if (wordAmong(name, "granularity", "token, head or tensor"))
            per.insert(name.text);
        info.granularity = per.count("token")  ? Granularity::PerTokenHead
                           : per.count("head") ? Granularity::PerHead
                                               : Granularity::PerTensor;
      }
      break;
    case Kind::Write:
      good = wordAmong(item.word, "write policy", "every or last") && good;
      info.write = item.word.text == "last" ? WritePolicy::LastPass : WritePolicy::EveryPass;
      break;
    }
  }
  for (Kind kind : {Kind::Pin, Kind::Ring, Kind::Spare, Kind::Lanes})
    if (info.whole && good && seen.count(kind)) {
      report(DiagnosticId::cache_c4, cache.range, {words[static_cast<size_t>(kind)]});
      good = false;
    }
  if (!info.whole && info.kinds.empty() && !seen.count(Kind::Ring)) {
    report(DiagnosticId::cache_c5, cache.range, {"`" + cache.axis.text + "`"});
    good = false;
  }
  // Where they lie in the stream says nothing of what is kept, so their places count.
  bool alone =
      !info.whole && !info.storeRoped && spec.rope && spec.rope->origin == RopeOrigin::Window;
  for (Kind kind : {Kind::Pin, Kind::Ring, Kind::Spare, Kind::Lanes})
    alone = alone && !seen.count(kind);
  if (!info.kinds.empty() && !alone) {
    report(DiagnosticId::cache_c10, cache.range, {});
    good = false;
  }
  return good;
}

// cache_c2, cache_c6, cache_c7, cache_c8
void Checker::checkCache(const ast::Cache &cache) {
  CacheInfo info;
  info.range = cache.range;
  bool good = checkCacheItems(cache, info);
  if (info.whole) {
    info.tokens = cache.axis.text;
    if (cache.axis.text != spec.keys.name && !spec.keys.groups.empty() &&
        !poisoned.count(cache.axis.text))
      report(DiagnosticId::cache_c7, cache.axis.range,
             {"`" + spec.keys.name + "`", "`" + cache.axis.text + "`"});
    spec.cache = info;
    return;
  }
  std::optional<AxisRef> axis = axisRef({cache.axis}, cache.axis.range);
  if (!axis)
    return;
  info.axis = *axis;
  std::optional<BlockAxis> block = axis->key.value ? blockAxisOf(*axis->key.value) : std::nullopt;
  std::optional<BlockAxis> queryBlock =
      axis->query.value ? blockAxisOf(*axis->query.value) : std::nullopt;
  bool runs = block && firstAxisOutermost(spec.spaces[block->space]); // blocks are
  if (!runs || !queryBlock || spec.keys.groups.size() != 1 || spec.query.groups.size() != 1) {
    report(DiagnosticId::cache_c2, cache.axis.range, {"`" + cache.axis.text + "`"});
    return;
  }
  if (spec.queryBlock) {
    std::optional<BlockAxis> advance = blockAxisOf(*spec.queryBlock->axis.query.value);
    if (!advance || advance->perBlock != block->perBlock) {
      report(DiagnosticId::cache_c6, cache.axis.range,
             {"`" + spec.queryBlock->axis.name + "`", "`" + cache.axis.text + "`"});
      return;
    }
  }
  if (info.lanes > 1) {
    const char *several = info.spare ? "`spare`"
                          : spec.queryBlock && spec.queryBlock->maximum > 1
                              ? "a call of several blocks"
                          : !source->recaches.empty() ? "`recache`"
                                                      : nullptr;
    if (several) {
      report(DiagnosticId::cache_c8, cache.range, {several, std::to_string(info.lanes)});
      good = false;
    }
  }
  spec.cache = info;
  if (good && spec.mask && info.kinds.empty())
    checkRetention(info, source->masks.empty() ? cache.range : source->masks[0].range);
}

// cache_c1: a mask is a function of positions, so a key that is not retained
// may be admitted by no query at all. Keys of later blocks are never there for
// the last block of a call; of earlier ones, the pinned and the newest are.
void Checker::checkRetention(const CacheInfo &cache, SourceRange maskRange) {
  BlockAxis axis = *blockAxisOf(*cache.axis.key.value);
  double pin = static_cast<double>(cache.pin), ring = static_cast<double>(cache.ring);
  // In lane l positions count from block l on.
  std::optional<std::pair<double, double>> found;
  for (int64_t lane = 0; lane < cache.lanes && !found; ++lane) {
    RetentionSearch search(spec, *spec.mask, axis, lane);
    pin = static_cast<double>(cache.pin + lane);
    found = search.find({pin, infinity, ring, infinity});
    if (!found)
      found = search.find({0, infinity, -infinity, -search.callBlocks()});
  }
  if (!found)
    return;
  double key = found->first, query = key + found->second;
  std::string held = blocks(0, std::min(pin, query + 1) - 1);
  std::string newest = blocks(std::max({pin, query - ring + 1, 0.0}), query);
  if (!held.empty() && !newest.empty())
    held += " and ";
  bool one = pin == 0 && newest.find('.') == std::string::npos;
  held = (one ? "block " : "blocks ") + held;
  Diagnostic &diagnostic = report(DiagnosticId::cache_c1, maskRange,
                                  {blocks(query, query), blocks(key, key), held + newest});
  diagnostic.notes.push_back({cache.range, key > query
                                               ? "a later block is not there yet; add `causal(" +
                                                     cache.axis.name + ")` to the mask"
                                               : "enlarge `pin` or `ring`, or narrow the mask"});
}

// recache_c1, recache_c2, recache_c3
void Checker::checkRecache(const ast::Recache &recache) {
  using Kind = ast::RecacheItem::Kind;
  static const char *const words[] = {"`replay`", "`mask`", "`pin`"};
  RecacheInfo info;
  info.range = recache.range;
  info.event = recache.event.text;
  info.mask = boolean(true, recache.range);
  wordAmong(recache.event, "event", "prompt or block");
  if (!source->caches.empty() && (!spec.cache || spec.cache->whole)) {
    if (spec.cache)
      report(DiagnosticId::recache_c2, recache.range, {});
  } else if (source->caches.empty()) {
    report(DiagnosticId::recache_c2, recache.range, {});
  }
  int64_t retained = spec.cache ? spec.cache->pin + spec.cache->ring : maxRetained;
  info.replay = retained;
  std::set<Kind> seen;
  for (const ast::RecacheItem &item : recache.items) {
    if (!seen.insert(item.kind).second) {
      report(DiagnosticId::clause_c1, item.range, {words[static_cast<size_t>(item.kind)]});
      continue;
    }
    if (item.kind == Kind::Replay) {
      std::optional<int64_t> count = constantInteger(*item.value, "`replay`");
      if (count && (*count < 1 || *count > retained))
        report(DiagnosticId::recache_c1, item.value->range,
               {std::to_string(*count), std::to_string(retained)});
      info.replay = count.value_or(1);
    } else if (item.kind == Kind::Mask) {
      ExprPtr mask = resolveAt(Place::Mask, *item.value);
      if (mask && mask->type != Type::Bool)
        report(DiagnosticId::mask_c1, item.value->range, {describe(mask->type)});
      else if (mask)
        info.mask = mask;
    } else if (wordAmong(item.word, "pin policy", "keep, refresh or move")) {
      info.pin = item.word.text == "keep"      ? PinRecache::Keep
                 : item.word.text == "refresh" ? PinRecache::Refresh
                                               : PinRecache::Move;
    }
  }
  if (info.pin == PinRecache::Move && spec.cache && info.replay < spec.cache->pin)
    report(DiagnosticId::recache_c3, recache.range,
           {std::to_string(spec.cache->pin), std::to_string(info.replay)});
  spec.recache = info;
}

} // namespace attn::spec
