// Finds a tensor's data: raw bytes in place, numbers listed one by one, or a
// range of another file.
#include "runtime/onnx/load_tensor.h"

#include "runtime/base/mapped_file.h"
#include "runtime/onnx/load_model.h"
#include <charconv>
#include <cstring>

namespace attn::onnx {

size_t data_type_size(DataType type) {
  switch (type) {
  case DataType::u8:
  case DataType::i8:
  case DataType::boolean:
    return 1;
  case DataType::u16:
  case DataType::i16:
  case DataType::f16:
  case DataType::bf16:
    return 2;
  case DataType::f32:
  case DataType::i32:
  case DataType::u32:
    return 4;
  case DataType::f64:
  case DataType::i64:
  case DataType::u64:
    return 8;
  default:
    return 0;
  }
}

const char *data_type_name(DataType type) {
  switch (type) {
  case DataType::f32:
    return "float32";
  case DataType::u8:
    return "uint8";
  case DataType::i8:
    return "int8";
  case DataType::u16:
    return "uint16";
  case DataType::i16:
    return "int16";
  case DataType::i32:
    return "int32";
  case DataType::i64:
    return "int64";
  case DataType::text:
    return "string";
  case DataType::boolean:
    return "bool";
  case DataType::f16:
    return "float16";
  case DataType::f64:
    return "float64";
  case DataType::u32:
    return "uint32";
  case DataType::u64:
    return "uint64";
  case DataType::bf16:
    return "bfloat16";
  default:
    return "a type this runtime does not read";
  }
}

namespace {

bool parse_number(std::string_view text, uint64_t &value) {
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size();
}

// Collects numbers that the file lists one by one, in the tensor's own type.
class Collector {
public:
  Collector(DataType type) : type_(type), bytes_(std::make_shared<std::vector<uint8_t>>()) {}
  void add_integer(int64_t value) {
    size_t size = data_type_size(type_);
    const auto *raw = reinterpret_cast<const uint8_t *>(&value);
    bytes_->insert(bytes_->end(), raw, raw + (size ? size : 1));
  }
  template <typename T> void add_float(T value) {
    const auto *raw = reinterpret_cast<const uint8_t *>(&value);
    bytes_->insert(bytes_->end(), raw, raw + sizeof value);
  }
  std::shared_ptr<std::vector<uint8_t>> take() { return bytes_; }

private:
  DataType type_;
  std::shared_ptr<std::vector<uint8_t>> bytes_;
};

bool listed_as(DataType type, uint32_t field) {
  switch (field) {
  case 4:
    return type == DataType::f32;
  case 10:
    return type == DataType::f64;
  case 7:
    return type == DataType::i64;
  case 11:
    return type == DataType::u32 || type == DataType::u64;
  case 5:
    return type == DataType::i32 || data_type_size(type) == 1 || data_type_size(type) == 2;
  }
  return false;
}

} // namespace

Status TensorLoader::load(WireReader reader, Tensor &tensor) {
  // First the description, then the data: fields may come in any order.
  WireReader second = reader;
  External external;
  bool is_external = false, has_raw = false;
  while (reader.next()) {
    switch (reader.field()) {
    case 1:
      reader.each_int64([&](int64_t d) { tensor.dims.push_back(d); });
      break;
    case 2:
      tensor.type = static_cast<DataType>(reader.as_int32());
      break;
    case 8:
      tensor.name = reader.as_text();
      break;
    case 9:
      tensor.data = reader.as_bytes();
      has_raw = true;
      break;
    case 13: {
      WireReader pair = reader.as_message();
      std::string_view key, value;
      while (pair.next()) {
        if (pair.field() == 1)
          key = pair.as_text();
        else if (pair.field() == 2)
          value = pair.as_text();
      }
      reader.adopt_failure(pair);
      bool good = true;
      if (key == "location")
        external.location = value;
      else if (key == "offset")
        good = parse_number(value, external.offset);
      else if (key == "length")
        good = external.has_length = parse_number(value, external.length);
      if (!good)
        return Status::invalid_input("tensor '", tensor.name, "' has an external ", key, " of '",
                                     value, "', which is no number");
      break;
    }
    case 14:
      is_external = reader.as_int64() == 1;
      break;
    }
  }
  ATTN_RETURN_IF_ERROR(reader.status());

  size_t size = data_type_size(tensor.type);
  if (!size)
    return Status::invalid_input("tensor '", tensor.name, "' has data type ",
                                 static_cast<int>(tensor.type), " (", data_type_name(tensor.type),
                                 ")");
  if (tensor.dims.size() > 8)
    return Status::invalid_input("tensor '", tensor.name, "' has ", tensor.dims.size(),
                                 " dimensions; at most 8 are read");
  uint64_t need = size;
  for (int64_t d : tensor.dims) {
    if (d < 0)
      return Status::invalid_input("tensor '", tensor.name, "' has a dimension of ", d);
    if (__builtin_mul_overflow(need, static_cast<uint64_t>(d), &need) || need > (uint64_t(1) << 46))
      return Status::invalid_input("tensor '", tensor.name, "' is larger than 64 TiB");
  }

  if (is_external)
    return attach_external(external, need, tensor);
  if (!has_raw) {
    Collector collector(tensor.type);
    while (second.next()) {
      uint32_t field = second.field();
      if (field != 4 && field != 5 && field != 7 && field != 10 && field != 11)
        continue;
      if (!listed_as(tensor.type, field))
        return Status::invalid_input("tensor '", tensor.name, "' of ", data_type_name(tensor.type),
                                     " lists its numbers in a field of another type");
      if (field == 4)
        second.each_float([&](float v) { collector.add_float(v); });
      else if (field == 10)
        second.each_double([&](double v) { collector.add_float(v); });
      else
        second.each_int64([&](int64_t v) { collector.add_integer(v); });
    }
    ATTN_RETURN_IF_ERROR(second.status());
    tensor.owned = collector.take();
    tensor.data = *tensor.owned;
  }
  if (tensor.data.size() != need)
    return Status::invalid_input("tensor '", tensor.name, "' has ", tensor.data.size(),
                                 " bytes of data; its dimensions need ", need);
  (has_raw ? mapped_bytes_ : copied_bytes_) += need;
  return {};
}

Status TensorLoader::attach_external(const External &external, size_t need, Tensor &tensor) {
  auto reject = [&](const auto &...parts) {
    return Status::invalid_input("tensor '", tensor.name, "': ", parts...);
  };
  if (directory_.empty())
    return reject("its data lies in another file, which is not allowed here");
  const std::string &name = external.location;
  // The model must not reach outside its own folder.
  if (name.empty() || name[0] == '/' || name.find('\\') != std::string::npos ||
      name.find('\0') != std::string::npos || ("/" + name + "/").find("/../") != std::string::npos)
    return reject("its data lies in '", name, "'; it must be a file beside the model");
  auto found = opened_.find(name);
  if (found == opened_.end()) {
    std::string path = directory_.back() == '/' ? directory_ + name : directory_ + "/" + name;
    auto file = MappedFile::open(path);
    if (!file.ok())
      return file.status().at("data of tensor '" + tensor.name + "'");
    auto kept = std::make_shared<MappedFile>(std::move(*file));
    found = opened_.emplace(name, as_wire_bytes(kept->bytes())).first;
    files_.push_back(kept);
  }
  Bytes bytes = found->second;
  if (external.has_length && external.length != need)
    return reject("its external data has ", external.length, " bytes; its dimensions need ", need);
  if (external.offset > bytes.size() || need > bytes.size() - external.offset)
    return reject("its data ends at byte ", external.offset + need, " of '", name, "', which has ",
                  bytes.size());
  tensor.data = bytes.subspan(external.offset, need);
  mapped_bytes_ += need;
  return {};
}

Result<Tensor> parse_tensor(std::span<const uint8_t> bytes) {
  TensorLoader loader("");
  Tensor tensor;
  ATTN_RETURN_IF_ERROR(loader.load(WireReader(bytes), tensor));
  return tensor;
}

} // namespace attn::onnx
