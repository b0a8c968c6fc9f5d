// The C interface to one attention call: argument structs enter, checked calls
// follow.
#include "runtime/api_tensors.h"

#include <cstring>

using namespace attn;
using namespace attn::api;

namespace {

Status run(attn_kernel &kernel, const attn_attention_args_t &args) {
  if (args.segment_count && !args.segments)
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
  std::vector<NamedTensor> named;
  std::vector<NamedValue> params;
  ATTN_RETURN_IF_ERROR(tensors.add_named(args.tensors, args.tensor_count, named));
  ATTN_RETURN_IF_ERROR(named_values(args.params, args.param_count, params));
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

Status merge(attn_kernel &kernel, const attn_merge_args_t &args) {
  std::lock_guard lock(kernel.shared->turns);
  CallTensors tensors(kernel);
  std::vector<TensorView> o_parts, lse_parts;
  std::vector<NamedTensor> named;
  std::vector<NamedValue> params;
  MergeArgs call;
  ATTN_RETURN_IF_ERROR(tensors.add_parts("o_parts", args.o_parts, args.part_count, o_parts));
  ATTN_RETURN_IF_ERROR(tensors.add_parts("lse_parts", args.lse_parts, args.part_count, lse_parts));
  ATTN_RETURN_IF_ERROR(tensors.add("o", args.o, true, call.o));
  ATTN_RETURN_IF_ERROR(tensors.add("lse", args.lse, true, call.lse));
  ATTN_RETURN_IF_ERROR(tensors.add_named(args.tensors, args.tensor_count, named));
  ATTN_RETURN_IF_ERROR(named_values(args.params, args.param_count, params));
  call.o_parts = o_parts;
  call.lse_parts = lse_parts;
  call.tensors = named;
  call.params = params;
  call.q_position = args.q_position;
  call.layer = args.layer;
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
    ATTN_ASSIGN_OR_RETURN(attn_attention_args_t given, read_struct(*args, "attn_attention_args_t"));
    return run(*kernel, given);
  });
}

extern "C" attn_status_t *attn_merge_run(attn_kernel_t *kernel, const attn_merge_args_t *args) {
  return guard([&]() -> Status {
    if (!kernel || !args)
      return Status::usage("argument ", kernel ? "args" : "kernel", " is NULL");
    ATTN_ASSIGN_OR_RETURN(attn_merge_args_t given, read_struct(*args, "attn_merge_args_t"));
    return merge(*kernel, given);
  });
}
