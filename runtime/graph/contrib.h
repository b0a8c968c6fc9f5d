// Writes com.microsoft's attention operators as standard ones, so that kernels,
// specs and plans know one attention only.
#pragma once

#include "runtime/graph/graph.h"

namespace attn::graph {

// Whether expand_contrib knows the operator.
bool is_contrib(std::string_view domain, std::string_view op);

// The standard nodes that stand for `node`, in order; the last ones make its
// outputs. New values have no types yet. `present_len` is what the model declares
// as the length of the caches that the node makes, or -1.
Result<std::vector<Node>> expand_contrib(Graph &graph, const Node &node, int64_t present_len);

} // namespace attn::graph
