// Walks protobuf messages field by field; every length is checked against the
// bytes that are left before anything is read.
#include "runtime/onnx/wire_reader.h"

namespace attn::onnx {

uint64_t WireReader::varint() {
  uint64_t value = 0;
  const uint8_t *start = cursor_;
  for (int shift = 0; shift < 64; shift += 7) {
    if (cursor_ == end_) {
      fail("a number is cut off", start);
      return 0;
    }
    uint8_t byte = *cursor_++;
    value |= uint64_t(byte & 0x7f) << shift;
    if (!(byte & 0x80))
      return value;
  }
  fail("a number is longer than 10 bytes", start);
  return 0;
}

bool WireReader::next() {
  if (what_ || cursor_ == end_)
    return false;
  const uint8_t *start = cursor_;
  uint64_t key = varint();
  if (what_)
    return false;
  uint64_t field = key >> 3;
  if (field == 0 || field > 0x1fffffff) {
    fail("a field number is outside 1..536870911", start);
    return false;
  }
  field_ = static_cast<uint32_t>(field);
  size_t left;
  switch (key & 7) {
  case 0:
    type_ = WireType::varint;
    number_ = varint();
    return ok();
  case 1:
  case 5:
    type_ = (key & 7) == 1 ? WireType::fixed64 : WireType::fixed32;
    left = (key & 7) == 1 ? 8 : 4;
    break;
  case 2: {
    type_ = WireType::bytes;
    uint64_t length = varint();
    if (what_)
      return false;
    if (length > static_cast<uint64_t>(end_ - cursor_)) {
      fail("a field is longer than what is left of its message", start);
      return false;
    }
    left = static_cast<size_t>(length);
    break;
  }
  default:
    fail("a field has a wire type that protobuf 3 does not use", start);
    return false;
  }
  if (left > static_cast<size_t>(end_ - cursor_)) {
    fail("a field is cut off", start);
    return false;
  }
  payload_ = Bytes(cursor_, left);
  cursor_ += left;
  return true;
}

int64_t WireReader::as_int64() {
  if (type_ != WireType::varint) {
    fail("a number is expected here", cursor_);
    return 0;
  }
  return static_cast<int64_t>(number_);
}

float WireReader::as_float() {
  if (type_ != WireType::fixed32) {
    fail("a 32-bit float is expected here", cursor_);
    return 0;
  }
  float value;
  __builtin_memcpy(&value, payload_.data(), 4);
  return value;
}

Bytes WireReader::as_bytes() {
  if (type_ != WireType::bytes) {
    fail("bytes or a message are expected here", cursor_);
    return {};
  }
  return payload_;
}

std::string_view WireReader::as_text() {
  Bytes bytes = as_bytes();
  return {reinterpret_cast<const char *>(bytes.data()), bytes.size()};
}

Status WireReader::status() const {
  if (ok())
    return {};
  return Status::invalid_input(what_, " (byte ", static_cast<uint64_t>(where_ - base_),
                               "): the file is truncated or is no ONNX model");
}

} // namespace attn::onnx
