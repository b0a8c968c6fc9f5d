// Keys and values of one attention under a declared policy, on a device: rows of blocks
// enter, what a kernel needs to see them leaves. Eviction moves nothing; a key is written
// once, and once more each time that the number by which it is rotated changes.
#pragma once

#include "runtime/cache/block_cache.h"
#include "runtime/device/device.h"
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace attn::cache {

// Cosines and sines of a token of a block, `pairs` each, by the block's number.
using Angles = std::function<void(int64_t block, int64_t token, float *cosine, float *sine)>;

struct RowShape {
  int64_t block_tokens = 1, kv_heads = 1, qk_dim = 0, v_dim = 0;
  ElementType stored = ElementType::f32; // or i8: a scale for each (token, head)
  int64_t pairs = 0;                     // rotated, interleaved; 0: keys are not rotated
  Angles angles;
};

// Bytes, since the cache was made.
struct Traffic {
  uint64_t written = 0; // rows of calls
  uint64_t rotated = 0; // rows rotated once more because their place changed
};

class KvCache {
public:
  static Result<KvCache> create(Device &device, std::vector<Policy> policies, RowShape shape);

  // Lane 0's blocks; lane l is l blocks behind.
  const BlockCache &blocks(int64_t lane = 0) const { return lanes_[static_cast<size_t>(lane)]; }
  const Traffic &traffic() const { return traffic_; }

  // BlockCache::begin for every lane that has come to its first block.
  Status begin(size_t which, int64_t first, int64_t count, bool stay);
  Status begin_kind(size_t kind, int64_t count); // BlockCache::begin_kind; blocks are tokens
  Status begin_replay(Run run);                  // one of replay(), which caches with one lane have
  // Then a block's raw keys and values, (token, head, dim) each; `block` is the lane's own.
  Status write(int64_t lane, int64_t block, const float *k, const float *v);
  // Rotates a block's queries, (token, head, dim), in place.
  Status rotate(int64_t lane, int64_t block, int64_t heads, float *q) const;
  // Rotates keys whose place changed, and sets keys, values, segments, position and
  // params: those given, and the call's first block where the kernel has a param for it.
  Status show(std::span<const NamedValue> params, AttentionArgs &args);

  Status take_back(int64_t count);
  std::vector<Run> replay() { return lanes_[0].replay(); }

  // Everything between two calls, as bytes, and back.
  Result<std::vector<std::byte>> snapshot();
  Status restore(std::span<const std::byte> bytes);

private:
  struct Side { // of keys or values: (lane, slot, head, dim)
    std::unique_ptr<Buffer> rows, scales;
    int64_t dim = 0;
  };

  Result<Seen> find(int64_t lane, int64_t block) const; // in the call
  bool keeps_raw(int64_t slot) const;
  void rotate_rows(float *rows, int64_t heads, int64_t place) const;
  Status store(Side &side, int64_t slot, const float *rows);
  Status settle(int64_t lane);
  TensorView view(const Side &side, bool scales) const;
  // Every buffer and array of a snapshot, `each(host memory or buffer, bytes)`.
  template <typename Each> Status each_part(Each each);

  Device *device_ = nullptr;
  RowShape shape_;
  std::vector<BlockCache> lanes_;
  std::vector<bool> begun_; // per lane: has a part in the call
  int64_t slots_ = 0;       // of a lane, in blocks
  size_t which_ = 0;        // the call's policy
  int64_t first_ = 0;       // its first block
  Side k_, v_;
  std::vector<float> raw_;       // keys whose place may change; (lane, slot, token, head, dim)
  std::vector<int64_t> rotated_; // per (lane, slot) the number by which raw keys were rotated
  std::vector<float> staging_, scales_; // one block
  std::vector<int8_t> narrow_;
  std::vector<Segment> segments_, one_lane_;
  std::vector<NamedValue> params_;
  Traffic traffic_;
};

} // namespace attn::cache
