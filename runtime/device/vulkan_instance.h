// Finds Vulkan devices: opens the loader, makes an instance, and judges which
// physical devices can run kernels and why the others cannot.
#pragma once

#include "runtime/base/status.h"
#include "runtime/device/device.h"
#include <memory>
#include <mutex>
#include <string>
#include <vector>
#include <volk.h>

namespace attn {

const char *vulkan_result_name(VkResult result);
// ok, or an environment failure saying what was attempted.
Status vulkan_status(VkResult result, const char *what);

// An instance, with the validation layer where that is asked for.
class VulkanInstance {
public:
  ~VulkanInstance();
  VulkanInstance(const VulkanInstance &) = delete;
  VulkanInstance &operator=(const VulkanInstance &) = delete;
  static Result<std::unique_ptr<VulkanInstance>> create(bool validation);

  VkInstance handle() const { return instance_; }
  uint32_t version() const { return version_; }
  Result<std::vector<VkPhysicalDevice>> devices() const;
  // The first message of the validation layer so far as a failure. It stays.
  Status validation_status();

private:
  VulkanInstance() = default;
  static VkBool32 VKAPI_PTR on_message(VkDebugUtilsMessageSeverityFlagBitsEXT severity,
                                       VkDebugUtilsMessageTypeFlagsEXT types,
                                       const VkDebugUtilsMessengerCallbackDataEXT *data,
                                       void *self);
  VkInstance instance_ = VK_NULL_HANDLE;
  VkDebugUtilsMessengerEXT messenger_ = VK_NULL_HANDLE;
  PFN_vkDestroyDebugUtilsMessengerEXT destroy_messenger_ = nullptr;
  uint32_t version_ = 0;
  std::mutex message_mutex_;
  std::string first_message_;
  uint32_t messages_ = 0;
};

// The subgroup size that kernels with kFeatureVkSubgroup are compiled for: the bit
// stands for full subgroups of this many invocations on demand, with ballot.
inline constexpr uint32_t kVulkanSubgroup = 8;

// The features of a comma-separated list among those `present`; "none" is an empty
// list. A name that is no feature of Vulkan devices is a `usage` failure.
Result<uint32_t> restrict_vulkan_features(uint32_t present, std::string_view names);

// Everything about a physical device that the runtime decides on.
struct VulkanDeviceTraits {
  DeviceInfo info;
  VkPhysicalDeviceType type = VK_PHYSICAL_DEVICE_TYPE_OTHER;
  uint32_t queue_family = 0;
  uint32_t max_groups[3] = {};
  uint64_t max_allocation = 0;
  // What to enable when the logical device is made; the feature structures
  // point at each other, hence no copies.
  std::vector<const char *> extensions;
  VkPhysicalDeviceFeatures2 features = {};
  VkPhysicalDevice16BitStorageFeatures storage16 = {};
  VkPhysicalDevice8BitStorageFeatures storage8 = {};
  VkPhysicalDeviceShaderFloat16Int8Features float16_int8 = {};
  VkPhysicalDeviceShaderIntegerDotProductFeatures integer_dot = {};
  VkPhysicalDeviceSubgroupSizeControlFeatures subgroup_size = {};

  VulkanDeviceTraits() = default;
  VulkanDeviceTraits(const VulkanDeviceTraits &) = delete;
  VulkanDeviceTraits &operator=(const VulkanDeviceTraits &) = delete;
};

// Fills `traits`; a failure says why the device cannot be used, all reasons
// in one message. The name is filled either way.
Status examine_vulkan_device(VkPhysicalDevice physical, uint32_t index, uint32_t instance_version,
                             VulkanDeviceTraits &traits);

} // namespace attn
