// A bitmap font for the labels of pictures: five columns, seven rows, and two
// more below the line.
#pragma once

#include <array>
#include <cstdint>

namespace mlir::attn {

constexpr int kGlyphWidth = 5, kGlyphHeight = 9;
using Glyph = std::array<uint16_t, kGlyphWidth>; // columns; bit 0 is the top row

/// A printable ASCII character; `?` for others.
Glyph glyph(char character);

} // namespace mlir::attn
