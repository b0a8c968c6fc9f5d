// Draws a mask with its tile grid and tile classes, as PNG or SVG.
#pragma once

#include "compiler/explain/Explain.h"

#include <string>

namespace mlir::attn {

struct PictureText {
  std::string title; // the spec's name and shape
};

/// Rows are queries, columns are keys, from the top left; at most about 1,000
/// pixels a side, so that one pixel covers several pairs in long sequences.
std::string drawPng(MaskView &view, const CallShape &shape, const Explanation &facts,
                    const PictureText &text);
std::string drawSvg(MaskView &view, const CallShape &shape, const Explanation &facts,
                    const PictureText &text);

} // namespace mlir::attn
