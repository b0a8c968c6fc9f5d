// PNG with the Up filter, deflated with fixed Huffman codes and matches of
// distance 1: after the filter, flat areas are long runs of zeros.
#include "runtime/base/png.h"

#include <array>
#include <vector>

namespace attn {
namespace {

class BitWriter {
public:
  explicit BitWriter(std::string &out) : out_(out) {}

  // Least significant bit first, as deflate packs numbers.
  void bits(uint32_t value, int count) {
    pending_ |= uint64_t(value) << filled_;
    filled_ += count;
    while (filled_ >= 8) {
      out_.push_back(char(pending_ & 0xff));
      pending_ >>= 8;
      filled_ -= 8;
    }
  }
  // Huffman codes go most significant bit first.
  void code(uint32_t value, int count) {
    uint32_t reversed = 0;
    for (int i = 0; i < count; ++i)
      reversed |= ((value >> i) & 1u) << (count - 1 - i);
    bits(reversed, count);
  }
  void flush() {
    if (filled_ > 0)
      bits(0, 8 - filled_);
  }

private:
  std::string &out_;
  uint64_t pending_ = 0;
  int filled_ = 0;
};

// The fixed code of RFC 1951, section 3.2.6.
void put_symbol(BitWriter &writer, uint32_t symbol) {
  if (symbol < 144)
    writer.code(0x30 + symbol, 8);
  else if (symbol < 256)
    writer.code(0x190 + symbol - 144, 9);
  else if (symbol < 280)
    writer.code(symbol - 256, 7);
  else
    writer.code(0xc0 + symbol - 280, 8);
}

// A run of `length` (3..258) repeats of the byte before it.
void put_run(BitWriter &writer, uint32_t length) {
  static constexpr std::array<uint16_t, 29> base = {3,  4,  5,  6,  7,  8,  9,  10,  11,  13,
                                                    15, 17, 19, 23, 27, 31, 35, 43,  51,  59,
                                                    67, 83, 99, 115, 131, 163, 195, 227, 258};
  static constexpr std::array<uint8_t, 29> extra = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2,
                                                    2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0};
  size_t index = base.size() - 1;
  while (base[index] > length)
    --index;
  put_symbol(writer, uint32_t(257 + index));
  writer.bits(length - base[index], extra[index]);
  writer.code(0, 5); // distance 1
}

std::string deflate(const std::vector<uint8_t> &data) {
  std::string out = {'\x78', '\x01'};
  BitWriter writer(out);
  writer.bits(1, 1); // last block
  writer.bits(1, 2); // fixed codes
  for (size_t i = 0; i < data.size();) {
    put_symbol(writer, data[i]);
    size_t end = i + 1;
    while (end < data.size() && data[end] == data[i])
      ++end;
    size_t repeats = end - i - 1;
    while (repeats >= 3) {
      size_t length = repeats > 258 ? 258 : repeats;
      put_run(writer, uint32_t(length));
      repeats -= length;
    }
    for (; repeats > 0; --repeats)
      put_symbol(writer, data[i]);
    i = end;
  }
  put_symbol(writer, 256);
  writer.flush();
  uint32_t a = 1, b = 0;
  for (uint8_t byte : data) {
    a = (a + byte) % 65521;
    b = (b + a) % 65521;
  }
  uint32_t adler = (b << 16) | a;
  for (int shift = 24; shift >= 0; shift -= 8)
    out.push_back(char(adler >> shift));
  return out;
}

uint32_t crc32(const std::string &bytes) {
  static const std::array<uint32_t, 256> table = [] {
    std::array<uint32_t, 256> t{};
    for (uint32_t n = 0; n < 256; ++n) {
      uint32_t c = n;
      for (int k = 0; k < 8; ++k)
        c = (c & 1) ? 0xedb88320u ^ (c >> 1) : c >> 1;
      t[n] = c;
    }
    return t;
  }();
  uint32_t crc = 0xffffffffu;
  for (char byte : bytes)
    crc = table[(crc ^ uint8_t(byte)) & 0xff] ^ (crc >> 8);
  return crc ^ 0xffffffffu;
}

void put_u32(std::string &out, uint32_t value) {
  for (int shift = 24; shift >= 0; shift -= 8)
    out.push_back(char(value >> shift));
}

void put_chunk(std::string &out, const char *type, const std::string &data) {
  put_u32(out, uint32_t(data.size()));
  std::string checked = type + data;
  out += checked;
  put_u32(out, crc32(checked));
}

} // namespace

std::string encode_png(const uint8_t *pixels, size_t width, size_t height) {
  size_t row = width * 3;
  std::vector<uint8_t> filtered;
  filtered.reserve((row + 1) * height);
  for (size_t y = 0; y < height; ++y) {
    filtered.push_back(2); // Up
    for (size_t x = 0; x < row; ++x)
      filtered.push_back(uint8_t(pixels[y * row + x] - (y ? pixels[(y - 1) * row + x] : 0)));
  }
  std::string out = "\x89PNG\r\n\x1a\n";
  std::string header;
  put_u32(header, uint32_t(width));
  put_u32(header, uint32_t(height));
  header += {'\x08', '\x02', '\0', '\0', '\0'}; // 8 bits, RGB, not interlaced
  put_chunk(out, "IHDR", header);
  put_chunk(out, "IDAT", deflate(filtered));
  put_chunk(out, "IEND", "");
  return out;
}

} // namespace attn
