// A tile kernel compiled for the CPU and loaded into this process.
#pragma once

#include "compiler/target/Target.h"
#include "runtime/bundle/kernel_abi.h"

#include <memory>
#include <string>
#include <vector>

struct CpuKernel {
  attn::KernelInfo info;
  std::string image;
  double milliseconds = 0; // CPU time of the compilation
  attn_cpu_kernel_fn entry = nullptr;
  attn_cpu_ranges_fn ranges = nullptr;
  // The form for few query rows; null where the kernel lacks it.
  attn_cpu_decode_plan_fn decode_plan = nullptr;
  attn_cpu_decode_fn decode_walk = nullptr, decode_finish = nullptr;
  bool emulated = false; // this CPU cannot run it, so there are no pointers
  std::string error;     // diagnostics, if it did not compile

  bool runs() const { return entry || emulated; }
};

struct KernelBuffer {
  void *data;
  size_t bytes;
};

// Runs work items [begin, end) with an arena of the kernel's size. A string says what
// went wrong.
std::string call_kernel(const CpuKernel &kernel, std::vector<uint32_t> words,
                        const std::vector<KernelBuffer> &buffers, uint32_t begin, uint32_t end);
// What the kernel's form for few query rows plans for a call.
std::vector<uint32_t> call_plan(const CpuKernel &kernel, std::vector<uint32_t> words,
                                std::string &problem);
// Runs that form, whatever its plan thinks of the call: `grain` pieces at a time (0:
// half of them), the last first, then the rows of all tiles.
std::string call_decode(const CpuKernel &kernel, std::vector<uint32_t> words,
                        const std::vector<KernelBuffer> &buffers, uint32_t grain = 0);
// The exported ranges of one query tile of batch entry 0, head 0.
uint32_t call_ranges(const CpuKernel &kernel, std::vector<uint32_t> words, uint32_t q_tile,
                     std::vector<uint32_t> &out, uint32_t capacity);

// Compiles the one kernel of `text`. Loads it unless `load` is false.
std::shared_ptr<CpuKernel> compile_cpu(const std::string &text, const std::string &arch,
                                       bool load = true);

// The text of `text`'s module at a stage.
std::string print_cpu(const std::string &text, const std::string &arch, mlir::attn::Stage stage);

// Does this CPU, or an emulator that is installed, run `arch`'s code? If not, `reason`
// says why.
bool cpu_runs(const std::string &arch, std::string &reason);
