// The part of a stand-in for NVIDIA's driver that does not depend on what kernels are:
// devices, contexts, one stream, memory and copies.
#include "driver.h"

#include <cstdlib>
#include <cstring>

using namespace stand_in;

namespace stand_in {

Driver driver;

bool Driver::is_pinned(const void *pointer) const {
  const char *at = static_cast<const char *>(pointer);
  for (auto [begin, bytes] : pinned)
    if (at >= begin && at < begin + bytes)
      return true;
  return false;
}

std::map<char *, size_t>::const_iterator Driver::find(unsigned long long pointer,
                                                      size_t bytes) const {
  char *at = reinterpret_cast<char *>(pointer);
  auto next = memory.upper_bound(at);
  if (next == memory.begin())
    return memory.end();
  --next;
  return at + bytes <= next->first + next->second ? next : memory.end();
}

int Driver::drain() {
  for (auto &work : queue)
    if (fault.empty())
      work();
  queue.clear();
  return fault.empty() ? kOk : kLaunchFailed;
}

Driver::~Driver() {
  if (contexts || streams || modules || !memory.empty() || !pinned.empty())
    std::abort();
}

bool is_valid_map(const void *map, unsigned rank, const void *address, const uint64_t *extents,
                  const uint64_t *strides, const unsigned *box, const unsigned *steps, int swizzle,
                  unsigned element) {
  if (rank != 4 || reinterpret_cast<uintptr_t>(map) % 64 ||
      reinterpret_cast<uintptr_t>(address) % 16 || swizzle < 1 || swizzle > 3)
    return false;
  uint64_t bytes = extents[0] * element;
  for (unsigned d = 0; d < 4; ++d) {
    if (extents[d] == 0 || box[d] == 0 || box[d] > 256 || steps[d] != 1)
      return false;
    if (d == 0)
      continue;
    if (strides[d - 1] % 16)
      return false;
    bytes += (extents[d] - 1) * strides[d - 1];
  }
  return box[0] * element == 16u << swizzle &&
         driver.is_memory(reinterpret_cast<uintptr_t>(address), bytes);
}

} // namespace stand_in

extern "C" {

int cuInit(unsigned) { return kOk; }
int cuDriverGetVersion(int *version) { return *version = 12040, kOk; }
int cuDeviceGetCount(int *count) { return *count = 1, kOk; }
int cuDeviceGet(int *device, int ordinal) { return *device = ordinal, kOk; }
int cuDeviceGetName(char *name, int bytes, int) {
  std::strncpy(name, device_name, bytes);
  return kOk;
}
int cuDeviceGetAttribute(int *value, int attribute, int) {
  switch (attribute) {
  case 1:
    *value = 1024;
    return kOk;
  case 16:
    *value = 4;
    return kOk;
  case 75:
    *value = compute_capability() / 10;
    return kOk;
  case 76:
    *value = compute_capability() % 10;
    return kOk;
  case 97:
    *value = 227 << 10;
    return kOk;
  default:
    return kInvalidValue;
  }
}
int cuDeviceTotalMem_v2(size_t *bytes, int) { return *bytes = size_t(1) << 30, kOk; }
int cuDevicePrimaryCtxRetain(void **context, int) {
  ++driver.contexts;
  return *context = &driver, kOk;
}
int cuDevicePrimaryCtxRelease_v2(int) { return --driver.contexts, kOk; }
int cuCtxSetCurrent(void *context) { return context == &driver ? kOk : kInvalidValue; }
int cuStreamCreate(void **stream, unsigned) {
  ++driver.streams;
  return *stream = &driver.queue, kOk;
}
int cuStreamDestroy_v2(void *) {
  driver.drain();
  return --driver.streams, kOk;
}
int cuStreamSynchronize(void *) { return driver.drain(); }

int cuMemAlloc_v2(unsigned long long *pointer, size_t bytes) {
  if (bytes > size_t(1) << 30)
    return kOutOfMemory;
  char *memory = static_cast<char *>(std::malloc(bytes));
  std::memset(memory, 0xcd, bytes); // device memory starts as anything
  driver.memory[memory] = bytes;
  return *pointer = reinterpret_cast<unsigned long long>(memory), kOk;
}
int cuMemFree_v2(unsigned long long pointer) {
  char *memory = reinterpret_cast<char *>(pointer);
  if (!driver.memory.erase(memory))
    return kInvalidValue;
  std::free(memory);
  return kOk;
}
int cuMemHostAlloc(void **pointer, size_t bytes, unsigned) {
  *pointer = std::malloc(bytes);
  driver.pinned[static_cast<char *>(*pointer)] = bytes;
  return kOk;
}
int cuMemFreeHost(void *pointer) {
  driver.pinned.erase(static_cast<char *>(pointer));
  std::free(pointer);
  return kOk;
}
int cuMemcpyHtoDAsync_v2(unsigned long long to, const void *from, size_t bytes, void *) {
  if (!driver.is_memory(to, bytes))
    return kInvalidValue;
  if (driver.is_pinned(from)) { // read when its turn comes
    driver.queue.push_back([=] { std::memcpy(reinterpret_cast<void *>(to), from, bytes); });
    return kOk;
  }
  std::string copy(static_cast<const char *>(from), bytes);
  driver.queue.push_back(
      [=] { std::memcpy(reinterpret_cast<void *>(to), copy.data(), copy.size()); });
  return kOk;
}
int cuMemcpyDtoHAsync_v2(void *to, unsigned long long from, size_t bytes, void *) {
  if (!driver.is_memory(from, bytes))
    return kInvalidValue;
  driver.queue.push_back([=] { std::memcpy(to, reinterpret_cast<void *>(from), bytes); });
  return kOk;
}
int cuMemcpyDtoDAsync_v2(unsigned long long to, unsigned long long from, size_t bytes, void *) {
  if (!driver.is_memory(to, bytes) || !driver.is_memory(from, bytes))
    return kInvalidValue;
  driver.queue.push_back(
      [=] { std::memcpy(reinterpret_cast<void *>(to), reinterpret_cast<void *>(from), bytes); });
  return kOk;
}
int cuMemsetD32Async(unsigned long long to, unsigned pattern, size_t count, void *) {
  if (!driver.is_memory(to, 4 * count) || to % 4)
    return kInvalidValue;
  driver.queue.push_back([=] {
    for (size_t i = 0; i < count; ++i)
      std::memcpy(reinterpret_cast<char *>(to) + 4 * i, &pattern, 4);
  });
  return kOk;
}
int cuModuleUnload(void *) { return --driver.modules, kOk; }
int cuFuncSetAttribute(void *, int, int) { return kOk; }
int cuGetErrorString(int error, const char **text) {
  *text = error == kOutOfMemory    ? "out of memory"
          : error == kInvalidImage ? "device kernel image is invalid"
          : error == kInvalidPtx   ? "a PTX JIT compilation failed"
          : error == kNotFound     ? "named symbol not found"
          : error == kLaunchFailed ? driver.fault.c_str()
                                   : "invalid argument";
  return kOk;
}

} // extern "C"
