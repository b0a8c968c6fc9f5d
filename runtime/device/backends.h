// The devices that open_device() and list_devices() know. A new backend adds
// its pair of functions here and to the lists in device.cpp.
#pragma once

#include "runtime/device/device.h"

namespace attn {

// The index of "vulkan" and "cuda" without a number: the most capable device.
inline constexpr uint32_t kAnyIndex = UINT32_MAX;

Result<std::unique_ptr<Device>> open_cpu_device(const DeviceOptions &options);
std::vector<DeviceListing> list_cpu_devices(const DeviceOptions &options);

Result<std::unique_ptr<Device>> open_vulkan_device(uint32_t index, const DeviceOptions &options);
std::vector<DeviceListing> list_vulkan_devices(const DeviceOptions &options);

Result<std::unique_ptr<Device>> open_cuda_device(uint32_t index, const DeviceOptions &options);
std::vector<DeviceListing> list_cuda_devices(const DeviceOptions &options);

} // namespace attn
