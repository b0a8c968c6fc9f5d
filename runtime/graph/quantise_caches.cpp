// Finds the chains from caches to chosen attention nodes and rewrites both ends.
#include "runtime/graph/quantise_caches.h"

#include "runtime/ops/kv_cache.h"

namespace attn::graph {

namespace {

// From a cache to the attention node that reads it, perhaps through its rope.
struct Chain {
  int scatter = -1, rope = -1; // nodes
};

class Quantiser {
public:
  explicit Quantiser(Graph &graph) : g_(graph), uses_(graph.use_counts()) {}

  bool find(int value, bool may_rope, Chain &chain) const {
    int p = g_.values[value].producer;
    if (may_rope && is(p, "RopeCache", "attn")) {
      if (uses_[value] != 1)
        return false;
      chain.rope = p;
      value = g_.nodes[p].inputs[0];
      p = g_.values[value].producer;
    }
    if (!is(p, "TensorScatter", ""))
      return false;
    const Node &node = g_.nodes[p];
    const int64_t axis = node.integer("axis", -2);
    const Value &cache = g_.values[node.inputs[0]];
    const Shape &shape = cache.type.shape;
    chain.scatter = p;
    // Two uses of what it makes: as the graph's output and by the chain.
    return (axis == -2 || axis == 2) && node.text("mode", "linear") == "linear" &&
           node.input(2) != kAbsent && cache.is_input && uses_[node.inputs[0]] == 1 &&
           g_.values[value].is_output && uses_[value] == 2 && cache.type.dtype == DType::f32 &&
           shape.rank == 4 && shape[0] == 1 && shape[3] <= ops::kMaxQuantisedDim;
  }

  // Rewrites the chain; returns the scales that the attention node reads.
  int rewrite(const Chain &chain) {
    Node &scatter = g_.nodes[chain.scatter];
    const int in = scatter.inputs[0], out = scatter.outputs[0];
    const int scales = add_scales(in), new_scales = add_scales(out);
    g_.values[scales].is_input = true;
    g_.inputs.push_back(scales);
    g_.values[new_scales].is_output = true;
    g_.outputs.push_back(new_scales);
    g_.values[in].type.dtype = g_.values[out].type.dtype = DType::i8;
    scatter.op = "QuantisedScatter";
    scatter.domain = "attn";
    scatter.inputs = {in, scatter.inputs[1], scatter.inputs[2], scales};
    scatter.outputs = {out, new_scales};
    if (chain.rope < 0)
      return new_scales;
    Node &rope = g_.nodes[chain.rope];
    const int roped_scales = add_scales(rope.outputs[0]);
    g_.values[rope.outputs[0]].type.dtype = DType::i8;
    rope.inputs.resize(4, kAbsent);
    rope.inputs.push_back(new_scales);
    rope.outputs.push_back(roped_scales);
    return roped_scales;
  }

private:
  bool is(int n, const char *op, const char *domain) const {
    return n >= 0 && g_.nodes[n].op == op && g_.nodes[n].domain == domain;
  }
  // One f32 per row of a value of four axes.
  int add_scales(int value) {
    Shape shape = g_.values[value].type.shape;
    shape[3] = 1;
    return g_.add_value(g_.values[value].name + ".scale", {DType::f32, shape});
  }

  Graph &g_;
  std::vector<int> uses_;
};

} // namespace

void quantise_caches(Graph &graph, const CacheChoice &choose) {
  graph.renumber_producers();
  Quantiser quantiser(graph);
  for (Node &node : graph.nodes) {
    if (node.op != "Attention" || !node.domain.empty() || !choose(NodeView{graph, node}))
      continue;
    Chain keys, values;
    if (!quantiser.find(node.inputs[1], true, keys) ||
        !quantiser.find(node.inputs[2], false, values))
      continue;
    node.domain = "attn";
    node.inputs.resize(kValueScales + 1, kAbsent);
    node.inputs[kKeyScales] = quantiser.rewrite(keys);
    node.inputs[kValueScales] = quantiser.rewrite(values);
  }
  graph.renumber_producers();
}

} // namespace attn::graph
