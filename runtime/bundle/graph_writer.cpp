// Encodes a graph as the records of a package: see bundle_format.h.
#include "runtime/bundle/section_bytes.h"

#include "runtime/bundle/checksum.h"
#include "runtime/onnx/model.h"

namespace attn {

namespace {

// Values that nodes read or make, inputs and outputs; renumbered in their order.
std::vector<uint32_t> number_used(const graph::Graph &graph, std::vector<int> &used) {
  std::vector<char> live(graph.values.size());
  auto mark = [&](const std::vector<int> &list) {
    for (int v : list)
      if (v != graph::kAbsent)
        live[static_cast<size_t>(v)] = 1;
  };
  mark(graph.inputs);
  mark(graph.outputs);
  for (const graph::Node &node : graph.nodes) {
    mark(node.inputs);
    mark(node.outputs);
  }
  std::vector<uint32_t> number(graph.values.size(), kNoValue);
  for (size_t v = 0; v < live.size(); ++v)
    if (live[v]) {
      number[v] = static_cast<uint32_t>(used.size());
      used.push_back(static_cast<int>(v));
    }
  return number;
}

Status put_attribute(const graph::Node &node, const onnx::Attribute &attribute,
                     StringTable &strings, GraphSections &to) {
  using Kind = onnx::Attribute::Kind;
  SectionBytes &record = to.attributes;
  auto begin = [&](PackedAttribute kind) {
    strings.put(record, attribute.name);
    record.put(static_cast<uint32_t>(kind));
    record.put(kind == PackedAttribute::number ? attribute.number : 0.0f);
    record.put(kind == PackedAttribute::integer ? attribute.integer : int64_t(0));
  };
  switch (attribute.kind) {
  case Kind::number:
    begin(PackedAttribute::number);
    record.zeros(8);
    return {};
  case Kind::integer:
    begin(PackedAttribute::integer);
    record.zeros(8);
    return {};
  case Kind::text:
    begin(PackedAttribute::text);
    strings.put(record, attribute.text);
    return is_printable_name(attribute.text)
               ? Status()
               : Status::invalid_input("attribute ", attribute.name, " of ", node.label(),
                                       " is a text that is not printable ASCII of at most ",
                                       kMaxNameBytes, " characters");
  case Kind::integers:
    begin(PackedAttribute::integers);
    record.put(static_cast<uint32_t>(attribute.integers.size()));
    record.zeros(4);
    for (int64_t number : attribute.integers)
      to.numbers.put(number);
    return {};
  case Kind::numbers:
    begin(PackedAttribute::numbers);
    record.put(static_cast<uint32_t>(attribute.numbers.size()));
    record.zeros(4);
    for (float number : attribute.numbers)
      to.numbers.put(static_cast<double>(number));
    return {};
  default:
    return Status::invalid_input("attribute ", attribute.name, " of ", node.label(),
                                 " is neither numbers nor a text, which is all that a package "
                                 "holds");
  }
}

// Value and node names go to terminals.
Status check_graph_name(const char *what, const std::string &name) {
  if (is_printable_name(name))
    return {};
  return Status::invalid_input("a ", what, " has a name that is not printable ASCII of at most ",
                               kMaxNameBytes, " characters; rename it in the model");
}

} // namespace

Status put_graph(const std::string &name, const graph::Graph &graph, StringTable &strings,
                 GraphSections &to) {
  std::vector<int> used;
  const std::vector<uint32_t> number = number_used(graph, used);
  auto put_links = [&](const std::vector<int> &list) {
    for (int v : list)
      to.links.put(v == graph::kAbsent ? kNoValue : number[static_cast<size_t>(v)]);
  };

  SectionBytes &record = to.graphs;
  strings.put(record, name);
  record.put(graph.opset);
  for (size_t count : {used.size(), graph.inputs.size(), graph.outputs.size(), graph.nodes.size()})
    record.put(static_cast<uint32_t>(count));
  const size_t hash_at = record.data.size();
  record.zeros(16); // the checksum of constants, reserved
  std::vector<uint64_t> sums;
  for (int v : used) {
    const graph::Value &value = graph.values[static_cast<size_t>(v)];
    ATTN_RETURN_IF_ERROR(check_graph_name("value", value.name));
    const bool constant = value.is_constant(), known = constant || value.is_input;
    const graph::TensorType type = known ? value.type : graph::TensorType();
    strings.put(to.values, value.name);
    to.values.put(static_cast<uint8_t>(constant         ? PackedValue::constant
                                       : value.is_input ? PackedValue::input
                                                        : PackedValue::made));
    to.values.put(static_cast<uint8_t>(type.dtype));
    to.values.put(static_cast<uint8_t>(type.shape.rank));
    to.values.zeros(1);
    to.values.put(value.panel_columns);
    if (constant) {
      const std::span bytes(static_cast<const std::byte *>(value.data),
                            constant_bytes(type, value.panel_columns));
      sums.push_back(checksum64(bytes));
      to.constants.push_back({to.values.data.size(), bytes});
    }
    to.values.zeros(16); // place and size, filled in when they are known
    for (int i = 0; i < graph::kMaxRank; ++i)
      to.values.put(i < type.shape.rank ? type.shape[i] : int64_t(0));
  }
  record.put_at(hash_at, checksum64(std::as_bytes(std::span(sums))));
  put_links(graph.inputs);
  put_links(graph.outputs);
  for (const graph::Node &node : graph.nodes) {
    ATTN_RETURN_IF_ERROR(check_graph_name("node", node.name));
    strings.put(to.nodes, node.name);
    strings.put(to.nodes, node.op);
    strings.put(to.nodes, node.domain);
    for (size_t count : {node.inputs.size(), node.outputs.size(), node.attributes.size()})
      to.nodes.put(static_cast<uint32_t>(count));
    to.nodes.zeros(4);
    put_links(node.inputs);
    put_links(node.outputs);
    for (const onnx::Attribute &attribute : node.attributes)
      ATTN_RETURN_IF_ERROR(put_attribute(node, attribute, strings, to));
  }
  return {};
}

} // namespace attn
