// Figures of a stream: times per block enter, rates and percentiles leave, as a
// table for people and as JSON.
#pragma once

#include "runtime/stream/streamer.h"
#include <string>

namespace attn::stream {

// Keeps a bounded number of samples: after that, every other one is dropped and
// the stride doubles, so that endless streams do not grow.
class Samples {
public:
  void add(double v);
  double percentile(double p) const; // 0 to 100; 0 without samples
  double sum() const { return sum_; }
  uint64_t count() const { return count_; }
  double largest() const { return largest_; }

private:
  std::vector<double> kept_;
  uint64_t count_ = 0, stride_ = 1;
  double sum_ = 0, largest_ = 0;
};

class StreamStats {
public:
  void start(); // process or request start
  void block(const BlockTimes &times, int64_t frames, double write_seconds);
  void finish(const Streamer &streamer);

  uint64_t frames() const { return frames_; }
  double loop_fps() const;       // frames over time in the denoising loop, recache included
  double end_to_end_fps() const; // frames over wall time from the first block's start
  double elapsed() const;
  uint64_t blocks() const { return blocks_; }
  uint64_t switches() const { return switches_; }
  double first_frame() const { return first_frame_; } // seconds after start()
  const Samples &frame_seconds() const { return frame_; }
  const Samples &recache_seconds() const { return recache_; }
  std::string table() const;
  std::string json() const;

private:
  double per_frame(uint64_t total) const;

  double started_ = 0, first_block_ = 0, first_frame_ = 0, ended_ = 0;
  uint64_t frames_ = 0, blocks_ = 0, switches_ = 0;
  Samples block_, frame_, recache_, write_;
  double denoise_ = 0, clean_ = 0;
  std::string model_, device_, device_name_;
  uint64_t attention_launches_ = 0, attention_ns_ = 0, peak_rss_ = 0;
  std::vector<std::string> kernels_;
  graph::MemoryUse memory_;
  DeviceStats device_stats_;
  bool int8_cache_ = false;
  uint64_t memo_hits_ = 0, memo_misses_ = 0;
};

} // namespace attn::stream
