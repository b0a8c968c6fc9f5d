// Samples the mask: one pair per pixel, or several where a pixel covers many.
#include "compiler/explain/MaskRaster.h"

#include <algorithm>
#include <array>

using namespace mlir::attn;

static constexpr int64_t kSide = 1000; // pixels at most
static constexpr int64_t kSamples = 3; // per side of a pixel that covers several tokens
static constexpr int64_t kVisible = 6; // pixels between two lines of the grid, at least

MaskRaster::MaskRaster(MaskView &view, const CallShape &shape) : view(view), shape(shape) {
  int64_t longest = std::max<int64_t>({shape.qLength, shape.keyCount(), 1});
  scale = std::max<int64_t>(1, kSide / longest);
  step = (longest + kSide - 1) / kSide;
  width = std::max<int64_t>(1, (shape.keyCount() * scale + step - 1) / step);
  height = std::max<int64_t>(1, (shape.qLength * scale + step - 1) / step);
  for (const Segment &segment : shape.segments)
    for (int64_t begin = 0; begin < segment.length; begin += view.blockK) {
      int64_t end = std::min(begin + view.blockK, segment.length);
      blocks.push_back({int64_t(blockOf.size()), segment.firstPosition + begin,
                        segment.firstPosition + end - 1, end - begin == view.blockK});
      for (int64_t k = begin; k < end; ++k) {
        blockOf.push_back(int64_t(blocks.size()) - 1);
        positionOf.push_back(segment.firstPosition + k);
      }
    }
}

void MaskRaster::classifyRow(int64_t block) {
  if (block == classifiedRow)
    return;
  classifiedRow = block;
  int64_t begin = block * view.blockQ, end = std::min(begin + view.blockQ, shape.qLength);
  classes.clear();
  for (const KeyBlock &keys : blocks)
    classes.push_back(view.classify(shape.qPosition + begin, shape.qPosition + end - 1, keys.low,
                                    keys.high, keys.whole, shape.inputs));
}

Color MaskRaster::colorAt(int64_t query, int64_t key) {
  switch (classes[blockOf[key]]) {
  case TileClass::full:
    return kFullTile;
  case TileClass::empty:
    return kEmptyTile;
  case TileClass::partial:
    break;
  }
  return view.admits(shape.qPosition + query, positionOf[key], shape.inputs) ? kPartialAdmitted
                                                                             : kPartialExcluded;
}

void MaskRaster::draw(Raster &raster, int64_t left, int64_t top) {
  int64_t samples = step == 1 ? 1 : kSamples;
  std::vector<std::array<int64_t, 4>> sums; // red, green, blue, count
  auto token = [&](int64_t pixel, int64_t sample) {
    return pixel * step / scale + step * (2 * sample + 1) / (2 * samples);
  };
  for (int64_t y = 0; y < height; ++y) {
    sums.assign(width, {0, 0, 0, 0});
    for (int64_t i = 0; i < samples; ++i) {
      int64_t query = token(y, i);
      if (query >= shape.qLength)
        break;
      classifyRow(query / view.blockQ);
      for (int64_t x = 0; x < width; ++x)
        for (int64_t j = 0; j < samples; ++j) {
          int64_t key = token(x, j);
          if (key >= int64_t(blockOf.size()))
            break;
          Color color = colorAt(query, key);
          auto &sum = sums[x];
          sum[0] += color.r, sum[1] += color.g, sum[2] += color.b, ++sum[3];
        }
    }
    for (int64_t x = 0; x < width; ++x)
      if (auto &sum = sums[x]; sum[3] != 0)
        raster.set(left + x, top + y,
                   {uint8_t(sum[0] / sum[3]), uint8_t(sum[1] / sum[3]), uint8_t(sum[2] / sum[3])});
  }
}

bool MaskRaster::gridIsVisible() const {
  return pixelOf(view.blockQ) >= kVisible && pixelOf(view.blockK) >= kVisible;
}

std::vector<int64_t> MaskRaster::rowLines() const {
  std::vector<int64_t> lines;
  for (int64_t q = 0; q < shape.qLength && gridIsVisible(); q += view.blockQ)
    lines.push_back(pixelOf(q));
  return lines;
}

std::vector<int64_t> MaskRaster::columnLines() const {
  std::vector<int64_t> lines;
  for (const KeyBlock &block : blocks)
    if (gridIsVisible())
      lines.push_back(pixelOf(block.index));
  return lines;
}
