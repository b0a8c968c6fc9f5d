// Arrivals, phases and what those who pass a barrier learn; see barriers.h.
#include "tests/ptxemu/barriers.h"

#include "tests/ptxemu/machine.h"

namespace ptxemu {

Barriers::MBarrier &Barriers::at(uint64_t address) {
  auto found = mbarriers.find(address);
  if (found == mbarriers.end())
    throw Error("no mbarrier was initialised at " + std::to_string(address));
  return found->second;
}

void Barriers::init(uint64_t address, uint32_t arrivals) {
  if (mbarriers.count(address))
    throw Error("the mbarrier at " + std::to_string(address) + " is initialised twice");
  MBarrier &barrier = mbarriers[address];
  barrier.expected = barrier.pending = arrivals;
  barrier.agent = warps + mbarriers.size() - 1;
}

void Barriers::arrive(uint64_t address, uint32_t count, int64_t bytes, const VectorClock &clock) {
  MBarrier &barrier = at(address);
  if (count > barrier.pending)
    throw Error("more arrivals at the mbarrier at " + std::to_string(address) +
                " than this phase expects");
  barrier.open.join(clock);
  barrier.pending -= count;
  barrier.bytes += bytes;
  finish(barrier);
}

void Barriers::complete_bytes(uint64_t address, int64_t bytes, const VectorClock &clock) {
  MBarrier &barrier = at(address);
  barrier.open.join(clock);
  barrier.bytes -= bytes;
  finish(barrier);
}

void Barriers::finish(MBarrier &barrier) {
  if (barrier.pending || barrier.bytes)
    return;
  barrier.known.join(barrier.open);
  barrier.pending = barrier.expected;
  ++barrier.phase;
}

void Barriers::arrive_named(uint32_t id, uint32_t threads, Warp &warp, bool wait) {
  if (id > 15 || threads == 0 || threads % 32)
    throw Error("barrier " + std::to_string(id) + " of " + std::to_string(threads) +
                " threads; there are 16, for whole warps");
  Named &barrier = named[id];
  barrier.clock.join(warp.clock);
  warp.publish();
  barrier.arrived += 32;
  if (barrier.arrived > threads)
    throw Error("more arrivals at barrier " + std::to_string(id) + " than its " +
                std::to_string(threads) + " threads");
  if (wait) {
    barrier.waiting.push_back(&warp);
    warp.waiting = true;
  }
  if (barrier.arrived < threads)
    return;
  for (Warp *other : barrier.waiting) {
    other->acquire(barrier.clock);
    other->waiting = false;
  }
  barrier = Named();
}

} // namespace ptxemu
