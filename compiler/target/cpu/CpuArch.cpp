// The table of architectures, and the block sizes that suit their caches.
#include "compiler/target/cpu/CpuArch.h"

#include "compiler/target/Target.h"

using namespace mlir;
using namespace mlir::attn;

static constexpr const char *kX86 = "x86_64-unknown-linux-gnu";
static constexpr uint32_t kAvx512 = ::attn::kFeatureAvx2 | ::attn::kFeatureAvx512;

// Register tiles: 8 x 3 accumulators, 3 query vectors and a broadcast take 28 of
// 32 registers; AVX2 has 16, which 4 x 3 fill exactly.
static const CpuArch kArchs[] = {
    {"avx2", kX86, "x86-64-v3", "", ::attn::kFeatureAvx2, 8, 3, 4, false, false, false},
    {"avx512", kX86, "x86-64-v4", "", kAvx512, 16, 3, 8, true, false, false},
    {"avx512-bf16", kX86, "x86-64-v4", "+avx512bf16", kAvx512 | ::attn::kFeatureAvx512Bf16, 16, 3,
     8, true, true, false},
    {"avx512-vnni", kX86, "x86-64-v4", "+avx512vnni", kAvx512 | ::attn::kFeatureAvx512Vnni, 16, 3,
     8, true, false, true},
    {"neon", "aarch64-unknown-linux-gnu", "generic", "+neon,+fp-armv8", ::attn::kFeatureNeon, 4, 3,
     8, false, false, false},
};

const CpuArch *mlir::attn::findCpuArch(llvm::StringRef name) {
  for (const CpuArch &arch : kArchs)
    if (arch.name == name)
      return &arch;
  return nullptr;
}

// Four sub-tiles of queries share each block of keys while it is in the L2
// cache; wide heads take shorter blocks so that both still fit.
BlockShape mlir::attn::chooseCpuBlocks(StringRef name, const KernelShape &shape) {
  const CpuArch *arch = findCpuArch(name);
  if (!arch)
    arch = &kArchs[0];
  int64_t widest = std::max(shape.qkDim, shape.vDim);
  BlockShape blocks;
  blocks.q = arch->lanes() * (widest > 192 ? 2 : 4);
  blocks.k = widest > 128 ? 64 : 96;
  return blocks;
}
