// Converts, enlarges and encodes pictures.
#include "runtime/stream/picture.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace attn::stream {

void to_picture(const float *sample, int64_t channels, int64_t height, int64_t width, float low,
                float high, Picture &out, std::span<const float> to_rgb) {
  out.width = width;
  out.height = height;
  out.rgb.resize(static_cast<size_t>(width * height * 3));
  const int64_t plane = width * height;
  for (int64_t i = 0; i < plane; ++i)
    for (int64_t c = 0; c < 3; ++c) {
      float value = 0;
      if (to_rgb.empty())
        value = sample[(channels == 3 ? c : 0) * plane + i];
      for (size_t k = 0; k < to_rgb.size() / 3; ++k)
        value += to_rgb[static_cast<size_t>(c) * (to_rgb.size() / 3) + k] *
                 sample[static_cast<int64_t>(k) * plane + i];
      float unit = (value - low) / (high - low);
      unit = unit > 0 ? std::min(unit, 1.0f) : 0.0f; // NaN is black
      out.rgb[static_cast<size_t>(3 * i + c)] = static_cast<uint8_t>(std::nearbyint(unit * 255.0f));
    }
}

void enlarge(const Picture &in, int64_t scale, Picture &out) {
  out.width = in.width * scale;
  out.height = in.height * scale;
  out.rgb.resize(static_cast<size_t>(out.width * out.height * 3));
  const int64_t row = out.width * 3;
  for (int64_t y = 0; y < in.height; ++y) {
    uint8_t *first = out.rgb.data() + y * scale * row, *to = first;
    const uint8_t *from = in.rgb.data() + y * in.width * 3;
    for (int64_t x = 0; x < in.width; ++x, from += 3)
      for (int64_t i = 0; i < scale; ++i, to += 3)
        std::copy(from, from + 3, to);
    for (int64_t i = 1; i < scale; ++i)
      std::copy(first, first + row, first + i * row);
  }
}

static uint32_t crc(const uint8_t *data, size_t n, uint32_t start) {
  static const std::array<uint32_t, 256> table = [] {
    std::array<uint32_t, 256> t{};
    for (uint32_t i = 0; i < 256; ++i) {
      uint32_t c = i;
      for (int k = 0; k < 8; ++k)
        c = c & 1 ? 0xedb88320u ^ (c >> 1) : c >> 1;
      t[i] = c;
    }
    return t;
  }();
  uint32_t c = ~start;
  for (size_t i = 0; i < n; ++i)
    c = table[(c ^ data[i]) & 0xff] ^ (c >> 8);
  return ~c;
}

namespace {
struct PngWriter {
  std::vector<uint8_t> out = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
  static void put32(std::vector<uint8_t> &to, uint32_t v) {
    for (int shift = 24; shift >= 0; shift -= 8)
      to.push_back(static_cast<uint8_t>(v >> shift));
  }
  void chunk(const char *type, const std::vector<uint8_t> &data) {
    put32(out, static_cast<uint32_t>(data.size()));
    size_t start = out.size();
    out.insert(out.end(), type, type + 4);
    out.insert(out.end(), data.begin(), data.end());
    put32(out, crc(out.data() + start, out.size() - start, 0));
  }
};
} // namespace

std::vector<uint8_t> encode_png(const Picture &p) {
  PngWriter png;
  std::vector<uint8_t> header;
  PngWriter::put32(header, static_cast<uint32_t>(p.width));
  PngWriter::put32(header, static_cast<uint32_t>(p.height));
  for (uint8_t b : {8, 2, 0, 0, 0}) // 8 bits, RGB
    header.push_back(b);
  png.chunk("IHDR", header);

  std::vector<uint8_t> lines; // each row after its filter byte, 0: none
  const size_t row = static_cast<size_t>(p.width) * 3;
  for (int64_t y = 0; y < p.height; ++y) {
    lines.push_back(0);
    auto from = p.rgb.begin() + static_cast<long>(static_cast<size_t>(y) * row);
    lines.insert(lines.end(), from, from + static_cast<long>(row));
  }
  std::vector<uint8_t> zlib = {0x78, 0x01};
  uint32_t a = 1, b = 0; // Adler-32
  for (size_t at = 0; at < lines.size() || at == 0;) {
    size_t n = std::min<size_t>(lines.size() - at, 65535);
    zlib.push_back(at + n == lines.size());
    for (size_t v : {n, ~n}) {
      zlib.push_back(static_cast<uint8_t>(v));
      zlib.push_back(static_cast<uint8_t>(v >> 8));
    }
    zlib.insert(zlib.end(), lines.begin() + static_cast<long>(at),
                lines.begin() + static_cast<long>(at + n));
    for (size_t i = at; i < at + n; ++i) {
      a = (a + lines[i]) % 65521;
      b = (b + a) % 65521;
    }
    at += n;
    if (n == 0)
      break;
  }
  PngWriter::put32(zlib, b << 16 | a);
  png.chunk("IDAT", zlib);
  png.chunk("IEND", {});
  return std::move(png.out);
}

} // namespace attn::stream
