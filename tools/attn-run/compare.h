// Compares a kernel's output with the oracle's by the numeric contract.
#pragma once

#include "compiler/oracle/attention_reference.h"
#include "tools/attn-run/host_call.h"
#include <string>

namespace attn {

struct Comparison {
  double error = 0;     // relative Frobenius norm
  double worst_row = 0; // largest row error over what is allowed for it
  std::string failure;  // empty: within the contract; else the first violation
};

// `bound` is the relative Frobenius limit; a row may have four times that of
// its own norm plus a floor of the bound times the mean row norm. Rows that
// attend nothing have an LSE of -inf, and are exactly 0 where the oracle says 0 (an
// output expression may add to them).
Comparison compare(const HostResult &got, const oracle::Result &want, double bound);

} // namespace attn
