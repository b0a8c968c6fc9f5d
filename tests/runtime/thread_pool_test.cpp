// The thread pool runs every item once, whatever the thread count.
#include "runtime/base/thread_pool.h"

#include <algorithm>
#include <chrono>
#include <gtest/gtest.h>
#include <numeric>

using namespace attn;

class ThreadPoolTest : public testing::TestWithParam<uint32_t> {};

TEST_P(ThreadPoolTest, RunsEveryItemOnce) {
  ThreadPool pool(GetParam());
  EXPECT_EQ(pool.thread_count(), GetParam());
  for (uint32_t items : {0u, 1u, 2u, 7u, 1000u})
    for (uint32_t grain : {0u, 1u, 3u, 2000u}) {
      std::vector<std::atomic<int>> seen(items);
      pool.parallel_for(items, grain, [&](uint32_t begin, uint32_t end, uint32_t thread) {
        EXPECT_LT(thread, pool.thread_count());
        for (uint32_t i = begin; i < end; ++i)
          ++seen[i];
      });
      for (auto &count : seen)
        EXPECT_EQ(count, 1);
    }
}

TEST_P(ThreadPoolTest, ManyShortLoopsInARow) {
  ThreadPool pool(GetParam());
  std::vector<uint32_t> values(16, 0);
  for (int loop = 0; loop < 5000; ++loop)
    pool.parallel_for(16, 1, [&](uint32_t begin, uint32_t end, uint32_t) {
      for (uint32_t i = begin; i < end; ++i)
        ++values[i]; // would race if a thread of an earlier loop were still in
    });
  EXPECT_EQ(std::accumulate(values.begin(), values.end(), 0u), 80000u);
}

TEST_P(ThreadPoolTest, ThreadsThatSleptWakeUp) {
  ThreadPool pool(GetParam());
  for (int round = 0; round < 5; ++round) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    std::atomic<int> sum = 0;
    pool.parallel_for(100, 1, [&](uint32_t begin, uint32_t end, uint32_t) { sum += end - begin; });
    EXPECT_EQ(sum, 100);
  }
}

TEST_P(ThreadPoolTest, NestedLoopsRunOnTheCallingThread) {
  ThreadPool pool(GetParam());
  std::atomic<int> sum = 0;
  pool.parallel_for(4, 1, [&](uint32_t from, uint32_t to, uint32_t outer) {
    pool.parallel_for(10 * (to - from), 1, [&](uint32_t begin, uint32_t end, uint32_t inner) {
      EXPECT_EQ(inner, outer);
      sum += end - begin;
    });
  });
  EXPECT_EQ(sum, 40);
}

TEST_P(ThreadPoolTest, CallersTakeTurns) {
  ThreadPool pool(GetParam());
  int plain = 0; // unprotected: only one loop may run at a time
  std::vector<std::thread> callers;
  for (int c = 0; c < 3; ++c)
    callers.emplace_back([&] {
      for (int i = 0; i < 200; ++i)
        pool.parallel_for(1, 1, [&](uint32_t, uint32_t, uint32_t) { ++plain; });
    });
  for (std::thread &caller : callers)
    caller.join();
  EXPECT_EQ(plain, 600);
}

TEST_P(ThreadPoolTest, ArenasAreAlignedAndPerThread) {
  ThreadPool pool(GetParam());
  ASSERT_TRUE(pool.reserve_arenas(1000));
  std::vector<void *> arenas;
  for (uint32_t i = 0; i < pool.thread_count(); ++i)
    arenas.push_back(pool.arena(i, 1000));
  for (void *arena : arenas)
    EXPECT_EQ(reinterpret_cast<uintptr_t>(arena) % 64, 0u);
  std::sort(arenas.begin(), arenas.end());
  EXPECT_EQ(std::unique(arenas.begin(), arenas.end()), arenas.end());
  void *large = pool.arena(0, 3 << 20);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(large) % (2 << 20), 0u);
  EXPECT_EQ(pool.arena(0, 1000), large) << "a smaller wish keeps the arena";
  EXPECT_EQ(pool.arena(0, SIZE_MAX / 2), nullptr);
}

INSTANTIATE_TEST_SUITE_P(Threads, ThreadPoolTest, testing::Values(1u, 2u, 5u));

// Runs tasks on new threads, or backwards on one.
static Executor executor_of(uint32_t threads, bool beside) {
  static constexpr auto on_threads = [](void *, uint32_t tasks, void (*task)(void *, uint32_t),
                                        void *context) {
    std::vector<std::thread> all;
    for (uint32_t i = 0; i < tasks; ++i)
      all.emplace_back([=] { task(context, i); });
    for (std::thread &one : all)
      one.join();
  };
  static constexpr auto backwards = [](void *calls, uint32_t tasks, void (*task)(void *, uint32_t),
                                       void *context) {
    ++*static_cast<int *>(calls);
    for (uint32_t i = tasks; i-- > 0;)
      task(context, i);
  };
  static int calls = 0;
  return beside ? Executor{threads, on_threads} : Executor{threads, backwards, &calls};
}

TEST(ThreadPool, LoopsOnAnExecutor) {
  for (bool beside : {false, true}) {
    ThreadPool pool(0, executor_of(3, beside));
    ASSERT_EQ(pool.thread_count(), 3u);
    ASSERT_TRUE(pool.reserve_arenas(100));
    for (uint32_t items : {0u, 1u, 2u, 1000u})
      for (uint32_t grain : {1u, 7u, 2000u}) {
        std::vector<std::atomic<int>> seen(items);
        pool.parallel_for(items, grain, [&](uint32_t begin, uint32_t end, uint32_t thread) {
          ASSERT_LT(thread, 3u);
          for (uint32_t i = begin; i < end; ++i)
            ++seen[i];
          pool.parallel_for(2, 1, [&](uint32_t, uint32_t, uint32_t inner) {
            EXPECT_EQ(inner, thread); // nested: here and now
          });
        });
        for (auto &count : seen)
          EXPECT_EQ(count, 1);
      }
  }
  EXPECT_EQ(*static_cast<int *>(executor_of(1, false).user),
            3); // 1000 items in steps of 1 and 7, 2 of 1
}

TEST(ThreadPool, EnvironmentSetsTheDefault) {
  setenv("ATTN_THREADS", "3", 1);
  EXPECT_EQ(ThreadPool().thread_count(), 3u);
  unsetenv("ATTN_THREADS");
  EXPECT_GE(ThreadPool().thread_count(), 1u);
}
