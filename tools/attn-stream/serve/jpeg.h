// Pictures as JPEG files, for the live page.
#pragma once

#include "runtime/stream/picture.h"
#include <string>

namespace attn::tool {

// Baseline, 4:4:4, appended to `out`. Fails only where memory is exhausted.
Status append_jpeg(const stream::Picture &picture, int quality, std::string &out);

} // namespace attn::tool
