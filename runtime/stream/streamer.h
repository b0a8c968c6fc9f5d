// One stream of frames: a model, its description and a prompt go in, blocks of
// frames come out, one after another for as long as one likes, in fixed memory.
#pragma once

#include "runtime/device/shared_device.h"
#include "runtime/graph/session.h"
#include "runtime/stream/attention_dispatch.h"
#include "runtime/stream/gate.h"
#include "runtime/stream/model.h"
#include "runtime/stream/prompt.h"
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace attn::stream {

// What a prompt change does to the cache: re-run the retained frames under the
// new prompt as the model declares it, the same but for the sinks, keep the old keys
// and values, or forget all frames.
enum class Recache : uint8_t { full, window, stale, flush };

struct StreamOptions {
  uint64_t seed = 0;
  Recache recache = Recache::full;
  bool use_sink = true;
  bool bf16 = false;            // weights of matrix products in bf16
  bool allow_reference = false; // attention without a compiled kernel
  CacheType cache_type = CacheType::automatic;
  // Passes that only write the cache stop behind the last layer's keys, and equal text keys
  // are given once. Both are exact; off, for comparisons.
  bool exact_savings = true;
  std::string variant; // of attention kernels; "": the best that fits
};

// A stream with a model and a device of its own.
struct StreamerOptions : StreamOptions, ModelPaths {
  std::string device = "cpu";
  uint32_t threads = 0; // 0: as many as the machine has
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
  int64_t first_frame = 0;           // of the block, counted since the cache was last emptied
  std::vector<int64_t> prompt;       // ids of its parts, one after another
  std::vector<float> prompt_weights; // of the parts
  std::vector<int64_t> q_positions, k_positions; // empty where the model takes none
};

// One thread at a time uses a stream, except where a function says otherwise. Streams
// on one device take turns, pass by pass.
class Streamer {
public:
  static Result<std::unique_ptr<Streamer>> create(std::shared_ptr<const Model> model,
                                                  std::shared_ptr<SharedDevice> device,
                                                  const StreamOptions &options);
  static Result<std::unique_ptr<Streamer>> create(const StreamerOptions &options);
  ~Streamer();

  const Model &model() const { return *model_; }
  const Description &description() const { return model_->description(); }
  const Device &device() const { return *device_->device; }
  graph::Session &session() { return *session_; }
  const graph::Session &session() const { return *session_; }
  const DispatchStats &attention() const { return dispatch_->stats(); }
  int64_t block_elements() const { return block_elements_; }

  // Checks the words and keeps them for the block of that number, or the next one if
  // it is past; the cache is dealt with when that block begins. If several are due,
  // the last one pushed is taken. Any thread. The text may mix prompts by weight, see
  // parse_prompt; a model whose prompt cannot be mixed refuses more than one.
  Status push_prompt(const std::string &text, std::optional<Recache> recache = {},
                     uint64_t block = 0);
  Status push_prompt(std::span<const WeightedPrompt> parts, std::optional<Recache> recache = {},
                     uint64_t block = 0);
  // Generates the next block: frames_per_block frames of sample_shape, valid
  // until the next call. A block that failed or was cancelled was not begun: the
  // next call makes the same one.
  Result<std::span<const float>> next_block();
  Gate &gate() { return gate_; }                         // pause, step, cancel; any thread
  void set_seed(uint64_t seed) { options_.seed = seed; } // from the next block on

  // The whole state between two blocks, and back: what follows has the same bits.
  // A snapshot fits the model, kernels and cache type that made it; one that does
  // not fit, or is damaged, changes nothing.
  std::vector<std::byte> snapshot();
  Status restore(std::span<const std::byte> bytes);
  // Blocks generated so far.
  uint64_t blocks() const { return block_; }
  const BlockTimes &times() const { return times_; }

  // Passes of the last block are recorded while on (allocates).
  void record_passes(bool on) { recording_ = on; }
  const std::vector<PassRecord> &passes() const { return passes_; }
  // The prompt of the last block, as parse_prompt takes it; "" before the first.
  std::string prompt() const;
  // Numbers of the frames whose keys and values are kept, in time order: the sinks', or
  // the ring's.
  std::vector<uint64_t> cached_frames(bool sinks) const;
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

  struct PromptChange {
    uint64_t block = 0;
    Recache recache = Recache::full;
    PromptIds prompt;
  };
  static constexpr size_t kMostPrompts = 4096; // to come
  struct State;                                // of a snapshot

  Streamer() = default;
  bool fits(const State &state) const;
  Status open();
  Status bind_tensors();
  void empty_cache();
  std::optional<Kept> admit(int64_t position); // returns what had to go
  void take_back(const std::optional<Kept> &evicted);
  Status denoise(size_t rank);
  int64_t place(size_t rank) const; // of a kept block, in blocks, as the model counts
  void write_positions(size_t rank);
  void view_segments(size_t rank);
  void record(const float *sample, float timestep, size_t rank, bool predict);
  // One pass over the block of the given rank among the kept ones.
  Status pass(const float *sample, float timestep, size_t rank, bool predict);
  Status apply_prompts();
  void write_prompt(); // into the graph's inputs
  Status replay(bool refresh_sinks);
  float *clean(int64_t slot) { return clean_.data() + slot * block_elements_; }

  StreamOptions options_;
  std::shared_ptr<const Model> model_;
  std::shared_ptr<SharedDevice> device_;
  Gate gate_;
  std::unique_ptr<AttentionDispatch> dispatch_;
  std::unique_ptr<graph::Session> session_;
  CacheView view_;
  int clean_schedule_ = 0;

  graph::Tensor prompt_, prompt_weights_; // the latter's data null where nothing is mixed
  graph::Tensor sample_, timestep_, write_index_, kv_length_, prediction_;
  graph::Tensor q_positions_, k_positions_, q_frames_; // data null where the model takes none
  std::vector<Cache> caches_;
  int64_t block_elements_ = 0, block_tokens_ = 0, slots_ = 0;
  int64_t sink_blocks_ = 0, window_blocks_ = 0, replay_blocks_ = 0;

  std::vector<Kept> kept_; // in time order: sinks, then the ring's, oldest first
  int64_t sinks_ = 0, ring_count_ = 0, next_position_ = 0;
  std::vector<float> clean_;          // clean samples of kept blocks, by slot
  std::vector<float> moved_;          // the same while a replay moves them
  std::vector<float> x_, x0_, noise_; // the block being denoised
  PromptIds now_;                     // the prompt
  bool has_prompt_ = false;
  std::mutex prompts_mutex_;
  std::vector<PromptChange> prompts_; // by block, those of one block as pushed
  uint64_t block_ = 0;
  BlockTimes times_;
  bool recording_ = false;
  std::vector<PassRecord> passes_;
};

} // namespace attn::stream
