// Runs PTX and cubin kernels through NVIDIA's driver on one stream.
#include "runtime/bundle/bundle_format.h"
#include "runtime/device/backends.h"
#include "runtime/device/cuda_tensor_map.h"
#include <cstring>

namespace attn {

namespace {

// Words of launches in flight: a ring in pinned memory and its device twin.
constexpr size_t kWordsBytes = 1 << 20, kWordsAlignment = 256;

class CudaDevice;

class CudaBuffer final : public Buffer {
public:
  CudaBuffer(CudaDevice &device, CuPointer pointer, size_t size)
      : Buffer(size, nullptr), device_(device), pointer_(pointer) {}
  ~CudaBuffer() override;
  CuPointer pointer() const { return pointer_; }

private:
  CudaDevice &device_;
  CuPointer pointer_;
};

class CudaKernel final : public Kernel {
public:
  CudaKernel(CudaDevice &device, const KernelInfo &info, CuModule module)
      : Kernel(info), module(module), device_(device) {}
  ~CudaKernel() override;
  CuModule module;
  CuFunction function = nullptr;
  CudaTensorMaps tensor_maps;

private:
  CudaDevice &device_;
};

CuPointer pointer_of(const Buffer &buffer) {
  return static_cast<const CudaBuffer &>(buffer).pointer();
}

class CudaDevice final : public Device {
public:
  CudaDevice(const CudaApi &api, CuDevice handle, DeviceInfo info) : api_(api), handle_(handle) {
    info_ = std::move(info);
  }
  ~CudaDevice() override;
  Status create();

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

  void release(CuPointer pointer, size_t bytes);
  void release(CuModule module);

private:
  // The caller's thread may have another context current, or none.
  Status enter() { return api_.check(api_.context_set(context_), "use the CUDA context"); }

  const CudaApi &api_;
  CuDevice handle_;
  CuContext context_ = nullptr;
  CuStream stream_ = nullptr;
  std::byte *words_host_ = nullptr;
  CuPointer words_device_ = 0;
  size_t words_used_ = 0;
};

CudaBuffer::~CudaBuffer() { device_.release(pointer_, size_); }
CudaKernel::~CudaKernel() { device_.release(module); }

Status CudaDevice::create() {
  ATTN_RETURN_IF_ERROR(api_.check(api_.context_retain(&context_, handle_), "open the GPU"));
  ATTN_RETURN_IF_ERROR(enter());
  constexpr unsigned non_blocking = 1;
  ATTN_RETURN_IF_ERROR(api_.check(api_.stream_create(&stream_, non_blocking), "make a stream"));
  void *host = nullptr;
  ATTN_RETURN_IF_ERROR(
      api_.check(api_.host_allocate(&host, kWordsBytes, 0), "take pinned host memory"));
  words_host_ = static_cast<std::byte *>(host);
  return api_.check(api_.memory_allocate(&words_device_, kWordsBytes), "take device memory");
}

CudaDevice::~CudaDevice() {
  if (!context_)
    return;
  (void)enter();
  if (stream_) {
    api_.stream_synchronise(stream_);
    api_.stream_destroy(stream_);
  }
  if (words_host_)
    api_.host_free(words_host_);
  if (words_device_)
    api_.memory_free(words_device_);
  api_.context_release(handle_);
}

Result<std::unique_ptr<Buffer>> CudaDevice::allocate(size_t bytes) {
  if (bytes == 0)
    return Status::usage("a buffer of 0 bytes");
  if (bytes > SIZE_MAX - 16)
    return Status::environment("out of memory: a buffer of ", bytes, " bytes on ", info_.id);
  ATTN_RETURN_IF_ERROR(enter());
  size_t rounded = (bytes + 15) & ~size_t(15);
  CuPointer pointer = 0;
  Status status = api_.check(api_.memory_allocate(&pointer, rounded), "take device memory");
  if (!status.ok())
    return status.at(concat("a buffer of ", bytes, " bytes on ", info_.id));
  auto buffer = std::make_unique<CudaBuffer>(*this, pointer, bytes);
  count_allocation(bytes);
  ATTN_RETURN_IF_ERROR(
      api_.check(api_.fill32(pointer, 0, rounded / 4, stream_), "clear device memory"));
  return std::unique_ptr<Buffer>(std::move(buffer));
}

void CudaDevice::release(CuPointer pointer, size_t bytes) {
  (void)enter();
  api_.stream_synchronise(stream_);
  api_.memory_free(pointer);
  count_release(bytes);
}

void CudaDevice::release(CuModule module) {
  (void)enter();
  api_.stream_synchronise(stream_);
  api_.module_unload(module);
}

Status CudaDevice::upload(Buffer &to, size_t offset, const void *from, size_t bytes) {
  ATTN_RETURN_IF_ERROR(check_range("upload", to, offset, bytes));
  if (bytes == 0)
    return {};
  ATTN_RETURN_IF_ERROR(enter());
  stats_.bytes_uploaded += bytes;
  // Small sources travel through the pinned ring. Large ones are waited for:
  // were `from` pinned, the driver would read it after this call.
  if (bytes <= kWordsBytes / 8) {
    if (words_used_ + bytes > kWordsBytes)
      ATTN_RETURN_IF_ERROR(synchronise());
    std::byte *staged = words_host_ + words_used_;
    std::memcpy(staged, from, bytes);
    words_used_ += (bytes + kWordsAlignment - 1) & ~(kWordsAlignment - 1);
    return api_.check(api_.copy_to_device(pointer_of(to) + offset, staged, bytes, stream_),
                      "upload");
  }
  ATTN_RETURN_IF_ERROR(
      api_.check(api_.copy_to_device(pointer_of(to) + offset, from, bytes, stream_), "upload"));
  return synchronise();
}

Status CudaDevice::download(const Buffer &from, size_t offset, void *to, size_t bytes) {
  ATTN_RETURN_IF_ERROR(check_range("download", from, offset, bytes));
  ATTN_RETURN_IF_ERROR(enter());
  stats_.bytes_downloaded += bytes;
  if (bytes)
    ATTN_RETURN_IF_ERROR(
        api_.check(api_.copy_to_host(to, pointer_of(from) + offset, bytes, stream_), "download"));
  return synchronise();
}

Status CudaDevice::copy(Buffer &to, size_t to_offset, const Buffer &from, size_t from_offset,
                        size_t bytes) {
  ATTN_RETURN_IF_ERROR(check_range("copy destination", to, to_offset, bytes));
  ATTN_RETURN_IF_ERROR(check_range("copy source", from, from_offset, bytes));
  if (bytes == 0)
    return {};
  ATTN_RETURN_IF_ERROR(enter());
  return api_.check(api_.copy_on_device(pointer_of(to) + to_offset, pointer_of(from) + from_offset,
                                        bytes, stream_),
                    "copy on the device");
}

Status CudaDevice::fill(Buffer &to, size_t offset, size_t bytes, uint32_t pattern) {
  ATTN_RETURN_IF_ERROR(check_range("fill", to, offset, bytes));
  if ((offset | bytes) % 4)
    return Status::usage("fill of ", bytes, " bytes at ", offset, "; both must be multiples of 4");
  if (bytes == 0)
    return {};
  ATTN_RETURN_IF_ERROR(enter());
  return api_.check(api_.fill32(pointer_of(to) + offset, pattern, bytes / 4, stream_),
                    "fill device memory");
}

Result<std::unique_ptr<Kernel>> CudaDevice::load(const KernelInfo &info,
                                                 std::span<const std::byte> image) {
  ATTN_RETURN_IF_ERROR(check_kernel_info(info));
  std::string place = concat("kernel ", info.name, " ", info.variant);
  if (Status status = accepts(info, image); !status.ok())
    return status.at(place);
  ATTN_RETURN_IF_ERROR(CudaTensorMaps::check(api_, info).at(place));
  ATTN_RETURN_IF_ERROR(enter());
  static constexpr unsigned char elf[4] = {0x7f, 'E', 'L', 'F'};
  bool cubin = image.size() > 4 && std::memcmp(image.data(), elf, 4) == 0;
  // The driver reads PTX up to a terminator, which the bundle does not carry.
  std::string text(reinterpret_cast<const char *>(image.data()), image.size());
  char log[4096] = {};
  int keys[] = {kCuJitErrorLog, kCuJitErrorLogBytes};
  void *values[] = {log, reinterpret_cast<void *>(sizeof log - 1)};
  CuModule module = nullptr;
  Status status = api_.check(api_.module_load(&module, text.c_str(), 2, keys, values),
                             cubin ? "load a cubin" : "compile PTX");
  if (!status.ok())
    return Status(status.code(), concat(status.message(), *log ? "; " : "", log), place);
  auto kernel = std::make_unique<CudaKernel>(*this, info, module);
  ATTN_RETURN_IF_ERROR(
      api_.check(api_.module_function(&kernel->function, module, info.symbol.c_str()),
                 "find the kernel's entry in its image")
          .at(place));
  constexpr uint32_t without_asking = 48 << 10;
  if (info.shared_bytes > without_asking)
    ATTN_RETURN_IF_ERROR(
        api_.check(api_.function_attribute(kernel->function, kCuFunctionMaxDynamicShared,
                                           static_cast<int>(info.shared_bytes)),
                   "reserve shared memory")
            .at(place));
  if (!cubin)
    ++stats_.driver_compiled;
  return std::unique_ptr<Kernel>(std::move(kernel));
}

Status CudaDevice::launch(Kernel &kernel, std::span<const uint32_t> words,
                          std::span<const BufferRange> buffers, Grid grid, double) {
  ATTN_RETURN_IF_ERROR(check_launch(kernel, words, buffers, grid));
  constexpr uint32_t most = 65535;
  if (grid.heads > most || grid.batch > most || grid.q_tiles > INT32_MAX)
    return Status::usage("a launch over ", grid.heads, " heads and ", grid.batch,
                         " batch entries; cuda takes at most ", most, " of each");
  if (words.size_bytes() > kWordsBytes)
    return Status::usage("a launch of ", words.size(), " words; device ", info_.id, " takes ",
                         kWordsBytes / 4, ", which bounds the number of segments");
  ATTN_RETURN_IF_ERROR(enter());
  if (words_used_ + words.size_bytes() > kWordsBytes)
    ATTN_RETURN_IF_ERROR(synchronise()); // empties the ring
  std::memcpy(words_host_ + words_used_, words.data(), words.size_bytes());
  CuPointer pointers[kMaxBindings + 1];
  void *parameters[2 * kMaxBindings + 1];
  pointers[0] = words_device_ + words_used_;
  ATTN_RETURN_IF_ERROR(api_.check(
      api_.copy_to_device(pointers[0], words_host_ + words_used_, words.size_bytes(), stream_),
      "upload launch words"));
  words_used_ += (words.size_bytes() + kWordsAlignment - 1) & ~(kWordsAlignment - 1);
  for (size_t i = 0; i < buffers.size(); ++i)
    pointers[i + 1] = pointer_of(*buffers[i].buffer) + buffers[i].offset;
  for (size_t i = 0; i <= buffers.size(); ++i)
    parameters[i] = &pointers[i];
  const KernelInfo &info = kernel.info();
  CudaTensorMaps &maps = static_cast<CudaKernel &>(kernel).tensor_maps;
  ATTN_RETURN_IF_ERROR(
      maps.update(api_, info, words, buffers, std::span(pointers + 1, buffers.size()))
          .at(info.name));
  for (size_t i = 0; i < maps.maps().size(); ++i)
    parameters[buffers.size() + 1 + i] = &maps.maps()[i];
  ATTN_RETURN_IF_ERROR(
      api_.check(api_.launch(static_cast<CudaKernel &>(kernel).function, grid.q_tiles, grid.heads,
                             grid.batch, info.workgroup[0], info.workgroup[1], info.workgroup[2],
                             info.shared_bytes, stream_, parameters, nullptr),
                 "launch a kernel")
          .at(info.name));
  ++stats_.launches;
  ++stats_.submits;
  return {};
}

Status CudaDevice::synchronise() {
  ATTN_RETURN_IF_ERROR(enter());
  ATTN_RETURN_IF_ERROR(api_.check(api_.stream_synchronise(stream_), "wait for the GPU"));
  words_used_ = 0;
  return {};
}

Result<DeviceInfo> examine(const CudaApi &api, uint32_t index, CuDevice &handle) {
  DeviceInfo info;
  info.id = concat("cuda:", index);
  info.target = TargetKind::ptx;
  ATTN_RETURN_IF_ERROR(api.check(api.device_get(&handle, static_cast<int>(index)), "find the GPU"));
  char name[256] = {};
  ATTN_RETURN_IF_ERROR(api.check(api.device_name(name, sizeof name - 1, handle), "name the GPU"));
  info.name = name;
  int major = 0, minor = 0, units = 0, threads = 0, shared = 0, version = 0;
  size_t memory = 0;
  struct {
    int *value;
    int attribute;
  } const questions[] = {{&major, kCuAttributeMajor},
                         {&minor, kCuAttributeMinor},
                         {&units, kCuAttributeMultiprocessors},
                         {&threads, kCuAttributeMaxThreadsPerBlock},
                         {&shared, kCuAttributeMaxSharedOptin}};
  for (const auto &question : questions)
    ATTN_RETURN_IF_ERROR(api.check(api.device_attribute(question.value, question.attribute, handle),
                                   "ask for the GPU's attributes"));
  ATTN_RETURN_IF_ERROR(api.check(api.device_memory(&memory, handle), "ask for the GPU's memory"));
  ATTN_RETURN_IF_ERROR(api.check(api.driver_version(&version), "ask for the driver's version"));
  info.driver = concat("CUDA driver ", version / 1000, ".", version % 1000 / 10);
  info.compute_capability = static_cast<uint32_t>(major * 10 + minor);
  info.units = static_cast<uint32_t>(units);
  info.memory_bytes = info.max_buffer_bytes = memory;
  info.max_shared_bytes = static_cast<uint32_t>(shared);
  info.max_workgroup_invocations = static_cast<uint32_t>(threads);
  info.buffer_offset_alignment = 16; // vector loads and cp.async
  if (info.compute_capability < 80)
    return Status::environment("it is sm_", info.compute_capability,
                               "; kernels need sm_80 (Ampere) or later")
        .at(info.name);
  return info;
}

} // namespace

Result<std::unique_ptr<Device>> open_cuda_device(uint32_t index, const DeviceOptions &) {
  if (index == kAnyIndex)
    index = 0;
  std::string place = concat("cuda:", index);
  Result<const CudaApi *> api = load_cuda();
  if (!api.ok())
    return api.status().at(place);
  int count = 0;
  ATTN_RETURN_IF_ERROR((*api)->check((*api)->device_count(&count), "count GPUs").at(place));
  if (index >= static_cast<uint32_t>(count))
    return Status::environment("there is no such GPU; this machine has ", count).at(place);
  CuDevice handle = 0;
  Result<DeviceInfo> info = examine(**api, index, handle);
  if (!info.ok())
    return info.status().at(place);
  auto device = std::make_unique<CudaDevice>(**api, handle, std::move(*info));
  ATTN_RETURN_IF_ERROR(device->create().at(place));
  return std::unique_ptr<Device>(std::move(device));
}

std::vector<DeviceListing> list_cuda_devices(const DeviceOptions &) {
  Result<const CudaApi *> api = load_cuda();
  if (!api.ok())
    return {{"cuda", "", api.status(), {}}};
  int count = 0;
  Status status = (*api)->check((*api)->device_count(&count), "count GPUs");
  if (!status.ok() || count == 0)
    return {{"cuda",
             "",
             status.ok() ? Status::environment("the NVIDIA driver finds no GPU") : status,
             {}}};
  std::vector<DeviceListing> all;
  for (uint32_t i = 0; i < static_cast<uint32_t>(count); ++i) {
    CuDevice handle = 0;
    Result<DeviceInfo> info = examine(**api, i, handle);
    all.push_back(info.ok() ? DeviceListing{info->id, info->name, {}, *info}
                            : DeviceListing{concat("cuda:", i), "", info.status(), {}});
  }
  return all;
}

} // namespace attn
