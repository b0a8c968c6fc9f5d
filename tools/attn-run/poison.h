// Puts NaN where a kernel must not look, so that looking is seen.
#pragma once

#include "tools/attn-run/problem.h"

namespace attn {

// K and V of slots that are in no segment, and K of every other key that the
// mask hides from all rows, become NaN: neither may reach the output. Int8
// tensors have no NaN and are left alone.
void poison_excluded(const spec::AttentionSpec &spec, const KernelInfo &kernel,
                     VerifyProblem &problem);

} // namespace attn
