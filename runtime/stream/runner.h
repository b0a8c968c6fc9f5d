// Makes blocks on a thread of its own, so that the caller need not wait.
#pragma once

#include "runtime/stream/streamer.h"
#include <chrono>
#include <functional>
#include <thread>

namespace attn::stream {

class Runner {
public:
  // Called on the runner's thread with every block, or with what ended the run and
  // no frames. The frames are valid during the call, in which start() is not allowed.
  using Done = std::function<void(const Status &status, std::span<const float> frames)>;

  // The stream must outlive the runner and is the runner's while it is busy.
  explicit Runner(Streamer &stream) : stream_(stream) {}
  ~Runner(); // cancels what is being made

  // Makes `blocks` blocks (0: until cancelled); pauses and steps are the stream's
  // gate's. Fails if the runner is busy.
  Status start(uint64_t blocks, Done done);
  // Works on one block for that long at most, then to the end of the pass it is in. Whether
  // the block is made (`done` has been called), or what ended it; if not, nothing runs until
  // the next call, which goes on and ignores `done`.
  Result<bool> run_for(std::chrono::duration<double> budget, Done done);
  bool busy() const;
  // Waits for the end of what was started, however long it takes; why it ended.
  Status wait();

private:
  Status begin(uint64_t blocks, Done done, bool budgeted);
  void main();

  Streamer &stream_;
  std::thread thread_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  bool busy_ = false, stop_ = false;
  bool budgeted_ = false; // run_for began what runs, or has not told yet how it ended
  uint64_t blocks_ = 0;
  Done done_;
  Status last_;
};

} // namespace attn::stream
