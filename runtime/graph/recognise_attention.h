// Finds attention that a model spells out (MatMul, scale, soft cap, masks, Softmax,
// MatMul) and writes it as one Attention node, so that a kernel can compute it.
#pragma once

#include "runtime/graph/graph.h"

namespace attn::graph {

// Nodes made so have the attribute kRecognised, and the name of the last MatMul.
inline constexpr const char *kRecognised = "attn_recognised";

void recognise_attention(Graph &graph);

} // namespace attn::graph
