// Gathers times and prints them.
#include "runtime/stream/stats.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <sys/resource.h>

namespace attn::stream {

static double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

void Samples::add(double v) {
  constexpr size_t kMost = 1 << 13;
  kept_.reserve(kMost); // the first time: a stream allocates nothing later
  sum_ += v;
  largest_ = std::max(largest_, v);
  if (count_++ % stride_ == 0)
    kept_.push_back(v);
  if (kept_.size() < kMost)
    return;
  for (size_t i = 0; 2 * i < kept_.size(); ++i)
    kept_[i] = kept_[2 * i];
  kept_.resize(kept_.size() / 2);
  stride_ *= 2;
}

double Samples::percentile(double p) const {
  if (kept_.empty())
    return 0;
  std::vector<double> sorted = kept_;
  std::sort(sorted.begin(), sorted.end());
  double at = p / 100 * static_cast<double>(sorted.size() - 1);
  size_t low = static_cast<size_t>(at), high = std::min(low + 1, sorted.size() - 1);
  return sorted[low] + (at - static_cast<double>(low)) * (sorted[high] - sorted[low]);
}

void StreamStats::start() { started_ = now(); }

void StreamStats::block(const BlockTimes &times, int64_t frames, double write_seconds) {
  double end = now();
  if (blocks_ == 0) {
    first_frame_ = end - started_;
    first_block_ = end - times.total() - write_seconds;
  }
  ++blocks_;
  frames_ += static_cast<uint64_t>(frames);
  denoise_ += times.denoise;
  clean_ += times.clean;
  block_.add(times.denoise + times.clean);
  frame_.add(times.total() / static_cast<double>(frames));
  write_.add(write_seconds);
  if (times.switched) {
    ++switches_;
    recache_.add(times.recache);
  }
  ended_ = end;
}

void StreamStats::finish(const Streamer &streamer) {
  model_ = streamer.description().name;
  device_ = streamer.device().info().id;
  device_name_ = streamer.device().info().name;
  attention_launches_ = streamer.attention().launches;
  attention_ns_ = streamer.attention().nanoseconds;
  kernels_ = streamer.attention().chosen;
  const graph::Session &session = streamer.session();
  memory_ = session.memory();
  device_stats_ = streamer.device().stats();
  int8_cache_ = streamer.cache(0, 0).scales != nullptr;
  memo_hits_ = session.memo_hits();
  memo_misses_ = session.memo_misses();
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  peak_rss_ = static_cast<uint64_t>(usage.ru_maxrss) * 1024;
}

double StreamStats::loop_fps() const {
  double seconds = denoise_ + clean_ + recache_.sum();
  return seconds > 0 ? static_cast<double>(frames_) / seconds : 0;
}
double StreamStats::end_to_end_fps() const {
  double seconds = ended_ - first_block_;
  return seconds > 0 ? static_cast<double>(frames_) / seconds : 0;
}
double StreamStats::per_frame(uint64_t total) const {
  return frames_ ? static_cast<double>(total) / static_cast<double>(frames_) : 0;
}
double StreamStats::elapsed() const { return now() - started_; }

std::string StreamStats::table() const {
  std::string out;
  char line[200];
  auto row = [&](const char *name, const char *format, auto... values) {
    char value[140];
    std::snprintf(value, sizeof value, format, values...);
    std::snprintf(line, sizeof line, "  %-28s %s\n", name, value);
    out += line;
  };
  double block = block_.percentile(50);
  row("frames", "%llu", static_cast<unsigned long long>(frames_));
  row("loop", "%.1f frames/s (denoise, clean pass, recache)", loop_fps());
  row("end to end", "%.1f frames/s (with decoding and writing)", end_to_end_fps());
  row("first frame after", "%.0f ms", first_frame_ * 1e3);
  row("frame time p50 p95 p99", "%.2f  %.2f  %.2f ms", frame_.percentile(50) * 1e3,
      frame_.percentile(95) * 1e3, frame_.percentile(99) * 1e3);
  if (switches_)
    row("prompt switch stall", "%.1f ms at most = %.1f block times (%llu recaches)",
        recache_.largest() * 1e3, block > 0 ? recache_.largest() / block : 0.0,
        static_cast<unsigned long long>(switches_));
  if (attention_launches_)
    row("attention kernels", "%.1f%% of the loop, %llu launches",
        static_cast<double>(attention_ns_) * 1e-7 / (denoise_ + clean_ + recache_.sum()),
        static_cast<unsigned long long>(attention_launches_));
  row("memory",
      "%.1f MiB peak; caches %.2f%s, state %.2f, arena %.1f, remembered %.1f, weights %.1f",
      static_cast<double>(peak_rss_) / 1048576, static_cast<double>(memory_.caches) / 1048576,
      int8_cache_ ? " (int8)" : "",
      static_cast<double>(memory_.persistent - memory_.caches) / 1048576,
      static_cast<double>(memory_.arena) / 1048576, static_cast<double>(memory_.memo) / 1048576,
      static_cast<double>(memory_.weights_mapped + memory_.weights_copied) / 1048576);
  if (device_stats_.bytes_uploaded)
    row("moved to and from device", "%.1f KiB and %.1f KiB per frame; %.2f MiB of buffers there",
        per_frame(device_stats_.bytes_uploaded) / 1024,
        per_frame(device_stats_.bytes_downloaded) / 1024,
        static_cast<double>(device_stats_.peak_bytes_allocated) / 1048576);
  row("mask build", "%d bytes, %d ms", 0, 0);
  row("device", "%s (%s)", device_.c_str(), device_name_.c_str());
  return out;
}

static std::string quoted(const std::string &text) {
  std::string out = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\')
      out += '\\';
    if (static_cast<unsigned char>(c) < 0x20)
      out += ' ';
    else
      out += c;
  }
  return out + "\"";
}

std::string StreamStats::json() const {
  std::string out = "{\n";
  auto number = [&](const char *name, double v) { out += concat("  \"", name, "\": ", v, ",\n"); };
  auto count = [&](const char *name, uint64_t v) { out += concat("  \"", name, "\": ", v, ",\n"); };
  out += "  \"model\": " + quoted(model_) + ",\n  \"device\": " + quoted(device_) +
         ",\n  \"device_name\": " + quoted(device_name_) + ",\n";
  count("frames", frames_);
  count("blocks", blocks_);
  number("loop_fps", loop_fps());
  number("end_to_end_fps", end_to_end_fps());
  number("first_frame_ms", first_frame_ * 1e3);
  for (int p : {50, 95, 99})
    out += concat("  \"frame_ms_p", p, "\": ", frame_.percentile(p) * 1e3, ",\n");
  number("block_ms_p50", block_.percentile(50) * 1e3);
  count("prompt_switches", switches_);
  number("switch_stall_ms", recache_.largest() * 1e3);
  number("switch_stall_blocks",
         block_.percentile(50) > 0 ? recache_.largest() / block_.percentile(50) : 0);
  number("denoise_ms", denoise_ * 1e3);
  number("clean_pass_ms", clean_ * 1e3);
  number("recache_ms", recache_.sum() * 1e3);
  number("write_ms", write_.sum() * 1e3);
  number("attention_ms", static_cast<double>(attention_ns_) * 1e-6);
  count("attention_launches", attention_launches_);
  count("memo_hits", memo_hits_);
  count("memo_misses", memo_misses_);
  out += "  \"bytes\": {";
  auto bytes = [&](const char *name, uint64_t v, bool last = false) {
    out += concat("\"", name, "\": ", v, last ? "" : ", ");
  };
  bytes("peak_rss", peak_rss_);
  bytes("caches", memory_.caches);
  bytes("state", memory_.persistent - memory_.caches);
  bytes("arena", memory_.arena);
  bytes("remembered", memory_.memo);
  bytes("weights_mapped", memory_.weights_mapped);
  bytes("weights_copied", memory_.weights_copied);
  bytes("device_uploaded", device_stats_.bytes_uploaded);
  bytes("device_downloaded", device_stats_.bytes_downloaded);
  bytes("device_buffers", device_stats_.peak_bytes_allocated);
  bytes("mask_build", 0, true);
  out += "},\n  \"cache_type\": " + quoted(int8_cache_ ? "int8" : "f32") + ",\n  \"kernels\": [";
  for (size_t i = 0; i < kernels_.size(); ++i)
    out += (i ? ", " : "") + quoted(kernels_[i]);
  return out + "]\n}\n";
}

} // namespace attn::stream
