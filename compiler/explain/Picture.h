// Draws a mask with its tile grid and tile classes, as PNG or SVG.
#pragma once

#include "compiler/explain/Explain.h"

#include <string>
#include <vector>

namespace mlir::attn {

/// A label beside the row, or above the column, of a token.
struct PictureTick {
  int64_t index = 0; ///< of the query or key within the call
  std::string label;
};

struct PictureText {
  std::string title; ///< the spec's name and target
  std::vector<PictureTick> queries, keys;
};

/// Rows are queries, columns are keys, from the top left; at most about 1,000
/// pixels a side. In long sequences a pixel averages several pairs of its area.
std::string drawPng(MaskView &view, const CallShape &shape, const Explanation &facts,
                    const PictureText &text);
std::string drawSvg(MaskView &view, const CallShape &shape, const Explanation &facts,
                    const PictureText &text);

} // namespace mlir::attn
