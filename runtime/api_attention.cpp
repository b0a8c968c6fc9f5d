// The C interface to one attention call: tensor descriptors enter, checked
// views follow; host arrays are wrapped in place or copied for the call.
#include "runtime/api_handles.h"

#include "runtime/call/attention_call.h"
#include <algorithm>
#include <cstring>

using namespace attn;
using namespace attn::api;

namespace {

// Tensors of one call. Copies of host arrays live as long as this.
class CallTensors {
public:
  CallTensors(attn_kernel &kernel) : kernel_(kernel), device_(*kernel.shared->device) {}

  Status add(const char *name, const attn_tensor_t *tensor, bool written, TensorView &view);
  // Brings outputs back into host arrays.
  Status finish();

private:
  struct Output {
    void *host;
    Buffer *device;
    size_t bytes;
  };
  Status check(const attn_tensor_t &tensor, TensorView &view, int64_t &elements) const;
  Status copy_in(const attn_tensor_t &tensor, bool written, int64_t elements, TensorView &view);

  attn_kernel &kernel_;
  Device &device_;
  std::vector<std::unique_ptr<Buffer>> buffers_;
  std::vector<Output> outputs_;
  bool has_host_ = false;
};

// Fills everything of `view` but the buffer. `elements`: one past the last.
Status CallTensors::check(const attn_tensor_t &tensor, TensorView &view, int64_t &elements) const {
  ATTN_RETURN_IF_ERROR(check_struct(tensor, "attn_tensor_t"));
  if ((tensor.buffer != nullptr) == (tensor.data != nullptr))
    return Status::usage("exactly one of buffer and data must be set");
  if (tensor.type < ATTN_F32 || tensor.type > ATTN_I64)
    return Status::usage("unknown element type ", static_cast<int>(tensor.type));
  if (tensor.rank < 1 || tensor.rank > 4)
    return Status::usage("rank is ", tensor.rank, "; 1 to 4 is allowed");
  if (tensor.buffer && tensor.buffer->shared != kernel_.shared)
    return Status::usage("the buffer is of another device than the kernel");
  view.type = static_cast<ElementType>(tensor.type);
  view.rank = tensor.rank;
  view.offset = tensor.offset;
  bool contiguous = true;
  for (uint32_t i = 0; i < tensor.rank; ++i)
    contiguous &= tensor.strides[i] == 0;
  int64_t step = 1;
  elements = 1;
  for (int i = static_cast<int>(tensor.rank) - 1; i >= 0; --i) {
    view.shape[i] = tensor.shape[i];
    view.strides[i] = contiguous ? step : tensor.strides[i];
    if (view.shape[i] < 0 || view.strides[i] < 0)
      return Status::invalid_input("axis ", i, " has a negative extent or stride");
    int64_t reach = 0;
    if (__builtin_mul_overflow(step, view.shape[i], &step) ||
        __builtin_mul_overflow(std::max<int64_t>(view.shape[i] - 1, 0), view.strides[i], &reach) ||
        __builtin_add_overflow(elements, reach, &elements) || elements > INT32_MAX)
      return Status::invalid_input("spans more than 2147483647 elements");
  }
  for (uint32_t i = tensor.rank; i < 4; ++i) {
    view.shape[i] = 1;
    view.strides[i] = 1;
  }
  if (step == 0)
    elements = 0;
  return {};
}

// Copies whole spans, strides and all, so that no element order is lost.
Status CallTensors::copy_in(const attn_tensor_t &tensor, bool written, int64_t elements,
                            TensorView &view) {
  size_t bytes = static_cast<size_t>(elements) * element_size(view.type);
  ATTN_ASSIGN_OR_RETURN(std::unique_ptr<Buffer> buffer,
                        device_.allocate(std::max<size_t>(bytes, 16)));
  auto *host = static_cast<std::byte *>(tensor.data) + tensor.offset;
  // Outputs too: bytes between their rows come back as they were.
  ATTN_RETURN_IF_ERROR(device_.upload(*buffer, 0, host, bytes));
  view.buffer = buffer.get();
  view.offset = 0;
  if (written && bytes)
    outputs_.push_back({host, buffer.get(), bytes});
  buffers_.push_back(std::move(buffer));
  return {};
}

Status CallTensors::add(const char *name, const attn_tensor_t *tensor, bool written,
                        TensorView &view) {
  if (!tensor)
    return {};
  int64_t elements = 0;
  Status status = check(*tensor, view, elements);
  if (!status.ok())
    return status.at(name);
  if (tensor->buffer) {
    view.buffer = tensor->buffer->buffer.get();
    return {};
  }
  has_host_ = true;
  if (device_.info().target != TargetKind::cpu)
    return copy_in(*tensor, written, elements, view).at(name);
  size_t bytes = static_cast<size_t>(elements) * element_size(view.type);
  auto *host = static_cast<std::byte *>(tensor->data) + tensor->offset;
  ATTN_ASSIGN_OR_RETURN(std::unique_ptr<Buffer> buffer,
                        device_.wrap(host, std::max<size_t>(bytes, 1)));
  // The buffer starts at the array itself, so alignment is checked here.
  if (reinterpret_cast<uintptr_t>(host) % element_size(view.type))
    return Status::invalid_input("data is not aligned to its element type").at(name);
  view.buffer = buffer.get();
  view.offset = 0;
  buffers_.push_back(std::move(buffer));
  return {};
}

Status CallTensors::finish() {
  for (const Output &output : outputs_)
    ATTN_RETURN_IF_ERROR(device_.download(*output.device, 0, output.host, output.bytes));
  return has_host_ ? device_.synchronise() : Status();
}

Status run(attn_kernel &kernel, const attn_attention_args_t &args) {
  ATTN_RETURN_IF_ERROR(check_struct(args, "attn_attention_args_t"));
  if ((args.tensor_count && !args.tensors) || (args.param_count && !args.params) ||
      (args.segment_count && !args.segments))
    return Status::usage("a list with a count has a NULL pointer");
  std::lock_guard lock(kernel.shared->turns);
  CallTensors tensors(kernel);
  AttentionArgs call;
  ATTN_RETURN_IF_ERROR(tensors.add("q", args.q, false, call.q));
  ATTN_RETURN_IF_ERROR(tensors.add("k", args.k, false, call.k));
  ATTN_RETURN_IF_ERROR(tensors.add("v", args.v, false, call.v));
  ATTN_RETURN_IF_ERROR(tensors.add("o", args.o, true, call.o));
  ATTN_RETURN_IF_ERROR(tensors.add("lse", args.lse, true, call.lse));
  ATTN_RETURN_IF_ERROR(tensors.add("k_scale", args.k_scale, false, call.k_scale));
  ATTN_RETURN_IF_ERROR(tensors.add("v_scale", args.v_scale, false, call.v_scale));
  for (auto [view, tensor] :
       {std::pair(&call.q, args.q), {&call.k, args.k}, {&call.v, args.v}, {&call.o, args.o}})
    if (tensor && tensor->rank != 4)
      return Status::invalid_input(
          "q, k, v and o have 4 axes (batch, heads, tokens, dim), one has ", view->rank);
  std::vector<NamedTensor> named(args.tensor_count);
  for (size_t i = 0; i < args.tensor_count; ++i) {
    const attn_named_tensor_t &given = args.tensors[i];
    if (!given.name || !given.tensor)
      return Status::usage("tensor ", i, " has no name or no tensor");
    named[i].name = given.name;
    ATTN_RETURN_IF_ERROR(tensors.add(given.name, given.tensor, false, named[i].view));
  }
  std::vector<NamedValue> params(args.param_count);
  for (size_t i = 0; i < args.param_count; ++i) {
    if (!args.params[i].name)
      return Status::usage("parameter ", i, " has no name");
    params[i] = {args.params[i].name, args.params[i].value};
  }
  static_assert(sizeof(attn_segment_t) == sizeof(Segment));
  std::vector<Segment> segments(args.segment_count);
  if (args.segment_count)
    std::memcpy(segments.data(), args.segments, args.segment_count * sizeof(Segment));
  call.tensors = named;
  call.params = params;
  call.segments = segments;
  call.segments_per_batch = args.segments_per_batch;
  call.q_position = args.q_position;
  call.layer = args.layer;
  if (args.scale != 0)
    call.scale = args.scale;
  AttentionCall prepared;
  ATTN_RETURN_IF_ERROR(prepared.prepare(*kernel.kernel, *kernel.shared->device, call));
  ATTN_RETURN_IF_ERROR(prepared.launch(*kernel.shared->device, *kernel.kernel));
  return tensors.finish();
}

} // namespace

extern "C" attn_status_t *attn_attention_run(attn_kernel_t *kernel,
                                             const attn_attention_args_t *args) {
  return guard([&]() -> Status {
    if (!kernel || !args)
      return Status::usage("argument ", kernel ? "args" : "kernel", " is NULL");
    return run(*kernel, *args);
  });
}
