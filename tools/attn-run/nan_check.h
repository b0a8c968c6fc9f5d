// Checks what NaN in Q and K does: it fills the rows that attend to it, and no other
// row changes by a bit.
#pragma once

#include "tools/attn-run/problem.h"
#include <string>

namespace attn {

// Runs the kernel once more, with NaN in one element of an attended key and of a query
// row; `result` is what the problem without them gave. The text says what is wrong
// first; it is empty if nothing is. Numbers are drawn from a copy: the problems of a seed
// stay the same.
Result<std::string> check_nan(Device &device, Kernel &kernel, const spec::AttentionSpec &spec,
                              const VerifyProblem &problem, const HostResult &result,
                              std::mt19937_64 random);

} // namespace attn
