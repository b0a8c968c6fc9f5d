// Runs kernels of a parsed module on the CPU: one block of threads at a time,
// warps interleaved and copies landing at random, hazards reported as errors.
#pragma once

#include "tests/ptxemu/barriers.h"
#include "tests/ptxemu/shared_memory.h"

#include <array>
#include <deque>
#include <functional>
#include <random>
#include <utility>

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

// A tensor in global memory as bulk copies see it; dims from the innermost.
struct TensorMap {
  uint64_t address = 0;
  uint32_t element_bytes = 2, swizzle_bytes = 0; // 0: none
  std::vector<uint64_t> dims, strides;           // strides in bytes
  std::vector<uint32_t> box;
};

struct Launch {
  uint32_t grid[3] = {1, 1, 1};
  size_t shared_bytes = 0;
  std::vector<uint64_t> params;
  std::map<size_t, TensorMap> maps; // by index of the parameter that holds them
  uint64_t seed = 0;                // 0: each warp runs until it must wait
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
  int64_t free_registers; // what setmaxnreg may hand out
  Barriers barriers;

  // Starts a bulk copy that lands at some later time.
  void start_bulk_copy(const TensorMap &map, uint64_t shared, std::vector<int32_t> coordinates,
                       uint64_t mbarrier, const Access &access);

private:
  struct BulkCopy {
    const TensorMap *map;
    uint64_t shared, mbarrier;
    std::vector<int32_t> coordinates;
    VectorClock clock; // of who started it
  };
  void land_bulk_copy(size_t index);

  std::vector<Warp> warps;
  std::vector<BulkCopy> copies;
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
      if (in_flight[operand.reg])
        throw Error("reads a register of a product in flight");
      touched[operand.reg] = true;
      return registers[operand.reg][lane];
    case OperandKind::special:
      return special(static_cast<Special>(operand.value), lane);
    default:
      return operand.value;
    }
  }
  void set(const Operand &operand, int lane, uint64_t value) {
    if (operand.kind != OperandKind::reg)
      return;
    if (in_flight[operand.reg])
      throw Error("writes a register of a product in flight");
    registers[operand.reg][lane] = value;
    touched[operand.reg] = true;
  }
  uint64_t address(const Operand &operand, int lane) const {
    return operand.value + (operand.reg < 0 ? 0 : registers[operand.reg][lane]);
  }
  // Registers that point to shared memory may have 32 bits.
  uint32_t shared_address(const Operand &operand, int lane) const {
    return static_cast<uint32_t>(address(operand, lane));
  }
  void branch(const Instruction &instruction, uint32_t lanes);
  void repeat() { // the collective instruction that is running
    for (uint32_t &counter : counters)
      --counter;
  }
  void exit(uint32_t lanes) { exited |= lanes; }
  void copy_async(int lane, uint64_t shared, uint64_t global, int bytes, int valid);
  void commit(uint32_t lanes);
  void wait(uint32_t lanes, size_t pending);

  // A product of this warp's 16 rows; see wgmma.cpp.
  struct Product {
    const Instruction *instruction;
    uint64_t a, b; // descriptors
    bool accumulate;
  };
  void start_product(const Product &product);
  void commit_products() {
    product_groups.push_back(std::exchange(open_products, {}));
    fenced = false;
  }
  void wait_products(size_t pending);
  void fence_products() {
    std::fill(touched.begin(), touched.end(), false);
    fenced = true;
  }

  Access access() const { return {static_cast<size_t>(index), clock}; }
  // Others may learn of what was done so far: what comes next is later.
  void publish() { clock.set(index, clock.of(index) + 1); }
  void acquire(const VectorClock &other) { clock.join(other); }
  // Gives way to others until `ready` holds.
  void stall(std::function<bool()> ready) { stalled = std::move(ready); }
  bool can_run() const { return !done() && !waiting && (!stalled || stalled()); }

  Block &block;
  int index;
  VectorClock clock;
  bool waiting = false; // at a barrier
  int64_t max_registers;
  std::function<bool()> stalled; // set: runs again when it holds

private:
  struct Copy {
    uint64_t shared, global;
    int bytes, valid;
  };
  uint64_t special(Special which, int lane) const;

  void run_product(const Product &product, bool only_check);

  std::vector<std::array<uint64_t, 32>> registers;
  std::vector<char> in_flight;       // by register: a product will write or still reads it
  mutable std::vector<char> touched; // by register: since the last wgmma.fence
  bool fenced = false;               // since the last group of products
  std::vector<Product> open_products;
  std::deque<std::vector<Product>> product_groups;
  std::array<uint32_t, 32> counters{};
  uint32_t exited = 0, parked = 0;
  std::array<std::vector<Copy>, 32> open;               // not yet committed
  std::array<std::deque<std::vector<Copy>>, 32> groups; // committed, in order
};

// Runs every block of the grid; throws Error at the first fault.
void launch(const Module &module, const std::string &kernel, const Launch &launch,
            GlobalMemory &global);

} // namespace ptxemu
