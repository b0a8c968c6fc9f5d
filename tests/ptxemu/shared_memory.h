// Shared memory of one block of threads with a happens-before checker: every
// access must be ordered by barriers after what it depends on, whatever the
// schedule was that happened to run.
#pragma once

#include "tests/ptxemu/module.h"

#include <algorithm>

namespace ptxemu {

// Who does things in a block: its warps, and each mbarrier (as the copies that
// complete on it). An agent's own entry grows whenever others may have learnt of
// what it did; what an agent knows of the others are the other entries.
class VectorClock {
public:
  uint32_t of(size_t agent) const { return agent < entries.size() ? entries[agent] : 0; }
  void set(size_t agent, uint32_t value) {
    if (entries.size() <= agent)
      entries.resize(agent + 1);
    entries[agent] = value;
  }
  void join(const VectorClock &other) {
    entries.resize(std::max(entries.size(), other.entries.size()));
    for (size_t i = 0; i < other.entries.size(); ++i)
      entries[i] = std::max(entries[i], other.entries[i]);
  }

private:
  std::vector<uint32_t> entries;
};

// An access by `agent`, which knows `clock`; the agent's own time is in it.
struct Access {
  size_t agent;
  const VectorClock &clock;
  uint32_t time() const { return clock.of(agent); }
};

class SharedMemory {
public:
  SharedMemory(size_t bytes, size_t warps);

  void read(void *out, uint64_t address, size_t bytes, const Access &access);
  void write(const void *in, uint64_t address, size_t bytes, const Access &access);

  // A copy was issued: until it lands, nobody may touch the bytes.
  void begin_copy(uint64_t address, size_t bytes, const Access &access);
  // It lands; from now on it is `access` that wrote them. `unordered` copies (of the
  // asynchronous proxy) were checked when they were issued.
  void land_copy(const void *in, uint64_t address, size_t bytes, const Access &access);

  // The same for the asynchronous proxy: products and bulk copies. They do not see
  // what threads wrote until the writer's fence.
  void read_async(void *out, uint64_t address, size_t bytes, const Access &access);
  void begin_bulk_copy(uint64_t address, size_t bytes, const Access &access);
  void fence_async(size_t agent);

private:
  struct Word {
    uint16_t writer = kNobody;
    bool pending = false;  // a copy to it is in flight
    bool unfenced = false; // written by a thread, not yet visible to the asynchronous proxy
    uint32_t write_time = 0;
  };
  static constexpr uint16_t kNobody = 0xffff;

  void check_range(uint64_t address, size_t bytes, size_t alignment);
  void check_read(size_t word, const Access &access);
  void check_write(size_t word, const Access &access);

  std::vector<uint8_t> data;
  std::vector<Word> words;
  std::vector<uint32_t> reads; // [word][warp]: when it read last
  size_t warps;
  std::vector<std::vector<uint32_t>> unfenced; // per warp: words
};

} // namespace ptxemu
