// Runs loops over work items on a fixed set of threads. A loop is opened and
// closed by an epoch counter, so that a thread that sleeps through a short
// loop is never waited for.
#include "runtime/base/thread_pool.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <sched.h>
#include <system_error>

namespace attn {

// The index of the pool thread that runs a body right now, or -1.
static thread_local int current_thread = -1;

// Spinning covers the gap between two kernels of one stream step; after that
// a sleeping thread leaves the core to others.
static constexpr int kSpins = 1500;

static inline void pause_briefly() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Cores that this process may use at once: its affinity mask, cut down by a
// container's quota, which would otherwise stall all threads together.
static uint32_t usable_cores() {
  if (const char *text = std::getenv("ATTN_THREADS")) {
    long wanted = std::strtol(text, nullptr, 10);
    if (wanted > 0)
      return static_cast<uint32_t>(std::min<long>(wanted, ThreadPool::kMost));
  }
  long cores = 0;
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0)
    cores = CPU_COUNT(&set);
  if (cores <= 0)
    cores = std::max(1u, std::thread::hardware_concurrency());
  if (FILE *file = std::fopen("/sys/fs/cgroup/cpu.max", "r")) {
    long quota = 0, period = 0;
    if (std::fscanf(file, "%ld %ld", &quota, &period) == 2 && quota > 0 && period > 0)
      cores = std::clamp((quota + period - 1) / period, 1l, cores);
    std::fclose(file);
  }
  return static_cast<uint32_t>(cores);
}

ThreadPool::ThreadPool(uint32_t threads, const Executor &executor) : executor_(executor) {
  if (executor_.threads) {
    executor_.threads = std::min(executor_.threads, kMost);
    arenas_.resize(executor_.threads);
    return;
  }
  if (threads == 0)
    threads = usable_cores();
  threads = std::min(threads, kMost);
  arenas_.resize(threads);
  workers_.reserve(threads - 1);
  try {
    for (uint32_t i = 1; i < threads; ++i)
      workers_.emplace_back([this, i] { worker_main(i); });
  } catch (const std::system_error &) {
    // The system gives no more threads: those that there are do the work.
  }
}

ThreadPool::~ThreadPool() {
  stop_ = true;
  epoch_.fetch_add(2);
  epoch_.notify_all();
  for (std::thread &worker : workers_)
    worker.join();
}

void *ThreadPool::arena(uint32_t thread, size_t bytes) {
  AlignedMemory &arena = arenas_[thread];
  if (arena.size() < bytes)
    arena = AlignedMemory(bytes);
  return arena.size() < bytes ? nullptr : arena.data();
}

bool ThreadPool::reserve_arenas(size_t bytes) {
  if (bytes == 0)
    return true;
  for (uint32_t i = 0; i < thread_count(); ++i)
    if (!arena(i, bytes))
      return false;
  return true;
}

void ThreadPool::run_loop(uint32_t items, uint32_t grain, void *object, Invoke invoke) {
  if (items == 0)
    return;
  grain = std::max(grain, 1u);
  if (current_thread >= 0) { // nested: this thread is part of a loop already
    invoke(object, 0, items, static_cast<uint32_t>(current_thread));
    return;
  }
  std::lock_guard turn(loop_mutex_);
  if (thread_count() == 1 || items <= grain) {
    current_thread = 0;
    invoke(object, 0, items, 0);
    current_thread = -1;
    return;
  }
  object_ = object;
  invoke_ = invoke;
  items_ = items;
  grain_ = grain;
  next_.store(0, std::memory_order_relaxed);
  if (executor_.threads) {
    const uint32_t tasks = std::min(executor_.threads, (items - 1) / grain + 1);
    executor_.run(
        executor_.user, tasks,
        [](void *pool, uint32_t task) { static_cast<ThreadPool *>(pool)->work(task); }, this);
    return;
  }
  epoch_.fetch_add(1); // odd: open
  if (sleepers_.load() > 0)
    epoch_.notify_all();
  work(0);
  epoch_.fetch_add(1); // even: closed; nobody enters any more
  wait_for_others();
}

// A thread that entered may have lost its core. Waiting for it asleep leaves it
// this one.
void ThreadPool::wait_for_others() {
  for (int spin = 0; spin < kSpins && running_.load() != 0; ++spin)
    pause_briefly();
  waiting_ = true;
  while (uint32_t running = running_.load())
    running_.wait(running);
  waiting_ = false;
}

void ThreadPool::work(uint32_t thread) {
  current_thread = static_cast<int>(thread);
  for (;;) {
    uint64_t begin = next_.fetch_add(grain_, std::memory_order_relaxed);
    if (begin >= items_)
      break;
    uint64_t end = std::min<uint64_t>(begin + grain_, items_);
    invoke_(object_, static_cast<uint32_t>(begin), static_cast<uint32_t>(end), thread);
  }
  current_thread = -1;
}

void ThreadPool::worker_main(uint32_t thread) {
  uint32_t seen = 0;
  auto opened = [&](uint32_t epoch) { return (epoch & 1) && epoch != seen; };
  while (!stop_.load(std::memory_order_relaxed)) {
    int spin = 0;
    while (spin < kSpins && !opened(epoch_.load()) && !stop_.load(std::memory_order_relaxed)) {
      pause_briefly();
      ++spin;
    }
    uint32_t epoch = epoch_.load();
    if (!opened(epoch)) {
      sleepers_.fetch_add(1);
      epoch = epoch_.load(); // a loop opened from here on wakes sleepers
      if (!opened(epoch) && !stop_.load())
        epoch_.wait(epoch);
      sleepers_.fetch_sub(1);
      continue;
    }
    // Enter, then look again: once the caller has closed the loop it waits for
    // everyone who entered, and whoever enters later sees it closed.
    running_.fetch_add(1);
    epoch = epoch_.load();
    if (opened(epoch)) {
      seen = epoch;
      work(thread);
    }
    if (running_.fetch_sub(1) == 1 && waiting_.load())
      running_.notify_one();
  }
}

} // namespace attn
