// The one interface behind which a CPU, a Vulkan device and a CUDA device run
// compiled kernels. Buffers, kernels and launches enter; results leave through
// downloads or host pointers.
#pragma once

#include "runtime/base/executor.h"
#include "runtime/base/status.h"
#include "runtime/bundle/kernel_abi.h"
#include "runtime/bundle/kernel_info.h"
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace attn {

class ThreadPool;

// What a device is and what it can take. Written once, when it is opened.
struct DeviceInfo {
  std::string id;                      // what open() takes to get this one again: "cpu", "vulkan:0"
  std::string name;                    // "llvmpipe (LLVM 15.0.6, 256 bits)"
  std::string driver;                  // driver or operating system interface, with its version
  TargetKind target = TargetKind::cpu; // which kernels it runs
  uint32_t features = 0;               // Feature bits
  uint32_t compute_capability = 0;     // cuda: 80, 90
  uint32_t units = 1;                  // threads, or multiprocessors where known
  uint64_t memory_bytes = 0;           // 0: unknown
  uint64_t max_buffer_bytes = 0;       // largest range that one binding may have
  uint32_t max_shared_bytes = 0;
  uint32_t max_workgroup_invocations = 0;
  uint32_t buffer_offset_alignment = 1; // of BufferRange::offset, a power of two
};

// Counters since the device was opened.
struct DeviceStats {
  uint64_t launches = 0;
  uint64_t submits = 0; // batches handed to the driver
  uint64_t bytes_uploaded = 0, bytes_downloaded = 0;
  uint64_t bytes_allocated = 0, peak_bytes_allocated = 0; // live buffers
  uint64_t allocations = 0;                               // buffers ever made
  uint64_t driver_compiled = 0; // kernels that the driver compiled from text
};

// Device memory. Released on destruction, which waits for work that uses it.
// Must not outlive its device.
class Buffer {
public:
  virtual ~Buffer() = default;
  size_t size() const { return size_; }
  // The host's view of the memory, or null. Reading or writing through it
  // needs a synchronise() after the last launch that touches the buffer.
  void *host() const { return host_; }

protected:
  Buffer(size_t size, void *host) : size_(size), host_(host) {}
  size_t size_;
  void *host_;
};

// A part of a buffer as a kernel's binding. `offset` is a multiple of
// DeviceInfo::buffer_offset_alignment; size 0 means "to the end".
struct BufferRange {
  Buffer *buffer = nullptr;
  size_t offset = 0;
  size_t size = 0;
};

// A kernel made ready on one device. Must not outlive its device.
class Kernel {
public:
  virtual ~Kernel() = default;
  const KernelInfo &info() const { return info_; }
  // CPU kernels that export it: the KV ranges of a query tile. Otherwise null.
  virtual attn_cpu_ranges_fn ranges() const { return nullptr; }

protected:
  explicit Kernel(KernelInfo info) : info_(std::move(info)) {}
  KernelInfo info_;
};

// Work items of one launch: (q_tiles, heads, batch).
struct Grid {
  uint32_t q_tiles = 1, heads = 1, batch = 1;
  uint64_t items() const { return uint64_t(q_tiles) * heads * batch; }
};

// Rules for all devices:
// - One thread at a time uses a device and what was made on it.
// - Uploads, copies, fills and launches take effect in the order of the calls;
//   they may still run when the call returns. Arguments (words, host sources,
//   the list of ranges) may be reused at once; buffers and kernels must live
//   until the work is done (their destructors wait for it).
// - A failure that the driver reports late is returned by a later call.
class Device {
public:
  virtual ~Device() = default;
  Device(const Device &) = delete;
  Device &operator=(const Device &) = delete;

  const DeviceInfo &info() const { return info_; }
  const DeviceStats &stats() const { return stats_; }
  // Threads of a CPU device, for host work beside the kernels; otherwise null.
  virtual ThreadPool *threads() { return nullptr; }

  // Zero-filled memory of `bytes` > 0.
  virtual Result<std::unique_ptr<Buffer>> allocate(size_t bytes) = 0;
  // A buffer over memory that the caller keeps alive; 64-byte alignment gives
  // the best speed, the element's own is enough. Devices that cannot reach
  // host memory refuse.
  virtual Result<std::unique_ptr<Buffer>> wrap(void *host, size_t bytes);

  virtual Status upload(Buffer &to, size_t offset, const void *from, size_t bytes) = 0;
  // Waits for all work before it.
  virtual Status download(const Buffer &from, size_t offset, void *to, size_t bytes) = 0;
  // Ranges must not overlap. Offsets and sizes are multiples of 4.
  virtual Status copy(Buffer &to, size_t to_offset, const Buffer &from, size_t from_offset,
                      size_t bytes) = 0;
  // Repeats a 32-bit pattern. Offset and size are multiples of 4.
  virtual Status fill(Buffer &to, size_t offset, size_t bytes, uint32_t pattern) = 0;

  // Whether load() would take this kernel, without loading it; if not, why.
  Status accepts(const KernelInfo &info, std::span<const std::byte> image) const;
  // Makes a kernel of the bundle ready. `image` is read during the call only.
  virtual Result<std::unique_ptr<Kernel>> load(const KernelInfo &info,
                                               std::span<const std::byte> image) = 0;
  // Enqueues one call. `words` and `buffers` are as kernel_abi.h says, one
  // range per binding. `work` estimates the multiply-adds (0: unknown); long
  // launches are split so that no single submit runs into a watchdog.
  virtual Status launch(Kernel &kernel, std::span<const uint32_t> words,
                        std::span<const BufferRange> buffers, Grid grid, double work = 0) = 0;
  virtual Status synchronise() = 0;

protected:
  Device() = default;
  void count_allocation(uint64_t bytes);
  void count_release(uint64_t bytes) { stats_.bytes_allocated -= bytes; }
  // The checks that every device makes before it touches a range.
  static Status check_range(const char *what, const Buffer &buffer, size_t offset, size_t bytes);
  Status check_launch(const Kernel &kernel, std::span<const uint32_t> words,
                      std::span<const BufferRange> buffers, Grid grid) const;

  DeviceInfo info_;
  DeviceStats stats_;
};

struct DeviceOptions {
  uint32_t threads = 0;    // cpu: 0 = one per usable core
  Executor executor = {};  // in place of threads of its own
  bool validation = false; // vulkan: load the validation layer; its messages make
                           // calls fail. Also set by ATTN_VULKAN_VALIDATION=1.
  // cpu: features to pretend, among those present, e.g. "avx2" (kernels for
  // lesser machines can be tested); empty: all present. Also ATTN_CPU_FEATURES.
  std::string cpu_features = {};
};

// Opens "cpu", "vulkan[:index]" or "cuda[:index]". Never another device than
// the one named: a device that cannot be had is an `environment` failure whose
// message lists every reason; an id that means nothing is `usage`.
Result<std::unique_ptr<Device>> open_device(std::string_view id, const DeviceOptions &options = {});

// A device of this machine, or why it is refused.
struct DeviceListing {
  std::string id;
  std::string name;
  Status status; // ok: open_device(id) is expected to work
  DeviceInfo info;
};

// Every device of every kind; a kind without a device has one refused entry.
std::vector<DeviceListing> list_devices(const DeviceOptions &options = {});

// Names of Feature bits, comma separated: "avx2,avx512".
std::string feature_names(uint32_t features);
const char *target_name(TargetKind target);
const char *element_type_name(ElementType type);

} // namespace attn
