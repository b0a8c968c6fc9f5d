// Per run: joins a past with new keys, hands mask and lengths over as tables and
// segments, launches.
#include "runtime/stream/derived_attention.h"

#include "runtime/base/aligned_memory.h"
#include "runtime/call/attention_call.h"
#include "runtime/call/select_kernel.h"
#include "runtime/graph/copy.h"
#include "runtime/graph/derive_spec.h"
#include "runtime/ops/attention.h"
#include "runtime/stream/device_tensor.h"
#include <algorithm>

namespace attn::stream {

using graph::MakeContext;
using graph::RunArgs;
using graph::Tensor;

namespace {

// A small dense tensor that a kernel reads as a table.
struct DeviceTable {
  std::unique_ptr<Buffer> buffer;
  TensorView view;
  bool uploaded = false;

  Status make(Device &device, ElementType type, const graph::Shape &axes) {
    view.type = type;
    view.rank = static_cast<uint32_t>(axes.rank);
    for (int i = 0; i < axes.rank; ++i)
      view.shape[i] = axes[i];
    const size_t bytes = static_cast<size_t>(axes.elements()) * element_size(type);
    ATTN_ASSIGN_OR_RETURN(buffer, device.allocate((bytes + 15) / 16 * 16));
    view.buffer = buffer.get();
    return {};
  }
  Status fill(Device &device, const void *data, size_t bytes) {
    uploaded = true;
    return device.upload(*buffer, 0, data, bytes);
  }
};

class DerivedAttention final : public graph::OpKernel {
public:
  DerivedAttention(Device &device, std::unique_ptr<Kernel> kernel, graph::DerivedSpec spec,
                   const ops::AttentionShape &s, const MakeContext &c)
      : device_(device), kernel_(std::move(kernel)), spec_(std::move(spec)), s_(s),
        label_(c.node.label()), outputs_(c.outputs.size()) {}

  Status prepare(const MakeContext &c) {
    if (s_.past_len) {
      ATTN_RETURN_IF_ERROR(make_room(joined_[0], s_.qk_dim));
      ATTN_RETURN_IF_ERROR(make_room(joined_[1], s_.v_dim));
    }
    if (spec_.reads_mask) {
      const Tensor &mask = c.inputs[3];
      constant_mask_ = c.in(3)->is_constant();
      dense_mask_.memory =
          AlignedMemory(static_cast<size_t>(mask.shape.elements()) * graph::dtype_size(mask.dtype));
      dense_mask_.tensor = {dense_mask_.memory.data(), mask.dtype, mask.shape,
                            graph::dense_strides(mask.shape)};
      if (!dense_mask_.memory.data())
        return Status::environment("no memory for a mask of ", mask.shape.text());
      ATTN_RETURN_IF_ERROR(mask_.make(
          device_, mask.dtype == graph::DType::boolean ? ElementType::u8 : ElementType::f32,
          graph::mask_axes(mask.shape)));
      tensors_.push_back({"mask", mask_.view});
    }
    if (spec_.reads_first) {
      ATTN_RETURN_IF_ERROR(first_.make(device_, ElementType::i32, {s_.batch}));
      tensors_.push_back({"first", first_.view});
    }
    if (s_.has_lengths)
      segments_.resize(static_cast<size_t>(s_.batch));
    positions_.resize(static_cast<size_t>(s_.batch));
    return {};
  }

  Status run(const RunArgs &args) override { return launch(args).at(label_); }

private:
  struct HostTensor {
    AlignedMemory memory;
    Tensor tensor;
  };

  Status make_room(HostTensor &room, int64_t dim) {
    const graph::Shape shape{s_.batch, s_.kv_heads, s_.kv_len, dim};
    room.memory = AlignedMemory(static_cast<size_t>(shape.elements()) * sizeof(float));
    room.tensor = {room.memory.data(), graph::DType::f32, shape, graph::dense_strides(shape)};
    if (!room.memory.data())
      return Status::environment("no memory for keys and values of ", shape.text());
    return {};
  }

  // Keys (0) or values (1): as they came, or joined with the past; handed out where
  // the node has that output.
  const Tensor &source(const RunArgs &args, size_t which) {
    const Tensor &fresh = *args.in[1 + which];
    const Tensor *present = outputs_ > 1 + which ? args.out[1 + which] : nullptr;
    if (present && !present->data)
      present = nullptr;
    if (!s_.past_len) {
      if (present)
        ops::join_past(nullptr, fresh, *present);
      return fresh;
    }
    const Tensor &joined = present ? *present : joined_[which].tensor;
    ops::join_past(args.in[4 + which], fresh, joined);
    return joined;
  }

  Status give_lengths(const RunArgs &args, AttentionArgs &call) {
    const int64_t *lengths = args.in[6]->as<int64_t>();
    for (size_t b = 0; b < segments_.size(); ++b) {
      const auto length = static_cast<int32_t>(std::clamp<int64_t>(lengths[b], 0, s_.kv_len));
      positions_[b] = static_cast<int32_t>(spec_.end) - length;
      segments_[b] = {0, length, positions_[b]};
    }
    call.segments = segments_;
    call.segments_per_batch = 1;
    if (spec_.reads_first)
      return first_.fill(device_, positions_.data(), positions_.size() * sizeof(int32_t));
    return {};
  }

  Status launch(const RunArgs &args) {
    AttentionArgs call;
    ATTN_ASSIGN_OR_RETURN(call.q,
                          q_.read(device_, *args.in[0], {s_.batch, s_.heads, s_.q_len, s_.qk_dim}));
    ATTN_ASSIGN_OR_RETURN(
        call.k, k_.read(device_, source(args, 0), {s_.batch, s_.kv_heads, s_.kv_len, s_.qk_dim}));
    ATTN_ASSIGN_OR_RETURN(
        call.v, v_.read(device_, source(args, 1), {s_.batch, s_.kv_heads, s_.kv_len, s_.v_dim}));
    ATTN_ASSIGN_OR_RETURN(
        call.o, o_.write(device_, *args.out[0], {s_.batch, s_.heads, s_.q_len, s_.v_dim}));
    if (s_.has_lengths)
      ATTN_RETURN_IF_ERROR(give_lengths(args, call));
    if (spec_.reads_mask && !(constant_mask_ && mask_.uploaded)) {
      graph::copy_tensor(*args.in[3], dense_mask_.tensor);
      ATTN_RETURN_IF_ERROR(mask_.fill(device_, dense_mask_.tensor.data,
                                      static_cast<size_t>(dense_mask_.tensor.elements()) *
                                          graph::dtype_size(dense_mask_.tensor.dtype)));
    }
    call.tensors = tensors_;
    call.q_position = static_cast<int32_t>(spec_.q_position);
    call.scale = s_.scale;
    ATTN_RETURN_IF_ERROR(call_.prepare(*kernel_, device_, call));
    ATTN_RETURN_IF_ERROR(call_.launch(device_, *kernel_));
    return o_.fetch(device_, *args.out[0]);
  }

  Device &device_;
  std::unique_ptr<Kernel> kernel_;
  graph::DerivedSpec spec_;
  ops::AttentionShape s_;
  std::string label_;
  size_t outputs_;
  DeviceTensor q_, k_, v_, o_;
  HostTensor joined_[2], dense_mask_;
  DeviceTable mask_, first_;
  bool constant_mask_ = false;
  std::vector<NamedTensor> tensors_;
  std::vector<Segment> segments_;
  std::vector<int32_t> positions_;
  AttentionCall call_;
};

} // namespace

Result<std::unique_ptr<graph::OpKernel>> make_derived_attention(const MakeContext &c,
                                                                const Bundle &bundle,
                                                                Device &device,
                                                                std::string &chosen) {
  ATTN_ASSIGN_OR_RETURN(graph::DerivedSpec spec, graph::derive_spec(c));
  ops::AttentionShape s;
  ATTN_RETURN_IF_ERROR(ops::attention_shape(c, s));
  const bool whole_vectors = s.qk_dim % 4 == 0 && s.v_dim % 4 == 0;
  if (device.info().target != TargetKind::cpu && !whole_vectors)
    return Status::invalid_input("its rows of ", s.qk_dim, " and ", s.v_dim,
                                 " floats are no multiple of 16 bytes, as ", device.info().name,
                                 " needs them");
  auto narrow = [](int64_t v) { return static_cast<uint32_t>(v); };
  KernelQuery query;
  query.name = spec.name;
  query.qk_dim = narrow(s.qk_dim);
  query.v_dim = narrow(s.v_dim);
  query.heads = narrow(s.heads);
  query.kv_heads = narrow(s.kv_heads);
  for (BindingRole role : {BindingRole::q, BindingRole::k, BindingRole::v, BindingRole::o})
    query.types.push_back({role, ElementType::f32});
  ATTN_ASSIGN_OR_RETURN(std::unique_ptr<Kernel> kernel, load_kernel(bundle, device, query));
  const KernelInfo &info = kernel->info();
  chosen = concat(info.name, " ", info.variant, " ", target_name(info.target), " ", info.arch);
  auto made = std::make_unique<DerivedAttention>(device, std::move(kernel), std::move(spec), s, c);
  ATTN_RETURN_IF_ERROR(made->prepare(c));
  return std::unique_ptr<graph::OpKernel>(std::move(made));
}

graph::AttentionMaker derived_attention(const Bundle &bundle, Device &device,
                                        std::vector<NodeBinding> &bound) {
  return [&](const MakeContext &c) -> Result<std::unique_ptr<graph::OpKernel>> {
    std::string chosen;
    auto kernel = make_derived_attention(c, bundle, device, chosen);
    bound.push_back(
        {c.node.label(), chosen, kernel.ok() ? std::string() : kernel.status().to_string()});
    if (kernel.ok())
      return kernel;
    return ops::make_reference_attention(c);
  };
}

} // namespace attn::stream
