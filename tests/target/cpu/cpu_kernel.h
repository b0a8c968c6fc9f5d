// A tile kernel compiled for the CPU and loaded into this process.
#pragma once

#include "compiler/target/Target.h"
#include "runtime/bundle/kernel_abi.h"

#include <memory>
#include <string>

struct CpuKernel {
  attn::KernelInfo info;
  std::string image;
  double milliseconds = 0; // CPU time of the compilation
  attn_cpu_kernel_fn entry = nullptr;
  attn_cpu_ranges_fn ranges = nullptr;
  std::string error; // diagnostics, if it did not compile
};

// Compiles the one kernel of `text`. Loads it unless `load` is false (another
// machine's code).
std::shared_ptr<CpuKernel> compile_cpu(const std::string &text, const std::string &arch,
                                       bool load = true);

// The text of `text`'s module at a stage.
std::string print_cpu(const std::string &text, const std::string &arch, mlir::attn::Stage stage);

// Does this CPU run `arch`'s code?
bool cpu_runs(const std::string &arch);
