// Writes the spec that an Attention node stands for, so that the compiler can make
// its kernel and the runtime find it again by name: equal nodes have equal specs.
#pragma once

#include "runtime/graph/op.h"
#include <string>

namespace attn::graph {

struct DerivedSpec {
  std::string name; // says what it is: "causal_h12_kv4_d64_1a2b3c4d"
  std::string text; // of the .attn file
  // What a call must give beside Q, K and V, see the text.
  bool reads_mask = false;  // table `mask`: the node's mask without axes of extent 1
  bool reads_first = false; // table `first`: the position of each batch entry's first key
  // Positions. Keys of entry b begin at 0, or where lengths are given (nonpad_kv_seqlen)
  // at end - length[b]; queries begin at q_position.
  int64_t q_position = 0, end = 0;
};

// The axes of a mask that are no repetition, in order, and how many of its columns
// there are.
Shape mask_axes(const Shape &mask);

// Fails, saying why, for what no spec expresses; such nodes run as plain operators.
Result<DerivedSpec> derive_spec(const NodeView &node);

} // namespace attn::graph
