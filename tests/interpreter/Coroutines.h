// Functions that take turns: one runs at a time, and which one is next is drawn
// from a seed. Each is a thread that waits for its turn.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

namespace attn::interpreter {

// What a function throws, or what stops all of them: its text is the fault.
struct Fault : std::runtime_error {
  using std::runtime_error::runtime_error;
};

class Coroutines {
public:
  explicit Coroutines(uint64_t seed) : random(seed) {}

  // Runs all functions to their end. Between turns `events` may happen, one at a time;
  // it says whether there was one. Throws a Fault if any does, or if all wait forever.
  void run(const std::vector<std::function<void()>> &functions,
           const std::function<bool(std::mt19937_64 &)> &event);

  // Called within a function: others run until it is drawn again and `ready` holds.
  void waitFor(const std::function<bool()> &ready);

private:
  struct Member {
    std::function<bool()> ready; // null: at once
    bool done = false;
  };
  void handOver(size_t to);

  std::mt19937_64 random;
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<Member> members;
  static constexpr size_t kScheduler = ~size_t(0);
  size_t turn = kScheduler;
  bool stopping = false;
  std::string fault;
};

} // namespace attn::interpreter
