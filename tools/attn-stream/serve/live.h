// The live stream: blocks are made as fast as they are shown, frames go to the page's
// viewers and to a file, and the viewers' commands steer it.
#pragma once

#include "runtime/stream/frame_writer.h"
#include "runtime/stream/stats.h"
#include "tools/attn-stream/serve/server.h"
#include <condition_variable>
#include <mutex>

namespace attn::tool {

struct LiveOptions {
  ServerOptions server;
  uint64_t frames = 0; // 0: until it is stopped
  bool paced = true;   // wait so that frames come at the model's rate
  bool quiet = false;
};

class Live {
public:
  // `writer` may be null. `prompt` is the first one, `pending` those that the command
  // line has pushed for later; all of them are the stream's already.
  Live(stream::Streamer &streamer, stream::FrameWriter *writer, stream::StreamStats &stats,
       std::string prompt, std::vector<PendingPrompt> pending, uint64_t seed);

  // Serves until `frames` are made, a signal comes or something fails.
  Status run(const LiveOptions &options);
  bool stopped() const { return stop_; }

private:
  Status command(const Command &command);
  void stop();
  bool wait_until(std::chrono::steady_clock::time_point due);
  Status show(const float *sample, uint64_t number);
  void publish_state(bool percentiles);

  stream::Streamer &streamer_;
  stream::FrameWriter *writer_;
  stream::StreamStats &stats_;
  std::unique_ptr<Server> server_;
  stream::Picture picture_;

  std::mutex mutex_; // guards what follows
  std::condition_variable changed_;
  LiveState state_;
  std::optional<uint64_t> wanted_seed_;
  bool stop_ = false;
};

} // namespace attn::tool
