// Writes small ONNX files for tests: nodes, initializers and value infos go in,
// protobuf wire bytes come out.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

namespace attn::test {

class WireWriter {
public:
  void varint(uint64_t v) {
    while (v >= 0x80) {
      out += static_cast<char>(v | 0x80);
      v >>= 7;
    }
    out += static_cast<char>(v);
  }
  WireWriter &integer(uint32_t field, int64_t v) {
    varint(field << 3);
    varint(static_cast<uint64_t>(v));
    return *this;
  }
  WireWriter &bytes(uint32_t field, const std::string &v) {
    varint(field << 3 | 2);
    varint(v.size());
    out += v;
    return *this;
  }
  WireWriter &number(uint32_t field, float v) {
    varint(field << 3 | 5);
    out.append(reinterpret_cast<const char *>(&v), 4);
    return *this;
  }
  std::string out;
};

struct Attr {
  std::string bytes;
};
inline Attr attr(const std::string &name, int64_t v) {
  return {WireWriter().bytes(1, name).integer(3, v).integer(20, 2).out};
}
inline Attr attr(const std::string &name, int v) { return attr(name, int64_t(v)); }
inline Attr attr(const std::string &name, float v) {
  return {WireWriter().bytes(1, name).number(2, v).integer(20, 1).out};
}
inline Attr attr(const std::string &name, const char *v) {
  return {WireWriter().bytes(1, name).bytes(4, v).integer(20, 3).out};
}
inline Attr attr(const std::string &name, const std::vector<int64_t> &v) {
  WireWriter w;
  w.bytes(1, name);
  for (int64_t i : v)
    w.integer(8, i);
  return {w.integer(20, 7).out};
}

using Dims = std::vector<int64_t>;
enum : int { kF32 = 1, kU8, kI8, kI32 = 6, kI64, kBool = 9, kF16, kBf16 = 16 };

template <typename T> int type_code() {
  if constexpr (std::is_same_v<T, float>)
    return kF32;
  else if constexpr (std::is_same_v<T, int32_t>)
    return kI32;
  else if constexpr (std::is_same_v<T, int64_t>)
    return kI64;
  else
    return kBool;
}

template <typename T>
std::string tensor_bytes(const std::string &name, const Dims &dims, const std::vector<T> &v) {
  WireWriter w;
  for (int64_t d : dims)
    w.integer(1, d);
  w.integer(2, type_code<T>()).bytes(8, name);
  return w.bytes(9, std::string(reinterpret_cast<const char *>(v.data()), v.size() * sizeof(T)))
      .out;
}

inline std::string value_info(const std::string &name, int type, const Dims &dims) {
  WireWriter shape;
  for (int64_t d : dims)
    shape.bytes(1, d >= 0 ? WireWriter().integer(1, d).out : WireWriter().bytes(2, "n").out);
  WireWriter tensor;
  tensor.integer(1, type).bytes(2, shape.out);
  return WireWriter().bytes(1, name).bytes(2, WireWriter().bytes(1, tensor.out).out).out;
}

// OnnxBuilder b; b.input("x", kF32, {2,3}); b.node("Add", {"x","x"}, {"y"});
// b.output("y"); load(b.model());
class OnnxBuilder {
public:
  OnnxBuilder &input(const std::string &name, int type, const Dims &dims) {
    graph_.bytes(11, value_info(name, type, dims));
    return *this;
  }
  OnnxBuilder &output(const std::string &name, int type = kF32, const Dims &dims = {}) {
    graph_.bytes(12, value_info(name, type, dims));
    return *this;
  }
  template <typename T>
  OnnxBuilder &constant(const std::string &name, const Dims &dims, const std::vector<T> &v) {
    graph_.bytes(5, tensor_bytes(name, dims, v));
    return *this;
  }
  // A constant of a type that C++ lacks, or that means bool above, by its bytes.
  template <typename T>
  OnnxBuilder &stored(const std::string &name, int type, const Dims &dims,
                      const std::vector<T> &v) {
    WireWriter w;
    for (int64_t d : dims)
      w.integer(1, d);
    w.integer(2, type).bytes(8, name);
    return initializer(
        w.bytes(9, {reinterpret_cast<const char *>(v.data()), v.size() * sizeof(T)}).out);
  }
  OnnxBuilder &initializer(const std::string &tensor) {
    graph_.bytes(5, tensor);
    return *this;
  }
  OnnxBuilder &node(const std::string &op, const std::vector<std::string> &in,
                    const std::vector<std::string> &out, const std::vector<Attr> &attrs = {},
                    const std::string &name = "", const std::string &domain = "") {
    WireWriter w;
    for (const std::string &s : in)
      w.bytes(1, s);
    for (const std::string &s : out)
      w.bytes(2, s);
    w.bytes(3, name).bytes(4, op);
    for (const Attr &a : attrs)
      w.bytes(5, a.bytes);
    if (!domain.empty())
      w.bytes(7, domain);
    graph_.bytes(1, w.out);
    return *this;
  }
  std::string model(int64_t opset = 24) const {
    return WireWriter()
        .integer(1, 11)
        .bytes(2, "attnc tests")
        .bytes(7, graph_.out)
        .bytes(8, WireWriter().bytes(1, "").integer(2, opset).out)
        .out;
  }

private:
  WireWriter graph_;
};

} // namespace attn::test
