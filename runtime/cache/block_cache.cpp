// Slots are a function of block numbers; the state is three of them and the pinned ones.
#include "runtime/cache/block_cache.h"

#include <algorithm>

namespace attn::cache {

// A ring's blocks; where a block is a token, a call brings more before the oldest ones go.
static int64_t ring_tokens(const Kind &kind, int64_t call) {
  return kind.of == 1 ? kind.ring + call - 1 : kind.ring * kind.of;
}

Result<BlockCache> BlockCache::create(std::vector<Policy> policies) {
  BlockCache cache;
  if (policies.empty())
    return Status::usage("a cache needs at least one policy");
  const Policy &first = policies[0];
  for (const Policy &p : policies) {
    ATTN_RETURN_IF_ERROR(check_policy(p));
    if (p.pin != first.pin || p.lanes != first.lanes || p.roped != first.roped ||
        p.by_place != first.by_place)
      return Status::invalid_input("specs that share a cache must agree on pin, lanes, store and "
                                   "the origin of rope: one has pin ",
                                   first.pin, ", another pin ", p.pin);
    const bool stays = p.ring > 0 && !p.write_last;
    cache.most_ = std::max(cache.most_, std::max(p.call_most, p.replay));
    if (stays)
      cache.ring_ = std::max(cache.ring_, p.ring + p.spare + p.call_most - 1);
    else
      cache.call_ = std::max(cache.call_, p.call_most);
    cache.ring_ = std::max(cache.ring_, p.ring + p.spare);
  }
  // Each kind has its own pinned slots and ring, behind one another.
  for (const Kind &k : first.kinds) {
    cache.kind_slots_.push_back(cache.ring_);
    cache.ring_ += k.pin + ring_tokens(k, first.call_most);
  }
  cache.pin_ = first.pin;
  cache.pinned_.reserve(static_cast<size_t>(cache.pin_));
  cache.seen_.reserve(static_cast<size_t>(cache.slots()));
  cache.policies_ = std::move(policies);
  return cache;
}

Status BlockCache::begin(size_t which, int64_t first, int64_t count, bool stay) {
  return begin_seeing(which, first, count, stay, std::max<int64_t>(policies_[which].ring - 1, 0));
}

Status BlockCache::begin_seeing(size_t which, int64_t first, int64_t count, bool stay,
                                int64_t before) {
  const Policy &p = policies_[which];
  stay = stay && p.ring > 0;
  const int64_t end = first + count, limit = stay ? most_ : call_;
  if (count < 1 || count > limit)
    return Status::usage("a call brings ", count, " blocks; 1..", limit, " are declared");
  if (first < 0 || (p.ring > 0 && first > next_) || (stay && end > next_ + most_))
    return Status::usage("a call begins at block ", first, ", but the next one is ", next_);
  // Blocks that were held once and are not any more have no place.
  const bool repeats = first < next_;
  if (stay && repeats && first < oldest_ && first >= pin_ &&
      std::find(pinned_.begin(), pinned_.end(), first) == pinned_.end())
    return Status::usage("block ", first, " is not held any more; the oldest one is ", oldest_);
  if (stay) {
    for (int64_t b = next_; b < std::min(end, pin_); ++b)
      pinned_.push_back(b);
    next_ = std::max(next_, end);
    oldest_ = std::max({oldest_, next_ - ring_, std::min(pin_, next_)});
  }

  seen_.clear();
  for (size_t i = 0; i < pinned_.size(); ++i) {
    const int64_t b = pinned_[i], at = static_cast<int64_t>(i);
    const bool in_call = b >= first && b < end;
    if (in_call && !stay)
      continue; // the call's own keys stand for it
    // A block that a replay moves has its own position in that call, later its slot's.
    seen_.push_back({b, at, in_call ? b : at, b, in_call});
  }
  const size_t pinned = seen_.size();
  for (int64_t b = std::max(oldest_, first - before); b < next_; ++b) {
    const bool in_call = b >= first && b < end;
    if ((in_call && !stay) || std::find(pinned_.begin(), pinned_.end(), b) != pinned_.end())
      continue;
    seen_.push_back({b, pin_ + (b - pin_) % ring_, b, b, in_call});
  }
  if (!stay)
    for (int64_t b = first; b < end; ++b)
      seen_.push_back({b, pin_ + ring_ + b - first, b, b, true});
  if (p.by_place)
    for (size_t i = 0; i < seen_.size(); ++i)
      seen_[i].place = static_cast<int64_t>(i);
  if (p.pin_adjacent && seen_.size() > pinned)
    for (size_t i = 0; i < pinned; ++i)
      if (!seen_[i].in_call)
        seen_[i].place = seen_[pinned].place - static_cast<int64_t>(pinned - i);
  return {};
}

Status BlockCache::begin_kind(size_t kind, int64_t count) {
  const Policy &p = policies_[0];
  if (kind >= p.kinds.size())
    return Status::usage("the cache has ", p.kinds.size(), " kinds of tokens; there is no kind ",
                         kind);
  const Kind &k = p.kinds[kind];
  if (count < 1 || count > p.call_most || (k.of > 1 && count != k.of))
    return Status::usage("a call brings ", count, " tokens of kind ", k.name, "; ",
                         k.of > 1 ? k.of : 1, "..", k.of > 1 ? k.of : p.call_most, " are declared");
  int64_t first = 0; // tokens of the kind so far: the newest one is never evicted
  for (const Held &h : held_)
    if (h.kind == static_cast<int64_t>(kind))
      first = h.number + 1;
  std::erase_if(held_, [&](const Held &h) {
    return h.kind == static_cast<int64_t>(kind) && h.number >= k.pin &&
           h.number / k.of <= first / k.of - k.ring;
  });
  for (int64_t i = 0; i < count; ++i)
    held_.push_back({next_ + i, static_cast<int64_t>(kind), first + i});
  seen_.clear();
  for (const Held &h : held_) {
    const Kind &own = p.kinds[static_cast<size_t>(h.kind)];
    const int64_t at = static_cast<int64_t>(seen_.size());
    const int64_t slot = h.number < own.pin
                             ? h.number
                             : own.pin + (h.number - own.pin) % ring_tokens(own, p.call_most);
    seen_.push_back(
        {h.block, kind_slots_[static_cast<size_t>(h.kind)] + slot, at, at, h.block >= next_});
  }
  next_ += count;
  return {};
}

void BlockCache::segments(int64_t block_tokens, int64_t lane, std::vector<Segment> &out) const {
  out.clear();
  for (const Seen &s : seen_)
    out.push_back({static_cast<int32_t>(s.slot * block_tokens), static_cast<int32_t>(block_tokens),
                   static_cast<int32_t>((s.position + lane) * block_tokens)});
  std::sort(out.begin(), out.end(),
            [](const Segment &a, const Segment &b) { return a.first_slot < b.first_slot; });
  size_t last = 0;
  for (size_t i = 1; i < out.size(); ++i) {
    Segment &run = out[last];
    if (run.first_slot + run.length == out[i].first_slot &&
        run.first_position + run.length == out[i].first_position)
      run.length += out[i].length;
    else
      out[++last] = out[i];
  }
  if (!out.empty())
    out.resize(last + 1);
}

Status BlockCache::take_back(int64_t count) {
  const int64_t spare = policies_[0].spare;
  if (count < 0 || count > spare || next_ - count < std::max(oldest_, pin_))
    return Status::usage(count, " blocks cannot be taken back: the cache declares spare ", spare,
                         " and holds blocks ", oldest_, "..", next_ - 1);
  next_ -= count;
  return {};
}

std::vector<Run> BlockCache::replay() {
  const Policy &p = policies_[0];
  const int64_t count = std::min(p.replay, next_), first = next_ - count;
  std::vector<Run> runs;
  if (count == 0)
    return runs;
  if (p.pinned == Policy::Pinned::move) {
    pinned_.clear();
    for (int64_t b = first; b < std::min(first + pin_, next_); ++b)
      pinned_.push_back(b);
    oldest_ = std::max(oldest_, std::min(first + pin_, next_));
    return {{first, count}};
  }
  // Of the replayed blocks, those that no slot is left for are not needed: nobody would
  // see their keys.
  int64_t from = first;
  if (first > 0)
    from = std::max({first, next_ - p.ring, pin_});
  if (p.pinned == Policy::Pinned::refresh && from > 0 && !pinned_.empty()) {
    const int64_t pinned = std::min(static_cast<int64_t>(pinned_.size()), from);
    if (pinned == from)
      from = 0;
    else
      runs.push_back({0, pinned});
  }
  if (from < next_)
    runs.push_back({from, next_ - from});
  return runs;
}

Status BlockCache::restore(const State &s) {
  const bool kinds = !policies_[0].kinds.empty();
  bool good = s.oldest >= 0 && s.oldest <= s.next && (kinds || s.next - s.oldest <= ring_) &&
              static_cast<int64_t>(s.pinned.size()) == std::min(pin_, s.next);
  for (int64_t b : s.pinned)
    good &= b >= 0 && b < s.next;
  for (const Held &h : s.held)
    good &= h.kind >= 0 && h.kind < static_cast<int64_t>(policies_[0].kinds.size()) &&
            h.block >= 0 && h.block < s.next && h.number >= 0;
  if (!good || static_cast<int64_t>(s.held.size()) > slots())
    return Status::invalid_input("the state of a cache does not fit this one");
  held_ = s.held;
  oldest_ = s.oldest;
  next_ = s.next;
  pinned_ = s.pinned;
  return {};
}

} // namespace attn::cache
