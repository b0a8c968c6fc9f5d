// A small pool of threads that run the work items of one loop at a time. The
// caller's thread takes part, and results do not depend on the thread count
// as long as each item writes only its own output.
#pragma once

#include "runtime/base/aligned_memory.h"
#include "runtime/base/executor.h"
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <type_traits>
#include <vector>

namespace attn {

class ThreadPool {
public:
  static constexpr uint32_t kMost = 1024; // threads; more are cut down to it

  // `threads` counts the caller's; 0 means one per core that this process may
  // use (its affinity mask), or ATTN_THREADS where that is set.
  // With an executor there are no threads of its own.
  explicit ThreadPool(uint32_t threads = 0, const Executor &executor = {});
  ~ThreadPool();
  ThreadPool(const ThreadPool &) = delete;
  ThreadPool &operator=(const ThreadPool &) = delete;

  uint32_t thread_count() const {
    return executor_.threads ? executor_.threads : static_cast<uint32_t>(workers_.size()) + 1;
  }

  // Calls body(begin, end, thread) for pieces of [0, items) until all are done;
  // `thread` < thread_count(). Pieces of `grain` items are handed out in
  // ascending order to whichever thread is free; where one thread does it all
  // (a nested call, one thread, no more items than `grain`) it gets them in
  // one piece. Returns when every item has run. A call from inside a body runs
  // on the calling thread. Concurrent calls from different threads take turns.
  template <typename Body> void parallel_for(uint32_t items, uint32_t grain, Body &&body) {
    using Plain = std::remove_reference_t<Body>;
    run_loop(items, grain, const_cast<void *>(static_cast<const void *>(&body)),
             [](void *object, uint32_t begin, uint32_t end, uint32_t thread) {
               (*static_cast<Plain *>(object))(begin, end, thread);
             });
  }

  // Scratch of at least `bytes` for `thread` (as handed to a body), 64-byte
  // aligned (2 MiB aligned from 2 MiB up). Grows when asked for more and is
  // kept between loops; the contents are not. Null when memory is exhausted.
  // Call it for every thread before the loop (`reserve_arenas`) to keep
  // allocation out of the loop.
  void *arena(uint32_t thread, size_t bytes);
  bool reserve_arenas(size_t bytes);

private:
  using Invoke = void (*)(void *, uint32_t, uint32_t, uint32_t);
  void run_loop(uint32_t items, uint32_t grain, void *object, Invoke invoke);
  void work(uint32_t thread);
  void wait_for_others();
  void worker_main(uint32_t thread);

  // The loop being run. Written by the caller before `epoch_` is raised.
  void *object_ = nullptr;
  Invoke invoke_ = nullptr;
  uint32_t items_ = 0, grain_ = 1;
  alignas(64) std::atomic<uint64_t> next_{0};
  alignas(64) std::atomic<uint32_t> epoch_{0};   // odd: a loop is open
  alignas(64) std::atomic<uint32_t> running_{0}; // workers inside
  std::atomic<bool> stop_{false}, waiting_{false};
  std::atomic<uint32_t> sleepers_{0};
  std::mutex loop_mutex_;
  Executor executor_;
  std::vector<AlignedMemory> arenas_;
  std::vector<std::thread> workers_;
};

} // namespace attn
