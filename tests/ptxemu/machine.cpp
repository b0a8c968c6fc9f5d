// Schedules warps and lands copies; see machine.h.
#include "tests/ptxemu/machine.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace ptxemu {

//===-- Global memory ---------------------------------------------------------===//

uint64_t GlobalMemory::add(void *data, size_t bytes, bool writable, size_t skew) {
  buffers.push_back({static_cast<uint8_t *>(data), bytes, writable, skew});
  return (static_cast<uint64_t>(buffers.size()) << 36) + skew;
}

uint8_t *GlobalMemory::at(uint64_t address, size_t bytes, bool write) {
  size_t index = (address >> 36) - 1;
  if (index >= buffers.size())
    throw Error("global address " + std::to_string(address) + " is in no buffer");
  const Buffer &buffer = buffers[index];
  uint64_t offset = (address & ((1ull << 36) - 1)) - buffer.skew;
  if (offset + bytes > buffer.bytes || offset + bytes < offset)
    throw Error("global access to bytes " + std::to_string(static_cast<int64_t>(offset)) + "+" +
                std::to_string(bytes) + " of buffer " + std::to_string(index) + ", which has " +
                std::to_string(buffer.bytes));
  if (address % bytes)
    throw Error("global access of " + std::to_string(bytes) + " bytes is misaligned");
  if (write && !buffer.writable)
    throw Error("store to read-only buffer " + std::to_string(index));
  return buffer.data + offset;
}

//===-- Warps -------------------------------------------------------------------===//

Warp::Warp(Block &block, int index)
    : block(block), index(index), max_registers(65536 / block.kernel.threads / 8 * 8),
      registers(block.kernel.registers), in_flight(registers.size()), touched(registers.size()) {
  clock.set(index, 1);
}

uint64_t Warp::special(Special which, int lane) const {
  switch (which) {
  case Special::tid_x:
    return index * 32 + lane;
  case Special::ctaid_x:
    return block.id[0];
  case Special::ctaid_y:
    return block.id[1];
  case Special::ctaid_z:
    return block.id[2];
  case Special::ntid_x:
    return block.kernel.threads;
  case Special::nctaid_x:
    return block.launch.grid[0];
  case Special::nctaid_y:
    return block.launch.grid[1];
  case Special::nctaid_z:
    return block.launch.grid[2];
  }
  return 0;
}

void Warp::step() {
  uint32_t next = ~0u;
  for (int lane = 0; lane < 32; ++lane)
    if (!((exited | parked) >> lane & 1))
      next = std::min(next, counters[lane]);
  if (next == ~0u)
    throw Error("deadlock: the lanes of a warp wait at different collective instructions");
  uint32_t lanes = 0;
  for (int lane = 0; lane < 32; ++lane)
    if (!(exited >> lane & 1) && counters[lane] == next)
      lanes |= 1u << lane;
  const Instruction &instruction = block.kernel.code.at(next);
  if (instruction.collective && lanes != ~0u) {
    parked |= lanes; // until the others come
    return;
  }
  parked &= ~lanes;
  uint32_t enabled = lanes;
  if (instruction.guard >= 0)
    for (int lane = 0; lane < 32; ++lane)
      if ((registers[instruction.guard][lane] & 1) == instruction.guard_negated)
        enabled &= ~(1u << lane);
  for (int lane = 0; lane < 32; ++lane)
    if (lanes >> lane & 1)
      ++counters[lane];
  try {
    if (enabled)
      instruction.handler(*this, instruction, enabled);
  } catch (const Error &error) {
    throw Error("ptx line " + std::to_string(instruction.line) + " (" + instruction.opcode +
                "): " + error.what());
  }
}

void Warp::branch(const Instruction &instruction, uint32_t lanes) {
  for (int lane = 0; lane < 32; ++lane)
    if (lanes >> lane & 1)
      counters[lane] = instruction.operands[0].value;
}

void Warp::copy_async(int lane, uint64_t shared, uint64_t global, int bytes, int valid) {
  if (valid)
    block.global.at(global, bytes, false);
  block.shared.begin_copy(shared, bytes, access());
  open[lane].push_back({shared, global, bytes, valid});
}

void Warp::commit(uint32_t lanes) {
  for (int lane = 0; lane < 32; ++lane)
    if (lanes >> lane & 1)
      groups[lane].push_back(std::exchange(open[lane], {}));
}

void Warp::wait(uint32_t lanes, size_t pending) {
  for (int lane = 0; lane < 32; ++lane)
    while (lanes >> lane & 1 && groups[lane].size() > pending) {
      for (const Copy &copy : groups[lane].front()) {
        uint8_t bytes[16] = {};
        if (copy.valid)
          std::memcpy(bytes, block.global.at(copy.global, copy.bytes, false), copy.valid);
        block.shared.land_copy(bytes, copy.shared, copy.bytes, access());
      }
      groups[lane].pop_front();
    }
}

//===-- Blocks ------------------------------------------------------------------===//

Block::Block(const Kernel &kernel, const Launch &launch, GlobalMemory &global, const uint32_t id[3])
    : kernel(kernel), launch(launch), global(global),
      shared(launch.shared_bytes, kernel.threads / 32), id{id[0], id[1], id[2]},
      free_registers(65536 - 65536 / kernel.threads / 8 * 8 * kernel.threads),
      barriers(kernel.threads / 32),
      random(launch.seed * 1000003 + id[0] * 8191 + id[1] * 131 + id[2]) {
  for (uint32_t w = 0; w < kernel.threads / 32; ++w)
    warps.emplace_back(*this, w);
}

void Block::run() {
  while (true) {
    std::vector<Warp *> ready;
    int live = 0;
    for (Warp &warp : warps) {
      live += !warp.done();
      if (warp.can_run())
        ready.push_back(&warp);
    }
    if (live == 0 && !copies.empty())
      throw Error("the block ends while copies are in flight");
    if (live == 0)
      return;
    // Copies land in any order, early or late.
    if (!copies.empty() && (ready.empty() || (launch.seed && random() % 4 == 0))) {
      land_bulk_copy(launch.seed ? random() % copies.size() : 0);
      continue;
    }
    if (ready.empty()) {
      std::string who;
      for (Warp &warp : warps)
        if (!warp.done())
          who += " " + std::to_string(warp.index);
      throw Error("deadlock: warps" + who + " wait at barriers that nothing will complete");
    }
    Warp &warp = launch.seed ? *ready[random() % ready.size()] : *ready[0];
    warp.stalled = nullptr;
    size_t slice = launch.seed ? 1 + random() % 200 : ~size_t(0);
    for (size_t i = 0; i < slice && !warp.done() && !warp.waiting && !warp.stalled; ++i)
      warp.step();
  }
}

void launch(const Module &module, const std::string &name, const Launch &launch,
            GlobalMemory &global) {
  auto found = module.kernels.find(name);
  if (found == module.kernels.end())
    throw Error("no kernel named " + name);
  const Kernel &kernel = found->second;
  if (launch.params.size() != static_cast<size_t>(kernel.params))
    throw Error(name + " takes " + std::to_string(kernel.params) + " parameters, not " +
                std::to_string(launch.params.size()));
  if (kernel.threads == 0 || kernel.threads % 32)
    throw Error(name + " has no .reqntid of whole warps");
  for (uint32_t z = 0; z < launch.grid[2]; ++z)
    for (uint32_t y = 0; y < launch.grid[1]; ++y)
      for (uint32_t x = 0; x < launch.grid[0]; ++x) {
        uint32_t id[3] = {x, y, z};
        Block(kernel, launch, global, id).run();
      }
}

} // namespace ptxemu
