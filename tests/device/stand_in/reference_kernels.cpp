// A stand-in for NVIDIA's driver, for testing the cuda device's host code: "PTX" is any
// text that begins with ".version"; its kernels are the reference kernels, run on the host.
#include "driver.h"

#include "runtime/bundle/kernel_abi.h"

#include <cstring>
#include <dlfcn.h>

using namespace stand_in;

const char *const stand_in::device_name = "stand-in for a GPU";
int stand_in::compute_capability() { return 90; }

extern "C" {

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
int cuModuleGetFunction(void **function, void *, const char *name) {
  *function = dlsym(RTLD_DEFAULT, name);
  return *function ? kOk : kNotFound;
}

// A map holds a word that launches can recognise.
unsigned fake_tensor_maps = 0;        // made so far
unsigned fake_expected_maps = 0;      // behind the pointers of a launch
constexpr unsigned kMapMark = 0x7e45; // first word of a map

int cuTensorMapEncodeTiled(void *map, int, unsigned rank, void *address, const uint64_t *extents,
                           const uint64_t *strides, const unsigned *box, const unsigned *steps, int,
                           int swizzle, int, int) {
  // The reference kernels compute in f32.
  if (!is_valid_map(map, rank, address, extents, strides, box, steps, swizzle, 4))
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

} // extern "C"
