#include "tools/attn-stream/serve/live.h"

#include "tools/attn-stream/serve/jpeg.h"

#include <chrono>
#include <cstdio>

namespace attn::tool {

using Clock = std::chrono::steady_clock;

namespace {
constexpr int kQuality = 97;
constexpr uint64_t kBlocksPerPercentile = 8; // sorting the samples is not free
} // namespace

Live::Live(stream::Streamer &streamer, stream::FrameWriter *writer, stream::StreamStats &stats,
           std::string prompt, std::vector<PendingPrompt> pending, uint64_t seed)
    : streamer_(streamer), writer_(writer), stats_(stats) {
  const stream::Description &d = streamer.description();
  state_.model = d.name;
  state_.device = streamer.device().info().name;
  state_.prompt = std::move(prompt);
  state_.pending = std::move(pending);
  state_.frames_per_block = static_cast<uint64_t>(d.frames_per_block);
  state_.fps = d.fps;
  state_.seed = seed;
}

void Live::stop() {
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
  }
  changed_.notify_all();
  streamer_.gate().cancel();
}

// On the server's thread.
Status Live::command(const Command &command) {
  switch (command.kind) {
  case Command::Kind::prompt: {
    uint64_t per_block = state_.frames_per_block;
    uint64_t block = command.frame / per_block + (command.frame % per_block != 0);
    ATTN_RETURN_IF_ERROR(streamer_.push_prompt(command.parts, command.recache, block));
    std::lock_guard lock(mutex_);
    uint64_t next = state_.frame + (state_.paused ? 0 : per_block);
    state_.pending.push_back({stream::prompt_text(command.parts), std::max(command.frame, next)});
    break;
  }
  case Command::Kind::pause:
  case Command::Kind::resume:
    if (command.kind == Command::Kind::pause)
      streamer_.gate().pause();
    else
      streamer_.gate().resume();
    {
      std::lock_guard lock(mutex_);
      state_.paused = command.kind == Command::Kind::pause;
    }
    break;
  case Command::Kind::step: {
    std::lock_guard lock(mutex_);
    if (!state_.paused)
      return Status::usage("only a paused stream can be stepped");
    streamer_.gate().step();
    break;
  }
  case Command::Kind::seed: {
    std::lock_guard lock(mutex_);
    wanted_seed_ = command.seed;
    break;
  }
  }
  publish_state(false);
  return {};
}

// False if the stream was stopped meanwhile.
bool Live::wait_until(Clock::time_point due) {
  std::unique_lock lock(mutex_);
  return !changed_.wait_until(lock, due, [&] { return stop_; });
}

Status Live::show(const float *sample, uint64_t number) {
  const stream::Description &d = streamer_.description();
  stream::to_picture(sample, d.sample_shape[0], d.sample_shape[1], d.sample_shape[2], d.range_low,
                     d.range_high, picture_, d.to_rgb);
  if (writer_)
    ATTN_RETURN_IF_ERROR(writer_->write(picture_));
  auto jpeg = std::make_shared<std::string>();
  ATTN_RETURN_IF_ERROR(append_jpeg(picture_, kQuality, *jpeg));
  server_->publish_frame(number, std::move(jpeg));
  return {};
}

void Live::publish_state(bool percentiles) {
  std::lock_guard lock(mutex_);
  if (percentiles) {
    state_.p50_ms = stats_.frame_seconds().percentile(50) * 1e3;
    state_.p95_ms = stats_.frame_seconds().percentile(95) * 1e3;
  }
  server_->publish_state(state_message(state_));
}

Status Live::run(const LiveOptions &options) {
  ATTN_ASSIGN_OR_RETURN(
      server_, Server::start(
                   options.server, [&](const Command &c) { return command(c); }, [&] { stop(); }));
  if (!options.quiet)
    std::fprintf(stderr, "live at %s (Ctrl-C ends it)\n", server_->url().c_str());
  const int64_t elements = streamer_.description().frame_elements();
  const auto frame_time =
      std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(1 / state_.fps));
  auto due = Clock::now();
  Status status;
  while (status.ok() && (options.frames == 0 || state_.frame < options.frames)) {
    {
      std::lock_guard lock(mutex_);
      if (stop_)
        break;
      if (wanted_seed_) {
        state_.seed = *wanted_seed_;
        streamer_.set_seed(state_.seed);
        wanted_seed_.reset();
      }
    }
    auto block = streamer_.next_block(); // holds while the stream is paused
    if (!block.ok()) {
      if (block.status().code() != StatusCode::cancelled)
        status = block.status();
      break;
    }
    double shown = 0;
    uint64_t first = (streamer_.blocks() - 1) * state_.frames_per_block;
    for (uint64_t f = 0; f < state_.frames_per_block && status.ok(); ++f) {
      if (options.frames && first + f >= options.frames)
        break;
      if (options.paced && !wait_until(due))
        break;
      // After a pause, or where the machine is too slow, time starts anew.
      due = std::max(due + frame_time, Clock::now());
      auto start = Clock::now();
      status = show(block->data() + int64_t(f) * elements, first + f);
      shown += std::chrono::duration<double>(Clock::now() - start).count();
    }
    const stream::BlockTimes &times = streamer_.times();
    stats_.block(times, streamer_.description().frames_per_block, shown);
    {
      std::lock_guard lock(mutex_);
      state_.block = streamer_.blocks();
      state_.frame = state_.block * state_.frames_per_block;
      state_.loop_fps = stats_.loop_fps();
      state_.block_ms = times.total() * 1e3;
      state_.recache_ms = times.recache * 1e3;
      state_.stall_ms = stats_.recache_seconds().largest() * 1e3;
      std::string prompt = streamer_.prompt();
      if (prompt != state_.prompt)
        state_.prompt_frame = first;
      state_.prompt = std::move(prompt);
      std::erase_if(state_.pending, [&](const PendingPrompt &p) {
        return p.frame + state_.frames_per_block <= state_.frame;
      });
      state_.sinks = streamer_.cached_frames(true);
      state_.window = streamer_.cached_frames(false);
    }
    publish_state(state_.block % kBlocksPerPercentile == 1);
  }
  return status;
}

} // namespace attn::tool
