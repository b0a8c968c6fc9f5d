// Looks a node's spec up, loads its kernel, and launches it per run.
#include "runtime/stream/attention_dispatch.h"

#include "runtime/cache/policy.h"
#include "runtime/call/select_kernel.h"
#include "runtime/graph/quantise_caches.h"
#include "runtime/graph/recognise_attention.h"
#include "runtime/ops/attention.h"
#include "runtime/stream/derived_attention.h"
#include "runtime/stream/device_tensor.h"
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <optional>

namespace attn::stream {

using graph::MakeContext;
using graph::RunArgs;
using graph::Tensor;
using ops::AttentionShape;

// One Attention node on a compiled kernel.
class BoundAttention final : public graph::OpKernel {
public:
  BoundAttention(AttentionDispatch &owner, std::unique_ptr<Kernel> kernel, const AttentionShape &s,
                 std::string label, std::optional<cache::Policy> policy)
      : owner_(owner), kernel_(std::move(kernel)), s_(s), policy_(std::move(policy)),
        label_(std::move(label)) {}

  Status run(const RunArgs &args) override {
    auto start = std::chrono::steady_clock::now();
    Status status = launch(args);
    owner_.stats_.nanoseconds +=
        static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(
                                  std::chrono::steady_clock::now() - start)
                                  .count());
    ++owner_.stats_.launches;
    return status.at(label_);
  }

private:
  Status launch(const RunArgs &args) {
    Device &device = owner_.device_;
    AttentionArgs call;
    auto read = [&](DeviceTensor &tensor, size_t input, int64_t heads, int64_t tokens, int64_t dim,
                    TensorView &view) -> Status {
      ATTN_ASSIGN_OR_RETURN(view,
                            tensor.read(device, *args.in[input], {s_.batch, heads, tokens, dim}));
      return {};
    };
    ATTN_RETURN_IF_ERROR(read(q_, 0, s_.heads, s_.q_len, s_.qk_dim, call.q));
    ATTN_RETURN_IF_ERROR(read(k_, 1, s_.kv_heads, s_.new_len, s_.qk_dim, call.k));
    ATTN_RETURN_IF_ERROR(read(v_, 2, s_.kv_heads, s_.new_len, s_.v_dim, call.v));
    if (s_.int8_cache) {
      ATTN_RETURN_IF_ERROR(
          read(k_scale_, graph::kKeyScales, s_.kv_heads, s_.new_len, 1, call.k_scale));
      ATTN_RETURN_IF_ERROR(
          read(v_scale_, graph::kValueScales, s_.kv_heads, s_.new_len, 1, call.v_scale));
    }
    ATTN_ASSIGN_OR_RETURN(call.o,
                          o_.write(device, *args.out[0], {s_.batch, s_.heads, s_.q_len, s_.v_dim}));
    if (s_.has_lengths)
      call.segments = owner_.view_.segments;
    if (policy_)
      merge_tail(args, call);
    call.q_position = owner_.view_.q_position;
    call.scale = s_.scale;
    ATTN_RETURN_IF_ERROR(give_lse(call));
    ATTN_RETURN_IF_ERROR(call_.prepare(*kernel_, device, call));
    ATTN_RETURN_IF_ERROR(call_.launch(device, *kernel_));
    return o_.fetch(device, *args.out[0]);
  }

  // Equal keys at the end, with equal values, weigh as much as one whose score is raised by
  // the logarithm of their number: padding of a text is given once.
  void merge_tail(const RunArgs &args, AttentionArgs &call) {
    const Tensor &k = *args.in[1], &v = *args.in[2];
    const bool known = k.content && v.content && k.content == k_content_ && v.content == v_content_;
    if (!known)
      tail_ = owner_.merge_tails_ ? std::min(equal_tail(k, s_.kv_heads, s_.qk_dim),
                                             equal_tail(v, s_.kv_heads, s_.v_dim))
                                  : 1;
    k_content_ = k.content;
    v_content_ = v.content;
    const int64_t given = s_.new_len - tail_ + 1;
    owner_.stats_.merged_keys += static_cast<uint64_t>(tail_ - 1);
    keys_ = {0, static_cast<int32_t>(given), 0};
    call.segments = {&keys_, 1};
    params_[0] = {policy_->tail_param, static_cast<double>(tail_)};
    params_[1] = {policy_->length_param, static_cast<double>(given)};
    call.params = {params_, policy_->length_param.empty() ? 1u : 2u};
  }

  // How many rows at the end are the same bits in every batch entry and head.
  int64_t equal_tail(const Tensor &t, int64_t heads, int64_t dim) const {
    const ops::HeadStrides at = ops::head_strides(t, heads);
    const size_t bytes = static_cast<size_t>(dim) * graph::dtype_size(t.dtype);
    int64_t most = s_.new_len;
    for (int64_t b = 0; b < s_.batch; ++b)
      for (int64_t h = 0; h < heads; ++h) {
        auto row = [&](int64_t token) {
          return t.as<std::byte>() +
                 static_cast<size_t>(b * at.batch + h * at.head + token * at.token) *
                     graph::dtype_size(t.dtype);
        };
        int64_t same = 1;
        while (same < most &&
               std::memcmp(row(s_.new_len - 1 - same), row(s_.new_len - 1), bytes) == 0)
          ++same;
        most = same;
      }
    return most;
  }

  // A kernel that writes the LSE needs a place for it; nobody reads it here.
  Status give_lse(AttentionArgs &call) {
    bool wanted = false;
    for (const BindingInfo &binding : kernel_->info().bindings)
      wanted |= binding.role == BindingRole::lse;
    if (!wanted)
      return {};
    size_t bytes = static_cast<size_t>(s_.batch * s_.heads * s_.q_len) * sizeof(float);
    if (!lse_) {
      ATTN_ASSIGN_OR_RETURN(lse_, owner_.device_.allocate(bytes));
    }
    call.lse = contiguous_view(*lse_, ElementType::f32, s_.batch, s_.heads, s_.q_len, 1);
    return {};
  }

  AttentionDispatch &owner_;
  std::unique_ptr<Kernel> kernel_;
  AttentionShape s_;
  std::optional<cache::Policy> policy_; // of keys with an equal tail
  int64_t tail_ = 1;                    // equal keys at the end
  uint64_t k_content_ = 0, v_content_ = 0;
  Segment keys_;
  NamedValue params_[2];
  DeviceTensor q_, k_, v_, k_scale_, v_scale_, o_;
  std::unique_ptr<Buffer> lse_;
  AttentionCall call_;
  std::string label_;
};

AttentionDispatch::AttentionDispatch(const Description &description, const Bundle *bundle,
                                     Device &device, bool allow_reference, const CacheView &view,
                                     std::string variant, CacheType cache_type,
                                     BundleCommand made_by, bool merge_tails)
    : description_(description), bundle_(bundle), device_(device),
      allow_reference_(allow_reference), view_(view), variant_(std::move(variant)),
      cache_type_(cache_type), made_by_(std::move(made_by)), merge_tails_(merge_tails) {}

graph::AttentionMaker AttentionDispatch::maker() {
  return [this](const MakeContext &c) { return make(c); };
}

// "attnc model m.onnx --spec specs/a.attn --spec specs/b.attn --target cpu -o model.attnb"
std::string AttentionDispatch::compile_command() const {
  std::string command = "attnc model " + made_by_.model + (made_by_.package ? " --package" : "");
  std::vector<std::string> seen;
  for (const AttentionBinding &binding : description_.attention)
    if (std::find(seen.begin(), seen.end(), binding.spec) == seen.end()) {
      seen.push_back(binding.spec);
      command += " --spec specs/" + binding.spec + ".attn";
    }
  command += concat(" --target ", target_name(device_.info().target));
  return command + (cache_type_ == CacheType::int8 ? " --dtype int8,f32" : "") + " -o " +
         made_by_.output;
}

const AttentionBinding *AttentionDispatch::find_binding(const std::string &node) const {
  for (const AttentionBinding &binding : description_.attention)
    if (matches_pattern(binding.nodes, node))
      return &binding;
  return nullptr;
}

KernelQuery AttentionDispatch::query_for(const AttentionShape &s, const std::string &spec,
                                         ElementType stored) const {
  auto narrow = [](int64_t v) { return static_cast<uint32_t>(v); };
  KernelQuery query;
  query.name = spec;
  query.variant = variant_;
  query.qk_dim = narrow(s.qk_dim);
  query.v_dim = narrow(s.v_dim);
  query.heads = narrow(s.heads);
  query.kv_heads = narrow(s.kv_heads);
  query.types = {{BindingRole::q, ElementType::f32},
                 {BindingRole::k, stored},
                 {BindingRole::v, stored},
                 {BindingRole::o, ElementType::f32}};
  return query;
}

bool AttentionDispatch::caches_int8(const graph::NodeView &node) const {
  AttentionShape s;
  if (!ops::attention_shape(node, s).ok() || !s.has_lengths || cache_type_ == CacheType::f32)
    return false;
  const AttentionBinding *bound = find_binding(node.node.name);
  if (cache_type_ == CacheType::int8)
    return true;
  if (!bundle_ || !bound)
    return false;
  // A spec whose cache stores int8 is compiled for that alone.
  return !select_kernel(*bundle_, device_, query_for(s, bound->spec, ElementType::f32)).ok() &&
         select_kernel(*bundle_, device_, query_for(s, bound->spec, ElementType::i8)).ok();
}

Status AttentionDispatch::check_variant(const std::string &spec, bool int8_keys) const {
  if (variant_.empty())
    return {};
  bool takes_int8 = variant_ == "int8"; // by its name, where the bundle lacks it
  for (const KernelInfo &kernel : bundle_->kernels())
    if (kernel.name == spec && kernel.variant == variant_)
      for (const BindingInfo &binding : kernel.bindings)
        if (binding.role == BindingRole::k)
          takes_int8 = binding.type == ElementType::i8;
  if (takes_int8 == int8_keys)
    return {};
  const char *kept = int8_keys ? "int8" : "f32";
  bool asked = cache_type_ == (int8_keys ? CacheType::int8 : CacheType::f32);
  return Status::usage("variant ", variant_, " takes ", takes_int8 ? "int8" : "f32",
                       " keys, but its keys are ", kept,
                       asked ? concat(", as --kv ", kept, " asks") : "",
                       ": the options conflict; leave --variant out, or change --kv");
}

Result<std::unique_ptr<graph::OpKernel>> AttentionDispatch::make_plain(const MakeContext &c,
                                                                       const std::string &why) {
  stats_.plain.push_back(concat(c.node.label(), ": ", why));
  return ops::make_reference_attention(c);
}

Result<std::unique_ptr<graph::OpKernel>> AttentionDispatch::make(const MakeContext &c) {
  AttentionShape s;
  ATTN_RETURN_IF_ERROR(ops::attention_shape(c, s));
  const AttentionBinding *bound = find_binding(c.node.name);
  const bool needs_no_kernel = allow_reference_ || c.node.find(graph::kRecognised);
  if (!s.int8_cache && c.node.domain.empty() && caches_int8(c))
    return Status::invalid_input("cannot have an int8 cache: its keys and values must come from "
                                 "caches that a TensorScatter updates in place and that nothing "
                                 "else reads; use --kv f32");
  if (!bundle_) {
    if (needs_no_kernel)
      return make_plain(c, "no bundle is given");
    return Status::invalid_input(
        "needs a compiled kernel", bound ? concat(" of spec ", bound->spec) : std::string(),
        ", and no bundle was given: make one with `", compile_command(),
        "` and name it after the model, or add --reference-attention (slow)");
  }
  if (!bound) {
    std::string chosen;
    auto derived = make_derived_attention(c, *bundle_, device_, chosen);
    if (derived.ok()) {
      stats_.chosen.push_back(concat(c.node.name, ": ", chosen));
      return derived;
    }
    if (needs_no_kernel)
      return make_plain(c, derived.status().to_string());
    return Status::invalid_input("matches none of the node patterns in [attention] of ",
                                 description_.path,
                                 ": add one that names its spec, or derive one "
                                 "with attnc model (",
                                 derived.status().to_string(), ")");
  }
  if (c.has(3) || c.has(4) || s.causal || s.softcap != 0 || s.left_window >= 0 ||
      s.right_window >= 0 || c.outputs.size() > 1)
    return Status::invalid_input("has a mask, a past, is_causal, a window, softcap or further "
                                 "outputs of its own, which a kernel of spec ",
                                 bound->spec, " would not see: express them in the spec");
  ATTN_RETURN_IF_ERROR(check_variant(bound->spec, s.int8_cache));
  auto kernel =
      load_kernel(*bundle_, device_,
                  query_for(s, bound->spec, s.int8_cache ? ElementType::i8 : ElementType::f32));
  if (!kernel.ok())
    // A kernel that the bundle lacks was named by the model, a variant by the user.
    return Status(kernel.status().code() == StatusCode::usage && variant_.empty()
                      ? StatusCode::invalid_input
                      : kernel.status().code(),
                  concat(kernel.status().to_string(), " (make a bundle that fits with `",
                         compile_command(), "`)"));
  const KernelInfo &info = (*kernel)->info();
  stats_.chosen.push_back(concat(c.node.name, ": ", info.name, " ", info.variant, " ",
                                 target_name(info.target), " ", info.arch));
  std::optional<cache::Policy> policy;
  if (!s.has_lengths && bundle_->find_blob(concat("cache/", bound->spec))) {
    ATTN_ASSIGN_OR_RETURN(cache::Policy declared, cache::find_policy(*bundle_, bound->spec));
    if (!declared.tail_param.empty())
      policy = std::move(declared);
  }
  return std::unique_ptr<graph::OpKernel>(std::make_unique<BoundAttention>(
      *this, std::move(*kernel), s, c.node.label(), std::move(policy)));
}

} // namespace attn::stream
