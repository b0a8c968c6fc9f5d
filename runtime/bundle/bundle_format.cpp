// Checks one kernel record: a KernelInfo enters, ok or the rule it breaks
// leaves.
#include "runtime/bundle/bundle_format.h"

#include <cmath>
#include <string_view>

namespace attn {

bool is_printable_name(const std::string &name) {
  for (unsigned char c : name)
    if (c < 0x20 || c > 0x7e)
      return false;
  return name.size() <= kMaxNameBytes;
}

uint64_t constant_bytes(const graph::TensorType &type, uint32_t columns) {
  if (!columns)
    return type.bytes();
  const uint64_t n = static_cast<uint64_t>(type.shape[1]);
  return (n + columns - 1) / columns * columns * static_cast<uint64_t>(type.shape[0]) *
         sizeof(float);
}

static Status check_name(const char *what, const std::string &name, bool required) {
  if (required && name.empty())
    return Status::invalid_input(what, " is empty");
  if (!is_printable_name(name))
    return Status::invalid_input(what, " is not printable ASCII of at most ", kMaxNameBytes,
                                 " characters");
  return {};
}

static Status check_limit(const char *what, uint32_t value, uint32_t low, uint32_t high) {
  if (value < low || value > high)
    return Status::invalid_input(what, " is ", value, "; ", low, " to ", high, " is allowed");
  return {};
}

// One binding of each tensor role may exist, tables and inputs any number.
static Status check_bindings(const KernelInfo &kernel) {
  if (kernel.bindings.size() > kMaxBindings)
    return Status::invalid_input("kernel has ", kernel.bindings.size(), " bindings; at most ",
                                 kMaxBindings, " are allowed");
  uint32_t seen = 0;
  for (const BindingInfo &binding : kernel.bindings) {
    ATTN_RETURN_IF_ERROR(check_name("binding name", binding.name, true));
    uint32_t role = static_cast<uint32_t>(binding.role);
    if (role > static_cast<uint32_t>(BindingRole::part_lse))
      return Status::invalid_input("binding ", binding.name, " has unknown role ", role);
    if (element_size(binding.type) == 0)
      return Status::invalid_input("binding ", binding.name, " has unknown element type ",
                                   static_cast<uint32_t>(binding.type));
    ATTN_RETURN_IF_ERROR(check_limit("binding rank", binding.rank, 1, 4));
    bool output = binding.role == BindingRole::o || binding.role == BindingRole::lse;
    if (binding.written != output)
      return Status::invalid_input("binding ", binding.name, " is ",
                                   binding.written ? "written but no output"
                                                   : "an output but not written");
    bool mapped = binding.map_rows || binding.map_bytes;
    bool box = binding.map_rows >= 1 && binding.map_rows <= 256 &&
               (binding.map_bytes == 32 || binding.map_bytes == 64 || binding.map_bytes == 128);
    if (mapped && (!box || kernel.target != TargetKind::ptx || binding.rank != 4 || output))
      return Status::invalid_input("binding ", binding.name, " has a tensor map of ",
                                   binding.map_rows, " rows by ",
                                   static_cast<uint32_t>(binding.map_bytes),
                                   " bytes; ptx inputs of rank 4 may have one of at most 256 rows "
                                   "by 32, 64 or 128 bytes");
    if (binding.role != BindingRole::table && binding.role != BindingRole::input) {
      if (seen & 1u << role)
        return Status::invalid_input("binding ", binding.name, " repeats a role");
      seen |= 1u << role;
    }
  }
  constexpr auto set = [](auto... roles) { return ((1u << int(roles)) | ...); };
  constexpr uint32_t keys = set(BindingRole::q, BindingRole::k, BindingRole::v);
  constexpr uint32_t parts = set(BindingRole::part_o, BindingRole::part_lse);
  if (seen & parts) {
    constexpr uint32_t needed = parts | set(BindingRole::o, BindingRole::lse);
    if ((seen & needed) != needed || (seen & keys))
      return Status::invalid_input("merge kernel needs the bindings o, lse, part_o and part_lse, "
                                   "and has no q, k or v");
  } else if (constexpr uint32_t needed = keys | set(BindingRole::o); (seen & needed) != needed) {
    return Status::invalid_input("kernel lacks one of the bindings q, k, v, o");
  }
  return {};
}

static Status check_params(const KernelInfo &kernel) {
  if (kernel.params.size() > kMaxParams)
    return Status::invalid_input("kernel has ", kernel.params.size(), " parameters; at most ",
                                 kMaxParams, " are allowed");
  for (const ParamInfo &param : kernel.params) {
    ATTN_RETURN_IF_ERROR(check_name("parameter name", param.name, true));
    if (param.type != ElementType::i32 && param.type != ElementType::f32)
      return Status::invalid_input("parameter ", param.name, " is neither i32 nor f32");
    if (!(param.minimum <= param.maximum)) // also refuses NaN
      return Status::invalid_input("parameter ", param.name, " has the empty range ", param.minimum,
                                   " to ", param.maximum);
  }
  return {};
}

Status check_kernel_info(const KernelInfo &kernel) {
  ATTN_RETURN_IF_ERROR(check_name("kernel name", kernel.name, true));
  ATTN_RETURN_IF_ERROR(check_name("variant", kernel.variant, true));
  ATTN_RETURN_IF_ERROR(check_name("arch", kernel.arch, false));
  ATTN_RETURN_IF_ERROR(check_name("symbol", kernel.symbol, true));
  if (kernel.target > TargetKind::spirv)
    return Status::invalid_input("unknown target ", static_cast<uint32_t>(kernel.target));
  ATTN_RETURN_IF_ERROR(check_limit("qk_dim", kernel.qk_dim, 1, kMaxHeadDim));
  ATTN_RETURN_IF_ERROR(check_limit("v_dim", kernel.v_dim, 1, kMaxHeadDim));
  ATTN_RETURN_IF_ERROR(check_limit("heads", kernel.heads, 0, kMaxHeads));
  ATTN_RETURN_IF_ERROR(check_limit("kv_heads", kernel.kv_heads, 0, kMaxHeads));
  if (kernel.heads && kernel.kv_heads && kernel.heads % kernel.kv_heads)
    return Status::invalid_input("heads ", kernel.heads, " is no multiple of kv_heads ",
                                 kernel.kv_heads);
  ATTN_RETURN_IF_ERROR(check_limit("block_q", kernel.block_q, 1, kMaxBlock));
  ATTN_RETURN_IF_ERROR(check_limit("block_k", kernel.block_k, 1, kMaxBlock));
  uint64_t invocations = 1;
  for (uint32_t extent : kernel.workgroup) {
    ATTN_RETURN_IF_ERROR(check_limit("workgroup extent", extent, 1, 1024));
    invocations *= extent;
  }
  if (invocations > 1024)
    return Status::invalid_input("workgroup has ", invocations, " invocations; at most 1024");
  ATTN_RETURN_IF_ERROR(check_limit("arena_bytes", kernel.arena_bytes, 0, kMaxArenaBytes));
  ATTN_RETURN_IF_ERROR(check_limit("shared_bytes", kernel.shared_bytes, 0, kMaxSharedBytes));
  ATTN_RETURN_IF_ERROR(check_limit("compute_capability", kernel.compute_capability, 0, 999));
  if (!(kernel.error_bound >= 0) || !std::isfinite(kernel.error_bound))
    return Status::invalid_input("error bound ", kernel.error_bound, " is no finite number >= 0");
  if (!std::isfinite(kernel.scale))
    return Status::invalid_input("scale ", kernel.scale, " is no finite number");
  ATTN_RETURN_IF_ERROR(check_bindings(kernel));
  return check_params(kernel);
}

} // namespace attn
