// Loader and drivers enter; an instance and the traits of each physical
// device, or the reasons against it, leave.
#include "runtime/device/vulkan_instance.h"

#include <algorithm>
#include <cstring>

namespace attn {

const char *vulkan_result_name(VkResult result) {
  switch (result) {
  case VK_SUCCESS:
    return "success";
  case VK_NOT_READY:
    return "not ready";
  case VK_TIMEOUT:
    return "timeout";
  case VK_ERROR_OUT_OF_HOST_MEMORY:
    return "out of host memory";
  case VK_ERROR_OUT_OF_DEVICE_MEMORY:
    return "out of device memory";
  case VK_ERROR_INITIALIZATION_FAILED:
    return "initialisation failed";
  case VK_ERROR_DEVICE_LOST:
    return "device lost";
  case VK_ERROR_LAYER_NOT_PRESENT:
    return "layer not present";
  case VK_ERROR_EXTENSION_NOT_PRESENT:
    return "extension not present";
  case VK_ERROR_FEATURE_NOT_PRESENT:
    return "feature not present";
  case VK_ERROR_INCOMPATIBLE_DRIVER:
    return "incompatible driver";
  case VK_ERROR_TOO_MANY_OBJECTS:
    return "too many objects";
  case VK_ERROR_OUT_OF_POOL_MEMORY:
    return "out of pool memory";
  case VK_ERROR_INVALID_SHADER_NV:
    return "invalid shader";
  default:
    return "unknown error";
  }
}

Status vulkan_status(VkResult result, const char *what) {
  if (result == VK_SUCCESS)
    return {};
  return Status::environment("cannot ", what, ": ", vulkan_result_name(result), " (VkResult ",
                             static_cast<int>(result), ")");
}

Result<uint32_t> restrict_vulkan_features(uint32_t present, std::string_view names) {
  constexpr uint32_t all =
      kFeatureVkInt8 | kFeatureVkFloat16 | kFeatureVkSubgroup | kFeatureVkIntegerDot;
  uint32_t kept = 0;
  while (!names.empty()) {
    std::string_view name = names.substr(0, names.find(','));
    names.remove_prefix(std::min(names.size(), name.size() + 1));
    uint32_t found = 0;
    for (uint32_t bit = kFeatureVkInt8; bit <= kFeatureVkIntegerDot; bit <<= 1)
      if (feature_names(bit) == name)
        found = bit;
    if (!found && !name.empty() && name != "none")
      return Status::usage("unknown Vulkan feature '", name, "'; allowed are none,",
                           feature_names(all));
    kept |= found;
  }
  return kept & present;
}

// Loads the loader once per process. Its global function pointers are the
// loader's own, valid for every instance.
static VkResult load_loader() {
  static const VkResult result = volkInitialize();
  return result;
}

VkBool32 VKAPI_PTR VulkanInstance::on_message(VkDebugUtilsMessageSeverityFlagBitsEXT,
                                              VkDebugUtilsMessageTypeFlagsEXT,
                                              const VkDebugUtilsMessengerCallbackDataEXT *data,
                                              void *self) {
  auto *instance = static_cast<VulkanInstance *>(self);
  std::lock_guard lock(instance->message_mutex_);
  if (instance->messages_++ == 0)
    instance->first_message_ = data->pMessage ? data->pMessage : "";
  return VK_FALSE;
}

Status VulkanInstance::validation_status() {
  std::lock_guard lock(message_mutex_);
  if (messages_ == 0)
    return {};
  return Status::internal("vulkan validation reports ", messages_,
                          " messages, the first: ", first_message_);
}

Result<std::unique_ptr<VulkanInstance>> VulkanInstance::create(bool validation) {
  if (load_loader() != VK_SUCCESS)
    return Status::environment("libvulkan.so.1 is not to be found; install libvulkan1 and a "
                               "driver (mesa-vulkan-drivers has one for every processor)");
  std::unique_ptr<VulkanInstance> self(new VulkanInstance);
  self->version_ = volkGetInstanceVersion();
  if (self->version_ < VK_API_VERSION_1_1)
    return Status::environment("the Vulkan loader is of version 1.0; 1.1 is needed");

  VkApplicationInfo application = {VK_STRUCTURE_TYPE_APPLICATION_INFO};
  application.pApplicationName = "attn";
  application.apiVersion = std::min(self->version_, uint32_t(VK_API_VERSION_1_3));
  VkInstanceCreateInfo create = {VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO};
  create.pApplicationInfo = &application;

  const char *layer = "VK_LAYER_KHRONOS_validation";
  const char *extensions[] = {VK_EXT_DEBUG_UTILS_EXTENSION_NAME,
                              VK_EXT_VALIDATION_FEATURES_EXTENSION_NAME};
  VkValidationFeatureEnableEXT synchronisation =
      VK_VALIDATION_FEATURE_ENABLE_SYNCHRONIZATION_VALIDATION_EXT;
  VkValidationFeaturesEXT checks = {VK_STRUCTURE_TYPE_VALIDATION_FEATURES_EXT};
  checks.enabledValidationFeatureCount = 1;
  checks.pEnabledValidationFeatures = &synchronisation;
  VkDebugUtilsMessengerCreateInfoEXT messenger = {
      VK_STRUCTURE_TYPE_DEBUG_UTILS_MESSENGER_CREATE_INFO_EXT};
  messenger.messageSeverity = VK_DEBUG_UTILS_MESSAGE_SEVERITY_WARNING_BIT_EXT |
                              VK_DEBUG_UTILS_MESSAGE_SEVERITY_ERROR_BIT_EXT;
  // General messages are the loader's, about drivers that are not ours.
  messenger.messageType = VK_DEBUG_UTILS_MESSAGE_TYPE_VALIDATION_BIT_EXT;
  messenger.pfnUserCallback = on_message;
  messenger.pUserData = self.get();
  if (validation) {
    create.enabledLayerCount = 1;
    create.ppEnabledLayerNames = &layer;
    create.enabledExtensionCount = 2;
    create.ppEnabledExtensionNames = extensions;
    create.pNext = &checks;
    checks.pNext = &messenger;
  }
  VkResult result = vkCreateInstance(&create, nullptr, &self->instance_);
  if (validation &&
      (result == VK_ERROR_LAYER_NOT_PRESENT || result == VK_ERROR_EXTENSION_NOT_PRESENT))
    return Status::environment("the Vulkan validation layer was asked for and is absent; install "
                               "vulkan-validationlayers or unset ATTN_VULKAN_VALIDATION");
  if (result == VK_ERROR_INCOMPATIBLE_DRIVER)
    return Status::environment("no Vulkan driver is installed; mesa-vulkan-drivers has one for "
                               "every processor");
  ATTN_RETURN_IF_ERROR(vulkan_status(result, "make a Vulkan instance"));
  static std::once_flag loaded;
  std::call_once(loaded, [&] { volkLoadInstanceOnly(self->instance_); });
  if (validation) {
    auto make = reinterpret_cast<PFN_vkCreateDebugUtilsMessengerEXT>(
        vkGetInstanceProcAddr(self->instance_, "vkCreateDebugUtilsMessengerEXT"));
    self->destroy_messenger_ = reinterpret_cast<PFN_vkDestroyDebugUtilsMessengerEXT>(
        vkGetInstanceProcAddr(self->instance_, "vkDestroyDebugUtilsMessengerEXT"));
    if (make)
      ATTN_RETURN_IF_ERROR(
          vulkan_status(make(self->instance_, &messenger, nullptr, &self->messenger_),
                        "listen to the validation layer"));
  }
  return self;
}

VulkanInstance::~VulkanInstance() {
  if (messenger_ && destroy_messenger_)
    destroy_messenger_(instance_, messenger_, nullptr);
  if (instance_)
    vkDestroyInstance(instance_, nullptr);
}

Result<std::vector<VkPhysicalDevice>> VulkanInstance::devices() const {
  uint32_t count = 0;
  ATTN_RETURN_IF_ERROR(
      vulkan_status(vkEnumeratePhysicalDevices(instance_, &count, nullptr), "list Vulkan devices"));
  std::vector<VkPhysicalDevice> devices(count);
  VkResult result = vkEnumeratePhysicalDevices(instance_, &count, devices.data());
  if (result != VK_SUCCESS && result != VK_INCOMPLETE)
    return vulkan_status(result, "list Vulkan devices");
  devices.resize(count);
  if (devices.empty())
    return Status::environment("no Vulkan driver on this machine finds a device; "
                               "mesa-vulkan-drivers has one for every processor");
  return devices;
}

static bool has_extension(const std::vector<VkExtensionProperties> &extensions, const char *name) {
  for (const VkExtensionProperties &extension : extensions)
    if (std::strcmp(extension.extensionName, name) == 0)
      return true;
  return false;
}

static int find_compute_family(VkPhysicalDevice physical) {
  uint32_t count = 0;
  vkGetPhysicalDeviceQueueFamilyProperties(physical, &count, nullptr);
  std::vector<VkQueueFamilyProperties> families(count);
  vkGetPhysicalDeviceQueueFamilyProperties(physical, &count, families.data());
  for (uint32_t i = 0; i < count; ++i)
    if (families[i].queueCount > 0 && (families[i].queueFlags & VK_QUEUE_COMPUTE_BIT))
      return static_cast<int>(i);
  return -1;
}

// Asks for the optional features and keeps, switched on, those that exist.
static void examine_features(VkPhysicalDevice physical, uint32_t version,
                             const std::vector<VkExtensionProperties> &extensions,
                             VulkanDeviceTraits &traits) {
  traits.features = {VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2};
  traits.storage16 = {VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_16BIT_STORAGE_FEATURES};
  traits.storage8 = {VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_8BIT_STORAGE_FEATURES};
  traits.float16_int8 = {VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_FLOAT16_INT8_FEATURES};
  traits.integer_dot = {VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_INTEGER_DOT_PRODUCT_FEATURES};
  traits.subgroup_size = {VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_SIZE_CONTROL_FEATURES};
  void **tail = &traits.features.pNext;
  auto chain = [&](auto &structure, uint32_t core, const char *extension) {
    if (version < core) {
      if (!has_extension(extensions, extension))
        return;
      traits.extensions.push_back(extension);
    }
    *tail = &structure;
    tail = &structure.pNext;
  };
  chain(traits.storage16, VK_API_VERSION_1_1, "");
  chain(traits.storage8, VK_API_VERSION_1_2, VK_KHR_8BIT_STORAGE_EXTENSION_NAME);
  chain(traits.float16_int8, VK_API_VERSION_1_2, VK_KHR_SHADER_FLOAT16_INT8_EXTENSION_NAME);
  chain(traits.integer_dot, VK_API_VERSION_1_3, VK_KHR_SHADER_INTEGER_DOT_PRODUCT_EXTENSION_NAME);
  chain(traits.subgroup_size, VK_API_VERSION_1_3, VK_EXT_SUBGROUP_SIZE_CONTROL_EXTENSION_NAME);
  vkGetPhysicalDeviceFeatures2(physical, &traits.features);

  VkPhysicalDeviceFeatures core = {};
  core.shaderInt16 = traits.features.features.shaderInt16;
  core.shaderInt64 = traits.features.features.shaderInt64;
  core.shaderFloat64 = traits.features.features.shaderFloat64;
  traits.features.features = core;
  traits.storage16.storageInputOutput16 = traits.storage16.storagePushConstant16 = VK_FALSE;
  traits.storage8.storagePushConstant8 = VK_FALSE;

  uint32_t &bits = traits.info.features;
  if (traits.storage8.storageBuffer8BitAccess && traits.float16_int8.shaderInt8)
    bits |= kFeatureVkInt8;
  if (traits.storage16.storageBuffer16BitAccess && traits.float16_int8.shaderFloat16 &&
      core.shaderInt16)
    bits |= kFeatureVkFloat16;
  if (traits.integer_dot.shaderIntegerDotProduct)
    bits |= kFeatureVkIntegerDot;
}

Status examine_vulkan_device(VkPhysicalDevice physical, uint32_t index, uint32_t instance_version,
                             VulkanDeviceTraits &traits) {
  VkPhysicalDeviceProperties properties;
  vkGetPhysicalDeviceProperties(physical, &properties);
  DeviceInfo &info = traits.info;
  info.id = concat("vulkan:", index);
  info.name = properties.deviceName;
  info.target = TargetKind::spirv;
  traits.type = properties.deviceType;
  uint32_t version = std::min(properties.apiVersion, instance_version);
  auto version_text = [](uint32_t v) {
    return concat(VK_API_VERSION_MAJOR(v), ".", VK_API_VERSION_MINOR(v), ".",
                  VK_API_VERSION_PATCH(v));
  };
  info.driver = concat("Vulkan ", version_text(properties.apiVersion), ", driver ",
                       version_text(properties.driverVersion));

  // Every reason is collected: a user should not mend one to meet the next.
  std::string reasons;
  auto refuse = [&](const std::string &reason) {
    reasons += concat(reasons.empty() ? "" : "; ", reason);
  };
  if (version < VK_API_VERSION_1_1)
    refuse(concat("it offers Vulkan ", version_text(properties.apiVersion), ", 1.1 is needed"));
  int family = find_compute_family(physical);
  if (family < 0)
    refuse("it has no compute queue");
  const VkPhysicalDeviceLimits &limits = properties.limits;
  if (limits.maxComputeWorkGroupInvocations < 128)
    refuse(concat("its workgroups have at most ", limits.maxComputeWorkGroupInvocations,
                  " invocations, 128 are needed"));
  if (!reasons.empty())
    return Status::environment(reasons);

  traits.queue_family = static_cast<uint32_t>(family);
  std::copy_n(limits.maxComputeWorkGroupCount, 3, traits.max_groups);
  info.max_buffer_bytes = limits.maxStorageBufferRange;
  info.max_shared_bytes = limits.maxComputeSharedMemorySize;
  info.max_workgroup_invocations = limits.maxComputeWorkGroupInvocations;
  info.buffer_offset_alignment =
      static_cast<uint32_t>(std::max<uint64_t>(limits.minStorageBufferOffsetAlignment, 16));

  uint32_t count = 0;
  vkEnumerateDeviceExtensionProperties(physical, nullptr, &count, nullptr);
  std::vector<VkExtensionProperties> extensions(count);
  vkEnumerateDeviceExtensionProperties(physical, nullptr, &count, extensions.data());
  examine_features(physical, version, extensions, traits);

  VkPhysicalDeviceSubgroupProperties subgroup = {
      VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_PROPERTIES};
  // Without the extension it is not asked about: sizes stay 0.
  bool sized = traits.subgroup_size.subgroupSizeControl && traits.subgroup_size.computeFullSubgroups;
  VkPhysicalDeviceSubgroupSizeControlProperties sizes = {
      VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_SIZE_CONTROL_PROPERTIES};
  if (sized)
    subgroup.pNext = &sizes;
  VkPhysicalDeviceMaintenance3Properties allocation = {
      VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MAINTENANCE_3_PROPERTIES, &subgroup};
  VkPhysicalDeviceProperties2 more = {VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2, &allocation};
  vkGetPhysicalDeviceProperties2(physical, &more);
  traits.max_allocation = allocation.maxMemoryAllocationSize;
  constexpr VkSubgroupFeatureFlags operations =
      VK_SUBGROUP_FEATURE_BASIC_BIT | VK_SUBGROUP_FEATURE_BALLOT_BIT;
  if (sized && (sizes.requiredSubgroupSizeStages & VK_SHADER_STAGE_COMPUTE_BIT) &&
      sizes.minSubgroupSize <= kVulkanSubgroup && sizes.maxSubgroupSize >= kVulkanSubgroup &&
      sizes.maxComputeWorkgroupSubgroups >= 128 / kVulkanSubgroup &&
      (subgroup.supportedStages & VK_SHADER_STAGE_COMPUTE_BIT) &&
      (subgroup.supportedOperations & operations) == operations)
    info.features |= kFeatureVkSubgroup;

  VkPhysicalDeviceMemoryProperties memory;
  vkGetPhysicalDeviceMemoryProperties(physical, &memory);
  for (uint32_t i = 0; i < memory.memoryHeapCount; ++i)
    if (memory.memoryHeaps[i].flags & VK_MEMORY_HEAP_DEVICE_LOCAL_BIT)
      info.memory_bytes = std::max<uint64_t>(info.memory_bytes, memory.memoryHeaps[i].size);
  return {};
}

} // namespace attn
