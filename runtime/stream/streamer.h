// One stream of frames: a model, its description and a prompt go in, blocks of
// frames come out, one after another for as long as one likes, in fixed memory.
#pragma once

#include "runtime/bundle/bundle_reader.h"
#include "runtime/device/device.h"
#include "runtime/graph/session.h"
#include "runtime/stream/attention_dispatch.h"
#include "runtime/stream/description.h"
#include "runtime/stream/tokenizer.h"
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace attn::stream {

// What a prompt change does to the cache: re-run the retained frames under the
// new prompt, keep the old keys and values, or forget all frames.
enum class Recache : uint8_t { full, stale, flush };

struct StreamerOptions {
  std::string model_path, bundle_path; // bundle "": none
  std::string description_path;        // "": stream.toml beside the model
  std::string device = "cpu";
  uint32_t threads = 0; // 0: as many as the machine has
  uint64_t seed = 0;
  Recache recache = Recache::full;
  bool use_sink = true;
  bool bf16 = false;            // weights of matrix products in bf16
  bool allow_reference = false; // attention without a compiled kernel
  CacheType cache_type = CacheType::automatic;
  std::string variant; // of attention kernels; "": the best that fits
};

// Times in seconds, of the last block or recache.
struct BlockTimes {
  double denoise = 0, clean = 0, recache = 0;
  bool switched = false; // the prompt changed, and with it the cache
  double total() const { return denoise + clean + recache; }
};

// One pass as it was run, for comparisons with other runtimes.
struct PassRecord {
  std::vector<float> sample, prediction; // prediction empty in clean passes
  float timestep = 0;
  int64_t write_index = 0, kv_length = 0;
  std::vector<int64_t> prompt, q_positions, k_positions;
};

class Streamer {
public:
  static Result<std::unique_ptr<Streamer>> create(const StreamerOptions &options);
  ~Streamer();

  const Description &description() const { return description_; }
  const Device &device() const { return *device_; }
  graph::Session &session() { return *session_; }
  const DispatchStats &attention() const { return dispatch_->stats(); }
  int64_t block_elements() const { return block_elements_; }

  // Checks the words and keeps them for the next block; what the recache mode
  // says is done when that block begins.
  Status set_prompt(const std::string &text);
  // Generates the next block: frames_per_block frames of sample_shape, valid
  // until the next call.
  Result<std::span<const float>> next_block();
  // Blocks generated so far.
  uint64_t blocks() const { return block_; }
  const BlockTimes &times() const { return times_; }

  // Passes of the last block are recorded while on (allocates).
  void record_passes(bool on) { recording_ = on; }
  const std::vector<PassRecord> &passes() const { return passes_; }
  // Which cached keys the last pass saw.
  const CacheView &cache_view() const { return view_; }
  // Layer l's cache as it is now: key (0) or value (1), before its rope. An int8
  // cache has a scale per (head, token).
  struct Cache {
    const graph::Tensor *rows = nullptr, *scales = nullptr; // scales null: f32
  };
  const Cache &cache(size_t layer, int which) const { return caches_[2 * layer + which]; }

private:
  struct Kept {           // a block in the cache
    int64_t slot = 0;     // in blocks
    int64_t position = 0; // in blocks since the cache was last emptied
  };

  Streamer() = default;
  Status open(const StreamerOptions &options);
  Status bind_tensors();
  void empty_cache();
  void admit(int64_t position);
  // One pass over the block of the given rank among the kept ones.
  Status pass(const float *sample, float timestep, size_t rank, bool predict);
  Status apply_prompt();
  Status replay();
  float *clean(int64_t slot) { return clean_.data() + slot * block_elements_; }

  StreamerOptions options_;
  Description description_;
  std::optional<Tokenizer> tokenizer_;
  std::optional<Bundle> bundle_;
  std::unique_ptr<Device> device_;
  std::unique_ptr<ThreadPool> own_pool_; // where the device has no threads
  std::unique_ptr<AttentionDispatch> dispatch_;
  std::unique_ptr<graph::Session> session_;
  CacheView view_;
  int clean_schedule_ = 0;

  graph::Tensor sample_, timestep_, prompt_, write_index_, kv_length_, q_positions_, k_positions_,
      prediction_;
  std::vector<Cache> caches_;
  int64_t block_elements_ = 0, block_tokens_ = 0, slots_ = 0;
  int64_t sink_blocks_ = 0, window_blocks_ = 0, replay_blocks_ = 0;

  std::vector<Kept> kept_; // in time order: sinks, then the ring's, oldest first
  int64_t sinks_ = 0, ring_count_ = 0, next_position_ = 0;
  std::vector<float> clean_;          // clean samples of kept blocks, by slot
  std::vector<float> moved_;          // the same while a replay moves them
  std::vector<float> x_, x0_, noise_; // the block being denoised
  std::vector<int64_t> ids_, wanted_ids_;
  bool has_prompt_ = false, prompt_due_ = false;
  uint64_t block_ = 0;
  BlockTimes times_;
  bool recording_ = false;
  std::vector<PassRecord> passes_;
};

} // namespace attn::stream
