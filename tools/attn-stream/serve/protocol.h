// What the live page and the server say to each other: JSON text from the page
// becomes a Command, the stream's state becomes JSON text.
#pragma once

#include "runtime/stream/streamer.h"
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace attn::tool {

// {"type": "prompt", "text": "blue square", "recache": "full", "frame": 120}
// {"type": "prompt", "parts": [{"text": "blue square", "weight": 0.7}, ...]}
// {"type": "pause"} {"type": "resume"} {"type": "step"} {"type": "seed", "seed": 7}
// "frame" (from that frame on) and "recache" (full, window, stale, flush) may be left
// out: the next block, and what the command line said. "parts" are mixed by weight (1 where
// it is left out); "text" may say the same as "blue square:0.7 | ...".
struct Command {
  enum class Kind : uint8_t { prompt, pause, resume, step, seed };
  Kind kind = Kind::pause;
  std::vector<stream::WeightedPrompt> parts; // of a prompt
  std::optional<stream::Recache> recache;
  uint64_t frame = 0;
  uint64_t seed = 0;
};

inline constexpr size_t kMostMessageBytes = 4096; // of a message from a page
inline constexpr size_t kMostPromptBytes = 1000;

// Refuses what it does not know: unknown types, members and values.
Result<Command> parse_command(std::string_view json);

struct PendingPrompt {
  std::string text;
  uint64_t frame = 0;
};

struct LiveState {
  std::string model, device, prompt;
  uint64_t frame = 0, block = 0, frames_per_block = 1, seed = 0;
  uint64_t prompt_frame = 0; // from which on the prompt holds
  bool paused = false;
  double fps = 0;                                    // at which frames are shown
  double loop_fps = 0, p50_ms = 0, p95_ms = 0;       // per frame, in the loop
  double block_ms = 0, recache_ms = 0, stall_ms = 0; // the last block, its recache, the longest
  std::vector<uint64_t> sinks, window;               // frames in the cache
  std::vector<PendingPrompt> pending;
};

// {"type": "state", ...}
std::string state_message(const LiveState &state);
// {"type": "error", "message": ...}
std::string error_message(std::string_view message);

} // namespace attn::tool
