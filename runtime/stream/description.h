// A stream description (stream.toml): which tensors play which role, how blocks
// are generated, cached and shown. Read from the file, checked, plain data out.
#pragma once

#include "runtime/base/status.h"
#include <cstdint>
#include <string>
#include <vector>

namespace attn::stream {

enum class Prediction : uint8_t { x0, flow };  // the model gives x0, or v with x0 = x - t v
enum class Renoise : uint8_t { euler, fresh }; // x0 + t'/t (x - x0), or (1 - t') x0 + t' noise
// Where a frame stands: its rank among the cached ones, or its number since the cache was
// last emptied. Keys that are cached rotated need the latter, which never changes.
enum class Positions : uint8_t { contiguous, stream };
enum class SinkRecache : uint8_t { refresh, keep };

// Attention nodes whose names match `nodes` ('*' stands for any text) are
// computed by the kernel compiled from spec `spec`.
struct AttentionBinding {
  std::string name, nodes, spec;
};

struct Description {
  std::string path; // of the file, for messages
  std::string name;
  // [model]
  int64_t frames_per_block = 1, tokens_per_frame = 0;
  std::vector<int64_t> sample_shape; // one frame: channels, height, width
  // [inputs], [outputs]
  std::string sample, timestep, prompt, write_index, kv_length;
  std::string q_positions, k_positions, q_frames; // "": the model has no such input
  std::string prediction;
  // [prediction]
  Prediction kind = Prediction::x0;
  bool clamp = false;
  float clamp_low = 0, clamp_high = 0;
  // [cache]; names have {layer} filled in
  std::vector<std::string> k_in, v_in, k_out, v_out;
  int64_t sink_frames = 0, window_frames = 0;
  Positions positions = Positions::contiguous;
  // [schedule]
  std::vector<float> timesteps;
  Renoise renoise = Renoise::euler;
  float clean_timestep = 0;
  // [recache]
  int64_t replay_frames = 0;
  SinkRecache sink = SinkRecache::refresh;
  // [prompt]
  int64_t prompt_words = 0;
  std::string vocabulary_path, default_prompt;
  // [decoder]
  std::vector<float> to_rgb; // 3 rows, a number per channel; empty: the channels are colours
  float range_low = -1, range_high = 1;
  double fps = 24;
  int64_t scale = 1;
  // [attention]
  std::vector<AttentionBinding> attention;

  int64_t frame_elements() const {
    int64_t n = 1;
    for (int64_t d : sample_shape)
      n *= d;
    return n;
  }
};

Result<Description> read_description(const std::string &path);
Result<Description> parse_description(const std::string &text, const std::string &path);

// Whether `name` matches a pattern in which '*' stands for any text.
bool matches_pattern(const std::string &pattern, const std::string &name);

} // namespace attn::stream
