// Runs kernels of a parsed module on the CPU: one block of threads at a time,
// warps interleaved at random, shared-memory hazards reported as errors.
#pragma once

#include "tests/ptxemu/module.h"

#include <array>
#include <deque>
#include <random>

namespace ptxemu {

// Global memory: buffers of the caller at made-up addresses, with guard space
// between them, so that every access out of bounds is caught.
class GlobalMemory {
public:
  // Returns the address of byte 0. `skew` moves it off its alignment.
  uint64_t add(void *data, size_t bytes, bool writable, size_t skew = 0);
  uint8_t *at(uint64_t address, size_t bytes, bool write);

private:
  struct Buffer {
    uint8_t *data;
    size_t bytes;
    bool writable;
    size_t skew;
  };
  std::vector<Buffer> buffers;
};

// Shared memory of one block. Each word remembers who wrote and read it last and
// between which barriers, which finds races that a lucky schedule would hide.
class SharedMemory {
public:
  explicit SharedMemory(size_t bytes);
  void read(void *out, uint64_t address, size_t bytes, const Warp &warp);
  void write(const void *in, uint64_t address, size_t bytes, const Warp &warp);
  // A copy was issued: until it lands, nobody may touch the bytes.
  void begin_copy(uint64_t address, size_t bytes, const Warp &warp);
  void land_copy(const void *in, uint64_t address, size_t bytes, const Warp &warp);

private:
  struct Word {
    int write_warp = -1, write_epoch = -1; // -1: never
    int read_warp = -1, read_epoch = -1;   // warp -2: several in this epoch
    bool pending = false;
  };
  void check_range(uint64_t address, size_t bytes, size_t alignment);
  void check_overwrite(const Word &word, uint64_t address, const Warp &warp);
  std::vector<uint8_t> data;
  std::vector<Word> words;
};

struct Launch {
  uint32_t grid[3] = {1, 1, 1};
  size_t shared_bytes = 0;
  std::vector<uint64_t> params;
  uint64_t seed = 0; // 0: each warp runs until it must wait
};

class Block {
public:
  Block(const Kernel &kernel, const Launch &launch, GlobalMemory &global, const uint32_t id[3]);
  void run();

  const Kernel &kernel;
  const Launch &launch;
  GlobalMemory &global;
  SharedMemory shared;
  uint32_t id[3];
  int arrived = 0; // warps at the barrier

private:
  std::vector<Warp> warps;
  std::mt19937_64 random;
};

// 32 threads, each with its program counter. Lanes at the lowest counter run
// first; collective instructions wait until all lanes are there.
class Warp {
public:
  Warp(Block &block, int index);

  bool done() const { return exited == ~0u; }
  void step();

  uint64_t get(const Operand &operand, int lane) const {
    switch (operand.kind) {
    case OperandKind::reg:
      return registers[operand.reg][lane];
    case OperandKind::special:
      return special(static_cast<Special>(operand.value), lane);
    default:
      return operand.value;
    }
  }
  void set(const Operand &operand, int lane, uint64_t value) {
    if (operand.kind == OperandKind::reg)
      registers[operand.reg][lane] = value;
  }
  uint64_t address(const Operand &operand, int lane) const {
    return operand.value + (operand.reg < 0 ? 0 : registers[operand.reg][lane]);
  }
  // Registers that point to shared memory may have 32 bits.
  uint32_t shared_address(const Operand &operand, int lane) const {
    return static_cast<uint32_t>(address(operand, lane));
  }
  void branch(const Instruction &instruction, uint32_t lanes);
  void exit(uint32_t lanes) { exited |= lanes; }
  void copy_async(int lane, uint64_t shared, uint64_t global, int bytes, int valid);
  void commit(uint32_t lanes);
  void wait(uint32_t lanes, size_t pending);

  Block &block;
  int index;
  int epoch = 0;        // barriers passed
  bool waiting = false; // at a barrier

private:
  struct Copy {
    uint64_t shared, global;
    int bytes, valid;
  };
  uint64_t special(Special which, int lane) const;

  std::vector<std::array<uint64_t, 32>> registers;
  std::array<uint32_t, 32> counters{};
  uint32_t exited = 0, parked = 0;
  std::array<std::vector<Copy>, 32> open;               // not yet committed
  std::array<std::deque<std::vector<Copy>>, 32> groups; // committed, in order
};

// Runs every block of the grid; throws Error at the first fault.
void launch(const Module &module, const std::string &kernel, const Launch &launch,
            GlobalMemory &global);

} // namespace ptxemu
