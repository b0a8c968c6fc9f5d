// Tensor maps: how kernels with bulk copies see the tensors of a launch.
#pragma once

#include "runtime/bundle/kernel_info.h"
#include "runtime/device/cuda_api.h"
#include "runtime/device/device.h"

namespace attn {

// The maps of one kernel's bindings. A map is made when its tensor is first seen and
// kept while the same allocation comes with the same strides.
class CudaTensorMaps {
public:
  // Why a driver without tensor maps cannot run the kernel, if it cannot.
  static Status check(const CudaApi &api, const KernelInfo &kernel);

  // Makes the maps of a launch where they have changed; `pointers` are those of the
  // buffers. Fails where a tensor is not aligned as bulk copies need it.
  Status update(const CudaApi &api, const KernelInfo &kernel, std::span<const uint32_t> words,
                std::span<const BufferRange> buffers, std::span<const CuPointer> pointers);

  // One for each binding that has one, in order.
  std::span<CuTensorMap> maps() { return maps_; }

private:
  // All that a map depends on.
  struct Key {
    CuPointer address = 0;
    uint64_t bytes = 0;
    uint32_t words[4] = {}, heads = 0, batch = 0;
    bool operator==(const Key &) const = default;
  };
  static Status encode(const CudaApi &api, const KernelInfo &kernel, const BindingInfo &binding,
                       const Key &key, CuTensorMap &map);

  std::vector<CuTensorMap> maps_;
  std::vector<Key> keys_;
};

} // namespace attn
