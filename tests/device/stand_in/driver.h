// What the stand-ins for NVIDIA's driver share. A stand-in is found as libcuda.so.1
// through LD_LIBRARY_PATH where there is no GPU; driver.cpp has memory, copies and the
// stream, and a second file what modules are and how kernels run. Work is put off until
// the stream is synchronised, as the real driver may do, so that a host buffer that is
// used again too early is seen.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

namespace stand_in {

enum {
  kOk = 0,
  kInvalidValue = 1,
  kOutOfMemory = 2,
  kInvalidImage = 200,
  kInvalidPtx = 218,
  kNotFound = 500,
  kLaunchFailed = 719
};

struct Driver {
  std::map<const char *, size_t> pinned; // begin -> bytes
  std::map<char *, size_t> memory;       // device allocations
  std::vector<std::function<void()>> queue;
  int contexts = 0, streams = 0, modules = 0;
  std::string fault; // the first of a kernel; every later call fails

  bool is_pinned(const void *pointer) const;
  // The allocation that holds [pointer, pointer + bytes), or the end.
  std::map<char *, size_t>::const_iterator find(unsigned long long pointer, size_t bytes) const;
  bool is_memory(unsigned long long pointer, size_t bytes) const {
    return find(pointer, bytes) != memory.end();
  }
  int drain();
  // Everything must have been given back.
  ~Driver();
};

extern Driver driver;

// What a tensor map must be for any driver; `element` is the size of its elements in bytes.
bool is_valid_map(const void *map, unsigned rank, const void *address, const uint64_t *extents,
                  const uint64_t *strides, const unsigned *box, const unsigned *steps, int swizzle,
                  unsigned element);

// Of the stand-in that this is part of.
extern const char *const device_name;
int compute_capability();

} // namespace stand_in
