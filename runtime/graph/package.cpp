// Panels in, panels out; types are inferred node by node as they are for an ONNX file.
#include "runtime/graph/package.h"

#include "runtime/base/aligned_memory.h"
#include "runtime/graph/build.h"
#include "runtime/ops/isa.h"
#include "runtime/ops/matmul.h"
#include <algorithm>

namespace attn::graph {

namespace {

// A product whose operand 1 may lie in panels: nothing but the elements matters to it.
bool takes_panels(const Node &node) {
  return node.domain.empty() &&
         (node.op == "MatMul" || (node.op == "Gemm" && node.number("alpha", 1) == 1));
}

bool turns_weight(const Node &node) { return node.op == "Gemm" && node.integer("transB", 0); }

// Which values are operand 1 of products and nothing else; turned[v] says how they read it.
std::vector<char> weights_of_products(const Graph &g, std::vector<char> &turned) {
  std::vector<char> weight(g.values.size()), other(g.values.size());
  turned.assign(g.values.size(), 0);
  for (const Node &node : g.nodes)
    for (size_t i = 0; i < node.inputs.size(); ++i) {
      if (node.inputs[i] == kAbsent)
        continue;
      const size_t v = static_cast<size_t>(node.inputs[i]);
      const char how = turns_weight(node);
      if (i != 1 || !takes_panels(node) || (weight[v] && turned[v] != how))
        other[v] = 1;
      weight[v] = 1;
      turned[v] = how;
    }
  for (int v : g.outputs)
    other[static_cast<size_t>(v)] = 1;
  for (size_t v = 0; v < weight.size(); ++v)
    weight[v] = weight[v] && !other[v];
  return weight;
}

struct Memory {
  AlignedMemory block;
};

Status own(Value &value, std::shared_ptr<Memory> memory) {
  if (!memory->block.data())
    return Status::environment("no memory for weight '", value.name, "'");
  value.data = memory->block.data();
  value.owner = std::move(memory);
  return {};
}

Status make_dense(Value &value) {
  const int64_t k = value.type.shape[0], n = value.type.shape[1], columns = value.panel_columns;
  auto memory = std::make_shared<Memory>();
  memory->block = AlignedMemory(std::max<size_t>(value.type.bytes(), 64));
  const auto *from = static_cast<const float *>(value.data);
  if (auto *to = static_cast<float *>(memory->block.data()))
    for (int64_t p = 0; p * columns < n; ++p)
      for (int64_t i = 0; i < k; ++i, from += columns)
        std::copy_n(from, std::min(columns, n - p * columns), to + i * n + p * columns);
  value.panel_columns = 0;
  return own(value, std::move(memory));
}

} // namespace

Status pack_graph(Graph &g, uint32_t columns) {
  if (!columns)
    return {};
  std::vector<char> turned;
  const std::vector<char> weight = weights_of_products(g, turned);
  for (size_t v = 0; v < g.values.size(); ++v) {
    Value &value = g.values[v];
    Shape &shape = value.type.shape;
    if (!weight[v] || !value.is_constant() || value.type.dtype != DType::f32 || shape.rank != 2 ||
        shape.elements() == 0)
      continue;
    const int64_t row = turned[v] ? 1 : shape[1], column = turned[v] ? shape[1] : 1;
    if (turned[v])
      std::swap(shape[0], shape[1]);
    const int64_t k = shape[0], n = shape[1], panels = (n + columns - 1) / columns;
    auto memory = std::make_shared<Memory>();
    memory->block = AlignedMemory(static_cast<size_t>(panels * k) * columns * sizeof(float));
    if (auto *to = static_cast<float *>(memory->block.data()))
      ops::pack_panels({value.data, DType::f32, row, column}, k, n, 1.0f, static_cast<int>(columns),
                       0, panels, to);
    ATTN_RETURN_IF_ERROR(own(value, std::move(memory)));
    value.panel_columns = columns;
  }
  for (Node &node : g.nodes)
    if (turns_weight(node) && node.input(1) != kAbsent &&
        g.values[static_cast<size_t>(node.inputs[1])].panel_columns)
      std::erase_if(node.attributes,
                    [](const onnx::Attribute &attribute) { return attribute.name == "transB"; });
  return {};
}

Status restore_graph(Graph &g) {
  std::vector<char> known(g.values.size());
  for (size_t v = 0; v < known.size(); ++v)
    known[v] = g.values[v].is_input || g.values[v].is_constant();
  for (int v : g.inputs)
    if (v == kAbsent || !g.values[static_cast<size_t>(v)].is_input)
      return Status::invalid_input("an input of the graph is none of its input values");
  for (Node &node : g.nodes) {
    Status status;
    if (node.domain == "attn")
      status = Status::invalid_input("is an operator that the runtime makes itself");
    for (int v : node.inputs)
      if (v != kAbsent && !known[static_cast<size_t>(v)])
        status = Status::invalid_input("reads '", g.values[static_cast<size_t>(v)].name,
                                       "' before it is made");
    for (int v : node.outputs)
      if (v != kAbsent && std::exchange(known[static_cast<size_t>(v)], 1))
        status = Status::invalid_input("makes '", g.values[static_cast<size_t>(v)].name,
                                       "', which is there already");
    if (status.ok())
      status = infer_node(g, node);
    if (!status.ok())
      return status.at(node.label());
  }
  for (int v : g.outputs) {
    if (v == kAbsent || !known[static_cast<size_t>(v)])
      return Status::invalid_input("an output of the graph is not made by any node");
    g.values[static_cast<size_t>(v)].is_output = true;
  }
  std::vector<char> turned;
  const std::vector<char> weight = weights_of_products(g, turned);
  for (size_t v = 0; v < g.values.size(); ++v) {
    Value &value = g.values[v];
    if (!value.panel_columns)
      continue;
    if (!weight[v] || turned[v])
      return Status::invalid_input("'", value.name,
                                   "' is in panels, but something else than products reads it");
    if (value.panel_columns != static_cast<uint32_t>(ops::isa().nr))
      ATTN_RETURN_IF_ERROR(make_dense(value));
  }
  g.renumber_producers();
  return {};
}

} // namespace attn::graph
