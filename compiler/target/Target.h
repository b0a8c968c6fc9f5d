// What the pipeline asks of a target: block sizes for a kernel, and machine code
// (or the text of an earlier stage) for a module of tile kernels.
#pragma once

#include "runtime/bundle/kernel_info.h"

#include "mlir/IR/BuiltinOps.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringRef.h"

#include <string>
#include <vector>

namespace mlir::attn {

/// Where compilation stops; each stage's result can be printed.
enum class Stage { attn, tile, schedule, llvm, ptx, spirv, image };

/// Element types and head dims that decide block sizes.
struct KernelShape {
  int64_t qkDim = 0, vDim = 0;
  ::attn::ElementType q, k, v;
};

struct BlockShape {
  int64_t q = 0, k = 0;
};

struct TargetOutput {
  std::vector<::attn::KernelInfo> kernels; // info.image indexes `images`
  std::vector<std::string> images;         // ELF shared object, PTX or cubin, SPIR-V
  std::string text;                        // when stopped before `image`
};

/// Block sizes for `arch` of a target, from its tuned table or heuristics.
BlockShape chooseCpuBlocks(StringRef arch, const KernelShape &shape);
BlockShape chooseSpirvBlocks(StringRef arch, const KernelShape &shape);
BlockShape choosePtxBlocks(StringRef arch, const KernelShape &shape);

/// Compiles every tile.kernel of `module` for `arch` (cpu: "avx2", "avx512",
/// "avx512-bf16", "avx512-vnni", "neon"; spirv: "t0", "t1"; ptx: "sm_80", "sm_90a",
/// or with a schedule instead of the table's, "sm_90a:keys96.pingpong").
/// `module` is consumed. Errors are reported on the ops' locations.
/// With an `objectPrefix`, images of the cpu are relocatable objects to be linked
/// into a program, and their symbols begin with it. `quick` skips LLVM's
/// optimizations: for tests that compile by the thousand.
FailureOr<TargetOutput> compileCpu(ModuleOp module, StringRef arch, Stage stopAfter,
                                   StringRef objectPrefix = {}, bool quick = false);
FailureOr<TargetOutput> compileSpirv(ModuleOp module, StringRef arch, Stage stopAfter);
FailureOr<TargetOutput> compilePtx(ModuleOp module, StringRef arch, Stage stopAfter);

} // namespace mlir::attn
