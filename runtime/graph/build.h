// Builds the graph IR from an ONNX model: every value gets a static type, what
// can be computed beforehand is computed, and unknown operators are refused.
#pragma once

#include "runtime/graph/graph.h"
#include "runtime/graph/op.h"
#include <map>

namespace attn::graph {

struct BuildOptions {
  std::map<std::string, int64_t> symbols;             // sizes of symbolic dimensions
  std::map<std::string, std::vector<int64_t>> shapes; // whole shapes, by input name
};

Result<Graph> build_graph(const onnx::Model &model, const BuildOptions &options = {});

// Gives the outputs of a node, whose inputs have types, theirs. Fails where the operator is
// unknown or does not take them.
Status infer_node(Graph &graph, const Node &node);

// Runs one node on tensors that are all present; outputs must be dense.
Status evaluate_node(const Graph &graph, const Node &node, std::vector<Tensor> inputs,
                     std::vector<Tensor> outputs);

} // namespace attn::graph
