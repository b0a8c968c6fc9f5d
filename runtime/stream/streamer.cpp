// The streaming algorithm: few-step denoising of a block that attends the cached
// ones, a clean pass that stores it, ring slots, and recache on a prompt change.
#include "runtime/stream/streamer.h"

#include "runtime/base/text.h"
#include "runtime/graph/mix_prompt.h"
#include "runtime/ops/bf16_unit.h"
#include "runtime/stream/noise.h"
#include <algorithm>
#include <chrono>
#include <cstring>

#if defined(__clang__)
#pragma clang fp contract(off) // the same bits on every machine
#endif

namespace attn::stream {

using Clock = std::chrono::steady_clock;
static double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

Result<std::unique_ptr<Streamer>> Streamer::create(std::shared_ptr<const Model> model,
                                                   std::shared_ptr<SharedDevice> device,
                                                   const StreamOptions &options) {
  std::unique_ptr<Streamer> streamer(new Streamer());
  streamer->model_ = std::move(model);
  streamer->device_ = std::move(device);
  streamer->options_ = options;
  ATTN_RETURN_IF_ERROR(streamer->open());
  return streamer;
}

Result<std::unique_ptr<Streamer>> Streamer::create(const StreamerOptions &options) {
  ATTN_ASSIGN_OR_RETURN(std::shared_ptr<const Model> model, Model::open(options));
  DeviceOptions device_options;
  device_options.threads = options.threads;
  ATTN_ASSIGN_OR_RETURN(std::shared_ptr<SharedDevice> device,
                        SharedDevice::open(options.device, device_options));
  return create(std::move(model), std::move(device), options);
}

Streamer::~Streamer() {
  if (!device_)
    return;
  // Kernels before the device that runs them.
  std::lock_guard turn(device_->turns);
  session_.reset();
  dispatch_.reset();
}

// The input that mix_prompt adds.
static constexpr const char *kPromptWeights = "attn.prompt_weights";

// A pattern that no node has was given in vain: a misspelt name.
static Status check_patterns(const Description &d, const graph::Graph &graph) {
  std::vector<std::string> names;
  for (const graph::Node &node : graph.nodes)
    if (node.op == "Attention")
      names.push_back(node.name);
  for (const AttentionBinding &binding : d.attention)
    if (std::none_of(names.begin(), names.end(),
                     [&](const std::string &name) { return matches_pattern(binding.nodes, name); }))
      return Status::invalid_input("attention.", binding.name, ": no attention node is named '",
                                   binding.nodes, "'; the model has ", some_of(names))
          .at(d.path);
  return {};
}

// An input that nobody writes would be zero for ever.
static Status check_inputs(const Description &d, const graph::Graph &graph) {
  const std::string *const roles[] = {&d.sample,    &d.timestep,    &d.prompt,      &d.write_index,
                                      &d.kv_length, &d.q_positions, &d.k_positions, &d.q_frames};
  auto has = [](const std::vector<std::string> &names, const std::string &name) {
    return std::find(names.begin(), names.end(), name) != names.end();
  };
  for (int input : graph.inputs) {
    const std::string &name = graph.values[static_cast<size_t>(input)].name;
    if (name == kPromptWeights)
      continue;
    const std::string cache = name.ends_with(".scale") ? name.substr(0, name.size() - 6) : name;
    if (std::none_of(std::begin(roles), std::end(roles),
                     [&](const std::string *role) { return *role == name; }) &&
        !has(d.k_in, cache) && !has(d.v_in, cache))
      return Status::invalid_input("the model's input '", name,
                                   "' has no role; name it in [inputs] or [cache]")
          .at(d.path);
  }
  return {};
}

Status Streamer::open() {
  std::lock_guard turn(device_->turns);
  dispatch_ = std::make_unique<AttentionDispatch>(
      description(), model_->bundle(), *device_->device, options_.allow_reference, view_,
      options_.variant, options_.cache_type,
      model_->is_package() ? BundleCommand{"MODEL.onnx", model_->path(), true}
                           : BundleCommand{model_->path()},
      options_.exact_savings);
  if (options_.bf16 && !ops::bf16_unit())
    return Status::environment("bf16 products need a processor with AVX512-BF16 or with AMX that "
                               "the system allows, which this machine lacks: use f32");
  graph::SessionOptions session_options;
  session_options.bf16 = options_.bf16;
  session_options.attention = dispatch_->maker();
  session_options.int8_caches = [this](const graph::NodeView &node) {
    return dispatch_->caches_int8(node);
  };
  session_options.plan.key_inputs = {description().prompt};
  graph::Graph graph = model_->graph();
  // One of another length than described is refused as it is.
  if (const int v = graph.find(description().prompt);
      v >= 0 && graph.values[static_cast<size_t>(v)].type.shape ==
                    graph::Shape{1, description().prompt_words})
    graph::mix_prompt(graph, description().prompt, kPromptWeights, kMostParts);
  auto session = graph::Session::create(std::move(graph), device_->threads(), session_options);
  if (!session.ok())
    return session.status().at(model_->path());
  session_ = std::move(*session);
  ATTN_RETURN_IF_ERROR(check_patterns(description(), session_->graph()));
  ATTN_RETURN_IF_ERROR(check_inputs(description(), session_->graph()));
  const DispatchStats &bound = dispatch_->stats();
  if (model_->bundle() && !options_.allow_reference && bound.chosen.empty() && !bound.plain.empty())
    return Status::invalid_input("no kernel fits an attention node of ", model_->path(), " (",
                                 some_of(bound.plain, 3, "; "),
                                 "); make a bundle that fits with attnc model, or leave it out")
        .at(model_->bundle()->place());
  return bind_tensors();
}

// Every role's tensor, with the type and shape that the description implies.
Status Streamer::bind_tensors() {
  const Description &d = description();
  const int64_t frames = d.frames_per_block;
  block_tokens_ = frames * d.tokens_per_frame;
  block_elements_ = frames * d.frame_elements();
  auto bind = [&](const std::string &name, const char *role, graph::DType dtype,
                  std::initializer_list<int64_t> dims, graph::Tensor &out) -> Status {
    if (name.empty())
      return {};
    const graph::Tensor *t = session_->find(name);
    if (!t)
      return Status::invalid_input("the model has no tensor '", name, "', named as the ", role)
          .at(d.path);
    graph::Shape want(dims);
    if (t->dtype != dtype || !(t->shape == want))
      return Status::invalid_input("the ", role, " '", name, "' is ",
                                   graph::TensorType{t->dtype, t->shape}.text(), " in the model; ",
                                   graph::TensorType{dtype, want}.text(), " is described")
          .at(d.path);
    out = *t;
    return Status();
  };
  using graph::DType;
  std::initializer_list<int64_t> block = {1, frames, d.sample_shape[0], d.sample_shape[1],
                                          d.sample_shape[2]};
  ATTN_RETURN_IF_ERROR(bind(d.sample, "sample", DType::f32, block, sample_));
  ATTN_RETURN_IF_ERROR(bind(d.prediction, "prediction", DType::f32, block, prediction_));
  ATTN_RETURN_IF_ERROR(bind(d.timestep, "timestep", DType::f32, {1, frames}, timestep_));
  const bool mixes = session_->find(kPromptWeights) != nullptr;
  const int64_t parts = mixes ? kMostParts : 1;
  ATTN_RETURN_IF_ERROR(bind(d.prompt, "prompt", DType::i64, {parts, d.prompt_words}, prompt_));
  if (mixes)
    prompt_weights_ = *session_->find(kPromptWeights);
  ATTN_RETURN_IF_ERROR(bind(d.write_index, "write index", DType::i64, {1}, write_index_));
  ATTN_RETURN_IF_ERROR(bind(d.kv_length, "cache length", DType::i64, {1}, kv_length_));
  ATTN_RETURN_IF_ERROR(
      bind(d.q_positions, "query positions", DType::i64, {1, block_tokens_}, q_positions_));
  slots_ = (d.sink_frames + d.window_frames) * d.tokens_per_frame;
  ATTN_RETURN_IF_ERROR(bind(d.k_positions, "key positions", DType::i64, {1, slots_}, k_positions_));
  ATTN_RETURN_IF_ERROR(bind(d.q_frames, "frame numbers", DType::i64, {1, frames}, q_frames_));

  std::vector<std::string> cache_outputs;
  for (size_t layer = 0; layer < d.k_in.size(); ++layer)
    for (int which = 0; which < 2; ++which) {
      const std::string &in = which ? d.v_in[layer] : d.k_in[layer];
      const std::string &out = which ? d.v_out[layer] : d.k_out[layer];
      const graph::Tensor *a = session_->find(in), *b = session_->find(out);
      if (!a || !b)
        return Status::invalid_input("the model has no tensor '", a ? out : in,
                                     "', named as a cache")
            .at(d.path);
      const graph::Tensor *scales = a->dtype == DType::i8 ? session_->find(in + ".scale") : nullptr;
      if (a->shape.rank != 4 || (a->dtype != DType::f32 && !scales) || a->shape[2] != slots_ ||
          !(a->shape == b->shape))
        return Status::invalid_input("the cache '", in, "' is ",
                                     graph::TensorType{a->dtype, a->shape}.text(), "; ", slots_,
                                     " slots are described")
            .at(d.path);
      if (a->data != b->data)
        return Status::invalid_input("the cache '", in, "' is not updated in place: '", out,
                                     "' must be a TensorScatter of it that nothing else reads")
            .at(model_->path());
      caches_.push_back({a, scales});
      cache_outputs.push_back(out);
    }
  ATTN_ASSIGN_OR_RETURN(clean_schedule_, session_->add_schedule(cache_outputs));

  sink_blocks_ = options_.use_sink ? d.sink_frames / frames : 0;
  window_blocks_ = d.window_frames / frames;
  replay_blocks_ = d.replay_frames / frames;
  size_t block_size = static_cast<size_t>(block_elements_);
  size_t kept = static_cast<size_t>(sink_blocks_ + window_blocks_);
  clean_.resize(block_size * kept);
  moved_.resize(block_size * kept);
  x_.resize(block_size);
  x0_.resize(block_size);
  noise_.resize(block_size);
  kept_.reserve(kept + 1);
  view_.segments.reserve(kept);
  now_.ids.resize(kMostParts * static_cast<size_t>(d.prompt_words));
  now_.weights.resize(kMostParts);
  return {};
}

// ---- the cache's bookkeeping --------------------------------------------------

void Streamer::empty_cache() {
  kept_.clear();
  sinks_ = ring_count_ = 0;
}

// Gives a block its slot; in the ring it evicts the oldest, and copies nothing.
std::optional<Streamer::Kept> Streamer::admit(int64_t position) {
  std::optional<Kept> evicted;
  int64_t slot;
  if (sinks_ < sink_blocks_) {
    slot = sinks_++;
  } else {
    slot = sink_blocks_ + ring_count_++ % window_blocks_;
    auto old =
        std::find_if(kept_.begin(), kept_.end(), [&](const Kept &k) { return k.slot == slot; });
    if (old != kept_.end()) {
      evicted = *old;
      kept_.erase(old);
    }
  }
  kept_.push_back({slot, position});
  return evicted;
}

// Undoes the last admit(). The evicted block's keys and values may be overwritten;
// the slot is the next one to be written again, and its clean sample is whole.
void Streamer::take_back(const std::optional<Kept> &evicted) {
  kept_.pop_back();
  if (kept_.size() < static_cast<size_t>(sinks_))
    --sinks_;
  else
    --ring_count_;
  if (evicted)
    kept_.insert(kept_.begin() + sinks_, *evicted);
}

std::vector<uint64_t> Streamer::cached_frames(bool sinks) const {
  std::vector<uint64_t> frames;
  const int64_t per_block = description().frames_per_block;
  for (size_t i = 0; i < kept_.size(); ++i) {
    if ((static_cast<int64_t>(i) < sinks_) != sinks)
      continue;
    // The newest kept block is the last one made, whenever the cache was emptied.
    int64_t age = kept_.back().position - kept_[i].position;
    int64_t first = (static_cast<int64_t>(block_) - 1 - age) * per_block;
    for (int64_t f = 0; f < per_block; ++f)
      frames.push_back(static_cast<uint64_t>(first + f));
  }
  return frames;
}

int64_t Streamer::place(size_t rank) const {
  return description().positions == Positions::stream ? kept_[rank].position
                                                      : static_cast<int64_t>(rank);
}

void Streamer::write_positions(size_t rank) {
  const int64_t n = block_tokens_, frames = description().frames_per_block;
  auto fill = [](const graph::Tensor &tensor, int64_t at, int64_t first, int64_t count) {
    for (int64_t i = 0; i < count; ++i)
      tensor.as<int64_t>()[at + i] = first + i;
  };
  if (q_positions_.data)
    fill(q_positions_, 0, place(rank) * n, n);
  if (q_frames_.data)
    fill(q_frames_, 0, place(rank) * frames, frames);
  for (size_t r = 0; k_positions_.data && r < kept_.size(); ++r) // other slots keep what they had
    fill(k_positions_, kept_[r].slot * n, place(r) * n, n);
}

// Masks see positions in the stream; neighbouring slots in order are one segment.
void Streamer::view_segments(size_t rank) {
  const int64_t n = block_tokens_;
  view_.segments.clear();
  for (int64_t slot = 0; slot < sink_blocks_ + window_blocks_; ++slot)
    for (const Kept &k : kept_) {
      if (k.slot != slot)
        continue;
      int32_t at = static_cast<int32_t>(slot * n), position = static_cast<int32_t>(k.position * n);
      if (!view_.segments.empty()) {
        Segment &last = view_.segments.back();
        if (last.first_slot + last.length == at && last.first_position + last.length == position) {
          last.length += static_cast<int32_t>(n);
          continue;
        }
      }
      view_.segments.push_back({at, static_cast<int32_t>(n), position});
    }
  view_.q_position = static_cast<int32_t>(kept_[rank].position * n);
}

void Streamer::record(const float *sample, float timestep, size_t rank, bool predict) {
  PassRecord r;
  r.sample.assign(sample, sample + block_elements_);
  if (predict)
    r.prediction.assign(prediction_.as<float>(), prediction_.as<float>() + block_elements_);
  r.timestep = timestep;
  r.write_index = *write_index_.as<int64_t>();
  r.kv_length = *kv_length_.as<int64_t>();
  r.first_frame = kept_[rank].position * description().frames_per_block;
  const size_t parts = now_.parts();
  r.prompt.assign(now_.ids.begin(),
                  now_.ids.begin() +
                      static_cast<long>(parts * static_cast<size_t>(description().prompt_words)));
  r.prompt_weights.assign(now_.weights.begin(), now_.weights.begin() + static_cast<long>(parts));
  auto copy = [](const graph::Tensor &tensor, std::vector<int64_t> &out) {
    if (tensor.data)
      out.assign(tensor.as<int64_t>(), tensor.as<int64_t>() + tensor.elements());
  };
  copy(q_positions_, r.q_positions);
  copy(k_positions_, r.k_positions);
  passes_.push_back(std::move(r));
}

Status Streamer::pass(const float *sample, float timestep, size_t rank, bool predict) {
  std::lock_guard turn(device_->turns);
  const size_t bytes = static_cast<size_t>(block_elements_) * sizeof(float);
  std::memcpy(sample_.data, sample, bytes);
  for (int64_t f = 0; f < description().frames_per_block; ++f)
    timestep_.as<float>()[f] = timestep;
  *write_index_.as<int64_t>() = kept_[rank].slot * block_tokens_;
  *kv_length_.as<int64_t>() = static_cast<int64_t>(kept_.size()) * block_tokens_;
  write_positions(rank);
  view_segments(rank);
  ATTN_RETURN_IF_ERROR(session_->run(predict || !options_.exact_savings ? 0 : clean_schedule_));
  if (recording_)
    record(sample, timestep, rank, predict);
  return {};
}

// ---- recache --------------------------------------------------------------------

// Re-runs the retained clean blocks in time order under the new prompt. The ring
// starts anew, so that the valid slots are a prefix of the cache again.
Status Streamer::replay(bool refresh_sinks) {
  const size_t block_size = static_cast<size_t>(block_elements_);
  std::vector<Kept> old = kept_;
  const size_t sinks = static_cast<size_t>(sinks_);
  const size_t ring = old.size() - sinks;
  const size_t keep = std::min(ring, static_cast<size_t>(replay_blocks_));
  old.erase(old.begin() + static_cast<long>(sinks), old.end() - static_cast<long>(keep));
  for (size_t i = 0; i < old.size(); ++i)
    std::copy_n(clean(old[i].slot), block_size, moved_.data() + i * block_size);
  empty_cache();
  for (size_t i = 0; i < old.size(); ++i) {
    admit(old[i].position);
    float *sample = clean(kept_.back().slot);
    std::copy_n(moved_.data() + i * block_size, block_size, sample);
    // Sinks that are among the newest blocks are computed anew with them.
    if (i < sinks && !refresh_sinks && old.size() - i > static_cast<size_t>(replay_blocks_))
      continue;
    gate_.yield();
    ATTN_RETURN_IF_ERROR(pass(sample, description().clean_timestep, kept_.size() - 1, false));
  }
  return {};
}

// ---- generation -------------------------------------------------------------------

// The few steps from noise to a clean block, in x0_.
Status Streamer::denoise(size_t rank) {
  const Description &d = description();
  const uint32_t block = static_cast<uint32_t>(block_);
  fill_normal(x_.data(), block_elements_, options_.seed, block, 0);
  for (size_t step = 0; step < d.timesteps.size(); ++step) {
    const float t = d.timesteps[step];
    ATTN_RETURN_IF_ERROR(gate_.enter());
    ATTN_RETURN_IF_ERROR(pass(x_.data(), t, rank, true));
    const float *prediction = prediction_.as<float>();
    for (int64_t i = 0; i < block_elements_; ++i) {
      float v = d.kind == Prediction::flow ? x_[i] - t * prediction[i] : prediction[i];
      if (d.clamp)
        v = std::min(std::max(v, d.clamp_low), d.clamp_high);
      x0_[i] = v;
    }
    if (step + 1 == d.timesteps.size())
      break;
    const float next = d.timesteps[step + 1];
    if (d.renoise == Renoise::euler) {
      const float ratio = next / t;
      for (int64_t i = 0; i < block_elements_; ++i)
        x_[i] = x0_[i] + ratio * (x_[i] - x0_[i]);
    } else {
      fill_normal(noise_.data(), block_elements_, options_.seed, block,
                  static_cast<uint32_t>(step + 1));
      const float rest = 1 - next;
      for (int64_t i = 0; i < block_elements_; ++i)
        x_[i] = rest * x0_[i] + next * noise_[i];
    }
  }
  return {};
}

Result<std::span<const float>> Streamer::next_block() {
  const Description &d = description();
  passes_.clear();
  times_ = {};
  ATTN_RETURN_IF_ERROR(gate_.enter());
  auto start = Clock::now();
  ATTN_RETURN_IF_ERROR(apply_prompts());
  if (!has_prompt_) {
    ATTN_RETURN_IF_ERROR(push_prompt(d.default_prompt));
    ATTN_RETURN_IF_ERROR(apply_prompts());
  }
  if (times_.switched)
    times_.recache = seconds_since(start);

  start = Clock::now();
  if (next_position_ >= INT32_MAX / block_tokens_ - 1)
    return Status::usage("the stream has reached the last position that kernels can name; start a "
                         "new one");
  const std::optional<Kept> evicted = admit(next_position_);
  const size_t rank = kept_.size() - 1;
  Status status = denoise(rank);
  if (!status.ok()) {
    take_back(evicted);
    return status;
  }
  times_.denoise = seconds_since(start);
  start = Clock::now();
  std::copy(x0_.begin(), x0_.end(), clean(kept_[rank].slot));
  gate_.yield();
  status = pass(x0_.data(), d.clean_timestep, rank, false);
  if (!status.ok()) {
    take_back({});
    return status;
  }
  times_.clean = seconds_since(start);
  ++next_position_;
  ++block_;
  gate_.block_done();
  return std::span<const float>(x0_);
}

} // namespace attn::stream
