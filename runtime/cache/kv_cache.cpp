// Rows of blocks into slots, rotated where the policy says, and the view of them that a
// kernel gets.
#include "runtime/cache/kv_cache.h"

#include "runtime/ops/isa.h"
#include "runtime/ops/kv_cache.h"
#include <algorithm>
#include <cstring>
#include <ranges>

namespace attn::cache {

Result<KvCache> KvCache::create(Device &device, std::vector<Policy> policies, RowShape shape) {
  KvCache cache;
  if (shape.block_tokens < 1 || shape.kv_heads < 1 || shape.qk_dim < 1 || shape.v_dim < 1 ||
      shape.pairs < 0 || 2 * shape.pairs > shape.qk_dim || (shape.pairs && !shape.angles))
    return Status::usage("the rows of a cache have no sensible shape");
  if (shape.stored != ElementType::f32 && shape.stored != ElementType::i8)
    return Status::usage("a cache stores f32 or int8");
  const int64_t lanes = policies.empty() ? 1 : policies[0].lanes;
  for (int64_t lane = 0; lane < lanes; ++lane) {
    ATTN_ASSIGN_OR_RETURN(BlockCache blocks, BlockCache::create(policies));
    cache.lanes_.push_back(std::move(blocks));
  }
  cache.device_ = &device;
  cache.begun_.resize(static_cast<size_t>(lanes));
  cache.slots_ = cache.lanes_[0].slots();
  const int64_t tokens = lanes * cache.slots_ * shape.block_tokens, rows = tokens * shape.kv_heads;
  if (tokens > INT32_MAX / std::max(shape.qk_dim, shape.v_dim) / shape.kv_heads)
    return Status::invalid_input("a cache of ", tokens, " tokens is larger than kernels address");
  for (Side *side : {&cache.k_, &cache.v_}) {
    side->dim = side == &cache.k_ ? shape.qk_dim : shape.v_dim;
    const size_t bytes = static_cast<size_t>(rows * side->dim) * element_size(shape.stored);
    ATTN_ASSIGN_OR_RETURN(side->rows, device.allocate(bytes));
    if (shape.stored == ElementType::i8) {
      ATTN_ASSIGN_OR_RETURN(side->scales,
                            device.allocate(static_cast<size_t>(rows) * sizeof(float)));
    }
  }
  const size_t block = static_cast<size_t>(shape.block_tokens * shape.kv_heads);
  cache.staging_.resize(block * static_cast<size_t>(shape.qk_dim));
  cache.narrow_.resize(block * static_cast<size_t>(std::max(shape.qk_dim, shape.v_dim)));
  cache.scales_.resize(block);
  const Policy &policy = cache.lanes_[0].policy();
  bool moves = policy.by_place || !policy.roped;
  for (const Policy &p : policies)
    moves |= p.pin_adjacent;
  cache.shape_ = std::move(shape);
  if (moves && cache.shape_.pairs) {
    cache.raw_.resize(static_cast<size_t>(rows * cache.shape_.qk_dim));
    cache.rotated_.assign(static_cast<size_t>(lanes * cache.slots_), -1);
  }
  return cache;
}

Status KvCache::begin(size_t which, int64_t first, int64_t count, bool stay) {
  for (size_t lane = 0; lane < lanes_.size(); ++lane) {
    const int64_t own = first - static_cast<int64_t>(lane);
    begun_[lane] = own >= 0;
    if (begun_[lane])
      ATTN_RETURN_IF_ERROR(lanes_[lane].begin(which, own, count, stay));
  }
  which_ = which;
  first_ = first;
  return {};
}

Status KvCache::begin_kind(size_t kind, int64_t count) {
  if (shape_.block_tokens != 1)
    return Status::usage("kinds of tokens come token by token, not in blocks of ",
                         shape_.block_tokens);
  ATTN_RETURN_IF_ERROR(lanes_[0].begin_kind(kind, count));
  begun_[0] = true;
  which_ = 0;
  first_ = static_cast<int64_t>(blocks().seen().size()) - count;
  return {};
}

Status KvCache::begin_replay(Run run) {
  if (lanes_.size() > 1)
    return Status::usage("a cache with lanes does not replay");
  begun_[0] = true;
  which_ = 0;
  first_ = run.first;
  return lanes_[0].begin_replay(run);
}

Result<Seen> KvCache::find(int64_t lane, int64_t block) const {
  if (begun_[static_cast<size_t>(lane)])
    for (const Seen &s : blocks(lane).seen() | std::views::reverse) // a call's are the newest
      if (s.in_call && s.block == block)
        return s;
  return Status::usage("block ", block, " of lane ", lane, " is not in the call");
}

// Only what may be rotated anew is kept raw: all keys, or the pinned ones.
bool KvCache::keeps_raw(int64_t slot) const {
  const Policy &p = blocks().policy();
  return !raw_.empty() && (p.by_place || !p.roped || slot < p.pin);
}

void KvCache::rotate_rows(float *rows, int64_t heads, int64_t place) const {
  if (!shape_.pairs)
    return;
  const ops::Isa &isa = ops::isa();
  std::vector<float> angles(static_cast<size_t>(2 * shape_.pairs));
  float *cosine = angles.data(), *sine = cosine + shape_.pairs;
  for (int64_t t = 0; t < shape_.block_tokens; ++t) {
    shape_.angles(place, t, cosine, sine);
    for (int64_t h = 0; h < heads; ++h) {
      float *row = rows + (t * heads + h) * shape_.qk_dim;
      isa.rope(row, cosine, sine, row, shape_.pairs, true);
    }
  }
}

Status KvCache::rotate(int64_t lane, int64_t block, int64_t heads, float *q) const {
  ATTN_ASSIGN_OR_RETURN(Seen seen, find(lane, block));
  rotate_rows(q, heads, seen.place);
  return {};
}

// `slot` counts all lanes' slots.
Status KvCache::store(Side &side, int64_t slot, const float *rows) {
  const size_t count = static_cast<size_t>(shape_.block_tokens * shape_.kv_heads);
  const size_t dim = static_cast<size_t>(side.dim), first = static_cast<size_t>(slot) * count;
  if (shape_.stored == ElementType::f32)
    return device_->upload(*side.rows, first * dim * sizeof(float), rows,
                           count * dim * sizeof(float));
  for (size_t r = 0; r < count; ++r)
    ops::isa().quantise(rows + r * dim, narrow_.data() + r * dim, scales_.data() + r,
                        static_cast<int64_t>(dim));
  ATTN_RETURN_IF_ERROR(device_->upload(*side.rows, first * dim, narrow_.data(), count * dim));
  return device_->upload(*side.scales, first * sizeof(float), scales_.data(),
                         count * sizeof(float));
}

Status KvCache::write(int64_t lane, int64_t block, const float *k, const float *v) {
  ATTN_ASSIGN_OR_RETURN(Seen seen, find(lane, block));
  const int64_t slot = lane * slots_ + seen.slot;
  const size_t elements = staging_.size();
  if (keeps_raw(seen.slot)) {
    std::copy_n(k, elements, raw_.data() + static_cast<size_t>(slot) * elements);
    rotated_[static_cast<size_t>(slot)] = -1; // settle() rotates and stores them
  } else {
    std::copy_n(k, elements, staging_.data());
    rotate_rows(staging_.data(), shape_.kv_heads, seen.place);
    ATTN_RETURN_IF_ERROR(store(k_, slot, staging_.data()));
  }
  ATTN_RETURN_IF_ERROR(store(v_, slot, v));
  const int64_t rows = shape_.block_tokens * shape_.kv_heads;
  traffic_.written +=
      static_cast<uint64_t>(rows * (shape_.qk_dim + shape_.v_dim)) * element_size(shape_.stored);
  return {};
}

Status KvCache::settle(int64_t lane) {
  for (const Seen &seen : blocks(lane).seen()) {
    const int64_t slot = lane * slots_ + seen.slot;
    if (!keeps_raw(seen.slot) || rotated_[static_cast<size_t>(slot)] == seen.place)
      continue;
    if (rotated_[static_cast<size_t>(slot)] >= 0)
      traffic_.rotated += staging_.size() * element_size(shape_.stored);
    std::copy_n(raw_.data() + static_cast<size_t>(slot) * staging_.size(), staging_.size(),
                staging_.data());
    rotate_rows(staging_.data(), shape_.kv_heads, seen.place);
    ATTN_RETURN_IF_ERROR(store(k_, slot, staging_.data()));
    rotated_[static_cast<size_t>(slot)] = seen.place;
  }
  return {};
}

TensorView KvCache::view(const Side &side, bool scales) const {
  const int64_t dim = scales ? 1 : side.dim, tokens = slots_ * shape_.block_tokens;
  TensorView v;
  v.buffer = scales ? side.scales.get() : side.rows.get();
  v.type = scales ? ElementType::f32 : shape_.stored;
  const int64_t shape[] = {static_cast<int64_t>(lanes_.size()), shape_.kv_heads, tokens, dim};
  const int64_t strides[] = {tokens * shape_.kv_heads * dim, dim, shape_.kv_heads * dim, 1};
  std::copy_n(shape, 4, v.shape);
  std::copy_n(strides, 4, v.strides);
  return v;
}

Status KvCache::show(std::span<const NamedValue> params, AttentionArgs &args) {
  size_t longest = 0;
  segments_.clear();
  for (int pass = 0; pass < 2; ++pass) // first the longest list, then all at that length
    for (size_t lane = 0; lane < lanes_.size(); ++lane) {
      one_lane_.clear();
      if (begun_[lane])
        lanes_[lane].segments(shape_.block_tokens, static_cast<int64_t>(lane), one_lane_);
      longest = std::max(longest, one_lane_.size());
      if (pass == 0)
        continue;
      segments_.insert(segments_.end(), one_lane_.begin(), one_lane_.end());
      segments_.resize((lane + 1) * longest);
    }
  for (size_t lane = 0; lane < lanes_.size(); ++lane)
    if (begun_[lane])
      ATTN_RETURN_IF_ERROR(settle(static_cast<int64_t>(lane)));
  const Policy &policy = blocks().policy(which_);
  params_.assign(params.begin(), params.end());
  if (!policy.first_param.empty())
    params_.push_back({policy.first_param, static_cast<double>(first_)});
  args.k = view(k_, false);
  args.v = view(v_, false);
  if (k_.scales) {
    args.k_scale = view(k_, true);
    args.v_scale = view(v_, true);
  }
  args.segments = segments_;
  args.segments_per_batch = lanes_.size() > 1 ? static_cast<uint32_t>(longest) : 0;
  args.q_position = static_cast<int32_t>(first_ * shape_.block_tokens);
  args.params = params_;
  return {};
}

Status KvCache::take_back(int64_t count) {
  if (lanes_.size() > 1)
    return Status::usage("blocks of a cache with lanes cannot be taken back");
  return lanes_[0].take_back(count);
}

template <typename Each> Status KvCache::each_part(Each each) {
  for (Side *side : {&k_, &v_})
    for (Buffer *buffer : {side->rows.get(), side->scales.get()})
      if (buffer)
        ATTN_RETURN_IF_ERROR(each(buffer, nullptr, buffer->size()));
  ATTN_RETURN_IF_ERROR(each(nullptr, raw_.data(), raw_.size() * sizeof(float)));
  return each(nullptr, rotated_.data(), rotated_.size() * sizeof(int64_t));
}

Result<std::vector<std::byte>> KvCache::snapshot() {
  std::vector<std::byte> bytes;
  auto append = [&](const void *from, size_t size) {
    const auto *begin = static_cast<const std::byte *>(from);
    bytes.insert(bytes.end(), begin, begin + size);
  };
  for (const BlockCache &lane : lanes_) {
    const BlockCache::State state = lane.state();
    const uint64_t pinned = state.pinned.size();
    append(&state.oldest, sizeof state.oldest);
    append(&state.next, sizeof state.next);
    append(&pinned, sizeof pinned);
    append(state.pinned.data(), pinned * sizeof(int64_t));
    const uint64_t held = state.held.size();
    append(&held, sizeof held);
    append(state.held.data(), held * sizeof(Held));
  }
  ATTN_RETURN_IF_ERROR(each_part([&](Buffer *buffer, void *memory, size_t size) -> Status {
    if (!buffer) {
      append(memory, size);
      return {};
    }
    bytes.resize(bytes.size() + size);
    return device_->download(*buffer, 0, bytes.data() + bytes.size() - size, size);
  }));
  return bytes;
}

Status KvCache::restore(std::span<const std::byte> bytes) {
  const Status damaged = Status::invalid_input("the snapshot of a cache does not fit this one");
  auto take = [&](void *to, size_t size) {
    if (bytes.size() < size)
      return false;
    std::memcpy(to, bytes.data(), size);
    bytes = bytes.subspan(size);
    return true;
  };
  std::vector<BlockCache> lanes = lanes_; // nothing changes where a part does not fit
  for (BlockCache &lane : lanes) {
    BlockCache::State state;
    uint64_t pinned = 0;
    if (!take(&state.oldest, sizeof state.oldest) || !take(&state.next, sizeof state.next) ||
        !take(&pinned, sizeof pinned) || pinned > bytes.size() / sizeof(int64_t))
      return damaged;
    state.pinned.resize(pinned);
    take(state.pinned.data(), pinned * sizeof(int64_t));
    uint64_t held = 0;
    if (!take(&held, sizeof held) || held > bytes.size() / sizeof(Held))
      return damaged;
    state.held.resize(held);
    take(state.held.data(), held * sizeof(Held));
    ATTN_RETURN_IF_ERROR(lane.restore(state));
  }
  size_t size = 0;
  ATTN_RETURN_IF_ERROR(each_part([&](Buffer *, void *, size_t part) -> Status {
    size += part;
    return {};
  }));
  if (size != bytes.size())
    return damaged;
  ATTN_RETURN_IF_ERROR(each_part([&](Buffer *buffer, void *memory, size_t part) -> Status {
    if (!buffer) {
      take(memory, part);
      return {};
    }
    ATTN_RETURN_IF_ERROR(device_->upload(*buffer, 0, bytes.data(), part));
    bytes = bytes.subspan(part);
    return {};
  }));
  lanes_ = std::move(lanes);
  return {};
}

} // namespace attn::cache
