// Checks every access to shared memory; see shared_memory.h.
#include "tests/ptxemu/shared_memory.h"

#include <cstring>

namespace ptxemu {
namespace {

std::string byte(size_t word) { return "shared byte " + std::to_string(word * 4); }

std::string name(size_t agent, size_t warps) {
  return agent < warps ? "warp " + std::to_string(agent)
                       : "copies on mbarrier " + std::to_string(agent - warps);
}

} // namespace

SharedMemory::SharedMemory(size_t bytes, size_t warps)
    : data(bytes), words((bytes + 3) / 4), reads(words.size() * warps), warps(warps),
      unfenced(warps) {}

void SharedMemory::check_range(uint64_t address, size_t bytes, size_t alignment) {
  if (address + bytes > data.size() || address + bytes < address)
    throw Error("shared access to bytes " + std::to_string(address) + "+" + std::to_string(bytes) +
                " of " + std::to_string(data.size()));
  if (address % alignment)
    throw Error("shared access to " + std::to_string(address) + " is not aligned to " +
                std::to_string(alignment));
}

void SharedMemory::check_read(size_t w, const Access &access) {
  const Word &word = words[w];
  if (word.pending)
    throw Error(byte(w) + " is read before its copy has landed");
  if (word.writer == kNobody)
    throw Error(byte(w) + " is read but was never written");
  if (word.writer != access.agent && word.write_time > access.clock.of(word.writer))
    throw Error("race: " + byte(w) + " is read by " + name(access.agent, warps) +
                " without a barrier after the write of " + name(word.writer, warps));
}

void SharedMemory::check_write(size_t w, const Access &access) {
  const Word &word = words[w];
  if (word.pending)
    throw Error(byte(w) + " is written while a copy is in flight");
  if (word.writer != kNobody && word.writer != access.agent &&
      word.write_time > access.clock.of(word.writer))
    throw Error("race: " + byte(w) + " is written by " + name(word.writer, warps) + " and " +
                name(access.agent, warps) + " with no barrier between");
  for (size_t warp = 0; warp < warps; ++warp)
    if (warp != access.agent && reads[w * warps + warp] > access.clock.of(warp))
      throw Error("race: " + byte(w) + " is overwritten by " + name(access.agent, warps) +
                  " while warp " + std::to_string(warp) + " may still read it");
}

void SharedMemory::read(void *out, uint64_t address, size_t bytes, const Access &access) {
  check_range(address, bytes, bytes);
  for (size_t w = address / 4; w <= (address + bytes - 1) / 4; ++w) {
    check_read(w, access);
    reads[w * warps + access.agent] = access.time();
  }
  std::memcpy(out, data.data() + address, bytes);
}

void SharedMemory::write(const void *in, uint64_t address, size_t bytes, const Access &access) {
  check_range(address, bytes, bytes);
  for (size_t w = address / 4; w <= (address + bytes - 1) / 4; ++w) {
    check_write(w, access);
    if (!words[w].unfenced)
      unfenced[access.agent].push_back(w);
    words[w] = {static_cast<uint16_t>(access.agent), false, true, access.time()};
  }
  std::memcpy(data.data() + address, in, bytes);
}

void SharedMemory::begin_copy(uint64_t address, size_t bytes, const Access &access) {
  check_range(address, bytes, bytes);
  for (size_t w = address / 4; w <= (address + bytes - 1) / 4; ++w) {
    check_write(w, access);
    words[w].pending = true;
  }
  std::memset(data.data() + address, 0xff, bytes); // NaN until it lands
}

void SharedMemory::land_copy(const void *in, uint64_t address, size_t bytes, const Access &access) {
  for (size_t w = address / 4; w <= (address + bytes - 1) / 4; ++w)
    words[w] = {static_cast<uint16_t>(access.agent), false, false, access.time()};
  std::memcpy(data.data() + address, in, bytes);
}

void SharedMemory::read_async(void *out, uint64_t address, size_t bytes, const Access &access) {
  check_range(address, bytes, bytes);
  for (size_t w = address / 4; w <= (address + bytes - 1) / 4; ++w)
    if (words[w].unfenced)
      throw Error(byte(w) + " is read by a product without fence.proxy.async after the write of " +
                  name(words[w].writer, warps));
  read(out, address, bytes, access);
}

void SharedMemory::begin_bulk_copy(uint64_t address, size_t bytes, const Access &access) {
  check_range(address, bytes, 16);
  for (size_t w = address / 4; w <= (address + bytes - 1) / 4; ++w)
    if (words[w].unfenced)
      throw Error(byte(w) +
                  " is overwritten by a copy without fence.proxy.async after the write of " +
                  name(words[w].writer, warps));
  for (uint64_t at = address; at < address + bytes; at += 16)
    begin_copy(at, 16, access);
}

void SharedMemory::fence_async(size_t agent) {
  for (uint32_t w : unfenced[agent])
    if (words[w].writer == agent)
      words[w].unfenced = false;
  unfenced[agent].clear();
}

} // namespace ptxemu
