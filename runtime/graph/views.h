// Operators that move nothing: their outputs are their input seen with other
// extents and strides.
#pragma once

#include "runtime/graph/op.h"

namespace attn::graph {

// The view that output `index` of a view node is of `in`. False if `in` must be
// made dense first (a reshape that its strides cannot follow).
bool view_of(const NodeView &node, const Tensor &in, size_t index, Tensor &out);

Status infer_reshape(InferContext &c); // Reshape, Squeeze, Unsqueeze, Flatten, Identity
Status infer_transpose(InferContext &c);
Status infer_slice(InferContext &c);
Status infer_split(InferContext &c);
Status infer_expand(InferContext &c);

// Numpy's broadcasting of two shapes; false if they do not fit.
bool broadcast_shapes(const Shape &a, const Shape &b, Shape &out);
// Strides of a tensor seen as `shape`, 0 where it is repeated.
Shape broadcast_strides(const Shape &shape, const Tensor &t);

// `axis` in [-rank, rank) made non-negative.
Status resolve_axis(int64_t axis, int rank, int &out);
// The first of the axes that a normalisation node runs over, up to the last one.
int first_normalised_axis(const Node &node, int rank);

} // namespace attn::graph
