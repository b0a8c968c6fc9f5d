// The machines that `explain` measures kernels by: what each target is taken to
// reach at most. Stated with every figure that follows from them; can be given.
#pragma once

#include "runtime/bundle/kernel_info.h"

#include "llvm/ADT/StringRef.h"

#include <string>

namespace mlir::attn {

struct Machine {
  std::string name;
  double flops = 0; ///< per second; a multiply-add counts twice
  double bytes = 0; ///< per second, of main memory
};

/// The machine that stands for `arch` of a target, with keys of type `type`.
Machine defaultMachine(::attn::TargetKind target, llvm::StringRef arch, ::attn::ElementType type);

/// Reads "TFLOPS:GBPS"; false if it is not that.
bool parseMachine(llvm::StringRef text, Machine &machine);

} // namespace mlir::attn
