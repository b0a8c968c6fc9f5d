// A stream's state between two blocks as bytes. Little-endian, as all machines that
// the runtime runs on are: "ATTNSNAP", version (u32), 0 (u32), the model's
// fingerprint (u64), checksum (u64) of what follows; then sizes, numbers and arrays in
// the order of `each`, and per layer the rows and scales of keys and of values. Roped
// keys and what lies on a device are made anew from them.
#include "runtime/bundle/checksum.h"
#include "runtime/stream/streamer.h"
#include <cstring>
#include <set>

namespace attn::stream {

namespace {

constexpr char kMagic[8] = {'A', 'T', 'T', 'N', 'S', 'N', 'A', 'P'};
constexpr uint32_t kVersion = 2;
constexpr size_t kHeader = 32;

class Writer {
public:
  std::vector<std::byte> bytes;
  template <typename T> void value(const T &v) { raw(&v, sizeof v); }
  template <typename T> void array(const std::vector<T> &v) {
    value<uint64_t>(v.size());
    raw(v.data(), v.size() * sizeof(T));
  }
  void raw(const void *data, size_t size) {
    const auto *from = static_cast<const std::byte *>(data);
    bytes.insert(bytes.end(), from, from + size);
  }
};

class Reader {
public:
  explicit Reader(std::span<const std::byte> bytes) : rest_(bytes) {}
  template <typename T> void value(T &v) {
    if (const void *from = raw(sizeof v))
      std::memcpy(&v, from, sizeof v);
  }
  template <typename T> void array(std::vector<T> &v) {
    uint64_t size = 0;
    value(size);
    if (size > rest_.size() / sizeof(T))
      failed_ = true;
    if (failed_)
      return;
    v.resize(size);
    std::memcpy(v.data(), raw(size * sizeof(T)), size * sizeof(T));
  }
  const void *raw(size_t size) {
    failed_ |= size > rest_.size();
    if (failed_)
      return nullptr;
    const void *at = rest_.data();
    rest_ = rest_.subspan(size);
    return at;
  }
  bool finished() const { return !failed_ && rest_.empty(); }
  bool failed() const { return failed_; }

private:
  std::span<const std::byte> rest_;
  bool failed_ = false;
};

} // namespace

// What a snapshot holds beside the caches.
struct Streamer::State {
  int64_t sink_blocks = 0, window_blocks = 0;
  uint8_t int8 = 0, has_prompt = 0;
  uint64_t seed = 0, block = 0;
  int64_t sinks = 0, ring_count = 0, next_position = 0;
  PromptIds prompt;
  std::vector<Kept> kept;
  std::vector<float> clean;
  std::vector<PromptChange> prompts;

  template <typename Archive> void each(Archive &a) {
    a.value(sink_blocks), a.value(window_blocks), a.value(int8), a.value(has_prompt);
    a.value(seed), a.value(block);
    a.value(sinks), a.value(ring_count), a.value(next_position);
    a.array(prompt.ids), a.array(prompt.weights), a.array(kept), a.array(clean);
    uint64_t count = prompts.size();
    a.value(count);
    if (count > kMostPrompts)
      return;
    prompts.resize(count);
    for (PromptChange &p : prompts)
      a.value(p.block), a.value(p.recache), a.array(p.prompt.ids), a.array(p.prompt.weights);
  }
};

std::vector<std::byte> Streamer::snapshot() {
  State state{sink_blocks_,
              window_blocks_,
              caches_[0].scales != nullptr,
              has_prompt_,
              options_.seed,
              block_,
              sinks_,
              ring_count_,
              next_position_,
              now_,
              kept_,
              clean_,
              {}};
  {
    std::lock_guard lock(prompts_mutex_);
    state.prompts = prompts_;
  }
  Writer w;
  w.raw(kMagic, sizeof kMagic);
  w.value(kVersion), w.value(uint32_t(0));
  w.value(model_->fingerprint()), w.value(uint64_t(0));
  state.each(w);
  for (const Cache &cache : caches_)
    for (const graph::Tensor *t : {cache.rows, cache.scales})
      if (t)
        w.raw(t->data, static_cast<size_t>(t->elements()) * graph::dtype_size(t->dtype));
  const uint64_t sum = checksum64(std::span(w.bytes).subspan(kHeader));
  std::memcpy(w.bytes.data() + kHeader - sizeof sum, &sum, sizeof sum);
  return std::move(w.bytes);
}

// Whether what a snapshot says about itself holds together.
bool Streamer::fits(const State &s) const {
  const size_t kept = s.kept.size();
  if (s.sinks < 0 || s.sinks > sink_blocks_ || s.ring_count < 0 || s.next_position < 0 ||
      s.next_position >= INT32_MAX / block_tokens_ || kept < static_cast<size_t>(s.sinks) ||
      kept - static_cast<size_t>(s.sinks) >
          static_cast<size_t>(std::min(s.ring_count, window_blocks_)) ||
      s.clean.size() != clean_.size() || s.prompts.size() > kMostPrompts)
    return false;
  std::set<int64_t> slots;
  int64_t before = -1;
  for (size_t i = 0; i < kept; ++i) {
    const Kept &k = s.kept[i];
    const bool sink = i < static_cast<size_t>(s.sinks);
    if (k.slot < (sink ? 0 : sink_blocks_) ||
        k.slot >= (sink ? sink_blocks_ : sink_blocks_ + window_blocks_) ||
        !slots.insert(k.slot).second || k.position <= before || k.position >= s.next_position)
      return false;
    before = k.position;
  }
  auto fit = [&](const PromptIds &p) {
    return is_valid(p, model_->tokenizer()) && (p.parts() == 1 || prompt_weights_.data);
  };
  for (const PromptChange &p : s.prompts)
    if (!fit(p.prompt) || p.recache > Recache::flush)
      return false;
  // Before its first block a stream has no prompt.
  return s.has_prompt ? fit(s.prompt)
                      : s.prompt.ids.size() == now_.ids.size() &&
                            s.prompt.weights.size() == now_.weights.size();
}

Status Streamer::restore(std::span<const std::byte> bytes) {
  uint64_t numbers[4] = {};
  if (bytes.size() < kHeader || std::memcmp(bytes.data(), kMagic, sizeof kMagic))
    return Status::invalid_input(
        "this is no snapshot of a stream: it does not begin with ATTNSNAP");
  std::memcpy(numbers, bytes.data(), kHeader);
  if (numbers[1] != kVersion)
    return Status::invalid_input("the snapshot has version ", numbers[1], "; ", kVersion,
                                 " is read");
  if (numbers[2] != model_->fingerprint())
    return Status::invalid_input("the snapshot was made with another model or other kernels");
  if (numbers[3] != checksum64(bytes.subspan(kHeader)))
    return Status::invalid_input("the snapshot is damaged: its checksum does not fit");
  State state;
  Reader r(bytes.subspan(kHeader));
  state.each(r);
  const bool int8 = caches_[0].scales != nullptr;
  if (!r.failed() && (state.sink_blocks != sink_blocks_ || state.window_blocks != window_blocks_ ||
                      (state.int8 != 0) != int8))
    return Status::invalid_input("the snapshot has an ", state.int8 ? "int8" : "f32", " cache of ",
                                 state.sink_blocks, " + ", state.window_blocks,
                                 " blocks; this stream has ", int8 ? "int8" : "f32", ", ",
                                 sink_blocks_, " + ", window_blocks_);
  std::vector<std::pair<const graph::Tensor *, const void *>> caches;
  for (const Cache &cache : caches_)
    for (const graph::Tensor *t : {cache.rows, cache.scales})
      if (t)
        caches.emplace_back(
            t, r.raw(static_cast<size_t>(t->elements()) * graph::dtype_size(t->dtype)));
  if (!r.finished() || !fits(state))
    return Status::invalid_input("the snapshot contradicts itself");

  for (auto [tensor, from] : caches)
    std::memcpy(tensor->data, from,
                static_cast<size_t>(tensor->elements()) * graph::dtype_size(tensor->dtype));
  session_->forget();
  has_prompt_ = state.has_prompt != 0;
  options_.seed = state.seed;
  block_ = state.block;
  sinks_ = state.sinks;
  ring_count_ = state.ring_count;
  next_position_ = state.next_position;
  now_ = std::move(state.prompt);
  write_prompt();
  kept_.assign(state.kept.begin(), state.kept.end());
  clean_ = std::move(state.clean);
  std::lock_guard lock(prompts_mutex_);
  prompts_ = std::move(state.prompts);
  return {};
}

} // namespace attn::stream
