// Where frames go: a video file through ffmpeg, a folder of PNG files, a NumPy
// array, or y4m on standard output. Pictures in, files out.
#pragma once

#include "runtime/stream/picture.h"
#include <memory>

namespace attn::stream {

struct FrameFormat {
  int64_t width = 0, height = 0; // of the frames written, before enlargement
  double fps = 24;
  int64_t scale = 1; // whole-number enlargement; .npy files keep the frames as they are
};

class FrameWriter {
public:
  virtual ~FrameWriter() = default;
  virtual Status write(const Picture &frame) = 0;
  // Completes the file. What was written before a failure stays readable where
  // the format allows it.
  virtual Status finish() = 0;
};

// By the ending of `path`: .mp4 .gif .webm .mkv (ffmpeg), .npy, .y4m, "-" (y4m on
// standard output), otherwise a folder, which is created unless it is there; a name with
// another ending is no new folder's.
Result<std::unique_ptr<FrameWriter>> open_frame_writer(const std::string &path,
                                                       const FrameFormat &format);

} // namespace attn::stream
