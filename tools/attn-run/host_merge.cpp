// Partial results in host memory enter, a merge on the device follows, f32 results
// leave.
#include "tools/attn-run/host_call.h"

#include <algorithm>

namespace attn {

// The parts lie one after another in one buffer, as if they were batch entries.
Status HostCall::prepare(const HostMerge &args) {
  const KernelInfo &info = kernel_->info();
  if (args.o.empty() || args.o.size() != args.lse.size())
    return Status::usage(args.o.size(), " outputs and ", args.lse.size(),
                         " log-sum-exps are given; a merge takes as many of both");
  const int64_t(&rows)[4] = args.o[0].shape;
  const int64_t row_shape[4] = {rows[0], rows[1], rows[2], 1};
  int64_t count = static_cast<int64_t>(args.o.size());
  HostTensor o, lse;
  std::copy_n(rows, 4, o.shape);
  std::copy_n(row_shape, 4, lse.shape);
  o.shape[0] = lse.shape[0] = rows[0] * count;
  for (int64_t i = 0; i < count; ++i) {
    if (!std::equal(rows, rows + 4, args.o[i].shape))
      return Status::invalid_input("part ", i, " has another shape than part 0");
    int64_t logs = row_shape[0] * row_shape[1] * row_shape[2];
    if (static_cast<int64_t>(args.lse[i].size()) != logs)
      return Status::invalid_input("part ", i, " has ", args.lse[i].size(), " log-sum-exps for ",
                                   logs, " rows");
    o.values.insert(o.values.end(), args.o[i].values.begin(), args.o[i].values.end());
    lse.values.insert(lse.values.end(), args.lse[i].begin(), args.lse[i].end());
  }
  MergeArgs call;
  std::vector<TensorView> o_parts(count), lse_parts(count);
  for (const BindingInfo &binding : info.bindings) {
    if (binding.role == BindingRole::o) {
      ATTN_ASSIGN_OR_RETURN(o_, make_output(rows, binding.type, true));
      call.o = o_;
    } else if (binding.role == BindingRole::lse) {
      ATTN_ASSIGN_OR_RETURN(lse_, make_output(row_shape, ElementType::f32, false));
      call.lse = lse_;
    } else if (binding.role == BindingRole::part_o || binding.role == BindingRole::part_lse) {
      bool outputs = binding.role == BindingRole::part_o;
      TensorView all;
      if (outputs) {
        ATTN_ASSIGN_OR_RETURN(all, upload(o, binding.type));
      } else {
        ATTN_ASSIGN_OR_RETURN(all, upload_rows(lse));
      }
      all.shape[0] = rows[0];
      size_t bytes = static_cast<size_t>(all.strides[0] * rows[0]) * element_size(all.type);
      for (int64_t i = 0; i < count; ++i) {
        (outputs ? o_parts : lse_parts)[i] = all;
        all.offset += bytes;
      }
    }
  }
  std::vector<NamedTensor> tensors;
  ATTN_RETURN_IF_ERROR(upload_named(args.tensors, rows, tensors));
  std::vector<NamedValue> params;
  for (const auto &[name, value] : args.params)
    params.push_back({name, value});
  call.o_parts = o_parts;
  call.lse_parts = lse_parts;
  call.tensors = tensors;
  call.params = params;
  call.q_position = args.q_position;
  call.layer = args.layer;
  return call_.prepare(*kernel_, *device_, call);
}

Result<HostCall> HostCall::create(Device &device, Kernel &kernel, const HostMerge &args) {
  HostCall call(device, kernel);
  ATTN_RETURN_IF_ERROR(call.prepare(args));
  return call;
}

Result<HostResult> merge_on_device(Device &device, Kernel &kernel, const HostMerge &args) {
  ATTN_ASSIGN_OR_RETURN(HostCall call, HostCall::create(device, kernel, args));
  ATTN_RETURN_IF_ERROR(call.launch());
  return call.read();
}

} // namespace attn
