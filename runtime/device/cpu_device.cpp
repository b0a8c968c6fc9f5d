// Runs CPU kernels on the pool's threads. Launches have finished when they
// return, so that ordering and synchronisation cost nothing.
#include "runtime/base/thread_pool.h"
#include "runtime/bundle/bundle_format.h"
#include "runtime/bundle/checksum.h"
#include "runtime/device/backends.h"
#include "runtime/device/cpu_features.h"
#include "runtime/device/elf_image.h"
#include "runtime/device/linked_kernels.h"
#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <map>
#include <sys/utsname.h>
#include <unistd.h>

namespace attn {

namespace {

class CpuDevice;

class CpuBuffer final : public Buffer {
public:
  CpuBuffer(AlignedMemory memory, size_t size, CpuDevice &device)
      : Buffer(size, memory.data()), memory_(std::move(memory)), device_(&device) {}
  CpuBuffer(void *host, size_t size) : Buffer(size, host) {}
  ~CpuBuffer() override;

private:
  AlignedMemory memory_;        // empty when wrapped
  CpuDevice *device_ = nullptr; // null when wrapped
};

class CpuKernel final : public Kernel {
public:
  CpuKernel(KernelInfo info, std::shared_ptr<ElfImage> image, CpuFunctions functions)
      : Kernel(std::move(info)), image_(std::move(image)), functions_(functions) {}
  attn_cpu_ranges_fn ranges() const override { return functions_.ranges; }
  const CpuFunctions &functions() const { return functions_; }

private:
  std::shared_ptr<ElfImage> image_; // null: the code is the program's
  CpuFunctions functions_;
};

class CpuDevice final : public Device {
public:
  CpuDevice(DeviceInfo info, const DeviceOptions &options)
      : pool_(options.threads, options.executor) {
    info_ = std::move(info);
    info_.units = pool_.thread_count();
  }

  ThreadPool *threads() override { return &pool_; }
  Result<std::unique_ptr<Buffer>> allocate(size_t bytes) override;
  Result<std::unique_ptr<Buffer>> wrap(void *host, size_t bytes) override;
  Status upload(Buffer &to, size_t offset, const void *from, size_t bytes) override;
  Status download(const Buffer &from, size_t offset, void *to, size_t bytes) override;
  Status copy(Buffer &to, size_t to_offset, const Buffer &from, size_t from_offset,
              size_t bytes) override;
  Status fill(Buffer &to, size_t offset, size_t bytes, uint32_t pattern) override;
  Result<std::unique_ptr<Kernel>> load(const KernelInfo &info,
                                       std::span<const std::byte> image) override;
  Status launch(Kernel &kernel, std::span<const uint32_t> words,
                std::span<const BufferRange> buffers, Grid grid, double work) override;
  Status synchronise() override { return {}; }
  void released(size_t bytes) { count_release(bytes); }

private:
  Status decode(const CpuFunctions &functions, const uint32_t *words, void *const *pointers,
                uint32_t arena_bytes, const uint32_t *plan, double work);

  ThreadPool pool_;
  AlignedMemory parts_; // of the decode form, kept between launches
  // Images in use: kernels of one image share it.
  std::map<std::pair<uint64_t, size_t>, std::weak_ptr<ElfImage>> images_;
};

CpuBuffer::~CpuBuffer() {
  if (device_)
    device_->released(size_);
}

std::byte *bytes_of(const Buffer &buffer, size_t offset) {
  return static_cast<std::byte *>(buffer.host()) + offset;
}

Result<std::unique_ptr<Buffer>> CpuDevice::allocate(size_t bytes) {
  if (bytes == 0)
    return Status::usage("a buffer of 0 bytes");
  AlignedMemory memory(bytes);
  if (!memory.data())
    return Status::environment("out of memory: a buffer of ", bytes, " bytes on ", info_.id);
  count_allocation(bytes);
  return std::unique_ptr<Buffer>(new CpuBuffer(std::move(memory), bytes, *this));
}

Result<std::unique_ptr<Buffer>> CpuDevice::wrap(void *host, size_t bytes) {
  if (!host || bytes == 0)
    return Status::usage("cannot wrap a null pointer or 0 bytes");
  return std::unique_ptr<Buffer>(new CpuBuffer(host, bytes));
}

Status CpuDevice::upload(Buffer &to, size_t offset, const void *from, size_t bytes) {
  ATTN_RETURN_IF_ERROR(check_range("upload", to, offset, bytes));
  if (bytes)
    std::memcpy(bytes_of(to, offset), from, bytes);
  stats_.bytes_uploaded += bytes;
  return {};
}

Status CpuDevice::download(const Buffer &from, size_t offset, void *to, size_t bytes) {
  ATTN_RETURN_IF_ERROR(check_range("download", from, offset, bytes));
  if (bytes)
    std::memcpy(to, bytes_of(from, offset), bytes);
  stats_.bytes_downloaded += bytes;
  return {};
}

Status CpuDevice::copy(Buffer &to, size_t to_offset, const Buffer &from, size_t from_offset,
                       size_t bytes) {
  ATTN_RETURN_IF_ERROR(check_range("copy destination", to, to_offset, bytes));
  ATTN_RETURN_IF_ERROR(check_range("copy source", from, from_offset, bytes));
  if (bytes)
    std::memcpy(bytes_of(to, to_offset), bytes_of(from, from_offset), bytes);
  return {};
}

Status CpuDevice::fill(Buffer &to, size_t offset, size_t bytes, uint32_t pattern) {
  ATTN_RETURN_IF_ERROR(check_range("fill", to, offset, bytes));
  if ((offset | bytes) % 4)
    return Status::usage("fill of ", bytes, " bytes at ", offset, "; both must be multiples of 4");
  std::byte *begin = bytes_of(to, offset);
  for (size_t i = 0; i < bytes; i += 4)
    std::memcpy(begin + i, &pattern, 4);
  return {};
}

Result<std::unique_ptr<Kernel>> CpuDevice::load(const KernelInfo &info,
                                                std::span<const std::byte> image) {
  ATTN_RETURN_IF_ERROR(check_kernel_info(info));
  if (Status status = accepts(info, image); !status.ok())
    return status.at(concat("kernel ", info.name, " ", info.variant));
  if (is_linked_image(image)) {
    auto linked = find_linked_kernel(image, info.symbol);
    if (!linked.ok())
      return linked.status().at(concat("kernel ", info.name, " ", info.variant));
    return std::unique_ptr<Kernel>(new CpuKernel(info, nullptr, (*linked)->functions));
  }
  std::pair key(checksum64(image), image.size());
  std::shared_ptr<ElfImage> loaded = images_[key].lock();
  if (!loaded) {
    Result<std::shared_ptr<ElfImage>> fresh = ElfImage::load(image);
    if (!fresh.ok())
      return fresh.status();
    images_[key] = loaded = *fresh;
  }
  auto find = [&]<typename F>(F &function, const char *suffix) {
    function = reinterpret_cast<F>(loaded->find(info.symbol + suffix));
  };
  CpuFunctions functions = {};
  find(functions.run, "");
  if (!functions.run)
    return Status::invalid_input("kernel ", info.name, ": its image exports no symbol ",
                                 info.symbol);
  find(functions.ranges, "_ranges");
  find(functions.decode_plan, "_decode_plan");
  find(functions.decode_walk, "_decode_walk");
  find(functions.decode_finish, "_decode_finish");
  return std::unique_ptr<Kernel>(new CpuKernel(info, std::move(loaded), functions));
}

Status CpuDevice::launch(Kernel &kernel, std::span<const uint32_t> words,
                         std::span<const BufferRange> buffers, Grid grid, double work) {
  ATTN_RETURN_IF_ERROR(check_launch(kernel, words, buffers, grid));
  void *pointers[kMaxBindings];
  for (size_t i = 0; i < buffers.size(); ++i)
    pointers[i] = bytes_of(*buffers[i].buffer, buffers[i].offset);
  uint32_t arena_bytes = std::max(kernel.info().arena_bytes, 64u);
  if (!pool_.reserve_arenas(arena_bytes))
    return Status::environment("out of memory: ", arena_bytes, " bytes of scratch per thread");

  const CpuFunctions &functions = static_cast<CpuKernel &>(kernel).functions();
  ++stats_.launches;
  ++stats_.submits;
  uint32_t plan[ATTN_PLAN_WORDS];
  if (functions.decode_plan && functions.decode_walk && functions.decode_finish &&
      functions.decode_plan(words.data(), plan))
    return decode(functions, words.data(), pointers, arena_bytes, plan, work);

  uint32_t items = static_cast<uint32_t>(grid.items());
  // Neighbouring items share K and V, hence pieces longer than one item where
  // there are plenty. What takes a few microseconds stays on this thread.
  uint32_t grain = std::clamp(items / (16 * pool_.thread_count()), 1u, 64u);
  if (work > 0 && work < 50e3)
    grain = items;
  // Items are taken from the last to the first: with causal masks the late
  // query tiles are the long ones, and long ones should not come last.
  pool_.parallel_for(items, grain, [&](uint32_t begin, uint32_t end, uint32_t thread) {
    functions.run(words.data(), pointers, pool_.arena(thread, arena_bytes), items - end,
                  items - begin);
  });
  return {};
}

// Few query rows: pieces of the keys first, then the rows from what these left.
Status CpuDevice::decode(const CpuFunctions &functions, const uint32_t *words,
                         void *const *pointers, uint32_t arena_bytes, const uint32_t *plan,
                         double work) {
  uint32_t pieces = plan[ATTN_PLAN_PIECES], tiles = plan[ATTN_PLAN_TILES];
  size_t bytes = size_t(pieces) * plan[ATTN_PLAN_PIECE_BYTES];
  if (parts_.size() < bytes)
    parts_ = AlignedMemory(bytes);
  if (parts_.size() < bytes)
    return Status::environment("out of memory: ", bytes, " bytes for partial results");
  bool alone = work > 0 && work < 50e3;
  auto run = [&](attn_cpu_decode_fn function, uint32_t count, uint32_t grain) {
    pool_.parallel_for(
        count, alone ? count : grain, [&](uint32_t begin, uint32_t end, uint32_t thread) {
          function(words, pointers, pool_.arena(thread, arena_bytes), parts_.data(), begin, end);
        });
  };
  run(functions.decode_walk, pieces, 1);
  run(functions.decode_finish, tiles, std::clamp(tiles / pool_.thread_count(), 1u, 64u));
  return {};
}

Result<DeviceInfo> describe(const DeviceOptions &options) {
  DeviceInfo info;
  info.id = "cpu";
  info.name = cpu_name();
  struct utsname system;
  if (uname(&system) == 0)
    info.driver = concat(system.sysname, " ", system.release);
  info.target = TargetKind::cpu;
  info.features = detect_cpu_features();
  if (options.executor.threads && options.threads)
    return Status::usage("threads are for a device without an executor; leave them 0");
  if (options.threads > ThreadPool::kMost)
    return Status::usage(options.threads, " threads are asked for; at most ",
                         uint32_t(ThreadPool::kMost), " are possible, 0 is one per core");
  if (const char *text = std::getenv("ATTN_THREADS"); text && *text && options.threads == 0) {
    uint32_t threads = 0;
    const char *end = text + std::strlen(text);
    auto [at, error] = std::from_chars(text, end, threads);
    if (error != std::errc() || at != end || threads < 1 || threads > ThreadPool::kMost)
      return Status::usage("'", text, "' of ATTN_THREADS is no number of threads from 1 to ",
                           uint32_t(ThreadPool::kMost));
  }
  std::string names = options.cpu_features;
  if (const char *text = std::getenv("ATTN_CPU_FEATURES"); text && names.empty())
    names = text;
  if (names.empty()) {
    info.features &= ~unrewarding_cpu_features(cpu_vendor());
  } else {
    ATTN_ASSIGN_OR_RETURN(info.features, restrict_cpu_features(info.features, names));
  }
  long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
  info.memory_bytes = pages > 0 && page > 0 ? uint64_t(pages) * uint64_t(page) : 0;
  info.max_buffer_bytes = uint64_t(1) << 46;
  info.buffer_offset_alignment = 1;
  return info;
}

} // namespace

Result<std::unique_ptr<Device>> open_cpu_device(const DeviceOptions &options) {
  ATTN_ASSIGN_OR_RETURN(DeviceInfo info, describe(options));
  return std::unique_ptr<Device>(new CpuDevice(std::move(info), options));
}

std::vector<DeviceListing> list_cpu_devices(const DeviceOptions &options) {
  Result<DeviceInfo> info = describe(options);
  if (!info.ok())
    return {{"cpu", cpu_name(), info.status(), {}}};
  info->units = ThreadPool(options.threads, options.executor).thread_count();
  return {{"cpu", info->name, {}, *info}};
}

} // namespace attn
