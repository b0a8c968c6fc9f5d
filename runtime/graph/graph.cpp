// Attribute look-up and the bookkeeping that keeps a graph consistent after a
// pass has changed it.
#include "runtime/graph/graph.h"

#include <utility>

namespace attn::graph {

using Kind = onnx::Attribute::Kind;

static constexpr std::pair<DType, onnx::DataType> element_types[] = {
    {DType::f32, onnx::DataType::f32},        {DType::f64, onnx::DataType::f64},
    {DType::f16, onnx::DataType::f16},        {DType::bf16, onnx::DataType::bf16},
    {DType::i8, onnx::DataType::i8},          {DType::u8, onnx::DataType::u8},
    {DType::i16, onnx::DataType::i16},        {DType::u16, onnx::DataType::u16},
    {DType::i32, onnx::DataType::i32},        {DType::u32, onnx::DataType::u32},
    {DType::i64, onnx::DataType::i64},        {DType::u64, onnx::DataType::u64},
    {DType::boolean, onnx::DataType::boolean}};

Status convert_type(onnx::DataType from, DType &to) {
  for (auto [ours, file] : element_types)
    if (file == from) {
      to = ours;
      return {};
    }
  return Status::invalid_input("has element type ", static_cast<int>(from), " (",
                               onnx::data_type_name(from), "), which is not read");
}

onnx::DataType onnx_type(DType type) {
  for (auto [ours, file] : element_types)
    if (ours == type)
      return file;
  return onnx::DataType::undefined;
}

const onnx::Attribute *Node::find(std::string_view attribute) const {
  for (const onnx::Attribute &a : attributes)
    if (a.name == attribute)
      return &a;
  return nullptr;
}

int64_t Node::integer(std::string_view attribute, int64_t fallback) const {
  const onnx::Attribute *a = find(attribute);
  return a && a->kind == Kind::integer ? a->integer : fallback;
}

float Node::number(std::string_view attribute, float fallback) const {
  const onnx::Attribute *a = find(attribute);
  return a && a->kind == Kind::number ? a->number : fallback;
}

std::string Node::text(std::string_view attribute, const char *fallback) const {
  const onnx::Attribute *a = find(attribute);
  return a && a->kind == Kind::text ? a->text : fallback;
}

std::span<const int64_t> Node::integers(std::string_view attribute) const {
  const onnx::Attribute *a = find(attribute);
  return a ? std::span<const int64_t>(a->integers) : std::span<const int64_t>();
}

void Node::set(const char *attribute, int64_t value) {
  onnx::Attribute a;
  a.name = attribute;
  a.kind = Kind::integer;
  a.integer = value;
  attributes.push_back(std::move(a));
}

void Node::set(const char *attribute, const char *value) {
  onnx::Attribute a;
  a.name = attribute;
  a.kind = Kind::text;
  a.text = value;
  attributes.push_back(std::move(a));
}

void Node::set(const char *attribute, std::vector<int64_t> values) {
  onnx::Attribute a;
  a.name = attribute;
  a.kind = Kind::integers;
  a.integers = std::move(values);
  attributes.push_back(std::move(a));
}

int Graph::find(std::string_view name) const {
  for (size_t i = 0; i < values.size(); ++i)
    if (values[i].name == name)
      return static_cast<int>(i);
  return -1;
}

int Graph::add_value(std::string name, TensorType type) {
  Value v;
  v.name = std::move(name);
  v.type = type;
  values.push_back(std::move(v));
  return static_cast<int>(values.size()) - 1;
}

std::vector<int> Graph::use_counts() const {
  std::vector<int> uses(values.size());
  for (const Node &node : nodes)
    for (int in : node.inputs)
      if (in != kAbsent)
        ++uses[in];
  for (int out : outputs)
    ++uses[out];
  return uses;
}

void Graph::remove_dead_nodes() {
  std::vector<char> live(values.size()), keep(nodes.size());
  for (int out : outputs)
    live[out] = 1;
  for (size_t n = nodes.size(); n-- > 0;) {
    for (int out : nodes[n].outputs)
      keep[n] |= out != kAbsent && live[out];
    if (keep[n])
      for (int in : nodes[n].inputs)
        if (in != kAbsent)
          live[in] = 1;
  }
  std::vector<Node> kept;
  for (size_t n = 0; n < nodes.size(); ++n)
    if (keep[n])
      kept.push_back(std::move(nodes[n]));
  nodes = std::move(kept);
  // Constants that are no longer read give their memory back.
  for (size_t v = 0; v < values.size(); ++v)
    if (!live[v] && values[v].is_constant()) {
      values[v].data = nullptr;
      values[v].owner.reset();
    }
  renumber_producers();
}

void Graph::renumber_producers() {
  for (Value &v : values)
    v.producer = -1;
  for (size_t n = 0; n < nodes.size(); ++n)
    for (int out : nodes[n].outputs)
      if (out != kAbsent)
        values[out].producer = static_cast<int>(n);
}

} // namespace attn::graph
