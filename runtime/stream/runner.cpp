// One thread that sleeps until it is given blocks to make.
#include "runtime/stream/runner.h"

#include <algorithm>
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

Status Runner::start(uint64_t blocks, Done done) { return begin(blocks, std::move(done), false); }

Status Runner::begin(uint64_t blocks, Done done, bool budgeted) {
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
  budgeted_ = budgeted;
  blocks_ = blocks;
  done_ = std::move(done);
  stream_.gate().begin_work(budgeted);
  changed_.notify_all();
  return {};
}

Result<bool> Runner::run_for(std::chrono::duration<double> budget, Done done) {
  using Clock = std::chrono::steady_clock;
  const Clock::time_point start = Clock::now();
  // A day is more than a block takes, and fits the clock.
  const auto limit = std::min<std::chrono::duration<double>>(budget, std::chrono::hours(24));
  bool under_way; // or ended between two calls, by a cancel
  {
    std::lock_guard lock(mutex_);
    under_way = budgeted_;
  }
  if (!under_way)
    ATTN_RETURN_IF_ERROR(begin(1, std::move(done), true));
  if (!stream_.gate().work_until(start + std::chrono::duration_cast<Clock::duration>(limit)))
    return false;
  ATTN_RETURN_IF_ERROR(wait());
  return true;
}

bool Runner::busy() const {
  std::lock_guard lock(mutex_);
  return busy_;
}

Status Runner::wait() {
  stream_.gate().work_on();
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return !busy_; });
  budgeted_ = false;
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
    stream_.gate().end_work();
    changed_.notify_all();
  }
}

} // namespace attn::stream
