// A stand-in for NVIDIA's driver, for testing the cuda device's host code where
// there is no GPU: it is found as libcuda.so.1 through LD_LIBRARY_PATH. Work is
// put off until the stream is synchronised, as the real driver may do, so that
// a host buffer reused too early is seen. "PTX" is any text that begins with
// ".version"; its kernels are the reference kernels, run on the host.
#include "runtime/bundle/kernel_abi.h"

#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <functional>
#include <map>
#include <string>
#include <vector>

namespace {

enum { kOk = 0, kInvalidValue = 1, kOutOfMemory = 2, kInvalidPtx = 218, kNotFound = 500 };

struct Driver {
  std::map<const char *, size_t> pinned; // begin -> bytes
  std::map<char *, size_t> memory;       // device allocations
  std::vector<std::function<void()>> queue;
  int contexts = 0, streams = 0, modules = 0;

  bool is_pinned(const void *pointer) const {
    const char *at = static_cast<const char *>(pointer);
    for (auto [begin, bytes] : pinned)
      if (at >= begin && at < begin + bytes)
        return true;
    return false;
  }
  // Whether [pointer, pointer + bytes) lies in one allocation.
  bool is_memory(unsigned long long pointer, size_t bytes) const {
    char *at = reinterpret_cast<char *>(pointer);
    for (auto [begin, size] : memory)
      if (at >= begin && at + bytes <= begin + size)
        return true;
    return false;
  }
  void drain() {
    for (auto &work : queue)
      work();
    queue.clear();
  }
  // Everything must have been given back.
  ~Driver() {
    if (contexts || streams || modules || !memory.empty() || !pinned.empty())
      std::abort();
  }
};

Driver driver;

} // namespace

extern "C" {

int cuInit(unsigned) { return kOk; }
int cuDriverGetVersion(int *version) { return *version = 12040, kOk; }
int cuDeviceGetCount(int *count) { return *count = 1, kOk; }
int cuDeviceGet(int *device, int ordinal) { return *device = ordinal, kOk; }
int cuDeviceGetName(char *name, int bytes, int) {
  std::strncpy(name, "stand-in for a GPU", bytes);
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
    *value = 9;
    return kOk;
  case 76:
    *value = 0;
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
int cuStreamSynchronize(void *) { return driver.drain(), kOk; }

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

int cuModuleLoadDataEx(void **module, const void *image, unsigned options, int *keys,
                       void **values) {
  if (std::strncmp(static_cast<const char *>(image), ".version", 8) != 0) {
    for (unsigned i = 0; i < options; ++i)
      if (keys[i] == 5)
        std::strcpy(static_cast<char *>(values[i]), "line 1: expected .version");
    return kInvalidPtx;
  }
  ++driver.modules;
  return *module = &driver, kOk;
}
int cuModuleUnload(void *) { return --driver.modules, kOk; }
int cuModuleGetFunction(void **function, void *, const char *name) {
  *function = dlsym(RTLD_DEFAULT, name);
  return *function ? kOk : kNotFound;
}
int cuFuncSetAttribute(void *, int, int) { return kOk; }
// Tensor maps: refuses what the real driver refuses, and tensors that leave device
// memory. A map holds a word that launches can recognise.
unsigned fake_tensor_maps = 0;        // made so far
unsigned fake_expected_maps = 0;      // behind the pointers of a launch
constexpr unsigned kMapMark = 0x7e45; // first word of a map

int cuTensorMapEncodeTiled(void *map, int, unsigned rank, void *address, const uint64_t *extents,
                           const uint64_t *strides, const unsigned *box, const unsigned *steps, int,
                           int swizzle, int, int) {
  if (rank != 4 || reinterpret_cast<uintptr_t>(map) % 64 ||
      reinterpret_cast<uintptr_t>(address) % 16 || swizzle < 1 || swizzle > 3)
    return kInvalidValue;
  uint64_t bytes = extents[0] * 4; // the reference kernels compute in f32
  for (unsigned d = 0; d < 4; ++d) {
    if (extents[d] == 0 || box[d] == 0 || box[d] > 256 || steps[d] != 1)
      return kInvalidValue;
    if (d == 0)
      continue;
    if (strides[d - 1] % 16)
      return kInvalidValue;
    bytes += (extents[d] - 1) * strides[d - 1];
  }
  if (box[0] * 4 != 16u << swizzle || !driver.is_memory(reinterpret_cast<uintptr_t>(address), bytes))
    return kInvalidValue;
  std::memset(map, 0, 128);
  std::memcpy(map, &kMapMark, sizeof kMapMark);
  return ++fake_tensor_maps, kOk;
}

int cuLaunchKernel(void *function, unsigned tiles, unsigned heads, unsigned batch, unsigned,
                   unsigned, unsigned, unsigned, void *, void **parameters, void **) {
  // The parameters are read during the call: words and five buffers.
  std::vector<void *> pointers;
  for (int i = 0; i < 6; ++i)
    pointers.push_back(*static_cast<void **>(parameters[i]));
  for (unsigned i = 0; i < fake_expected_maps; ++i)
    if (*static_cast<unsigned *>(parameters[6 + i]) != kMapMark)
      return kInvalidValue;
  driver.queue.push_back([=] {
    alignas(64) char arena[64];
    reinterpret_cast<attn_cpu_kernel_fn>(function)(static_cast<const uint32_t *>(pointers[0]),
                                                   pointers.data() + 1, arena, 0,
                                                   tiles * heads * batch);
  });
  return kOk;
}
int cuGetErrorString(int error, const char **text) {
  *text = error == kOutOfMemory  ? "out of memory"
          : error == kInvalidPtx ? "a PTX JIT compilation failed"
          : error == kNotFound   ? "named symbol not found"
                                 : "invalid argument";
  return kOk;
}

} // extern "C"
