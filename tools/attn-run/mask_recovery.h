// Recovers a kernel's mask exactly: with q = 0 every admitted key weighs
// something, and with one-hot values the output's support is the mask.
#pragma once

#include "tools/attn-run/problem.h"
#include <string>

namespace attn {

struct MaskReport {
  uint64_t pairs = 0;    // (batch, head, query, key) compared
  uint64_t admitted = 0; // of these, by the spec
  uint64_t skipped = 0;  // of these, weigh too little for the element type to tell
  uint64_t wrong = 0;
  std::string first_wrong; // place, tile and class of the first wrong pair
};

// Runs the kernel once per v_dim slots of the problem.
Result<MaskReport> recover_mask(Device &device, Kernel &kernel, const spec::AttentionSpec &spec,
                                const VerifyProblem &problem);

} // namespace attn
