// Finds which spec computes each attention node of a model, and what a bundle
// made for the model must hold.
#pragma once

#include "compiler/spec/CheckedSpec.h"
#include "runtime/base/status.h"
#include "runtime/graph/graph.h"
#include "runtime/stream/description.h"

#include <string>
#include <vector>

namespace mlir::attn {

/// One attention node and the spec that computes it.
struct BoundNode {
  std::string node, spec;
};

/// Binds every Attention node of `graph` by the patterns of `description`.
/// Fails, naming the node, if none matches, if the spec is not among `specs`, or
/// if the node's heads or head dims differ from the spec's.
::attn::Result<std::vector<BoundNode>>
bindModel(const ::attn::graph::Graph &graph, const ::attn::stream::Description &description,
          const std::vector<const ::attn::spec::AttentionSpec *> &specs);

} // namespace mlir::attn
