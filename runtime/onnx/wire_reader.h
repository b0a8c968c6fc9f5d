// Reads the protobuf wire format from untrusted bytes. A span of bytes goes in,
// fields come out one by one; malformed input ends the walk with a failure.
#pragma once

#include "runtime/base/status.h"
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace attn::onnx {

using Bytes = std::span<const uint8_t>;
inline Bytes as_wire_bytes(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const uint8_t *>(bytes.data()), bytes.size()};
}

enum class WireType : uint8_t { varint = 0, fixed64 = 1, bytes = 2, fixed32 = 5 };

// One message, walked in order:
//   WireReader reader(bytes);
//   while (reader.next())
//     switch (reader.field()) { case 1: x = reader.as_int64(); break; }
//   if (!reader.ok()) ...
// Every accessor checks the wire type; the first mistake is latched and ends
// the loop, so that callers look at ok() once. Fields that are not asked for
// are skipped.
class WireReader {
public:
  // `base` is where the outermost message starts; errors name offsets from it.
  explicit WireReader(Bytes bytes, const uint8_t *base = nullptr)
      : cursor_(bytes.data()), end_(bytes.data() + bytes.size()),
        base_(base ? base : bytes.data()) {}

  bool next();
  uint32_t field() const { return field_; }
  WireType type() const { return type_; }

  int64_t as_int64();
  int32_t as_int32() { return static_cast<int32_t>(as_int64()); }
  float as_float();
  Bytes as_bytes();
  std::string_view as_text();
  WireReader as_message() { return WireReader(as_bytes(), base_); }

  // Repeated numbers, packed or one by one: calls add(value) for each.
  template <typename Add> void each_int64(Add &&add) {
    if (type_ != WireType::bytes) {
      add(as_int64());
      return;
    }
    WireReader inner(as_bytes(), base_);
    while (inner.cursor_ < inner.end_ && inner.ok())
      add(static_cast<int64_t>(inner.varint()));
    adopt_failure(inner);
  }
  template <typename Add> void each_float(Add &&add) { each_fixed<float>(add); }
  template <typename Add> void each_double(Add &&add) { each_fixed<double>(add); }

  bool ok() const { return !what_; }
  Status status() const;
  void adopt_failure(const WireReader &inner) {
    if (!inner.ok())
      fail(inner.what_, inner.where_);
  }

private:
  template <typename T, typename Add> void each_fixed(Add &&add) {
    constexpr WireType single = sizeof(T) == 4 ? WireType::fixed32 : WireType::fixed64;
    T value;
    if (type_ == single) {
      __builtin_memcpy(&value, payload_.data(), sizeof(T));
      add(value);
      return;
    }
    Bytes packed = as_bytes();
    if (packed.size() % sizeof(T)) {
      fail("packed numbers end in the middle of one", packed.data());
      return;
    }
    for (size_t i = 0; i < packed.size(); i += sizeof(T)) {
      __builtin_memcpy(&value, packed.data() + i, sizeof(T));
      add(value);
    }
  }
  uint64_t varint();
  void fail(const char *what, const uint8_t *where) {
    if (!what_) {
      what_ = what;
      where_ = where;
    }
    cursor_ = end_;
  }

  const uint8_t *cursor_, *end_, *base_;
  uint32_t field_ = 0;
  WireType type_ = WireType::varint;
  uint64_t number_ = 0;
  Bytes payload_;
  const char *what_ = nullptr;
  const uint8_t *where_ = nullptr;
};

} // namespace attn::onnx
