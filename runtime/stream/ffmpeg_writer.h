// Pipes raw frames into an ffmpeg process that writes a video file.
#pragma once

#include "runtime/stream/frame_writer.h"

namespace attn::stream {

Result<std::unique_ptr<FrameWriter>> open_ffmpeg_writer(const std::string &path,
                                                        const FrameFormat &format);

} // namespace attn::stream
