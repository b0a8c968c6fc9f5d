// The writers that need no other program, and the choice among all of them.
#include "runtime/stream/frame_writer.h"

#include "runtime/base/write_file.h"
#include "runtime/stream/ffmpeg_writer.h"
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <sys/stat.h>

namespace attn::stream {

namespace {

Status file_error(const std::string &path, const char *what) {
  return Status::environment("cannot ", what, ": ", std::strerror(errno)).at(path);
}

// A file that is complete after every flush and closed once.
class OutputFile {
public:
  ~OutputFile() {
    if (file_ && file_ != stdout)
      std::fclose(file_);
  }
  Status open(const std::string &path) {
    path_ = path;
    file_ = path == "-" ? stdout : std::fopen(path.c_str(), "wb");
    return file_ ? Status() : file_error(path, "write it");
  }
  Status write(const void *data, size_t bytes) {
    if (std::fwrite(data, 1, bytes, file_) != bytes)
      return file_error(path_, "write it");
    return {};
  }
  Status rewrite_start(const void *data, size_t bytes) {
    if (std::fseek(file_, 0, SEEK_SET))
      return file_error(path_, "rewrite its header");
    return write(data, bytes);
  }
  Status close() {
    FILE *file = file_;
    file_ = nullptr;
    if (file && (file == stdout ? std::fflush(file) : std::fclose(file)))
      return file_error(path_, "write it");
    return {};
  }

private:
  std::string path_;
  FILE *file_ = nullptr;
};

class PngFolder final : public FrameWriter {
public:
  PngFolder(std::string folder, int64_t scale) : folder_(std::move(folder)), scale_(scale) {}
  Status open() {
    while (folder_.size() > 1 && folder_.back() == '/')
      folder_.pop_back();
    if (::mkdir(folder_.c_str(), 0777) && errno != EEXIST)
      return file_error(folder_, "create the folder");
    struct stat info;
    if (::stat(folder_.c_str(), &info) || !S_ISDIR(info.st_mode))
      return Status::environment("is no folder; name a new folder, or a file that ends in .mp4, "
                                 ".gif, .webm, .mkv, .y4m or .npy")
          .at(folder_);
    return {};
  }
  Status write(const Picture &frame) override {
    enlarge(frame, scale_, large_);
    std::vector<uint8_t> png = encode_png(large_);
    char name[32];
    std::snprintf(name, sizeof name, "/frame_%06llu.png",
                  static_cast<unsigned long long>(count_++));
    return write_file(folder_ + name, {std::as_bytes(std::span<const uint8_t>(png))});
  }
  Status finish() override { return {}; }

private:
  std::string folder_;
  int64_t scale_;
  uint64_t count_ = 0;
  Picture large_;
};

// uint8 [1, frames, height, width, 3]; the header's room for the count is filled
// in again after every frame's worth of data has gone out.
class NpyFrames final : public FrameWriter {
public:
  NpyFrames(const FrameFormat &format) : format_(format) {}
  Status open(const std::string &path) {
    ATTN_RETURN_IF_ERROR(file_.open(path));
    return file_.write(header().data(), kHeader);
  }
  Status write(const Picture &frame) override {
    ++count_;
    return file_.write(frame.rgb.data(), frame.rgb.size());
  }
  Status finish() override {
    ATTN_RETURN_IF_ERROR(file_.rewrite_start(header().data(), kHeader));
    return file_.close();
  }

private:
  static constexpr size_t kHeader = 128;
  std::string header() const {
    std::string text = concat("{'descr': '|u1', 'fortran_order': False, 'shape': (1, ", count_,
                              ", ", format_.height, ", ", format_.width, ", 3), }");
    text.resize(kHeader - 10 - 1, ' ');
    text += '\n';
    std::string out("\x93NUMPY\x01\x00", 8);
    out += static_cast<char>(text.size() & 0xff);
    out += static_cast<char>(text.size() >> 8);
    return out + text;
  }
  FrameFormat format_;
  OutputFile file_;
  uint64_t count_ = 0;
};

// YUV4MPEG2, 4:4:4, BT.601 limited range.
class Y4m final : public FrameWriter {
public:
  Y4m(const FrameFormat &format) : format_(format) {}
  Status open(const std::string &path) {
    ATTN_RETURN_IF_ERROR(file_.open(path));
    std::string header =
        concat("YUV4MPEG2 W", format_.width * format_.scale, " H", format_.height * format_.scale,
               " F", static_cast<int64_t>(std::lround(format_.fps * 1000)), ":1000 Ip A1:1 C444\n");
    return file_.write(header.data(), header.size());
  }
  Status write(const Picture &frame) override {
    enlarge(frame, format_.scale, large_);
    const size_t n = static_cast<size_t>(large_.width * large_.height);
    planes_.resize(3 * n);
    for (size_t i = 0; i < n; ++i) {
      int r = large_.rgb[3 * i], g = large_.rgb[3 * i + 1], b = large_.rgb[3 * i + 2];
      planes_[i] = static_cast<uint8_t>(((66 * r + 129 * g + 25 * b + 128) >> 8) + 16);
      planes_[n + i] = static_cast<uint8_t>(((-38 * r - 74 * g + 112 * b + 128) >> 8) + 128);
      planes_[2 * n + i] = static_cast<uint8_t>(((112 * r - 94 * g - 18 * b + 128) >> 8) + 128);
    }
    ATTN_RETURN_IF_ERROR(file_.write("FRAME\n", 6));
    return file_.write(planes_.data(), planes_.size());
  }
  Status finish() override { return file_.close(); }

private:
  FrameFormat format_;
  OutputFile file_;
  Picture large_;
  std::vector<uint8_t> planes_;
};

} // namespace

Result<std::unique_ptr<FrameWriter>> open_frame_writer(const std::string &path,
                                                       const FrameFormat &format) {
  for (const char *ending : {".mp4", ".gif", ".webm", ".mkv"})
    if (path.ends_with(ending)) {
      ATTN_RETURN_IF_ERROR(check_folder_of(path)); // ffmpeg would tell at the end
      return open_ffmpeg_writer(path, format);
    }
  if (path.ends_with(".npy")) {
    auto writer = std::make_unique<NpyFrames>(format);
    ATTN_RETURN_IF_ERROR(writer->open(path));
    return std::unique_ptr<FrameWriter>(std::move(writer));
  }
  if (path == "-" || path.ends_with(".y4m")) {
    auto writer = std::make_unique<Y4m>(format);
    ATTN_RETURN_IF_ERROR(writer->open(path));
    return std::unique_ptr<FrameWriter>(std::move(writer));
  }
  std::string ending = std::filesystem::path(path).extension().string();
  if (std::error_code ignored; !ending.empty() && !std::filesystem::is_directory(path, ignored))
    return Status::usage("frames are not written as ", ending,
                         "; name a file that ends in .mp4, .gif, .webm, .mkv, .y4m or .npy, - for "
                         "y4m on standard output, or a folder for PNG files, with a / behind it if "
                         "its name has a dot")
        .at(path);
  auto writer = std::make_unique<PngFolder>(path, format.scale);
  ATTN_RETURN_IF_ERROR(writer->open());
  return std::unique_ptr<FrameWriter>(std::move(writer));
}

} // namespace attn::stream
