// The table of architectures.
#include "compiler/target/cpu/CpuArch.h"

#include "runtime/bundle/kernel_info.h"

using namespace mlir;
using namespace mlir::attn;

static constexpr const char *kX86 = "x86_64-unknown-linux-gnu";
static constexpr uint32_t kAvx512 = ::attn::kFeatureAvx2 | ::attn::kFeatureAvx512;

static const CpuArch kArchs[] = {
    {"avx2", kX86, "x86-64-v3", "", ::attn::kFeatureAvx2, 8, 16, false, false, false},
    {"avx512", kX86, "x86-64-v4", "", kAvx512, 16, 32, true, false, false},
    {"avx512-bf16", kX86, "x86-64-v4", "+avx512bf16", kAvx512 | ::attn::kFeatureAvx512Bf16, 16, 32,
     true, true, false},
    {"avx512-vnni", kX86, "x86-64-v4", "+avx512vnni", kAvx512 | ::attn::kFeatureAvx512Vnni, 16, 32,
     true, false, true},
    {"avx512-vnni-bf16", kX86, "x86-64-v4", "+avx512vnni,+avx512bf16",
     kAvx512 | ::attn::kFeatureAvx512Vnni | ::attn::kFeatureAvx512Bf16, 16, 32, true, true, true},
    {"neon", "aarch64-unknown-linux-gnu", "generic", "+neon,+fp-armv8", ::attn::kFeatureNeon, 4, 32,
     false, false, false},
};

const CpuArch *mlir::attn::findCpuArch(llvm::StringRef name) {
  for (const CpuArch &arch : kArchs)
    if (arch.name == name)
      return &arch;
  return nullptr;
}

std::string mlir::attn::cpuArchNames() {
  std::string names;
  for (const CpuArch &arch : kArchs)
    names += (names.empty()                   ? ""
              : &arch == std::end(kArchs) - 1 ? " and "
                                              : ", ") +
             arch.name.str();
  return names;
}
