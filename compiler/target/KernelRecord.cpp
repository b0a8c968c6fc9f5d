// Reads a tile.kernel, leaves its bundle record without the image.
#include "compiler/target/KernelRecord.h"

using namespace mlir;
using namespace mlir::attn;

::attn::ElementType mlir::attn::elementTypeOf(Type type) {
  using ::attn::ElementType;
  if (type.isF32())
    return ElementType::f32;
  if (type.isF16())
    return ElementType::f16;
  if (type.isBF16())
    return ElementType::bf16;
  if (type.isUnsignedInteger(8))
    return ElementType::u8;
  if (type.isInteger(8))
    return ElementType::i8;
  if (type.isInteger(64))
    return ElementType::i64;
  assert(type.isInteger(32) && "the kernel verifier admits no other type");
  return ElementType::i32;
}

::attn::KernelInfo mlir::attn::makeKernelRecord(tile::KernelOp kernel,
                                                ::attn::TargetKind target, StringRef arch) {
  ::attn::KernelInfo info;
  auto [name, variant] = kernel.getSymName().split('.');
  info.name = name.str();
  info.variant = variant.str();
  info.symbol = variant.empty() ? name.str() : (name + "_" + variant).str();
  info.target = target;
  info.arch = arch.str();
  info.qk_dim = kernel.getQkDim();
  info.v_dim = kernel.getVDim();
  info.heads = kernel.getHeads().value_or(0);
  info.kv_heads = kernel.getKvHeads().value_or(0);
  info.block_q = kernel.getBlockQ();
  info.block_k = kernel.getBlockK();
  bool narrow = false;
  for (auto attr : kernel.getBindings().getAsRange<tile::BindingAttr>()) {
    ::attn::BindingInfo binding;
    binding.name = attr.getName().str();
    binding.role = static_cast<::attn::BindingRole>(attr.getRole());
    binding.type = elementTypeOf(attr.getElementType());
    binding.rank = attr.getRank();
    binding.written = attr.getRole() == tile::Role::o || attr.getRole() == tile::Role::lse;
    // Tables and inputs are what they are; only rounding what is computed counts.
    bool computed = binding.role < ::attn::BindingRole::table;
    narrow |= computed && (binding.type == ::attn::ElementType::bf16 ||
                           binding.type == ::attn::ElementType::f16);
    if (binding.role == ::attn::BindingRole::k && binding.type == ::attn::ElementType::i8)
      info.error_bound = 2e-2f;
    info.bindings.push_back(std::move(binding));
  }
  for (auto attr : kernel.getParams().getAsRange<tile::ParamAttr>())
    info.params.push_back({attr.getName().str(), elementTypeOf(attr.getType()),
                           double(attr.getMinimum()), double(attr.getMaximum())});
  if (info.error_bound == 0)
    info.error_bound = narrow ? 1e-2f : 1e-5f;
  return info;
}
