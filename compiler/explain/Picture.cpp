// Samples the mask per pixel, colours it by tile class, adds a grid and a legend.
#include "compiler/explain/Picture.h"

#include "compiler/explain/Font.h"
#include "runtime/base/png.h"

#include "llvm/Support/Base64.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/raw_ostream.h"

#include <algorithm>

using namespace mlir;
using namespace mlir::attn;

namespace {

struct Color {
  uint8_t r, g, b;
};
constexpr Color kInk{40, 40, 40}, kGrid{205, 205, 205};
constexpr Color kEmpty{243, 243, 240}, kFull{42, 111, 176};
constexpr Color kPartialAdmitted{232, 134, 46}, kPartialExcluded{252, 230, 205};

struct Raster {
  int64_t width, height;
  std::vector<uint8_t> pixels;

  Raster(int64_t width, int64_t height)
      : width(width), height(height), pixels(width * height * 3, 255) {}
  void set(int64_t x, int64_t y, Color color) {
    if (x < 0 || y < 0 || x >= width || y >= height)
      return;
    uint8_t *p = &pixels[(y * width + x) * 3];
    p[0] = color.r, p[1] = color.g, p[2] = color.b;
  }
  void fill(int64_t x, int64_t y, int64_t w, int64_t h, Color color) {
    for (int64_t j = y; j < y + h; ++j)
      for (int64_t i = x; i < x + w; ++i)
        set(i, j, color);
  }
  void write(int64_t x, int64_t y, StringRef text) {
    for (char character : text) {
      const uint8_t *columns = glyph(character);
      for (int i = 0; i < kGlyphWidth; ++i)
        for (int j = 0; j < kGlyphHeight; ++j)
          if (columns[i] >> j & 1)
            fill(x + 2 * i, y + 2 * j, 2, 2, kInk);
      x += 2 * (kGlyphWidth + 1);
    }
  }
};

// Which key position lies at index `key` of the call, and in which block.
struct KeyPlace {
  int64_t position, blockLow, blockHigh;
  bool whole, firstOfBlock;
};

class MaskRaster {
public:
  MaskRaster(MaskView &view, const CallShape &shape) : view(view), shape(shape) {
    int64_t longest = std::max<int64_t>({shape.qLength, shape.keyCount(), 1});
    scale = longest <= 500 ? std::max<int64_t>(1, 1000 / longest) : 1;
    step = (longest + 999) / 1000;
    width = std::max<int64_t>(1, (shape.keyCount() * scale + step - 1) / step);
    height = std::max<int64_t>(1, (shape.qLength * scale + step - 1) / step);
    for (const Segment &segment : shape.segments)
      for (int64_t k = 0; k < segment.length; ++k) {
        int64_t begin = k / view.blockK * view.blockK;
        int64_t end = std::min(begin + view.blockK, segment.length);
        keys.push_back({segment.firstPosition + k, segment.firstPosition + begin,
                        segment.firstPosition + end - 1, end - begin == view.blockK, k == begin});
      }
  }

  void draw(Raster &raster, int64_t left, int64_t top) {
    bool grid = view.blockK * scale / step >= 8 && view.blockQ * scale / step >= 8;
    for (int64_t y = 0; y < height; ++y) {
      int64_t row = y * step / scale;
      int64_t rowInPixels = y % scale;
      if (row >= shape.qLength)
        break;
      int64_t begin = row / view.blockQ * view.blockQ;
      int64_t qLow = shape.qPosition + begin;
      int64_t qHigh = shape.qPosition + std::min(begin + view.blockQ, shape.qLength) - 1;
      TileClass tile = TileClass::empty;
      int64_t known = -1;
      for (int64_t x = 0; x < width; ++x) {
        size_t index = size_t(x * step / scale);
        if (index >= keys.size())
          break;
        const KeyPlace &key = keys[index];
        if (key.blockLow != known)
          tile = view.classify(qLow, qHigh, key.blockLow, key.blockHigh, key.whole, shape.inputs);
        known = key.blockLow;
        Color color = tile == TileClass::full ? kFull : kEmpty;
        if (tile == TileClass::partial)
          color = view.admits(shape.qPosition + row, key.position, shape.inputs)
                      ? kPartialAdmitted
                      : kPartialExcluded;
        bool line = (row == begin && rowInPixels == 0) || (key.firstOfBlock && x % scale == 0);
        raster.set(left + x, top + y, grid && line && step == 1 ? kGrid : color);
      }
    }
  }

  int64_t width = 0, height = 0;

private:
  MaskView &view;
  const CallShape &shape;
  int64_t scale = 1, step = 1; // pixels per token, or tokens per pixel
  std::vector<KeyPlace> keys;
};

struct LegendEntry {
  Color color;
  std::string label;
};

std::vector<LegendEntry> legend(const Explanation &facts) {
  auto count = [](int64_t n) { return std::to_string(n); };
  return {{kFull, count(facts.tiles[int(TileClass::full)]) + " full tiles"},
          {kPartialAdmitted, count(facts.tiles[int(TileClass::partial)]) +
                                 " partial tiles (light: not admitted)"},
          {kEmpty, count(facts.tiles[int(TileClass::empty)]) + " empty tiles, never loaded"}};
}

std::string summary(const CallShape &shape, const Explanation &facts, const MaskView &view) {
  std::string text;
  llvm::raw_string_ostream(text) << shape.qLength << " queries (down) x " << shape.keyCount()
                                 << " keys (right), tiles " << view.blockQ << "x" << view.blockK
                                 << ", density " << llvm::format("%.4f", facts.density);
  return text;
}

constexpr int64_t kMargin = 16, kLine = 22, kTextWidth = 860;

} // namespace

std::string mlir::attn::drawPng(MaskView &view, const CallShape &shape, const Explanation &facts,
                                const PictureText &text) {
  MaskRaster mask(view, shape);
  int64_t top = kMargin + 2 * kLine + 4;
  Raster raster(std::max(mask.width, kTextWidth) + 2 * kMargin,
                top + mask.height + kMargin + 3 * kLine + kMargin);
  raster.write(kMargin, kMargin, text.title);
  raster.write(kMargin, kMargin + kLine, summary(shape, facts, view));
  mask.draw(raster, kMargin, top);
  int64_t y = top + mask.height + kMargin;
  for (const LegendEntry &entry : legend(facts)) {
    raster.fill(kMargin, y, 14, 14, kGrid);
    raster.fill(kMargin + 1, y + 1, 12, 12, entry.color);
    raster.write(kMargin + 24, y, entry.label);
    y += kLine;
  }
  return ::attn::encode_png(raster.pixels.data(), raster.width, raster.height);
}

static void writeEscaped(llvm::raw_ostream &os, StringRef text) {
  for (char c : text)
    switch (c) {
    case '<': os << "&lt;"; break;
    case '>': os << "&gt;"; break;
    case '&': os << "&amp;"; break;
    default: os << c;
    }
}

std::string mlir::attn::drawSvg(MaskView &view, const CallShape &shape, const Explanation &facts,
                                const PictureText &text) {
  MaskRaster mask(view, shape);
  Raster raster(mask.width, mask.height);
  mask.draw(raster, 0, 0);
  std::string png = ::attn::encode_png(raster.pixels.data(), raster.width, raster.height);
  int64_t top = kMargin + 2 * kLine + 4;
  int64_t width = std::max(mask.width, kTextWidth) + 2 * kMargin;
  int64_t height = top + mask.height + kMargin + 3 * kLine + kMargin;
  std::string out;
  llvm::raw_string_ostream os(out);
  os << "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"" << width << "\" height=\"" << height
     << "\" font-family=\"monospace\" font-size=\"15\" role=\"img\">\n<title>";
  writeEscaped(os, text.title);
  os << "</title>\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n";
  auto label = [&](int64_t x, int64_t y, StringRef line) {
    os << "<text x=\"" << x << "\" y=\"" << y << "\" fill=\"#282828\">";
    writeEscaped(os, line);
    os << "</text>\n";
  };
  label(kMargin, kMargin + 12, text.title);
  label(kMargin, kMargin + kLine + 12, summary(shape, facts, view));
  os << "<image x=\"" << kMargin << "\" y=\"" << top << "\" width=\"" << mask.width
     << "\" height=\"" << mask.height << "\" href=\"data:image/png;base64,"
     << llvm::encodeBase64(png) << "\"/>\n";
  int64_t y = top + mask.height + kMargin;
  for (const LegendEntry &entry : legend(facts)) {
    os << llvm::format("<rect x=\"%d\" y=\"%d\" width=\"14\" height=\"14\" fill=\"#%02x%02x%02x\" "
                       "stroke=\"#ccc\"/>\n",
                       int(kMargin), int(y), entry.color.r, entry.color.g, entry.color.b);
    label(kMargin + 24, y + 12, entry.label);
    y += kLine;
  }
  os << "</svg>\n";
  return out;
}
