// An ONNX model as plain structs: what load_model() fills and the graph builder
// reads. Tensors point into the mapped files, which the model keeps alive.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace attn::onnx {

// TensorProto.DataType; only these are read.
enum class DataType : int32_t {
  undefined = 0,
  f32 = 1,
  u8 = 2,
  i8 = 3,
  u16 = 4,
  i16 = 5,
  i32 = 6,
  i64 = 7,
  text = 8,
  boolean = 9,
  f16 = 10,
  f64 = 11,
  u32 = 12,
  u64 = 13,
  bf16 = 16
};

// Bytes of one element; 0 for types without a fixed size or not read.
size_t data_type_size(DataType type);
const char *data_type_name(DataType type);

struct Tensor {
  std::string name;
  DataType type = DataType::undefined;
  std::vector<int64_t> dims;
  std::span<const uint8_t> data;               // little-endian, dense, elements() * size bytes
  std::shared_ptr<std::vector<uint8_t>> owned; // set where the file holds no dense bytes

  int64_t elements() const {
    int64_t n = 1;
    for (int64_t d : dims)
      n *= d;
    return n;
  }
};

struct Attribute {
  enum class Kind : uint8_t {
    none,
    number,
    integer,
    text,
    tensor,
    numbers,
    integers,
    texts,
    other
  };
  std::string name;
  Kind kind = Kind::none;
  float number = 0;
  int64_t integer = 0;
  std::string text;
  Tensor tensor;
  std::vector<float> numbers;
  std::vector<int64_t> integers;
  std::vector<std::string> texts;
};

struct Node {
  std::string name, op, domain;
  std::vector<std::string> inputs, outputs; // "" is an absent optional one
  std::vector<Attribute> attributes;
  // "node 'layers.0.fc1' (MatMul)", for messages.
  std::string label() const;
  const Attribute *find(std::string_view attribute) const;
};

// A dim is its size, or -1 with its symbol in `symbols` ("" if it has none).
struct ValueInfo {
  std::string name;
  DataType type = DataType::undefined;
  bool has_shape = false;
  std::vector<int64_t> dims;
  std::vector<std::string> symbols;
};

struct Model {
  int64_t ir_version = 0;
  std::string producer;
  std::map<std::string, int64_t> opsets; // domain -> version; "" is ai.onnx
  std::map<std::string, std::string> metadata;
  std::string graph_name;
  std::vector<Node> nodes; // in the file's (topological) order
  std::vector<Tensor> initializers;
  std::vector<ValueInfo> inputs, outputs;          // inputs without those that are initializers
  std::vector<std::shared_ptr<const void>> mapped; // files that the tensors point into
  uint64_t mapped_bytes = 0, copied_bytes = 0;     // of tensor data
};

} // namespace attn::onnx
