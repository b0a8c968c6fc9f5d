// Which instructions a product of the tile program is made of on an architecture.
#pragma once

#include "compiler/target/cpu/LaneBuilder.h"
#include "dialects/tile/TileDialect.h"

namespace mlir::attn {

/// How a product is formed: one f32, two bf16 or four int8 per lane and step.
enum class DotKind { fma, bf16, int8 };
inline int64_t elementsPerStep(DotKind kind) {
  return kind == DotKind::fma ? 1 : kind == DotKind::bf16 ? 2 : 4;
}

DotKind scoreDotKind(tile::DotQKOp op, const CpuArch &arch);
DotKind outputDotKind(tile::DotPVOp op, const CpuArch &arch);

/// sum + a * b; both have 32 bits per lane, and the bytes of `a` are unsigned.
Value dotStep(LaneBuilder &b, DotKind kind, Value a, Value element, Value sum);

} // namespace mlir::attn
