// Rewrites the graph into fewer, larger nodes with the same meaning.
#pragma once

#include "runtime/graph/graph.h"

namespace attn::graph {

struct FuseOptions {
  bool gemm = true, norm = true, elementwise = true, groups = true, rope_cache = true;
};

// Before -> after (f32, intermediate results read by nobody else):
//   Mul(x, Sigmoid(x))                         -> Swish
//   MatMul/Gemm, Add row, activation,
//     Mul gate, Add residual                   -> attn::Gemm
//   LayerNormalization/RMSNormalization,
//     Mul scale, Add shift                     -> attn::Norm
//   several attn::Gemm of one input            -> attn::GemmGroup
//   RotaryEmbedding of a cache updated in place-> attn::RopeCache
//   elementwise after elementwise              -> attn::Elementwise
void fuse_graph(Graph &graph, const FuseOptions &options = {});

} // namespace attn::graph
