// Draws the bar at most ten times a second.
#include "tools/attn-stream/progress.h"

#include <chrono>
#include <cstdio>
#include <string>
#include <unistd.h>

namespace attn::tool {

Progress::Progress(uint64_t total, bool quiet)
    : total_(total), quiet_(quiet), terminal_(::isatty(2) == 1) {}

void Progress::update(uint64_t done, double fps) {
  double now =
      std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
  bool complete = total_ && done >= total_;
  if (quiet_ || (!complete && now - last_ < (terminal_ ? 0.1 : 5.0)))
    return;
  last_ = now;
  char text[160];
  if (total_) {
    constexpr int kWidth = 30;
    int filled = static_cast<int>(static_cast<double>(done) / static_cast<double>(total_) * kWidth);
    std::string bar(static_cast<size_t>(filled), '#');
    bar.resize(kWidth, '.');
    std::snprintf(text, sizeof text, "[%s] %llu/%llu frames, %.1f frames/s", bar.c_str(),
                  static_cast<unsigned long long>(done), static_cast<unsigned long long>(total_),
                  fps);
  } else {
    std::snprintf(text, sizeof text, "%llu frames, %.1f frames/s",
                  static_cast<unsigned long long>(done), fps);
  }
  std::fprintf(stderr, terminal_ ? "\r%s" : "%s\n", text);
  drawn_ = true;
}

void Progress::finish() {
  if (drawn_ && terminal_)
    std::fputc('\n', stderr);
  drawn_ = false;
}

} // namespace attn::tool
