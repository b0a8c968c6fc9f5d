// Peak figures from the makers' data sheets; a CPU's follow from its vectors.
#include "compiler/explain/Machine.h"

#include <cmath>

using namespace mlir::attn;
using ::attn::ElementType;
using ::attn::TargetKind;

static Machine cpuMachine(llvm::StringRef arch) {
  // Two multiply-add units; operations of one core and cycle.
  double perCycle = arch.starts_with("avx512-vnni")   ? 256
                    : arch.starts_with("avx512-bf16") ? 128
                    : arch.starts_with("avx512")      ? 64
                    : arch.starts_with("avx2")        ? 32
                                                      : 16; // neon
  constexpr double cores = 8, frequency = 3e9;
  return {"8 cores of 3 GHz", perCycle * cores * frequency, 50e9};
}

static Machine nvidiaMachine(llvm::StringRef arch, ElementType type) {
  bool hopper = arch.starts_with("sm_90");
  double tera = type == ElementType::f32  ? (hopper ? 67 : 19.5)
                : type == ElementType::i8 ? (hopper ? 1979 : 624)
                                          : (hopper ? 989 : 312);
  return {hopper ? "H100 SXM" : "A100 40 GB", tera * 1e12, hopper ? 3350e9 : 1555e9};
}

Machine mlir::attn::defaultMachine(TargetKind target, llvm::StringRef arch, ElementType type) {
  switch (target) {
  case TargetKind::cpu: return cpuMachine(arch);
  case TargetKind::ptx: return nvidiaMachine(arch, type);
  case TargetKind::spirv: return {"a GPU of the middle range", 10e12, 250e9};
  }
  return {};
}

bool mlir::attn::parseMachine(llvm::StringRef text, Machine &machine) {
  auto [tera, giga] = text.split(':');
  double flops = 0, bytes = 0;
  if (tera.getAsDouble(flops) || giga.getAsDouble(bytes) || !(flops > 0) || !(bytes > 0) ||
      !std::isfinite(flops) || !std::isfinite(bytes))
    return false;
  machine = {"as given", flops * 1e12, bytes * 1e9};
  return true;
}
