// Which block lies in which slot: admission, eviction, pinned blocks, blocks that are
// taken back, and which blocks an event replays. Numbers only; nothing is moved.
//
// Slots, in blocks: [pinned | ring | call]. Block b of the ring is in slot
// pin + (b - pin) % ring size, whatever happened before, so that a block never moves. The
// ring holds as many blocks more than the newest ones as one call may bring and as may be
// taken back. The last part is for calls whose keys do not stay.
#pragma once

#include "runtime/cache/policy.h"
#include "runtime/call/attention_call.h"
#include <cstdint>
#include <span>
#include <vector>

namespace attn::cache {

// A block that a call sees.
struct Seen {
  int64_t block = 0;    // its number in the stream
  int64_t slot = 0;     // in blocks
  int64_t position = 0; // in blocks, as masks see it
  int64_t place = 0;    // in blocks: the number by which its keys are rotated
  bool in_call = false;
};

struct Run {
  int64_t first = 0, count = 0;
  bool operator==(const Run &) const = default;
};

// A token of a kind.
struct Held {
  int64_t block = 0; // its number among all tokens
  int64_t kind = 0;
  int64_t number = 0; // among those of its kind
  bool operator==(const Held &) const = default;
};

class BlockCache {
public:
  // Several policies share one cache where the kernels of several specs read it; they
  // agree on what is pinned, on lanes, and on how keys are stored.
  static Result<BlockCache> create(std::vector<Policy> policies);

  const Policy &policy(size_t which = 0) const { return policies_[which]; }
  int64_t slots() const { return pin_ + ring_ + call_; } // in blocks
  int64_t next() const { return next_; }                 // the first block that is not held yet

  // Blocks first..first+count-1 are to run, seen by policy `which`; new ones are admitted
  // if their keys `stay`. Nothing changes if it fails.
  Status begin(size_t which, int64_t first, int64_t count, bool stay);
  // The next `count` tokens, of a kind: what the kind has no more room for goes first. All
  // that is left is seen, in the order in which it came, and its places are its positions.
  Status begin_kind(size_t kind, int64_t count);
  // One of replay()'s runs: it sees the pinned blocks and itself.
  Status begin_replay(Run run) { return begin_seeing(0, run.first, run.count, true, 0); }
  // What that call sees, in the order of their positions.
  std::span<const Seen> seen() const { return seen_; }
  // The same, in the order of slots, as a kernel takes it; neighbours are one segment.
  // Lane l, a batch entry, is l blocks behind: its block b - l has the position of b.
  void segments(int64_t block_tokens, int64_t lane, std::vector<Segment> &out) const;

  // Forgets the newest `count` blocks, at most `spare`: the next call may bring them anew.
  Status take_back(int64_t count);
  // What an event re-runs, oldest first; each run is one call. `move` takes effect at once.
  std::vector<Run> replay();
  // Everything that decides what follows, and back.
  struct State {
    int64_t oldest = 0, next = 0;
    std::vector<int64_t> pinned;
    std::vector<Held> held; // of caches of kinds
    bool operator==(const State &) const = default;
  };
  State state() const { return {oldest_, next_, pinned_, held_}; }
  Status restore(const State &state);

private:
  // As begin(); `before` older blocks of the ring are seen.
  Status begin_seeing(size_t which, int64_t first, int64_t count, bool stay, int64_t before);

  std::vector<Policy> policies_;
  int64_t pin_ = 0, ring_ = 0, call_ = 0; // slots of each part
  int64_t most_ = 1;                      // blocks of a call
  std::vector<int64_t> pinned_;           // blocks in the pinned slots
  int64_t oldest_ = 0, next_ = 0;         // the ring holds oldest_..next_-1, but pinned ones
  std::vector<Seen> seen_;
  std::vector<int64_t> kind_slots_; // per kind: its first slot
  std::vector<Held> held_;          // in the order in which they came
};

} // namespace attn::cache
