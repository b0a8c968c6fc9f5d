// Copies between tensors of one type and shape whatever their strides.
#pragma once

#include "runtime/graph/types.h"

namespace attn::graph {

// `to` and `from` have equal shapes and types and do not overlap.
void copy_tensor(const Tensor &from, const Tensor &to);

} // namespace attn::graph
