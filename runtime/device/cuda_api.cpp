// The driver library enters, a table of its functions leaves, or the reason
// why CUDA cannot be used on this machine.
#include "runtime/device/cuda_api.h"

#include <dlfcn.h>

namespace attn {

Status CudaApi::check(CuResult result, const char *what) const {
  if (result == 0)
    return {};
  const char *text = nullptr;
  if (error_string(result, &text) != 0 || !text)
    text = "unknown error";
  return Status::environment("cannot ", what, ": ", text, " (CUDA error ", result, ")");
}

static Status open_driver(CudaApi &api) {
  void *library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
  if (!library)
    return Status::environment("no NVIDIA driver on this machine (libcuda.so.1 is not to be "
                               "found); the cuda device needs an NVIDIA GPU and its driver");
  std::string missing;
  auto bind = [&](auto &function, const char *name) {
    function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(dlsym(library, name));
    if (!function)
      missing += concat(missing.empty() ? "" : ", ", name);
  };
  bind(api.init, "cuInit");
  bind(api.driver_version, "cuDriverGetVersion");
  bind(api.device_count, "cuDeviceGetCount");
  bind(api.device_get, "cuDeviceGet");
  bind(api.device_name, "cuDeviceGetName");
  bind(api.device_attribute, "cuDeviceGetAttribute");
  bind(api.device_memory, "cuDeviceTotalMem_v2");
  bind(api.context_retain, "cuDevicePrimaryCtxRetain");
  bind(api.context_release, "cuDevicePrimaryCtxRelease_v2");
  bind(api.context_set, "cuCtxSetCurrent");
  bind(api.stream_create, "cuStreamCreate");
  bind(api.stream_destroy, "cuStreamDestroy_v2");
  bind(api.stream_synchronise, "cuStreamSynchronize");
  bind(api.memory_allocate, "cuMemAlloc_v2");
  bind(api.memory_free, "cuMemFree_v2");
  bind(api.host_allocate, "cuMemHostAlloc");
  bind(api.host_free, "cuMemFreeHost");
  bind(api.copy_to_device, "cuMemcpyHtoDAsync_v2");
  bind(api.copy_to_host, "cuMemcpyDtoHAsync_v2");
  bind(api.copy_on_device, "cuMemcpyDtoDAsync_v2");
  bind(api.fill32, "cuMemsetD32Async");
  bind(api.module_load, "cuModuleLoadDataEx");
  bind(api.module_unload, "cuModuleUnload");
  bind(api.module_function, "cuModuleGetFunction");
  bind(api.function_attribute, "cuFuncSetAttribute");
  bind(api.launch, "cuLaunchKernel");
  bind(api.error_string, "cuGetErrorString");
  api.tensor_map = reinterpret_cast<decltype(api.tensor_map)>(
      dlsym(library, "cuTensorMapEncodeTiled"));
  if (!missing.empty())
    return Status::environment("the NVIDIA driver is too old: it lacks ", missing);
  CuResult result = api.init(0);
  if (result == kCuErrorNoDevice)
    return Status::environment("the NVIDIA driver finds no GPU on this machine");
  return api.check(result, "initialise the NVIDIA driver");
}

Result<const CudaApi *> load_cuda() {
  struct Driver {
    CudaApi api = {};
    Status status = open_driver(api);
  };
  static const Driver driver; // never unloaded: drivers keep threads
  if (!driver.status.ok())
    return driver.status;
  return &driver.api;
}

} // namespace attn
