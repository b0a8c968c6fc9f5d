// Finds the readers of a prompt and exchanges them.
#include "runtime/graph/mix_prompt.h"

#include <algorithm>

namespace attn::graph {

bool mix_prompt(Graph &g, const std::string &prompt, const std::string &weights, int64_t parts) {
  const int input = g.find(prompt);
  if (input < 0 || g.find(weights) >= 0)
    return false;
  const Value &value = g.values[static_cast<size_t>(input)];
  if (!value.is_input || value.is_output || value.type.dtype != DType::i64 ||
      value.type.shape.rank != 2 || value.type.shape[0] != 1)
    return false;
  std::vector<Node *> readers;
  for (Node &node : g.nodes) {
    const auto reads = std::count(node.inputs.begin(), node.inputs.end(), input);
    if (!reads)
      continue;
    const bool embeds = node.op == "Gather" && node.domain.empty() && reads == 1 &&
                        node.input(1) == input && node.integer("axis", 0) == 0;
    if (!embeds || g.values[static_cast<size_t>(node.inputs[0])].type.dtype != DType::f32)
      return false;
    readers.push_back(&node);
  }
  if (readers.empty())
    return false;
  const int added = g.add_value(weights, {DType::f32, {parts}});
  g.values[static_cast<size_t>(added)].is_input = true;
  g.inputs.push_back(added);
  g.values[static_cast<size_t>(input)].type.shape[0] = parts;
  for (Node *node : readers) {
    node->op = "MixedGather";
    node->domain = "attn";
    node->attributes.clear();
    node->inputs.push_back(added);
  }
  return true;
}

} // namespace attn::graph
