// What warps and copies wait for: mbarriers in shared memory and named barriers.
#pragma once

#include "tests/ptxemu/shared_memory.h"

namespace ptxemu {

// The barriers of a block: mbarriers by their address, named ones by number.
class Barriers {
public:
  explicit Barriers(size_t warps) : warps(warps) {}

  void init(uint64_t address, uint32_t arrivals);
  // `count` threads of a warp arrive, adding `bytes` to what the phase waits for.
  void arrive(uint64_t address, uint32_t count, int64_t bytes, const VectorClock &clock);
  void complete_bytes(uint64_t address, int64_t bytes, const VectorClock &clock);
  bool passed(uint64_t address, uint32_t parity) { return at(address).phase % 2 != parity % 2; }
  const VectorClock &known(uint64_t address) { return at(address).known; }
  size_t agent(uint64_t address) { return at(address).agent; }
  // Of copies that complete on it.
  uint32_t tick(uint64_t address) { return ++at(address).time; }

  struct Named {
    uint32_t arrived = 0;
    VectorClock clock;
    std::vector<Warp *> waiting;
  };
  // A warp arrives at a named barrier of `threads`; waits if `wait`.
  void arrive_named(uint32_t id, uint32_t threads, Warp &warp, bool wait);

private:
  struct MBarrier {
    uint32_t expected = 0, pending = 0, time = 0;
    int64_t bytes = 0;
    uint64_t phase = 0;
    size_t agent = 0;
    VectorClock open, known; // of this phase's arrivals; of all complete phases
  };
  MBarrier &at(uint64_t address);
  void finish(MBarrier &barrier);

  std::map<uint64_t, MBarrier> mbarriers;
  std::map<uint32_t, Named> named;
  size_t warps;
};

} // namespace ptxemu
