// Schedules warps and checks memory accesses; see machine.h.
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

//===-- Shared memory ---------------------------------------------------------===//

SharedMemory::SharedMemory(size_t bytes) : data(bytes), words((bytes + 3) / 4) {}

void SharedMemory::check_range(uint64_t address, size_t bytes, size_t alignment) {
  if (address + bytes > data.size() || address + bytes < address)
    throw Error("shared access to bytes " + std::to_string(address) + "+" + std::to_string(bytes) +
                " of " + std::to_string(data.size()));
  if (address % alignment)
    throw Error("shared access to " + std::to_string(address) + " is not aligned to " +
                std::to_string(alignment));
}

void SharedMemory::check_overwrite(const Word &word, uint64_t address, const Warp &warp) {
  if (word.pending)
    throw Error("shared byte " + std::to_string(address) + " is written while a copy is in flight");
  bool by_other = word.write_warp >= 0 && word.write_warp != warp.index;
  if (by_other && word.write_epoch >= warp.epoch)
    throw Error("race: shared byte " + std::to_string(address) + " is written by warps " +
                std::to_string(word.write_warp) + " and " + std::to_string(warp.index) +
                " with no barrier between");
  bool read_by_other =
      word.read_warp == -2 || (word.read_warp >= 0 && word.read_warp != warp.index);
  if (read_by_other && word.read_epoch >= warp.epoch)
    throw Error("race: shared byte " + std::to_string(address) + " is overwritten by warp " +
                std::to_string(warp.index) + " while others read it");
}

void SharedMemory::read(void *out, uint64_t address, size_t bytes, const Warp &warp) {
  check_range(address, bytes, bytes);
  for (uint64_t w = address / 4; w <= (address + bytes - 1) / 4; ++w) {
    Word &word = words[w];
    if (word.pending)
      throw Error("shared byte " + std::to_string(address) + " is read before its copy has landed");
    if (word.write_warp < 0)
      throw Error("shared byte " + std::to_string(address) + " is read but was never written");
    if (word.write_warp != warp.index && word.write_epoch >= warp.epoch)
      throw Error("race: shared byte " + std::to_string(address) + " is read by warp " +
                  std::to_string(warp.index) + " without a barrier after the write of warp " +
                  std::to_string(word.write_warp));
    if (word.read_epoch < warp.epoch) {
      word.read_epoch = warp.epoch;
      word.read_warp = warp.index;
    } else if (word.read_epoch == warp.epoch && word.read_warp != warp.index) {
      word.read_warp = -2;
    }
  }
  std::memcpy(out, data.data() + address, bytes);
}

void SharedMemory::write(const void *in, uint64_t address, size_t bytes, const Warp &warp) {
  check_range(address, bytes, bytes);
  for (uint64_t w = address / 4; w <= (address + bytes - 1) / 4; ++w) {
    check_overwrite(words[w], address, warp);
    words[w].write_warp = warp.index;
    words[w].write_epoch = warp.epoch;
  }
  std::memcpy(data.data() + address, in, bytes);
}

void SharedMemory::begin_copy(uint64_t address, size_t bytes, const Warp &warp) {
  check_range(address, bytes, bytes);
  for (uint64_t w = address / 4; w <= (address + bytes - 1) / 4; ++w) {
    check_overwrite(words[w], address, warp);
    words[w].pending = true;
  }
  std::memset(data.data() + address, 0xff, bytes); // NaN until it lands
}

void SharedMemory::land_copy(const void *in, uint64_t address, size_t bytes, const Warp &warp) {
  for (uint64_t w = address / 4; w <= (address + bytes - 1) / 4; ++w) {
    words[w].pending = false;
    words[w].write_warp = warp.index;
    words[w].write_epoch = warp.epoch;
  }
  std::memcpy(data.data() + address, in, bytes);
}

//===-- Warps -------------------------------------------------------------------===//

Warp::Warp(Block &block, int index)
    : block(block), index(index), registers(block.kernel.registers) {}

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
  block.shared.begin_copy(shared, bytes, *this);
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
        block.shared.land_copy(bytes, copy.shared, copy.bytes, *this);
      }
      groups[lane].pop_front();
    }
}

//===-- Blocks ------------------------------------------------------------------===//

Block::Block(const Kernel &kernel, const Launch &launch, GlobalMemory &global, const uint32_t id[3])
    : kernel(kernel), launch(launch), global(global),
      shared(launch.shared_bytes), id{id[0], id[1], id[2]},
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
      if (!warp.done() && !warp.waiting)
        ready.push_back(&warp);
    }
    if (live == 0)
      return;
    if (ready.empty()) {
      if (live != static_cast<int>(warps.size()))
        throw Error("deadlock: a barrier waits for warps that have exited");
      for (Warp &warp : warps) {
        warp.waiting = false;
        ++warp.epoch;
      }
      continue;
    }
    Warp &warp = launch.seed ? *ready[random() % ready.size()] : *ready[0];
    size_t slice = launch.seed ? 1 + random() % 200 : ~size_t(0);
    for (size_t i = 0; i < slice && !warp.done() && !warp.waiting; ++i)
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
