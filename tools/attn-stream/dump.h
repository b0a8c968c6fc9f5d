// Writes the state after each block as .npy files, so that another runtime can
// be started from it: FOLDER/NNNNN/{x0, CACHE...}.npy.
#pragma once

#include "runtime/stream/streamer.h"
#include <string>

namespace attn::tool {

Status dump_block(const std::string &folder, stream::Streamer &streamer,
                  std::span<const float> block);

} // namespace attn::tool
