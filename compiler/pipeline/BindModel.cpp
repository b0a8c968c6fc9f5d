// Matches node names, then compares shapes; both sides are named in errors. Nodes that
// no pattern names have their spec derived.
#include "compiler/pipeline/BindModel.h"

#include "runtime/graph/derive_spec.h"

using ::attn::Result;
using ::attn::Status;
using ::attn::graph::Graph;
using ::attn::graph::Node;
using ::attn::spec::AttentionSpec;
using ::attn::stream::AttentionBinding;
using ::attn::stream::Description;

namespace mlir::attn {

// Heads and head dim of an operand: from its shape, or, for rank 3, from the
// attribute that says how many heads share the last axis.
static bool headsOf(const Graph &graph, const Node &node, size_t input, const char *attribute,
                    int64_t &heads, int64_t &dim) {
  int index = node.input(input);
  if (index < 0)
    return false;
  const auto &shape = graph.values[index].type.shape;
  if (shape.rank == 4) {
    heads = shape[1];
    dim = shape[3];
    return true;
  }
  heads = node.integer(attribute, 0);
  if (shape.rank != 3 || heads <= 0)
    return false;
  dim = shape[2] / heads;
  return true;
}

static Status compare(const Graph &graph, const Node &node, const AttentionSpec &spec) {
  int64_t heads = 0, dim = 0, kvHeads = 0, keyDim = 0, valueHeads = 0, valueDim = 0;
  if (!headsOf(graph, node, 0, "q_num_heads", heads, dim) ||
      !headsOf(graph, node, 1, "kv_num_heads", kvHeads, keyDim) ||
      !headsOf(graph, node, 2, "kv_num_heads", valueHeads, valueDim))
    return Status::invalid_input("its q, k and v must have rank 4, or rank 3 with q_num_heads and "
                                 "kv_num_heads")
        .at(node.label());
  if (dim != spec.qkDim || valueDim != spec.vDim)
    return Status::invalid_input("its head dims are ", dim, " and ", valueDim, "; spec ", spec.name,
                                 " declares ", spec.qkDim, " and ", spec.vDim,
                                 "; change `dim` in the spec")
        .at(node.label());
  if (spec.heads && (heads != spec.heads || kvHeads != spec.kvHeads))
    return Status::invalid_input("it has ", heads, " heads and ", kvHeads, " KV heads; spec ",
                                 spec.name, " declares ", spec.heads, " and ", spec.kvHeads,
                                 "; change `heads` in the spec")
        .at(node.label());
  return {};
}

static const AttentionSpec *find(const std::vector<const AttentionSpec *> &specs,
                                 const std::string &name) {
  for (const AttentionSpec *spec : specs)
    if (spec->name == name)
      return spec;
  return nullptr;
}

static Result<BoundNode> bind(const Graph &graph, const Node &node, const Description *description,
                              const std::vector<const AttentionSpec *> &specs) {
  BoundNode bound;
  bound.node = node.label();
  if (description)
    for (const AttentionBinding &binding : description->attention) {
      if (!::attn::stream::matches_pattern(binding.nodes, node.name))
        continue;
      const AttentionSpec *spec = find(specs, binding.spec);
      if (!spec)
        return Status::invalid_input("it is bound to spec ", binding.spec,
                                     ", which none of the given files defines; add --spec with the "
                                     "file that does")
            .at(node.label());
      ATTN_RETURN_IF_ERROR(compare(graph, node, *spec));
      bound.spec = spec->name;
      return bound;
    }
  auto derived = ::attn::graph::derive_spec({graph, node});
  if (!derived.ok()) {
    bound.reason = derived.status().to_string();
    return bound;
  }
  bound.spec = derived->name;
  if (const AttentionSpec *spec = find(specs, derived->name)) {
    ATTN_RETURN_IF_ERROR(compare(graph, node, *spec));
    return bound;
  }
  bound.derived = derived->text;
  return bound;
}

Result<std::vector<BoundNode>> bindModel(const Graph &graph, const Description *description,
                                         const std::vector<const AttentionSpec *> &specs) {
  std::vector<BoundNode> bound;
  for (const Node &node : graph.nodes)
    if (node.op == "Attention") {
      ATTN_ASSIGN_OR_RETURN(BoundNode one, bind(graph, node, description, specs));
      bound.push_back(std::move(one));
    }
  return bound;
}

} // namespace mlir::attn
