// Samples as pictures: f32 planes in, 8-bit RGB rows out, enlarged by whole factors.
#pragma once

#include "runtime/base/status.h"
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace attn::stream {

struct Picture {
  int64_t width = 0, height = 0;
  std::vector<uint8_t> rgb; // height * width * 3
};

// One frame (channels, height, width) with values in [low, high]; outside is
// clipped, 0.5 rounds to even. Writes to `out`, reusing its memory. With `to_rgb`, 3 rows of
// `channels` numbers, a colour is the sum of the channels times its row.
void to_picture(const float *sample, int64_t channels, int64_t height, int64_t width, float low,
                float high, Picture &out, std::span<const float> to_rgb = {});

// Every pixel becomes scale x scale.
void enlarge(const Picture &in, int64_t scale, Picture &out);

// A PNG file, uncompressed inside (stored blocks): exact, fast, no library.
std::vector<uint8_t> encode_png(const Picture &picture);

} // namespace attn::stream
