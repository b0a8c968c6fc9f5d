// MergeArgs enter; launch words and buffer ranges leave, or the rule that the
// arguments break.
#include "runtime/call/attention_call.h"

#include <algorithm>

namespace attn {

namespace {

// Where the parts of one binding begin, in elements after the first of them.
struct PartOffsets {
  const TensorView *first = nullptr;
  std::vector<uint32_t> elements;
  size_t end = 0; // bytes from the beginning of the first to the end of the last
};

Status place_parts(const char *name, std::span<const TensorView> parts, bool aligned,
                   PartOffsets &placed) {
  placed.first =
      &*std::min_element(parts.begin(), parts.end(), [](const TensorView &a, const TensorView &b) {
        return a.offset < b.offset;
      });
  const TensorView &first = *placed.first;
  if (!first.buffer)
    return Status::usage("part 0 of ", name, " has no buffer");
  size_t element = element_size(first.type), last = 0;
  for (size_t i = 0; i < parts.size(); ++i) {
    const TensorView &part = parts[i];
    bool alike = part.type == first.type && std::equal(part.shape, part.shape + 4, first.shape) &&
                 std::equal(part.strides, part.strides + 4, first.strides);
    if (!alike)
      return Status::invalid_input("part ", i, " of ", name,
                                   " has another type, shape or strides than the others");
    if (part.buffer != first.buffer)
      return Status::usage("part ", i, " of ", name,
                           " lies in another buffer than the others; a merge reads one");
    size_t distance = part.offset - first.offset;
    if (distance % element || (aligned && distance % 16))
      return Status::invalid_input("part ", i, " of ", name, " lies ", distance,
                                   " bytes after another; a multiple of ", aligned ? 16 : element,
                                   " is needed");
    if (distance / element > static_cast<size_t>(std::numeric_limits<int32_t>::max()))
      return Status::invalid_input("the parts of ", name,
                                   " lie more than 2147483647 elements apart");
    placed.elements.push_back(static_cast<uint32_t>(distance / element));
    last = std::max(last, distance);
  }
  placed.end = last;
  return {};
}

} // namespace

Status AttentionCall::prepare(const Kernel &kernel, const Device &device, const MergeArgs &args) {
  const KernelInfo &info = kernel.info();
  if (!merges_parts(info))
    return Status::usage("kernel ", info.name,
                         " merges nothing; a spec that says `emit partial` "
                         "has a kernel NAME_merge that does");
  if (args.o_parts.empty() || args.o_parts.size() != args.lse_parts.size())
    return Status::usage("a merge takes as many log-sum-exps as outputs, and at least one; ",
                         args.o_parts.size(), " outputs and ", args.lse_parts.size(),
                         " log-sum-exps are given");
  if (!args.o.buffer)
    return Status::usage("the call has no o");
  int64_t batch = args.o.shape[0], heads = args.o.shape[1], rows = args.o.shape[2];
  ATTN_RETURN_IF_ERROR(place_rows(info, batch, heads, rows, args.q_position));
  int64_t kv_heads = info.kv_heads ? info.kv_heads : heads;
  start_words(info, rows, kv_heads, args.q_position, args.layer);

  PartOffsets o, lse;
  bool aligned = info.target != TargetKind::cpu;
  ATTN_RETURN_IF_ERROR(place_parts("o", args.o_parts, aligned, o));
  ATTN_RETURN_IF_ERROR(place_parts("lse", args.lse_parts, false, lse));
  AttentionArgs views;
  views.o = args.o;
  views.lse = args.lse;
  views.tensors = args.tensors;
  views.params = args.params;
  for (size_t i = 0; i < info.bindings.size(); ++i) {
    BindingRole role = info.bindings[i].role;
    const PartOffsets *parts = role == BindingRole::part_o     ? &o
                               : role == BindingRole::part_lse ? &lse
                                                               : nullptr;
    if (!parts) {
      ATTN_RETURN_IF_ERROR(put_named(device, info, i, views));
      continue;
    }
    ATTN_RETURN_IF_ERROR(put_binding(device, info, i, *parts->first));
    // The range reaches to the end of the last part.
    BufferRange &range = buffers_[i];
    if (range.size > range.buffer->size() - range.offset ||
        parts->end > range.buffer->size() - range.offset - range.size)
      return Status::invalid_input("the parts of ", info.bindings[i].name,
                                   " do not fit their buffer of ", range.buffer->size(), " bytes");
    range.size += parts->end;
  }
  ATTN_RETURN_IF_ERROR(check_names(info, args.tensors));
  words_[ATTN_W_SEGMENTS] = static_cast<uint32_t>(o.elements.size());
  words_[ATTN_W_SEGMENT_BASE] = static_cast<uint32_t>(words_.size());
  for (size_t i = 0; i < o.elements.size(); ++i)
    words_.insert(words_.end(), {o.elements[i], lse.elements[i], 0u, 0u});
  ATTN_RETURN_IF_ERROR(put_params(info, args.params));
  work_ = static_cast<double>(o.elements.size()) * rows * heads * batch * info.v_dim;
  return {};
}

bool merges_parts(const KernelInfo &info) {
  return std::any_of(info.bindings.begin(), info.bindings.end(), [](const BindingInfo &binding) {
    return binding.role == BindingRole::part_o;
  });
}

} // namespace attn
