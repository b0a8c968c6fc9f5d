// Writes tile kernels as MLIR text for the ptx tests: a shape, a mask and a
// score in, the module that attn-to-tile would make out.
#pragma once

#include <cstdint>
#include <string>

namespace attn::test {

struct KernelText {
  std::string type = "bf16"; ///< f32, f16, bf16; int8 has bf16 queries and output
  int64_t blockQ = 64, blockK = 64, qkDim = 64, vDim = 64;
  /// Ops of the mask region over %q, %k, %head, %batch that define %admitted: i1.
  std::string mask;
  /// Ops of the classify region over %q_lo, %q_hi, %k_lo, %k_hi, %head, %batch
  /// that define %any and %all.
  std::string classify;
  /// Ops of the score region over %s, %q, %k, %head, %batch that define %scored: f32.
  std::string score;
  bool lse = true;
  bool sinkLogit = false; ///< a table "logits" indexed by head
  std::string params;     ///< e.g. `#tile.param<"reach", i32, 0, 100>`

  std::string module() const;
};

} // namespace attn::test
