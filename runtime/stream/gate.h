// Pause, single step and cancel of a stream, asked for by any thread and obeyed
// between two passes.
#pragma once

#include "runtime/base/status.h"
#include <atomic>
#include <condition_variable>
#include <mutex>

namespace attn::stream {

class Gate {
public:
  void pause() {
    change([&] { paused_ = true, steps_ = 0; });
  }
  void resume() {
    change([&] { paused_ = false, steps_ = 0; });
  }
  // Lets a paused stream make one more block.
  void step() {
    change([&] { ++steps_; });
  }
  // Ends the block in the making, or else the next one.
  void cancel() {
    change([&] { cancelled_ = true; });
  }

  // Waits while the stream is paused. Fails, once, if it was cancelled.
  Status enter() {
    if (!busy_.load(std::memory_order_acquire))
      return {};
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return cancelled_ || !paused_ || steps_ > 0; });
    if (!cancelled_)
      return {};
    cancelled_ = false;
    refresh();
    return Status(StatusCode::cancelled, "cancelled by the caller");
  }
  void block_done() {
    if (busy_.load(std::memory_order_acquire))
      change([&] { steps_ -= steps_ > 0; });
  }

private:
  template <typename Change> void change(Change &&make) {
    {
      std::lock_guard lock(mutex_);
      make();
      refresh();
    }
    changed_.notify_all();
  }
  void refresh() { busy_.store(paused_ || cancelled_ || steps_, std::memory_order_release); }

  std::atomic<bool> busy_{false}; // anything to look at
  std::mutex mutex_;
  std::condition_variable changed_;
  bool paused_ = false, cancelled_ = false;
  int steps_ = 0;
};

} // namespace attn::stream
