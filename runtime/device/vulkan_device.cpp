// Runs SPIR-V kernels through Vulkan. Words and uploads go through per-slot
// host-visible memory, so that a launch neither allocates nor waits.
#include "runtime/bundle/bundle_format.h"
#include "runtime/device/backends.h"
#include "runtime/device/vulkan_instance.h"
#include "runtime/device/vulkan_kernel.h"
#include "runtime/device/vulkan_memory.h"
#include "runtime/device/vulkan_queue.h"
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <numeric>

namespace attn {

namespace {

// Per-slot room for words and for staged transfers.
constexpr VkDeviceSize kWordsPerSlot = 256 << 10, kMaxWordsBytes = 64 << 10;
constexpr VkDeviceSize kStagingPerSlot = 4 << 20;

class VulkanDevice;

class VulkanBuffer final : public Buffer {
public:
  VulkanBuffer(VulkanDevice &device, VulkanMemory memory, size_t size, uint64_t serial)
      : Buffer(size, memory.host), device_(device), memory_(memory), serial_(serial) {}
  ~VulkanBuffer() override;
  VkBuffer handle() const { return memory_.buffer; }
  uint64_t serial() const { return serial_; }

private:
  VulkanDevice &device_;
  VulkanMemory memory_;
  uint64_t serial_;
};

class VulkanKernel final : public Kernel {
public:
  VulkanKernel(VulkanDevice &device, const KernelInfo &info, const VolkDeviceTable &table,
               VkDevice handle)
      : Kernel(info), pipeline(table, handle), device_(device) {}
  ~VulkanKernel() override;
  VulkanPipeline pipeline;

private:
  VulkanDevice &device_;
};

class VulkanDevice final : public Device {
public:
  static Result<std::unique_ptr<Device>> open(uint32_t index, const DeviceOptions &options);
  ~VulkanDevice() override;

  Result<std::unique_ptr<Buffer>> allocate(size_t bytes) override;
  Status upload(Buffer &to, size_t offset, const void *from, size_t bytes) override;
  Status download(const Buffer &from, size_t offset, void *to, size_t bytes) override;
  Status copy(Buffer &to, size_t to_offset, const Buffer &from, size_t from_offset,
              size_t bytes) override;
  Status fill(Buffer &to, size_t offset, size_t bytes, uint32_t pattern) override;
  Result<std::unique_ptr<Kernel>> load(const KernelInfo &info,
                                       std::span<const std::byte> image) override;
  Status launch(Kernel &kernel, std::span<const uint32_t> words,
                std::span<const BufferRange> buffers, Grid grid, double work) override;
  Status synchronise() override;

  // For destructors, which have nobody to report to; a failure shows again in
  // the next call.
  void settle() { (void)queue_->wait(); }
  void release(VulkanMemory memory, size_t bytes);

private:
  VulkanDevice() = default;
  Status create(uint32_t index, const DeviceOptions &options);
  Status create_logical(VkPhysicalDevice physical);
  Status next_slot();
  Status stage(size_t bytes, VkDeviceSize &offset, VkCommandBuffer &commands);
  Status put_words(std::span<const uint32_t> words, uint32_t &offset);
  Status dispatch(VulkanKernel &kernel, VkDescriptorSet set, std::span<const uint32_t> words,
                  Grid grid, double work);

  std::unique_ptr<VulkanInstance> instance_;
  VulkanDeviceTraits traits_;
  VkDevice device_ = VK_NULL_HANDLE;
  VolkDeviceTable table_ = {};
  std::unique_ptr<VulkanAllocator> allocator_;
  std::unique_ptr<VulkanQueue> queue_;
  VkPipelineCache cache_ = VK_NULL_HANDLE;
  VulkanMemory words_, staging_;
  VkDeviceSize words_used_ = 0, staging_used_ = 0; // in the slot being recorded
  double recorded_work_ = 0, work_per_submit_ = 0;
  uint64_t next_serial_ = 1;
  std::vector<VulkanBinding> key_; // of the launch being made; kept for its memory
  bool validation_ = false;
};

VulkanBuffer::~VulkanBuffer() { device_.release(memory_, size_); }
VulkanKernel::~VulkanKernel() { device_.settle(); }

// --- opening -----------------------------------------------------------------

bool wants_validation(const DeviceOptions &options) {
  const char *text = std::getenv("ATTN_VULKAN_VALIDATION");
  return options.validation || (text && *text && std::strcmp(text, "0") != 0);
}

// Larger is better, for "vulkan" without an index.
int rank_of(VkPhysicalDeviceType type) {
  switch (type) {
  case VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU:
    return 4;
  case VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU:
    return 3;
  case VK_PHYSICAL_DEVICE_TYPE_VIRTUAL_GPU:
    return 2;
  case VK_PHYSICAL_DEVICE_TYPE_CPU:
    return 1;
  default:
    return 0;
  }
}

// Multiply-adds that one submit may hold: a small part of a second even on the
// slowest device of the type, far from any watchdog.
double work_limit(VkPhysicalDeviceType type) {
  switch (type) {
  case VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU:
    return 5e10;
  case VK_PHYSICAL_DEVICE_TYPE_CPU:
    return 1e9;
  default:
    return 5e9;
  }
}

Status VulkanDevice::create(uint32_t index, const DeviceOptions &options) {
  validation_ = wants_validation(options);
  ATTN_ASSIGN_OR_RETURN(instance_, VulkanInstance::create(validation_));
  ATTN_ASSIGN_OR_RETURN(std::vector<VkPhysicalDevice> devices, instance_->devices());
  if (index == kAnyIndex) {
    std::string reasons;
    int best = -1;
    for (uint32_t i = 0; i < devices.size(); ++i) {
      VulkanDeviceTraits traits;
      Status status = examine_vulkan_device(devices[i], i, instance_->version(), traits);
      if (!status.ok())
        reasons += concat(reasons.empty() ? "" : "; ", traits.info.name, ": ", status.message());
      else if (rank_of(traits.type) > best) {
        best = rank_of(traits.type);
        index = i;
      }
    }
    if (index == kAnyIndex)
      return Status::environment("no Vulkan device can be used: ", reasons);
  }
  if (index >= devices.size())
    return Status::environment("there is no Vulkan device ", index, "; this machine has ",
                               devices.size(), " (see `attn-run devices`)");
  Status status = examine_vulkan_device(devices[index], index, instance_->version(), traits_);
  if (!status.ok())
    return status.at(traits_.info.name);
  info_ = traits_.info;
  if (const char *names = std::getenv("ATTN_VULKAN_FEATURES"); names && *names) {
    ATTN_ASSIGN_OR_RETURN(info_.features, restrict_vulkan_features(info_.features, names));
  }
  work_per_submit_ = work_limit(traits_.type);
  ATTN_RETURN_IF_ERROR(create_logical(devices[index]));
  allocator_ =
      std::make_unique<VulkanAllocator>(table_, devices[index], device_, traits_.max_allocation);
  ATTN_RETURN_IF_ERROR(
      allocator_->allocate(VulkanQueue::kSlots * kWordsPerSlot + kMaxWordsBytes, true, words_));
  return allocator_->allocate(VulkanQueue::kSlots * kStagingPerSlot, true, staging_);
}

Status VulkanDevice::create_logical(VkPhysicalDevice physical) {
  float priority = 1;
  VkDeviceQueueCreateInfo queue = {VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO};
  queue.queueFamilyIndex = traits_.queue_family;
  queue.queueCount = 1;
  queue.pQueuePriorities = &priority;
  VkDeviceCreateInfo create = {VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO};
  create.pNext = &traits_.features;
  create.queueCreateInfoCount = 1;
  create.pQueueCreateInfos = &queue;
  create.enabledExtensionCount = static_cast<uint32_t>(traits_.extensions.size());
  create.ppEnabledExtensionNames = traits_.extensions.data();
  ATTN_RETURN_IF_ERROR(
      vulkan_status(vkCreateDevice(physical, &create, nullptr, &device_), "open the device"));
  volkLoadDeviceTable(&table_, device_);
  queue_ = std::make_unique<VulkanQueue>(table_, device_);
  ATTN_RETURN_IF_ERROR(queue_->create(traits_.queue_family));
  VkPipelineCacheCreateInfo cache = {VK_STRUCTURE_TYPE_PIPELINE_CACHE_CREATE_INFO};
  return vulkan_status(table_.vkCreatePipelineCache(device_, &cache, nullptr, &cache_),
                       "make a pipeline cache");
}

VulkanDevice::~VulkanDevice() {
  if (!device_)
    return;
  queue_.reset(); // waits
  allocator_->release(words_);
  allocator_->release(staging_);
  table_.vkDestroyPipelineCache(device_, cache_, nullptr);
  table_.vkDestroyDevice(device_, nullptr);
}

// --- memory ------------------------------------------------------------------

Result<std::unique_ptr<Buffer>> VulkanDevice::allocate(size_t bytes) {
  if (bytes == 0)
    return Status::usage("a buffer of 0 bytes");
  if (bytes > SIZE_MAX - 16)
    return Status::environment("out of memory: a buffer of ", bytes, " bytes on ", info_.id);
  // Kernels may read narrow types as whole words.
  size_t rounded = (bytes + 15) & ~size_t(15);
  VulkanMemory memory;
  ATTN_RETURN_IF_ERROR(allocator_->allocate(rounded, false, memory));
  std::unique_ptr<VulkanBuffer> buffer(new VulkanBuffer(*this, memory, bytes, next_serial_++));
  count_allocation(bytes);
  if (memory.host) {
    std::memset(memory.host, 0, rounded);
  } else {
    VkCommandBuffer commands;
    ATTN_RETURN_IF_ERROR(queue_->begin(commands));
    table_.vkCmdFillBuffer(commands, memory.buffer, 0, VK_WHOLE_SIZE, 0);
  }
  return std::unique_ptr<Buffer>(std::move(buffer));
}

void VulkanDevice::release(VulkanMemory memory, size_t bytes) {
  if (!queue_->idle())
    settle();
  allocator_->release(memory);
  count_release(bytes);
}

// --- transfers ---------------------------------------------------------------

// Submits what is recorded; the next slot's words and staging are empty.
Status VulkanDevice::next_slot() {
  ATTN_RETURN_IF_ERROR(queue_->submit());
  words_used_ = staging_used_ = 0;
  recorded_work_ = 0;
  stats_.submits = queue_->submits();
  return {};
}

// Room for `bytes` <= kStagingPerSlot in the slot that `commands` records.
Status VulkanDevice::stage(size_t bytes, VkDeviceSize &offset, VkCommandBuffer &commands) {
  if (staging_used_ + bytes > kStagingPerSlot)
    ATTN_RETURN_IF_ERROR(next_slot());
  ATTN_RETURN_IF_ERROR(queue_->begin(commands));
  offset = queue_->slot() * kStagingPerSlot + staging_used_;
  staging_used_ += (bytes + 15) & ~size_t(15);
  return {};
}

Status VulkanDevice::upload(Buffer &to, size_t offset, const void *from, size_t bytes) {
  ATTN_RETURN_IF_ERROR(check_range("upload", to, offset, bytes));
  auto &buffer = static_cast<VulkanBuffer &>(to);
  stats_.bytes_uploaded += bytes;
  if (bytes == 0)
    return {};
  if (buffer.host() && queue_->idle()) {
    std::memcpy(static_cast<std::byte *>(buffer.host()) + offset, from, bytes);
    return {};
  }
  const auto *source = static_cast<const std::byte *>(from);
  while (bytes > 0) {
    size_t piece = std::min<size_t>(bytes, kStagingPerSlot);
    VkBufferCopy region = {0, offset, piece};
    VkCommandBuffer commands;
    ATTN_RETURN_IF_ERROR(stage(piece, region.srcOffset, commands));
    std::memcpy(staging_.host + region.srcOffset, source, piece);
    table_.vkCmdCopyBuffer(commands, staging_.buffer, buffer.handle(), 1, &region);
    source += piece;
    offset += piece;
    bytes -= piece;
  }
  return {};
}

Status VulkanDevice::download(const Buffer &from, size_t offset, void *to, size_t bytes) {
  ATTN_RETURN_IF_ERROR(check_range("download", from, offset, bytes));
  const auto &buffer = static_cast<const VulkanBuffer &>(from);
  stats_.bytes_downloaded += bytes;
  if (bytes == 0 || buffer.host()) {
    ATTN_RETURN_IF_ERROR(synchronise());
    if (bytes)
      std::memcpy(to, static_cast<const std::byte *>(buffer.host()) + offset, bytes);
    return {};
  }
  auto *target = static_cast<std::byte *>(to);
  while (bytes > 0) {
    size_t piece = std::min<size_t>(bytes, kStagingPerSlot);
    VkBufferCopy region = {offset, 0, piece};
    VkCommandBuffer commands;
    ATTN_RETURN_IF_ERROR(stage(piece, region.dstOffset, commands));
    table_.vkCmdCopyBuffer(commands, buffer.handle(), staging_.buffer, 1, &region);
    VkDeviceSize staged = region.dstOffset;
    ATTN_RETURN_IF_ERROR(synchronise());
    std::memcpy(target, staging_.host + staged, piece);
    target += piece;
    offset += piece;
    bytes -= piece;
  }
  return {};
}

Status VulkanDevice::copy(Buffer &to, size_t to_offset, const Buffer &from, size_t from_offset,
                          size_t bytes) {
  ATTN_RETURN_IF_ERROR(check_range("copy destination", to, to_offset, bytes));
  ATTN_RETURN_IF_ERROR(check_range("copy source", from, from_offset, bytes));
  if (bytes == 0)
    return {};
  VkCommandBuffer commands;
  ATTN_RETURN_IF_ERROR(queue_->begin(commands));
  VkBufferCopy region = {from_offset, to_offset, bytes};
  table_.vkCmdCopyBuffer(commands, static_cast<const VulkanBuffer &>(from).handle(),
                         static_cast<VulkanBuffer &>(to).handle(), 1, &region);
  return {};
}

Status VulkanDevice::fill(Buffer &to, size_t offset, size_t bytes, uint32_t pattern) {
  ATTN_RETURN_IF_ERROR(check_range("fill", to, offset, bytes));
  if ((offset | bytes) % 4)
    return Status::usage("fill of ", bytes, " bytes at ", offset, "; both must be multiples of 4");
  if (bytes == 0)
    return {};
  VkCommandBuffer commands;
  ATTN_RETURN_IF_ERROR(queue_->begin(commands));
  table_.vkCmdFillBuffer(commands, static_cast<VulkanBuffer &>(to).handle(), offset, bytes,
                         pattern);
  return {};
}

// --- kernels -----------------------------------------------------------------

Result<std::unique_ptr<Kernel>> VulkanDevice::load(const KernelInfo &info,
                                                   std::span<const std::byte> image) {
  ATTN_RETURN_IF_ERROR(check_kernel_info(info));
  if (Status status = accepts(info, image); !status.ok())
    return status.at(concat("kernel ", info.name, " ", info.variant));
  auto kernel = std::make_unique<VulkanKernel>(*this, info, table_, device_);
  Status status = kernel->pipeline.create(info, image, cache_);
  if (validation_ && !instance_->validation_status().ok())
    return instance_->validation_status();
  ATTN_RETURN_IF_ERROR(status);
  ++stats_.driver_compiled;
  return std::unique_ptr<Kernel>(std::move(kernel));
}

// Copies the words into the recorded slot. `offset` is the dynamic offset.
Status VulkanDevice::put_words(std::span<const uint32_t> words, uint32_t &offset) {
  VkDeviceSize bytes = words.size_bytes();
  if (words_used_ + bytes > kWordsPerSlot)
    ATTN_RETURN_IF_ERROR(next_slot());
  VkCommandBuffer commands;
  if (!queue_->recording()) // waits until the slot's last use is over
    ATTN_RETURN_IF_ERROR(queue_->begin(commands));
  offset = static_cast<uint32_t>(queue_->slot() * kWordsPerSlot + words_used_);
  std::memcpy(words_.host + offset, words.data(), bytes);
  VkDeviceSize alignment = info_.buffer_offset_alignment;
  words_used_ += (bytes + alignment - 1) / alignment * alignment;
  return {};
}

// Cuts the grid so that no dispatch exceeds the device's counts and no submit
// holds more work than the limit.
Status VulkanDevice::dispatch(VulkanKernel &kernel, VkDescriptorSet set,
                              std::span<const uint32_t> words, Grid grid, double work) {
  double items = static_cast<double>(grid.items());
  double per_item = work > 0 ? work / items : 1e6;
  uint64_t most = static_cast<uint64_t>(std::clamp(work_per_submit_ / per_item, 1.0, 4e9));
  uint32_t step[3];
  uint32_t extent[3] = {grid.q_tiles, grid.heads, grid.batch};
  for (int axis = 0; axis < 3; ++axis) {
    step[axis] = static_cast<uint32_t>(
        std::min<uint64_t>({extent[axis], traits_.max_groups[axis], std::max<uint64_t>(most, 1)}));
    most /= step[axis];
  }
  for (uint32_t z = 0; z < extent[2]; z += step[2])
    for (uint32_t y = 0; y < extent[1]; y += step[1])
      for (uint32_t x = 0; x < extent[0]; x += step[0]) {
        uint32_t count[3] = {std::min(step[0], extent[0] - x), std::min(step[1], extent[1] - y),
                             std::min(step[2], extent[2] - z)};
        double piece = per_item * count[0] * count[1] * count[2];
        if (recorded_work_ > 0 && recorded_work_ + piece > work_per_submit_)
          ATTN_RETURN_IF_ERROR(next_slot());
        uint32_t offset = 0;
        ATTN_RETURN_IF_ERROR(put_words(words, offset));
        VkCommandBuffer commands;
        ATTN_RETURN_IF_ERROR(queue_->begin(commands));
        table_.vkCmdBindPipeline(commands, VK_PIPELINE_BIND_POINT_COMPUTE,
                                 kernel.pipeline.handle());
        table_.vkCmdBindDescriptorSets(commands, VK_PIPELINE_BIND_POINT_COMPUTE,
                                       kernel.pipeline.layout(), 0, 1, &set, 1, &offset);
        table_.vkCmdDispatchBase(commands, x, y, z, count[0], count[1], count[2]);
        recorded_work_ += piece;
      }
  return {};
}

// Kernels read up to four elements of q, k and v at once, as the head dim allows.
static Status check_alignment(const KernelInfo &info, std::span<const uint32_t> words) {
  for (size_t i = 0; i < info.bindings.size(); ++i) {
    const BindingInfo &binding = info.bindings[i];
    bool qk = binding.role == BindingRole::q || binding.role == BindingRole::k;
    if (!qk && binding.role != BindingRole::v && binding.role != BindingRole::o)
      continue;
    uint32_t dim = qk ? info.qk_dim : info.v_dim;
    uint32_t unit = dim ? std::gcd(dim, 4u) : 1;
    for (int w = 0; w < ATTN_BINDING_WORDS; ++w)
      if (uint32_t word = words[ATTN_W_BINDINGS + ATTN_BINDING_WORDS * i + w]; word % unit)
        return Status::usage("binding ", binding.name, " of kernel ", info.name,
                             w == 3 ? " has offset " : " has stride ", word, "; head dim ", dim,
                             " allows multiples of ", unit, ", pack the tensor");
  }
  return {};
}

Status VulkanDevice::launch(Kernel &kernel, std::span<const uint32_t> words,
                            std::span<const BufferRange> buffers, Grid grid, double work) {
  ATTN_RETURN_IF_ERROR(check_launch(kernel, words, buffers, grid));
  ATTN_RETURN_IF_ERROR(check_alignment(kernel.info(), words));
  if (words.size_bytes() > kMaxWordsBytes)
    return Status::usage("a launch of ", words.size(), " words; device ", info_.id, " takes ",
                         kMaxWordsBytes / 4, ", which bounds the number of segments");
  key_.clear();
  for (size_t i = 0; i < buffers.size(); ++i) {
    auto *buffer = static_cast<VulkanBuffer *>(buffers[i].buffer);
    size_t size = buffers[i].size ? buffers[i].size : buffer->size() - buffers[i].offset;
    size = (size + 3) & ~size_t(3); // the allocation is rounded up
    if (size > info_.max_buffer_bytes)
      return Status::environment("binding ", kernel.info().bindings[i].name, " spans ", size,
                                 " bytes; ", info_.name, " binds at most ", info_.max_buffer_bytes);
    key_.push_back({buffer->serial(), buffer->handle(), buffers[i].offset, size});
  }
  auto &vulkan_kernel = static_cast<VulkanKernel &>(kernel);
  VkDescriptorSet set = VK_NULL_HANDLE;
  bool full = false;
  ATTN_RETURN_IF_ERROR(
      vulkan_kernel.pipeline.descriptor_set(words_.buffer, kMaxWordsBytes, key_, set, full));
  if (full) {
    ATTN_RETURN_IF_ERROR(synchronise());
    vulkan_kernel.pipeline.forget_sets();
    ATTN_RETURN_IF_ERROR(
        vulkan_kernel.pipeline.descriptor_set(words_.buffer, kMaxWordsBytes, key_, set, full));
  }
  ATTN_RETURN_IF_ERROR(dispatch(vulkan_kernel, set, words, grid, work));
  ++stats_.launches;
  return {};
}

Status VulkanDevice::synchronise() {
  ATTN_RETURN_IF_ERROR(queue_->wait());
  words_used_ = staging_used_ = 0;
  recorded_work_ = 0;
  stats_.submits = queue_->submits();
  return validation_ ? instance_->validation_status() : Status();
}

Result<std::unique_ptr<Device>> VulkanDevice::open(uint32_t index, const DeviceOptions &options) {
  std::unique_ptr<VulkanDevice> device(new VulkanDevice);
  ATTN_RETURN_IF_ERROR(device->create(index, options));
  return std::unique_ptr<Device>(std::move(device));
}

} // namespace

Result<std::unique_ptr<Device>> open_vulkan_device(uint32_t index, const DeviceOptions &options) {
  Result<std::unique_ptr<Device>> device = VulkanDevice::open(index, options);
  if (!device.ok())
    return device.status().at(index == kAnyIndex ? "vulkan" : concat("vulkan:", index));
  return device;
}

std::vector<DeviceListing> list_vulkan_devices(const DeviceOptions &options) {
  auto refused = [](Status status) -> std::vector<DeviceListing> {
    return {{"vulkan", "", std::move(status), {}}};
  };
  Result<std::unique_ptr<VulkanInstance>> instance =
      VulkanInstance::create(wants_validation(options));
  if (!instance.ok())
    return refused(instance.status());
  Result<std::vector<VkPhysicalDevice>> devices = (*instance)->devices();
  if (!devices.ok())
    return refused(devices.status());
  std::vector<DeviceListing> all;
  for (uint32_t i = 0; i < devices->size(); ++i) {
    VulkanDeviceTraits traits;
    Status status = examine_vulkan_device((*devices)[i], i, (*instance)->version(), traits);
    all.push_back({traits.info.id, traits.info.name, std::move(status), traits.info});
  }
  return all;
}

} // namespace attn
