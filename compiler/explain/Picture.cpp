// Puts a mask's pixels, axes, legend and figures on a page.
#include "compiler/explain/Picture.h"

#include "compiler/explain/MaskRaster.h"
#include "runtime/base/png.h"

#include "llvm/Support/Base64.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/raw_ostream.h"

#include <algorithm>

using namespace mlir;
using namespace mlir::attn;

namespace {

constexpr Color kInk{40, 40, 40}, kFrame{120, 120, 120};
constexpr int64_t kMargin = 16, kLine = 24, kTick = 6, kLetterHeight = 18;

struct LegendEntry {
  Color color;
  std::string label;
};

std::vector<LegendEntry> legend(const Explanation &facts) {
  double all = double(facts.tiles[0]) + double(facts.tiles[1]) + double(facts.tiles[2]);
  auto count = [&](TileClass which, StringRef kind) {
    int64_t n = facts.tiles[int(which)];
    return llvm::formatv("{0} {1} tiles ({2:f1}%)", n, kind, all > 0 ? 100 * double(n) / all : 0)
        .str();
  };
  return {{kFullTile, count(TileClass::full, "full") + ", run without a mask"},
          {kPartialAdmitted, count(TileClass::partial, "partial") + ": admitted"},
          {kPartialExcluded, "not admitted, in partial tiles"},
          {kEmptyTile, count(TileClass::empty, "empty") + ", never loaded"}};
}

/// Where everything lies; the same for both formats.
struct Layout {
  Layout(MaskView &view, const CallShape &shape, const Explanation &facts,
         const PictureText &text)
      : mask(view, shape) {
    double all = double(shape.qLength) * double(shape.keyCount());
    lines.push_back(text.title);
    lines.push_back(llvm::formatv("{0} queries (down) x {1} keys (right), head {2}", shape.qLength,
                                  shape.keyCount(), shape.inputs.head)
                        .str());
    lines.push_back(llvm::formatv("density {0:f4}, visited {1:f4}, tiles {2}x{3}{4}",
                                  facts.density, all > 0 ? facts.visitedPairs / all : 0,
                                  view.blockQ, view.blockK,
                                  mask.columnLines().empty() ? " (too small for a grid)" : "")
                        .str());
    entries = legend(facts);
    size_t longest = 0;
    for (const PictureTick &tick : text.queries)
      longest = std::max(longest, tick.label.size());
    left = kMargin + int64_t(longest) * Raster::kCharacter + kTick + 4;
    top = kMargin + int64_t(lines.size()) * kLine + kLetterHeight + kTick + 6;
    int64_t textWidth = 0;
    for (const std::string &line : lines)
      textWidth = std::max(textWidth, int64_t(line.size()) * Raster::kCharacter);
    for (const LegendEntry &entry : entries)
      textWidth = std::max(textWidth, int64_t(entry.label.size() + 2) * Raster::kCharacter);
    width = std::max(left + mask.width, kMargin + textWidth) + kMargin + Raster::kCharacter * 2;
    height = top + mask.height + kMargin + int64_t(entries.size()) * kLine + kMargin;
    // Labels that would touch the one before are left out.
    int64_t free = 0;
    for (const PictureTick &tick : text.queries)
      if (int64_t y = mask.pixelOf(tick.index); y >= free) {
        rows.push_back({y, tick.label});
        free = y + kLetterHeight + 2;
      }
    free = 0;
    for (const PictureTick &tick : text.keys)
      if (int64_t x = mask.pixelOf(tick.index); x >= free) {
        columns.push_back({x, tick.label});
        free = x + int64_t(tick.label.size() + 1) * Raster::kCharacter;
      }
  }

  MaskRaster mask;
  std::vector<std::string> lines;
  std::vector<LegendEntry> entries;
  std::vector<std::pair<int64_t, std::string>> rows, columns;
  int64_t left, top, width, height;
};

} // namespace

std::string mlir::attn::drawPng(MaskView &view, const CallShape &shape, const Explanation &facts,
                                const PictureText &text) {
  Layout page(view, shape, facts, text);
  MaskRaster &mask = page.mask;
  Raster raster(page.width, page.height);
  int64_t y = kMargin;
  for (const std::string &line : page.lines) {
    raster.write(kMargin, y, line, kInk);
    y += kLine;
  }
  mask.draw(raster, page.left, page.top);
  for (int64_t line : mask.rowLines())
    for (int64_t x = 0; x < mask.width; ++x)
      raster.darken(page.left + x, page.top + line);
  for (int64_t line : mask.columnLines())
    for (int64_t row = 0; row < mask.height; ++row)
      raster.darken(page.left + line, page.top + row);
  for (auto &[row, label] : page.rows) {
    raster.fill(page.left - kTick, page.top + row, kTick, 1, kFrame);
    raster.write(page.left - kTick - 4 - int64_t(label.size()) * Raster::kCharacter,
                 page.top + row - 6, label, kInk);
  }
  for (auto &[column, label] : page.columns) {
    raster.fill(page.left + column, page.top - kTick, 1, kTick, kFrame);
    raster.write(page.left + column, page.top - kTick - kLetterHeight - 2, label, kInk);
  }
  y = page.top + mask.height + kMargin;
  for (const LegendEntry &entry : page.entries) {
    raster.fill(kMargin, y, 14, 14, kFrame);
    raster.fill(kMargin + 1, y + 1, 12, 12, entry.color);
    raster.write(kMargin + 24, y, entry.label, kInk);
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
  Layout page(view, shape, facts, text);
  MaskRaster &mask = page.mask;
  Raster raster(mask.width, mask.height);
  mask.draw(raster, 0, 0);
  std::string png = ::attn::encode_png(raster.pixels.data(), raster.width, raster.height);
  std::string out;
  llvm::raw_string_ostream os(out);
  os << "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"" << page.width << "\" height=\""
     << page.height << "\" viewBox=\"0 0 " << page.width << " " << page.height
     << "\" font-family=\"monospace\" font-size=\"16\" role=\"img\">\n<title>";
  writeEscaped(os, text.title);
  os << "</title>\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n";
  auto label = [&](int64_t x, int64_t y, StringRef line, StringRef anchor) {
    os << "<text x=\"" << x << "\" y=\"" << y << "\" text-anchor=\"" << anchor
       << "\" fill=\"#282828\">";
    writeEscaped(os, line);
    os << "</text>\n";
  };
  auto line = [&](int64_t x1, int64_t y1, int64_t x2, int64_t y2, StringRef stroke) {
    os << "<path d=\"M" << x1 << " " << y1 << "L" << x2 << " " << y2 << "\" stroke=\"" << stroke
       << "\"/>\n";
  };
  int64_t y = kMargin + 14;
  for (const std::string &text : page.lines) {
    label(kMargin, y, text, "start");
    y += kLine;
  }
  os << "<image x=\"" << page.left << "\" y=\"" << page.top << "\" width=\"" << mask.width
     << "\" height=\"" << mask.height
     << "\" style=\"image-rendering:pixelated\" href=\"data:image/png;base64,"
     << llvm::encodeBase64(png) << "\"/>\n";
  int64_t right = page.left + mask.width, bottom = page.top + mask.height;
  for (int64_t row : mask.rowLines())
    line(page.left, page.top + row, right, page.top + row, "rgba(0,0,0,.25)");
  for (int64_t column : mask.columnLines())
    line(page.left + column, page.top, page.left + column, bottom, "rgba(0,0,0,.25)");
  for (auto &[row, text] : page.rows) {
    line(page.left - kTick, page.top + row, page.left, page.top + row, "#787878");
    label(page.left - kTick - 4, page.top + row + 5, text, "end");
  }
  for (auto &[column, text] : page.columns) {
    line(page.left + column, page.top - kTick, page.left + column, page.top, "#787878");
    label(page.left + column, page.top - kTick - 4, text, "start");
  }
  y = bottom + kMargin;
  for (const LegendEntry &entry : page.entries) {
    os << llvm::format("<rect x=\"%d\" y=\"%d\" width=\"14\" height=\"14\" fill=\"#%02x%02x%02x\" "
                       "stroke=\"#787878\"/>\n",
                       int(kMargin), int(y), entry.color.r, entry.color.g, entry.color.b);
    label(kMargin + 24, y + 12, entry.label, "start");
    y += kLine;
  }
  os << "</svg>\n";
  return out;
}
