// Encodes 8-bit RGB pictures as PNG, without a compression library.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace attn {

// `pixels` holds height rows of width * 3 bytes, red first. Returns the bytes of
// a PNG file; runs of equal rows and colours compress well, noise does not.
std::string encode_png(const uint8_t *pixels, size_t width, size_t height);

} // namespace attn
