// Stores the caches of chosen attention nodes as int8.
#pragma once

#include "runtime/graph/op.h"

namespace attn::graph {

// Whether an Attention node's keys and values are to be cached as int8.
using CacheChoice = std::function<bool(const NodeView &attention)>;

// Before -> after, where K and V of a chosen node come from caches that are
// updated in place and that nothing else reads:
//   TensorScatter(cache f32, new, at) -> attn::QuantisedScatter(cache i8, new, at, scales)
//   attn::RopeCache(cache f32, ...)   -> attn::RopeCache(cache i8, ..., scales)
//   Attention(q, k, v, ...)           -> attn::Attention(q, k i8, v i8, ..., k scales, v scales)
// The scales of cache `c` are the graph's input `c.scale`. Runs after fusion.
void quantise_caches(Graph &graph, const CacheChoice &choose);

// Inputs of attn::Attention beyond those of ONNX.
inline constexpr size_t kKeyScales = 7, kValueScales = 8;

} // namespace attn::graph
