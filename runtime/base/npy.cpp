// .npy bytes enter, a typed array leaves, and the other way round. The header
// is a Python dictionary literal, of which only what NumPy writes is accepted.
#include "runtime/base/npy.h"

#include "runtime/base/half.h"
#include "runtime/base/mapped_file.h"
#include "runtime/base/write_file.h"
#include <cstring>
#include <limits>
#include <optional>

namespace attn {

int64_t NpyArray::count() const {
  int64_t n = 1;
  for (int64_t extent : shape)
    n *= extent;
  return n;
}

double NpyArray::number(size_t i) const {
  auto get = [&](auto sample) {
    std::memcpy(&sample, static_cast<const std::byte *>(data.data()) + i * sizeof sample,
                sizeof sample);
    return sample;
  };
  switch (type) {
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

namespace {

// Walks the header's dictionary literal.
struct HeaderParser {
  std::string_view text;
  size_t at = 0;

  void skip_space() {
    while (at < text.size() && (text[at] == ' ' || text[at] == '\n' || text[at] == '\t'))
      ++at;
  }
  bool take(char c) {
    skip_space();
    if (at >= text.size() || text[at] != c)
      return false;
    ++at;
    return true;
  }
  bool take_word(std::string_view word) {
    skip_space();
    if (text.substr(at, word.size()) != word)
      return false;
    at += word.size();
    return true;
  }
  std::optional<std::string_view> quoted() {
    skip_space();
    if (at >= text.size() || (text[at] != '\'' && text[at] != '"'))
      return std::nullopt;
    size_t end = text.find(text[at], at + 1);
    if (end == std::string_view::npos)
      return std::nullopt;
    std::string_view inside = text.substr(at + 1, end - at - 1);
    at = end + 1;
    return inside;
  }
  std::optional<int64_t> number() {
    skip_space();
    int64_t value = 0;
    size_t begin = at;
    while (at < text.size() && text[at] >= '0' && text[at] <= '9') {
      if (value > (std::numeric_limits<int64_t>::max() - 9) / 10)
        return std::nullopt;
      value = value * 10 + (text[at++] - '0');
    }
    if (at == begin)
      return std::nullopt;
    return value;
  }
};

struct Header {
  std::string descr;
  bool fortran = false;
  std::vector<int64_t> shape;
};

Result<Header> parse_header(std::string_view text) {
  HeaderParser in{text};
  Header header;
  bool has_descr = false, has_order = false, has_shape = false;
  Status malformed = Status::invalid_input(
      "malformed .npy header; expected {'descr': ..., 'fortran_order': ..., 'shape': (...)}");
  if (!in.take('{'))
    return malformed;
  while (!in.take('}')) {
    std::optional<std::string_view> key = in.quoted();
    if (!key || !in.take(':'))
      return malformed;
    if (*key == "descr") {
      std::optional<std::string_view> value = in.quoted();
      if (!value)
        return Status::invalid_input("structured .npy arrays are not accepted; save a plain array");
      header.descr = *value;
      has_descr = true;
    } else if (*key == "fortran_order") {
      if (in.take_word("True"))
        header.fortran = true;
      else if (!in.take_word("False"))
        return malformed;
      has_order = true;
    } else if (*key == "shape") {
      if (!in.take('('))
        return malformed;
      while (!in.take(')')) {
        std::optional<int64_t> extent = in.number();
        if (!extent)
          return malformed;
        header.shape.push_back(*extent);
        if (header.shape.size() > 32)
          return Status::invalid_input(".npy array has more than 32 axes");
        if (!in.take(',')) {
          if (!in.take(')'))
            return malformed;
          break;
        }
      }
      has_shape = true;
    } else {
      return malformed;
    }
    if (!in.take(',')) {
      if (!in.take('}'))
        return malformed;
      break;
    }
  }
  if (!has_descr || !has_order || !has_shape)
    return malformed;
  return header;
}

struct DtypeName {
  const char *descr;
  ElementType type;
};
// The first name of each type is the one written.
constexpr DtypeName kDtypes[] = {{"<f4", ElementType::f32},  {"<f2", ElementType::f16},
                                 {"<u2", ElementType::bf16}, {"|i1", ElementType::i8},
                                 {"<i4", ElementType::i32},  {"<i8", ElementType::i64},
                                 {"|u1", ElementType::u8},   {"|b1", ElementType::u8},
                                 {"<i1", ElementType::i8},   {"<u1", ElementType::u8}};

} // namespace

Result<NpyArray> make_npy(ElementType type, std::vector<int64_t> shape) {
  int64_t bytes = element_size(type);
  for (int64_t extent : shape) {
    if (extent < 0 || __builtin_mul_overflow(bytes, extent, &bytes))
      return Status::invalid_input("array shape has too many elements to address");
  }
  NpyArray array;
  array.type = type;
  array.shape = std::move(shape);
  if (bytes > 0) {
    array.data = AlignedMemory(static_cast<size_t>(bytes));
    if (!array.data.data())
      return Status::environment("out of memory: an array needs ", bytes, " bytes");
  }
  return array;
}

Result<NpyArray> parse_npy(std::span<const std::byte> file) {
  const auto *bytes = reinterpret_cast<const unsigned char *>(file.data());
  if (file.size() < 10 || std::memcmp(bytes, "\x93NUMPY", 6) != 0)
    return Status::invalid_input("not a .npy file (its first bytes are not \\x93NUMPY)");
  unsigned major = bytes[6];
  if (major < 1 || major > 3)
    return Status::invalid_input(".npy format version ", major, "; versions 1 to 3 are read");
  size_t prefix = major == 1 ? 10 : 12;
  if (file.size() < prefix)
    return Status::invalid_input("truncated .npy file: the header is missing");
  size_t length = bytes[8] | bytes[9] << 8;
  if (major > 1)
    length |= size_t(bytes[10]) << 16 | size_t(bytes[11]) << 24;
  if (length > file.size() - prefix)
    return Status::invalid_input("truncated .npy file: the header has ", length, " bytes, ",
                                 file.size() - prefix, " are left");
  ATTN_ASSIGN_OR_RETURN(Header header,
                        parse_header({reinterpret_cast<const char *>(bytes) + prefix, length}));
  const DtypeName *found = nullptr;
  for (const DtypeName &dtype : kDtypes)
    if (header.descr == dtype.descr)
      found = &dtype;
  if (!found)
    return Status::invalid_input("element type '", header.descr,
                                 "' is not read; allowed are f4, f2, i1, i4, i8, u1, b1 and u2 "
                                 "(bf16 bits), little-endian; convert with .astype(...)");
  if (header.fortran && header.shape.size() > 1)
    return Status::invalid_input(
        "array is in Fortran order; save np.ascontiguousarray(array) instead");
  // The size is checked before memory is taken for it.
  int64_t need = element_size(found->type);
  for (int64_t extent : header.shape)
    if (__builtin_mul_overflow(need, extent, &need))
      return Status::invalid_input("array shape has too many elements to address");
  size_t have = file.size() - prefix - length;
  if (static_cast<uint64_t>(need) != have)
    return Status::invalid_input("the shape needs ", need, " bytes of data, the file has ", have);
  ATTN_ASSIGN_OR_RETURN(NpyArray array, make_npy(found->type, std::move(header.shape)));
  if (need > 0)
    std::memcpy(array.data.data(), bytes + prefix + length, static_cast<size_t>(need));
  return array;
}

Result<NpyArray> read_npy(const std::string &path) {
  ATTN_ASSIGN_OR_RETURN(MappedFile file, MappedFile::open(path));
  Result<NpyArray> array = parse_npy(file.bytes());
  if (!array.ok())
    return array.status().at(path);
  return array;
}

Status write_npy(const std::string &path, ElementType type, std::span<const int64_t> shape,
                 const void *data) {
  for (const DtypeName &dtype : kDtypes)
    if (dtype.type == type)
      return write_npy_as(path, dtype.descr, element_size(type), shape, data);
  return Status::internal("element type without a NumPy name");
}

Status write_npy_as(const std::string &path, std::string_view descr, size_t element_bytes,
                    std::span<const int64_t> shape, const void *data) {
  std::string header = concat("{'descr': '", descr, "', 'fortran_order': False, 'shape': (");
  size_t bytes = element_bytes;
  for (size_t i = 0; i < shape.size(); ++i) {
    header += concat(i ? " " : "", shape[i], i + 1 < shape.size() || i == 0 ? "," : "");
    bytes *= static_cast<size_t>(shape[i]);
  }
  header += "), }";
  // The data starts at a multiple of 64.
  while ((10 + header.size() + 1) % 64)
    header += ' ';
  header += '\n';
  std::string prefix("\x93NUMPY\x01\x00", 8);
  prefix += static_cast<char>(header.size() & 0xff);
  prefix += static_cast<char>(header.size() >> 8);
  prefix += header;
  return write_file(
      path, {std::as_bytes(std::span(prefix)), {static_cast<const std::byte *>(data), bytes}});
}

} // namespace attn
