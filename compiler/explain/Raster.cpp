// Pixels and letters.
#include "compiler/explain/Raster.h"

#include "compiler/explain/Font.h"

using namespace mlir::attn;

void Raster::set(int64_t x, int64_t y, Color color) {
  if (x < 0 || y < 0 || x >= width || y >= height)
    return;
  uint8_t *p = &pixels[(y * width + x) * 3];
  p[0] = color.r, p[1] = color.g, p[2] = color.b;
}

void Raster::darken(int64_t x, int64_t y) {
  if (x < 0 || y < 0 || x >= width || y >= height)
    return;
  for (int i = 0; i < 3; ++i) {
    uint8_t &channel = pixels[(y * width + x) * 3 + i];
    channel = uint8_t(channel * 3 / 4);
  }
}

void Raster::fill(int64_t x, int64_t y, int64_t w, int64_t h, Color color) {
  for (int64_t j = y; j < y + h; ++j)
    for (int64_t i = x; i < x + w; ++i)
      set(i, j, color);
}

void Raster::write(int64_t x, int64_t y, llvm::StringRef text, Color ink) {
  for (char character : text) {
    Glyph columns = glyph(character);
    for (int i = 0; i < kGlyphWidth; ++i)
      for (int j = 0; j < kGlyphHeight; ++j)
        if (columns[i] >> j & 1)
          fill(x + 2 * i, y + 2 * j, 2, 2, ink);
    x += kCharacter;
  }
}
