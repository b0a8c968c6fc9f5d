// Threads that hand one token around; see Coroutines.h.
#include "tests/interpreter/Coroutines.h"

#include <thread>

namespace attn::interpreter {

static thread_local size_t self = 0;

namespace {
struct Stop {}; // unwinds the functions that a fault leaves waiting
} // namespace

void Coroutines::handOver(size_t to) {
  std::unique_lock lock(mutex);
  size_t from = turn;
  turn = to;
  changed.notify_all();
  changed.wait(lock, [&] { return turn == from; });
}

void Coroutines::waitFor(const std::function<bool()> &ready) {
  members[self].ready = ready;
  handOver(kScheduler);
  if (stopping)
    throw Stop();
}

void Coroutines::run(const std::vector<std::function<void()>> &functions,
                     const std::function<bool(std::mt19937_64 &)> &event) {
  members.resize(functions.size());
  std::vector<std::thread> threads;
  for (size_t i = 0; i < functions.size(); ++i)
    threads.emplace_back([&, i] {
      self = i;
      {
        std::unique_lock lock(mutex);
        changed.wait(lock, [&] { return turn == i; });
      }
      try {
        if (!stopping)
          functions[i]();
      } catch (const Stop &) {
      } catch (const Fault &error) {
        fault = error.what();
      }
      std::unique_lock lock(mutex);
      members[i].done = true;
      turn = kScheduler;
      changed.notify_all();
    });
  while (true) {
    std::vector<size_t> ready;
    size_t live = 0;
    for (size_t i = 0; i < members.size(); ++i) {
      live += !members[i].done;
      if (!members[i].done && (stopping || !members[i].ready || members[i].ready()))
        ready.push_back(i);
    }
    if (live == 0)
      break;
    if (!stopping && (ready.empty() || random() % 2) && event(random))
      continue;
    if (ready.empty()) {
      fault = "deadlock: every role waits for another";
      stopping = true;
      continue;
    }
    handOver(ready[random() % ready.size()]);
    stopping |= !fault.empty();
  }
  for (std::thread &thread : threads)
    thread.join();
  if (!fault.empty())
    throw Fault(fault);
}

} // namespace attn::interpreter
