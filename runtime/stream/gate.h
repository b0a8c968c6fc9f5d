// Pause, single step, cancel and time budgets of a stream, asked for by any thread
// and obeyed between two passes.
#pragma once

#include "runtime/base/status.h"
#include <atomic>
#include <chrono>
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

  // ---- for the thread that makes blocks

  // Waits while the stream is paused or out of time. Fails, once, if it was cancelled.
  Status enter() {
    if (!busy_.load(std::memory_order_acquire))
      return {};
    std::unique_lock lock(mutex_);
    wait(lock, Place::entry);
    if (!cancelled_)
      return {};
    cancelled_ = false;
    refresh();
    return Status(StatusCode::cancelled, "cancelled by the caller");
  }
  // Between passes that must all be made: waits while the stream is out of time.
  void yield() {
    if (!busy_.load(std::memory_order_acquire))
      return;
    std::unique_lock lock(mutex_);
    wait(lock, Place::midway);
  }
  void block_done() {
    if (busy_.load(std::memory_order_acquire))
      change([&] { steps_ -= steps_ > 0; });
  }
  // Around everything it does for one request, which may begin out of time.
  void begin_work(bool held) {
    change([&] { working_ = true, held_ = held, passed_ = 0; });
  }
  void end_work() {
    change([&] { working_ = false, held_ = false; });
  }

  // ---- for the thread that asks for blocks

  // Lets the other thread work until `deadline`, then to the end of its pass; one pass
  // is made in any case. Whether it is done; if not, it stands still until the next call.
  bool work_until(std::chrono::steady_clock::time_point deadline) {
    std::unique_lock lock(mutex_);
    held_ = std::chrono::steady_clock::now() >= deadline;
    passed_ = 0;
    refresh();
    changed_.notify_all();
    if (!changed_.wait_until(lock, deadline, [&] { return !working_; })) {
      held_ = true;
      refresh();
      changed_.wait(lock, [&] { return !working_ || !may_go(waits_at_); });
    }
    return !working_;
  }
  // Takes the limit away.
  void work_on() {
    change([&] { held_ = false; });
  }

private:
  enum class Place : uint8_t { none, entry, midway };

  bool may_go(Place place) const {
    if (place == Place::none || cancelled_)
      return true;
    if (held_ && passed_ > 0)
      return false;
    return place == Place::midway || !paused_ || steps_ > 0;
  }
  void wait(std::unique_lock<std::mutex> &lock, Place place) {
    waits_at_ = place;
    if (!may_go(place)) {
      changed_.notify_all(); // the other thread may be waiting for this
      changed_.wait(lock, [&] { return may_go(place); });
    }
    waits_at_ = Place::none;
    ++passed_;
  }
  template <typename Change> void change(Change &&make) {
    {
      std::lock_guard lock(mutex_);
      make();
      refresh();
    }
    changed_.notify_all();
  }
  void refresh() {
    busy_.store(paused_ || cancelled_ || steps_ || held_ || working_, std::memory_order_release);
  }

  std::atomic<bool> busy_{false}; // anything to look at
  std::mutex mutex_;
  std::condition_variable changed_;
  bool paused_ = false, cancelled_ = false;
  int steps_ = 0;
  bool working_ = false, held_ = false; // a request is under way; it is out of time
  uint64_t passed_ = 0;                 // places since the last call of work_until
  Place waits_at_ = Place::none;
};

} // namespace attn::stream
