// .npy files to host arrays and back.
#include "tools/attn-run/numpy_arguments.h"

#include "runtime/base/half.h"
#include "runtime/base/npy.h"

#include <charconv>
#include <cstring>

namespace attn {

namespace {

// Splits "name=value".
Status split(const std::string &text, const char *option, std::string &name, std::string &value) {
  size_t at = text.find('=');
  if (at == std::string::npos || at == 0 || at + 1 == text.size())
    return Status::usage("'", text, "' after ", option, " is not NAME=VALUE");
  name = text.substr(0, at);
  value = text.substr(at + 1);
  return {};
}

double element(const NpyArray &array, size_t i) {
  const auto *at = static_cast<const std::byte *>(array.data.data());
  auto get = [&](auto sample) {
    std::memcpy(&sample, at + i * sizeof sample, sizeof sample);
    return sample;
  };
  switch (array.type) {
  case ElementType::f32:
    return get(float());
  case ElementType::f16:
    return f16_to_f32(get(uint16_t()));
  case ElementType::bf16:
    return bf16_to_f32(get(uint16_t()));
  case ElementType::i8:
    return get(int8_t());
  case ElementType::u8:
    return get(uint8_t());
  case ElementType::i32:
    return get(int32_t());
  case ElementType::i64:
    return static_cast<double>(get(int64_t()));
  }
  return 0;
}

HostArray host_array(const NpyArray &array) {
  HostArray host{array.shape, {}};
  host.values.resize(static_cast<size_t>(array.count()));
  for (size_t i = 0; i < host.values.size(); ++i)
    host.values[i] = element(array, i);
  return host;
}

} // namespace

Status read_tensor(const std::string &path, HostTensor &tensor, ElementType &type) {
  ATTN_ASSIGN_OR_RETURN(NpyArray array, read_npy(path));
  if (array.shape.size() != 4 && array.shape.size() != 3)
    return Status::invalid_input("array has ", array.shape.size(),
                                 " axes; (batch, heads, tokens, head_dim) is needed")
        .at(path);
  if (array.type != ElementType::f32 && array.type != ElementType::f16 &&
      array.type != ElementType::bf16)
    return Status::invalid_input("array is ", element_type_name(array.type),
                                 "; f32, f16 or bf16 (saved as u2) is needed, kernels with int8 "
                                 "keys quantise them")
        .at(path);
  type = array.type;
  size_t missing = 4 - array.shape.size();
  for (size_t i = 0; i < 4; ++i)
    tensor.shape[i] = i < missing ? 1 : array.shape[i - missing];
  tensor.values.resize(static_cast<size_t>(tensor.count()));
  for (size_t i = 0; i < tensor.values.size(); ++i)
    tensor.values[i] = static_cast<float>(element(array, i));
  return {};
}

Status read_rows(const std::string &path, std::vector<float> &rows) {
  ATTN_ASSIGN_OR_RETURN(NpyArray array, read_npy(path));
  if ((array.shape.size() != 3 && array.shape.size() != 2) || array.type != ElementType::f32)
    return Status::invalid_input("array has ", array.shape.size(), " axes of ",
                                 element_type_name(array.type),
                                 "; (batch, heads, tokens) in f32 is needed")
        .at(path);
  for (size_t i = 0; i < static_cast<size_t>(array.count()); ++i)
    rows.push_back(static_cast<float>(element(array, i)));
  return {};
}

Status read_named(const std::vector<std::string> &options, std::vector<NamedArray> &tensors) {
  std::string name, value;
  for (const std::string &text : options) {
    ATTN_RETURN_IF_ERROR(split(text, "--table", name, value));
    ATTN_ASSIGN_OR_RETURN(NpyArray array, read_npy(value));
    tensors.push_back({name, host_array(array)});
  }
  return {};
}

Status read_params(const std::vector<std::string> &options,
                   std::vector<std::pair<std::string, double>> &params) {
  std::string name, value;
  for (const std::string &text : options) {
    ATTN_RETURN_IF_ERROR(split(text, "--set", name, value));
    double number = 0;
    auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
    if (error != std::errc() || end != value.data() + value.size())
      return Status::usage("'", value, "' after --set ", name, "= is no number");
    params.emplace_back(name, number);
  }
  return {};
}

Status write_tensor(const std::string &path, const HostTensor &tensor, ElementType type) {
  ATTN_ASSIGN_OR_RETURN(NpyArray out, make_npy(type, {tensor.shape, tensor.shape + 4}));
  for (size_t i = 0; i < tensor.values.size(); ++i) {
    float value = tensor.values[i];
    if (type == ElementType::f32)
      static_cast<float *>(out.data.data())[i] = value;
    else
      static_cast<uint16_t *>(out.data.data())[i] =
          type == ElementType::bf16 ? f32_to_bf16(value) : f32_to_f16(value);
  }
  return write_npy(path, out);
}

} // namespace attn
