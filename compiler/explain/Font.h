// A 5x7 bitmap font for the labels of pictures.
#pragma once

#include <cstdint>

namespace mlir::attn {

constexpr int kGlyphWidth = 5, kGlyphHeight = 7;

/// Five columns of a printable ASCII character; bit 0 is the top row.
const uint8_t *glyph(char character);

} // namespace mlir::attn
