// One call of a compiled kernel in this process beside its definition in double
// precision: a case enters, the largest errors leave.
#pragma once

#include "tests/target/cpu/cpu_kernel.h"
#include "tests/target/spirv/kernel_text.h"

#include <functional>
#include <map>
#include <vector>

struct CpuSegment {
  int slot, length, position;
};

// How tensors lie in memory.
enum class Layout {
  heads_first,  // (batch, heads, tokens, dim), dense
  tokens_first, // (batch, tokens, heads, dim), dense
  padded        // heads_first with room between rows, heads and batch entries
};

struct CpuCase {
  KernelText kernel;
  int batch = 1, heads = 2, kv_heads = 2, q_len = 40, q_position = 0;
  std::vector<CpuSegment> segments = {{0, 100, 0}};
  int slots = 0; // of K and V; 0: as many as the segments use
  Layout layout = Layout::heads_first;
  float scale = 0; // 0: 1 / sqrt(qk_dim)
  std::vector<uint32_t> params;
  std::map<std::string, std::vector<uint32_t>> tables; // words, by binding name
  std::map<std::string, std::vector<uint32_t>> extents;
  std::function<bool(int q, int k, int head)> admitted = [](int, int, int) { return true; };
  std::function<double(double s, int q, int k, int head)> score; // none: s
  std::function<double(int head)> sink;                          // none: no sink logit
};

// Which of a kernel's two forms runs.
enum class Form { whole_tiles, few_rows };

struct CpuErrors {
  double frobenius = 0; // relative, of O; infinite if a value is not finite
  double worst_row = 0; // largest relative norm of a row's error
  double lse = 0;       // largest absolute error; infinite if -inf is missed
  bool strayed = false; // wrote between the rows of O or LSE
};

CpuErrors run_cpu(const CpuCase &c, const CpuKernel &kernel, Form form);

// The bits of O and LSE that the form for few rows leaves when its pieces are run in
// runs of `grain`, the last first.
std::vector<char> decoded_bytes(const CpuCase &c, const CpuKernel &kernel, uint32_t grain);

// Counts the pairs on which kernel and definition disagree: with q = 0 and one-hot
// V the support of the output is the mask. Needs v_dim >= the number of slots.
int mask_mismatches(const CpuCase &c, const CpuKernel &kernel, Form form);

// The words of a call (kernel_abi.h).
std::vector<uint32_t> call_words(const CpuCase &c, const attn::KernelInfo &info);
