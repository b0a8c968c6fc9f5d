// A picture of 8-bit RGB pixels with the few drawing operations that a mask needs.
#pragma once

#include "llvm/ADT/StringRef.h"

#include <cstdint>
#include <vector>

namespace mlir::attn {

struct Color {
  uint8_t r, g, b;
};

struct Raster {
  int64_t width, height;
  std::vector<uint8_t> pixels; ///< rows of width * 3 bytes

  Raster(int64_t width, int64_t height)
      : width(width), height(height), pixels(width * height * 3, 255) {}

  void set(int64_t x, int64_t y, Color color);
  void darken(int64_t x, int64_t y); ///< for lines over what is there
  void fill(int64_t x, int64_t y, int64_t w, int64_t h, Color color);
  void write(int64_t x, int64_t y, llvm::StringRef text, Color ink);

  static constexpr int64_t kCharacter = 12; ///< pixels from one character to the next
};

} // namespace mlir::attn
