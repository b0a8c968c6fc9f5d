// Chooses a product's instructions from the types of its operands.
#include "compiler/target/cpu/DotKind.h"

using namespace mlir;
using namespace mlir::attn;

// A packed dot needs both operands in its type, and K rows without a remainder,
// since K is read where it lies.
DotKind mlir::attn::scoreDotKind(tile::DotQKOp op, const CpuArch &arch) {
  Type q = op.getQ().getType().getElementType(), k = op.getK().getType().getElementType();
  int64_t dim = op.getK().getType().getShape()[1];
  bool plain = isa_and_nonnull<tile::LoadKeysOp>(op.getK().getDefiningOp());
  if (plain && arch.bf16Dot && q.isBF16() && k.isBF16() && dim % 2 == 0)
    return DotKind::bf16;
  if (plain && arch.int8Dot && q.isInteger(8) && k.isInteger(8) && dim % 4 == 0)
    return DotKind::int8;
  return DotKind::fma;
}

static Type outputType(tile::KernelOp kernel) {
  for (auto binding : kernel.getBindings().getAsRange<tile::BindingAttr>())
    if (binding.getRole() == tile::Role::o)
      return binding.getElementType();
  llvm_unreachable("every kernel has an output");
}

// Values that become float from int8 may be rounded to bf16 where the output is.
DotKind mlir::attn::outputDotKind(tile::DotPVOp op, const CpuArch &arch) {
  auto load = op.getV().getDefiningOp<tile::LoadKeysOp>();
  auto scaled = op.getV().getDefiningOp<tile::DequantizeKeysOp>();
  bool narrow = load     ? load.getType().getElementType().isBF16()
                : scaled ? outputType(op->getParentOfType<tile::KernelOp>()).isBF16() &&
                               scaled.getX().getDefiningOp<tile::LoadKeysOp>()
                         : false;
  return arch.bf16Dot && narrow ? DotKind::bf16 : DotKind::fma;
}

Value mlir::attn::dotStep(LaneBuilder &b, DotKind kind, Value a, Value element, Value sum) {
  switch (kind) {
  case DotKind::fma:
    return b.fma(element, a, sum);
  case DotKind::bf16: {
    Type bf16 = b.builder.getBF16Type();
    return b.call(sum.getType(), "llvm.x86.avx512bf16.dpbf16ps.512",
                  {sum, b.bitcast(a, bf16), b.bitcast(element, bf16)});
  }
  case DotKind::int8:
    return b.call(sum.getType(), "llvm.x86.avx512.vpdpbusd.512",
                  {sum, b.bitcast(a, b.i8()), b.bitcast(element, b.i8())});
  }
  llvm_unreachable("every kind is handled");
}
