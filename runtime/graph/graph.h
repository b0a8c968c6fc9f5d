// The graph IR: values with static types, nodes in topological order. ONNX
// nodes and the fused nodes that passes make ("attn" domain) look alike.
#pragma once

#include "runtime/base/status.h"
#include "runtime/graph/types.h"
#include "runtime/onnx/model.h"
#include <memory>
#include <string>
#include <vector>

namespace attn::graph {

// Element types of files and of the graph; fails for those that are not read.
Status convert_type(onnx::DataType from, DType &to);
onnx::DataType onnx_type(DType type);

inline constexpr int kAbsent = -1; // an optional input that is not given

struct Value {
  std::string name;
  TensorType type;
  int producer = -1; // node index, -1: input or constant
  bool is_input = false, is_output = false;
  const void *data = nullptr;        // constant, dense, aligned to its element
  std::shared_ptr<const void> owner; // of `data`, if it is not in the file
  // Not 0: a matrix in panels of so many columns (bundle/bundle_format.h), which products
  // alone read; see package.h.
  uint32_t panel_columns = 0;

  bool is_constant() const { return data != nullptr; }
};

struct Node {
  std::string name, op, domain;
  std::vector<int> inputs, outputs; // value indices, kAbsent for none
  std::vector<onnx::Attribute> attributes;

  std::string label() const { // for messages
    return name.empty() ? "node (" + op + ")" : "node '" + name + "' (" + op + ")";
  }
  int input(size_t i) const { return i < inputs.size() ? inputs[i] : kAbsent; }
  int64_t integer(std::string_view attribute, int64_t fallback) const;
  float number(std::string_view attribute, float fallback) const;
  std::string text(std::string_view attribute, const char *fallback) const;
  std::span<const int64_t> integers(std::string_view attribute) const;
  const onnx::Attribute *find(std::string_view attribute) const;
  void set(const char *attribute, int64_t value);
  void set(const char *attribute, const char *value);
  void set(const char *attribute, std::vector<int64_t> values);
};

struct Graph {
  std::vector<Value> values;
  std::vector<Node> nodes;
  std::vector<int> inputs, outputs;
  int64_t opset = 0;
  std::vector<std::shared_ptr<const void>> files; // that constants point into

  int find(std::string_view name) const; // value index or -1
  int add_value(std::string name, TensorType type);
  // How many node inputs read each value; graph outputs count once.
  std::vector<int> use_counts() const;
  // Drops nodes whose results nobody reads and restores producers.
  void remove_dead_nodes();
  void renumber_producers();
};

} // namespace attn::graph
