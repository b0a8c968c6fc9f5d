// Writes the state after each block as .npy files, so that another runtime can
// be started from it: FOLDER/NNNNN/{x0, CACHE...}.npy.
#pragma once

#include "runtime/stream/streamer.h"
#include <string>

namespace attn::tool {

Status dump_block(const std::string &folder, stream::Streamer &streamer,
                  std::span<const float> block);

// What every pass of the last block was given and made, of which the streamer kept
// records: FOLDER/NNNNN/{sample_II, prediction_II}.npy, and passes.json in the same order.
Status dump_passes(const std::string &folder, const stream::Streamer &streamer);

} // namespace attn::tool
