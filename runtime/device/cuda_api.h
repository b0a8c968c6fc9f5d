// The few functions of NVIDIA's driver that the runtime calls, opened at run
// time: neither the toolkit nor its headers are needed to build.
#pragma once

#include "runtime/base/status.h"
#include <cstddef>
#include <cstdint>

namespace attn {

// The driver's ABI: results and devices are ints, device addresses 64-bit,
// everything else an opaque pointer.
using CuResult = int;
using CuDevice = int;
using CuPointer = unsigned long long;
using CuContext = struct CuContextOpaque *;
using CuModule = struct CuModuleOpaque *;
using CuFunction = struct CuFunctionOpaque *;
using CuStream = struct CuStreamOpaque *;

enum : int {
  kCuErrorNoDevice = 100,
  kCuAttributeMaxThreadsPerBlock = 1,
  kCuAttributeMultiprocessors = 16,
  kCuAttributeMajor = 75,
  kCuAttributeMinor = 76,
  kCuAttributeMaxSharedOptin = 97,
  kCuFunctionMaxDynamicShared = 8,
  kCuJitErrorLog = 5,
  kCuJitErrorLogBytes = 6
};

// A tensor as bulk copies see it; opaque to everyone but the driver and the GPU.
struct alignas(64) CuTensorMap {
  unsigned char bytes[128];
};

enum : int {
  kCuTensorUint8 = 0,
  kCuTensorFloat16 = 6,
  kCuTensorFloat32 = 7,
  kCuTensorBfloat16 = 9,
  kCuTensorPromoteTo256Bytes = 3
};

struct CudaApi {
  CuResult (*init)(unsigned flags);
  CuResult (*driver_version)(int *version);
  CuResult (*device_count)(int *count);
  CuResult (*device_get)(CuDevice *device, int ordinal);
  CuResult (*device_name)(char *name, int bytes, CuDevice device);
  CuResult (*device_attribute)(int *value, int attribute, CuDevice device);
  CuResult (*device_memory)(size_t *bytes, CuDevice device);
  CuResult (*context_retain)(CuContext *context, CuDevice device);
  CuResult (*context_release)(CuDevice device);
  CuResult (*context_set)(CuContext context);
  CuResult (*stream_create)(CuStream *stream, unsigned flags);
  CuResult (*stream_destroy)(CuStream stream);
  CuResult (*stream_synchronise)(CuStream stream);
  CuResult (*memory_allocate)(CuPointer *pointer, size_t bytes);
  CuResult (*memory_free)(CuPointer pointer);
  CuResult (*host_allocate)(void **pointer, size_t bytes, unsigned flags);
  CuResult (*host_free)(void *pointer);
  CuResult (*copy_to_device)(CuPointer to, const void *from, size_t bytes, CuStream stream);
  CuResult (*copy_to_host)(void *to, CuPointer from, size_t bytes, CuStream stream);
  CuResult (*copy_on_device)(CuPointer to, CuPointer from, size_t bytes, CuStream stream);
  CuResult (*fill32)(CuPointer to, unsigned pattern, size_t count, CuStream stream);
  CuResult (*module_load)(CuModule *module, const void *image, unsigned options, int *keys,
                          void **values);
  CuResult (*module_unload)(CuModule module);
  CuResult (*module_function)(CuFunction *function, CuModule module, const char *name);
  CuResult (*function_attribute)(CuFunction function, int attribute, int value);
  CuResult (*launch)(CuFunction function, unsigned grid_x, unsigned grid_y, unsigned grid_z,
                     unsigned block_x, unsigned block_y, unsigned block_z, unsigned shared_bytes,
                     CuStream stream, void **parameters, void **extra);
  CuResult (*error_string)(CuResult error, const char **text);
  // Null in drivers older than the GPUs that have bulk copies.
  CuResult (*tensor_map)(CuTensorMap *map, int type, uint32_t rank, void *address,
                         const uint64_t *extents, const uint64_t *strides, const uint32_t *box,
                         const uint32_t *element_strides, int interleave, int swizzle,
                         int promotion, int fill);

  // ok, or an environment failure saying what was attempted.
  Status check(CuResult result, const char *what) const;
};

// Opens libcuda.so.1 and initialises it, once per process.
Result<const CudaApi *> load_cuda();

} // namespace attn
