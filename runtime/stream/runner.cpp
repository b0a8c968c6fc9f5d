// One thread that sleeps until it is given blocks to make.
#include "runtime/stream/runner.h"

#include <system_error>

namespace attn::stream {

Runner::~Runner() {
  if (!thread_.joinable())
    return;
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
  }
  stream_.gate().cancel();
  changed_.notify_all();
  thread_.join();
}

Status Runner::start(uint64_t blocks, Done done) {
  std::lock_guard lock(mutex_);
  if (busy_)
    return Status::usage("the stream is making a block; wait for it first");
  if (!thread_.joinable()) {
    try {
      thread_ = std::thread([this] { main(); });
    } catch (const std::system_error &error) {
      return Status::environment("cannot start a thread: ", error.what());
    }
  }
  busy_ = true;
  blocks_ = blocks;
  done_ = std::move(done);
  changed_.notify_all();
  return {};
}

bool Runner::busy() const {
  std::lock_guard lock(mutex_);
  return busy_;
}

Status Runner::wait() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return !busy_; });
  return last_;
}

void Runner::main() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [&] { return stop_ || busy_; });
    if (!busy_)
      return;
    Status status;
    for (uint64_t made = 0; (blocks_ == 0 || made < blocks_) && status.ok() && !stop_; ++made) {
      lock.unlock();
      auto block = stream_.next_block();
      status = block.status();
      done_(status, block.ok() ? *block : std::span<const float>());
      lock.lock();
    }
    last_ = status;
    busy_ = false;
    changed_.notify_all();
  }
}

} // namespace attn::stream
