// One device for several users, who take turns in the order in which they ask.
#pragma once

#include "runtime/base/thread_pool.h"
#include "runtime/device/device.h"
#include <condition_variable>
#include <memory>
#include <mutex>

namespace attn {

// A lock that is handed on in order: whoever gives it back and asks again waits
// behind those who asked before. std::mutex would let one stream starve others.
class TurnLock {
public:
  void lock() {
    std::unique_lock guard(mutex_);
    const uint64_t mine = next_++;
    turn_.wait(guard, [&] { return serving_ == mine; });
  }
  void unlock() {
    {
      std::lock_guard guard(mutex_);
      ++serving_;
    }
    turn_.notify_all();
  }

private:
  std::mutex mutex_;
  std::condition_variable turn_;
  uint64_t next_ = 0, serving_ = 0;
};

class SharedDevice {
public:
  static Result<std::shared_ptr<SharedDevice>> open(std::string_view id,
                                                    const DeviceOptions &options = {}) {
    auto shared = std::make_shared<SharedDevice>();
    ATTN_ASSIGN_OR_RETURN(shared->device, open_device(id, options));
    if (!shared->device->threads())
      shared->own_pool_ = std::make_unique<ThreadPool>(options.threads, options.executor);
    return shared;
  }
  // For host work beside the kernels: the device's own threads, if it has some.
  ThreadPool &threads() { return own_pool_ ? *own_pool_ : *device->threads(); }

  TurnLock turns; // to be held while anything on `device` is used
  std::unique_ptr<Device> device;

private:
  std::unique_ptr<ThreadPool> own_pool_;
};

} // namespace attn
