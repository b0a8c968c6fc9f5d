// The mask as pixels: which token a pixel shows, and its colour by tile class.
#pragma once

#include "compiler/explain/Explain.h"
#include "compiler/explain/Raster.h"

namespace mlir::attn {

constexpr Color kEmptyTile{243, 243, 240}, kFullTile{42, 111, 176};
constexpr Color kPartialAdmitted{232, 134, 46}, kPartialExcluded{252, 230, 205};

class MaskRaster {
public:
  MaskRaster(MaskView &view, const CallShape &shape);

  void draw(Raster &raster, int64_t left, int64_t top);

  /// The pixel where a token begins, from the mask's own corner.
  int64_t pixelOf(int64_t index) const { return index * scale / step; }
  /// Where tiles begin, in pixels; empty where tiles are too small to be seen.
  std::vector<int64_t> rowLines() const, columnLines() const;

  int64_t width = 0, height = 0;

private:
  struct KeyBlock {
    int64_t index, low, high; // of the call; positions
    bool whole;
  };
  void classifyRow(int64_t block);
  bool gridIsVisible() const;
  Color colorAt(int64_t query, int64_t key);

  MaskView &view;
  const CallShape &shape;
  int64_t scale = 1, step = 1; // pixels per token, or tokens per pixel
  std::vector<KeyBlock> blocks;
  std::vector<int64_t> blockOf, positionOf; // of the keys of the call
  std::vector<TileClass> classes;           // of the row of tiles below
  int64_t classifiedRow = -1;
};

} // namespace mlir::attn
