// Loads an ONNX file: a path or bytes in, a Model out whose weights stay where
// the file is mapped. Rejects what is malformed, with the tensor or node named.
#pragma once

#include "runtime/base/status.h"
#include "runtime/onnx/model.h"
#include <cstdint>
#include <span>
#include <string>

namespace attn::onnx {

inline constexpr int64_t kMinOpset = 17, kMaxOpset = 26;

// Tensor data in other files is looked up beside `path`, never above it.
Result<Model> load_model(const std::string &path);

// The same from memory, which must outlive the model. `directory` is where
// external data lies; "" refuses external data.
Result<Model> parse_model(std::span<const uint8_t> bytes, const std::string &directory);

// A single TensorProto, as in the .pb files of ONNX's backend tests.
Result<Tensor> parse_tensor(std::span<const uint8_t> bytes);

} // namespace attn::onnx
