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

/// How one attention node is computed.
struct BoundNode {
  std::string node;    ///< its label
  std::string spec;    ///< empty: the plain operator
  std::string derived; ///< the spec's text where it was derived, else empty
  std::string reason;  ///< why the plain operator
};

/// Binds every Attention node of `graph`: by the patterns of `description` (may be
/// null), else to the spec of `specs` that has the name of the one derived from the
/// node, else to the derived one. Fails, naming the node, if a pattern's spec is not
/// among `specs`, or if the node's heads or head dims differ from it.
::attn::Result<std::vector<BoundNode>>
bindModel(const ::attn::graph::Graph &graph, const ::attn::stream::Description *description,
          const std::vector<const ::attn::spec::AttentionSpec *> &specs);

} // namespace mlir::attn
