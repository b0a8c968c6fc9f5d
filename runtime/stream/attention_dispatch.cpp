// Looks a node's spec up, loads its kernel, and launches it per run. On the CPU
// tensors are wrapped where they are; other devices get copies.
#include "runtime/stream/attention_dispatch.h"

#include "runtime/base/aligned_memory.h"
#include "runtime/base/thread_pool.h"
#include "runtime/call/select_kernel.h"
#include "runtime/ops/attention.h"
#include "runtime/ops/isa.h"
#include <algorithm>
#include <chrono>
#include <cmath>

namespace attn::stream {

using graph::MakeContext;
using graph::RunArgs;
using graph::Tensor;
using ops::AttentionShape;
using ops::HeadStrides;

// Device buffers that stand for host tensors, found again by their address.
class TensorBuffers {
public:
  explicit TensorBuffers(Device &device) : device_(device) {}

  // A buffer with the tensor's elements; its size is `bytes` from the tensor's data on.
  Result<Buffer *> get(void *data, size_t bytes, bool upload) {
    for (Entry &e : entries_)
      if (e.data == data && e.buffer->size() >= bytes)
        return refresh(e, bytes, upload);
    Entry entry;
    entry.data = data;
    if (device_.info().target == TargetKind::cpu) {
      ATTN_ASSIGN_OR_RETURN(entry.buffer, device_.wrap(data, bytes));
    } else {
      ATTN_ASSIGN_OR_RETURN(entry.buffer, device_.allocate((bytes + 15) / 16 * 16));
    }
    entries_.push_back(std::move(entry));
    return refresh(entries_.back(), bytes, upload);
  }

private:
  struct Entry {
    void *data = nullptr;
    std::unique_ptr<Buffer> buffer;
  };
  Result<Buffer *> refresh(Entry &e, size_t bytes, bool upload) {
    if (upload && device_.info().target != TargetKind::cpu)
      ATTN_RETURN_IF_ERROR(device_.upload(*e.buffer, 0, e.data, bytes));
    return e.buffer.get();
  }
  Device &device_;
  std::vector<Entry> entries_;
};

// An int8 copy of keys or values: per (token, head) the largest magnitude becomes
// 127, rounding to nearest even.
struct Int8Rows {
  AlignedMemory values, scales;
  bool allocate(int64_t heads, int64_t tokens, int64_t dim) {
    values = AlignedMemory(static_cast<size_t>(heads * tokens * dim));
    scales = AlignedMemory(static_cast<size_t>(heads * tokens) * sizeof(float));
    return values.data() && scales.data();
  }
  void quantise(const float *row, int64_t dim, int64_t index) {
    ops::isa().quantise(row, static_cast<int8_t *>(values.data()) + index * dim,
                        static_cast<float *>(scales.data()) + index, dim);
  }
};

// One Attention node on a compiled kernel.
class BoundAttention final : public graph::OpKernel {
public:
  BoundAttention(AttentionDispatch &owner, std::unique_ptr<Kernel> kernel, const AttentionShape &s,
                 std::string label)
      : owner_(owner), kernel_(std::move(kernel)), s_(s), buffers_(owner.device_),
        label_(std::move(label)) {}

  // Keys or values that the kernel takes as int8 need copies.
  Status prepare() {
    for (const BindingInfo &binding : kernel_->info().bindings) {
      bool key = binding.role == BindingRole::k, value = binding.role == BindingRole::v;
      if ((!key && !value) || binding.type != ElementType::i8)
        continue;
      Int8Rows &rows = int8_[key ? 0 : 1];
      if (s_.batch != 1 || !rows.allocate(s_.kv_heads, s_.new_len, key ? s_.qk_dim : s_.v_dim))
        return Status::environment("no memory for an int8 cache");
    }
    return {};
  }

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
  Status view(const Tensor &t, int64_t heads, int64_t tokens, int64_t dim, bool upload,
              TensorView &out, size_t &bytes) {
    HeadStrides strides = ops::head_strides(t, heads);
    out.type = ElementType::f32;
    const int64_t shape[4] = {s_.batch, heads, tokens, dim};
    const int64_t steps[4] = {strides.batch, strides.head, strides.token, 1};
    int64_t last = 0;
    for (int i = 0; i < 4; ++i) {
      out.shape[i] = shape[i];
      out.strides[i] = shape[i] == 1 && i < 3 ? dim : steps[i];
      last += (shape[i] - 1) * (shape[i] == 1 ? 0 : steps[i]);
    }
    bytes = static_cast<size_t>(last + 1) * sizeof(float);
    ATTN_ASSIGN_OR_RETURN(out.buffer, buffers_.get(t.data, bytes, upload));
    return {};
  }

  Status launch(const RunArgs &args) {
    Device &device = owner_.device_;
    AttentionArgs call;
    size_t bytes = 0, o_bytes = 0;
    ATTN_RETURN_IF_ERROR(view(*args.in[0], s_.heads, s_.q_len, s_.qk_dim, true, call.q, bytes));
    ATTN_RETURN_IF_ERROR(view(*args.in[1], s_.kv_heads, s_.new_len, s_.qk_dim,
                              !int8_[0].values.data(), call.k, bytes));
    ATTN_RETURN_IF_ERROR(view(*args.in[2], s_.kv_heads, s_.new_len, s_.v_dim,
                              !int8_[1].values.data(), call.v, bytes));
    ATTN_RETURN_IF_ERROR(view(*args.out[0], s_.heads, s_.q_len, s_.v_dim, false, call.o, o_bytes));
    for (int which = 0; which < 2; ++which)
      if (int8_[which].values.data())
        ATTN_RETURN_IF_ERROR(give_int8(args, which, call));
    if (s_.has_lengths)
      call.segments = owner_.view_.segments;
    call.q_position = owner_.view_.q_position;
    call.scale = s_.scale;
    ATTN_RETURN_IF_ERROR(give_lse(call));
    ATTN_RETURN_IF_ERROR(call_.prepare(*kernel_, device, call));
    ATTN_RETURN_IF_ERROR(call_.launch(device, *kernel_));
    ATTN_RETURN_IF_ERROR(device.synchronise());
    if (device.info().target != TargetKind::cpu)
      ATTN_RETURN_IF_ERROR(device.download(*call.o.buffer, 0, args.out[0]->data, o_bytes));
    return {};
  }

  // Quantises the rows that the call sees and hands them over instead.
  Status give_int8(const RunArgs &args, int which, AttentionArgs &call) {
    const Tensor &from = *args.in[which + 1];
    const int64_t dim = which ? s_.v_dim : s_.qk_dim, tokens = s_.new_len;
    HeadStrides strides = ops::head_strides(from, s_.kv_heads);
    Int8Rows &rows = int8_[which];
    args.pool.parallel_for(
        static_cast<uint32_t>(s_.kv_heads * tokens), 64,
        [&](uint32_t begin, uint32_t end, uint32_t) {
          for (int64_t r = begin; r < end; ++r) {
            int64_t head = r / tokens, token = r % tokens;
            bool seen = !s_.has_lengths;
            for (const Segment &g : owner_.view_.segments)
              seen |= token >= g.first_slot && token < g.first_slot + g.length;
            if (seen)
              rows.quantise(from.as<float>() + head * strides.head + token * strides.token, dim, r);
          }
        });
    ATTN_ASSIGN_OR_RETURN(Buffer * values,
                          buffers_.get(rows.values.data(), rows.values.size(), true));
    ATTN_ASSIGN_OR_RETURN(Buffer * scales,
                          buffers_.get(rows.scales.data(), rows.scales.size(), true));
    (which ? call.v : call.k) =
        contiguous_view(*values, ElementType::i8, 1, s_.kv_heads, tokens, dim);
    (which ? call.v_scale : call.k_scale) =
        contiguous_view(*scales, ElementType::f32, 1, s_.kv_heads, tokens, 1);
    return {};
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
  TensorBuffers buffers_;
  std::unique_ptr<Buffer> lse_;
  Int8Rows int8_[2]; // keys, values; empty where the kernel takes f32
  AttentionCall call_;
  std::string label_;
};

AttentionDispatch::AttentionDispatch(const Description &description, const Bundle *bundle,
                                     Device &device, bool allow_reference, const CacheView &view,
                                     std::string variant, bool kv_int8, std::string model_path)
    : description_(description), bundle_(bundle), device_(device),
      allow_reference_(allow_reference), view_(view), variant_(std::move(variant)),
      kv_int8_(kv_int8), model_path_(std::move(model_path)) {}

graph::AttentionMaker AttentionDispatch::maker() {
  return [this](const MakeContext &c) { return make(c); };
}

// "attnc model m.onnx --spec specs/a.attn --spec specs/b.attn --target cpu -o model.attnb"
std::string AttentionDispatch::compile_command() const {
  std::string command = "attnc model " + model_path_;
  std::vector<std::string> seen;
  for (const AttentionBinding &binding : description_.attention)
    if (std::find(seen.begin(), seen.end(), binding.spec) == seen.end()) {
      seen.push_back(binding.spec);
      command += " --spec specs/" + binding.spec + ".attn";
    }
  command += concat(" --target ", target_name(device_.info().target));
  return command + (kv_int8_ ? " --dtype f32,int8" : "") + " -o model.attnb";
}

Result<std::unique_ptr<graph::OpKernel>> AttentionDispatch::make(const MakeContext &c) {
  AttentionShape s;
  ATTN_RETURN_IF_ERROR(ops::attention_shape(c, s));
  const AttentionBinding *bound = nullptr;
  for (const AttentionBinding &binding : description_.attention)
    if (matches_pattern(binding.nodes, c.node.name)) {
      bound = &binding;
      break;
    }
  if (!bundle_) {
    if (kv_int8_)
      return Status::usage("an int8 cache needs compiled kernels, and no bundle was given: make "
                           "one with `",
                           compile_command(), "` and name it after the model");
    if (allow_reference_)
      return ops::make_reference_attention(c);
    return Status::invalid_input(
        "needs a compiled kernel", bound ? concat(" of spec ", bound->spec) : std::string(),
        ", and no bundle was given: make one with `", compile_command(),
        "` and name it after the model, or add --reference-attention (slow)");
  }
  if (!bound) {
    if (allow_reference_)
      return ops::make_reference_attention(c);
    return Status::invalid_input("matches none of the node patterns in [attention] of ",
                                 description_.path, ": add one that names its spec");
  }
  if (c.has(3) || c.has(4) || s.causal || s.softcap != 0 || c.outputs.size() > 1)
    return Status::invalid_input("has a mask, a past, is_causal, softcap or further outputs of its "
                                 "own, which a kernel of spec ",
                                 bound->spec, " would not see: express them in the spec");
  auto narrow = [](int64_t v) { return static_cast<uint32_t>(v); };
  KernelQuery query;
  query.name = bound->spec;
  const std::string variant = s.has_lengths && kv_int8_ ? "int8" : variant_;
  query.variant = variant;
  query.qk_dim = narrow(s.qk_dim);
  query.v_dim = narrow(s.v_dim);
  query.heads = narrow(s.heads);
  query.kv_heads = narrow(s.kv_heads);
  query.types = {{BindingRole::q, ElementType::f32}, {BindingRole::o, ElementType::f32}};
  if (query.variant != "int8")
    for (BindingRole role : {BindingRole::k, BindingRole::v})
      query.types.emplace_back(role, ElementType::f32);
  auto kernel = load_kernel(*bundle_, device_, query);
  if (!kernel.ok())
    return Status(kernel.status().code(),
                  concat(kernel.status().to_string(), " (make a bundle that fits with `",
                         compile_command(), "`)"));
  const KernelInfo &info = (*kernel)->info();
  stats_.chosen.push_back(concat(c.node.name, ": ", info.name, " ", info.variant, " ",
                                 target_name(info.target), " ", info.arch));
  auto bound_kernel =
      std::make_unique<BoundAttention>(*this, std::move(*kernel), s, c.node.label());
  ATTN_RETURN_IF_ERROR(bound_kernel->prepare());
  return std::unique_ptr<graph::OpKernel>(std::move(bound_kernel));
}

} // namespace attn::stream
