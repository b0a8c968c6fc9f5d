// A progress line on standard error, redrawn in place on a terminal and printed
// once in a while elsewhere.
#pragma once

#include <cstdint>

namespace attn::tool {

class Progress {
public:
  // `total` 0: endless.
  Progress(uint64_t total, bool quiet);
  void update(uint64_t done, double fps);
  void finish();

private:
  uint64_t total_;
  bool quiet_, terminal_, drawn_ = false;
  double last_ = 0;
};

} // namespace attn::tool
