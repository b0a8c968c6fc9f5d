// Starts ffmpeg in a process group of its own, so that Ctrl-C ends the stream and
// not the encoder: closing the pipe lets it complete the file.
#include "runtime/stream/ffmpeg_writer.h"

#include <cerrno>
#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

namespace attn::stream {

namespace {

class FfmpegWriter final : public FrameWriter {
public:
  FfmpegWriter(std::string path, const FrameFormat &format)
      : path_(std::move(path)), format_(format) {}
  ~FfmpegWriter() override { (void)finish(); }

  Status start() {
    // An encoder that died is a failed write, not a signal that ends us.
    std::signal(SIGPIPE, SIG_IGN);
    std::string size = concat(format_.width * format_.scale, "x", format_.height * format_.scale);
    std::string rate = concat(format_.fps);
    std::vector<std::string> words = {
        "ffmpeg",   "-hide_banner", "-loglevel", "error", "-nostdin", "-y", "-f", "rawvideo",
        "-pix_fmt", "rgb24",        "-s",        size,    "-r",       rate, "-i", "pipe:0"};
    auto add = [&](std::initializer_list<const char *> more) {
      words.insert(words.end(), more.begin(), more.end());
    };
    if (path_.ends_with(".gif"))
      add({"-vf", "split[a][b];[a]palettegen[p];[b][p]paletteuse"});
    else if (path_.ends_with(".webm"))
      add({"-pix_fmt", "yuv420p", "-vf", "pad=ceil(iw/2)*2:ceil(ih/2)*2", "-deadline", "realtime"});
    else // sizes must be even for 4:2:0
      add({"-c:v", "libx264", "-preset", "veryfast", "-crf", "16", "-pix_fmt", "yuv420p", "-vf",
           "pad=ceil(iw/2)*2:ceil(ih/2)*2"});
    words.push_back(path_[0] == '-' ? "./" + path_ : path_);
    std::vector<char *> arguments;
    for (std::string &w : words)
      arguments.push_back(w.data());
    arguments.push_back(nullptr);

    int in[2], messages[2], launched[2];
    if (::pipe2(in, O_CLOEXEC))
      return pipe_error();
    if (::pipe2(messages, O_CLOEXEC)) {
      close_both(in);
      return pipe_error();
    }
    if (::pipe2(launched, O_CLOEXEC)) {
      close_both(in);
      close_both(messages);
      return pipe_error();
    }
    child_ = ::fork();
    if (child_ == 0) {
      ::setpgid(0, 0);
      ::dup2(in[0], 0);
      ::dup2(messages[1], 2);
      ::dup2(messages[1], 1);
      ::execvp("ffmpeg", arguments.data());
      int reason = errno;
      ssize_t ignored = ::write(launched[1], &reason, sizeof reason);
      ::_exit(ignored == 0 ? 126 : 127);
    }
    ::close(in[0]);
    ::close(messages[1]);
    ::close(launched[1]);
    pipe_ = in[1];
    messages_ = messages[0];
    int reason = 0;
    bool failed = child_ < 0;
    if (!failed) // the pipe closes by itself when ffmpeg has started
      failed = ::read(launched[0], &reason, sizeof reason) == sizeof reason;
    else
      reason = errno;
    ::close(launched[0]);
    if (!failed)
      return {};
    (void)finish();
    return Status::environment("cannot start ffmpeg (", std::strerror(reason),
                               "): install it (apt-get install ffmpeg), or write a folder of PNG "
                               "files, .npy or .y4m")
        .at(path_);
  }

  Status write(const Picture &frame) override {
    enlarge(frame, format_.scale, large_);
    const uint8_t *data = large_.rgb.data();
    size_t left = large_.rgb.size();
    while (left) {
      ssize_t n = ::write(pipe_, data, left);
      if (n < 0 && errno == EINTR)
        continue;
      if (n <= 0) {
        Status status = finish();
        return status.ok() ? Status::environment("ffmpeg stopped reading").at(path_) : status;
      }
      data += n;
      left -= static_cast<size_t>(n);
    }
    return {};
  }

  Status finish() override {
    if (pipe_ >= 0)
      ::close(pipe_);
    pipe_ = -1;
    std::string said;
    if (messages_ >= 0) {
      char text[512];
      for (;;) {
        ssize_t n = ::read(messages_, text, sizeof text);
        if (n < 0 && errno == EINTR)
          continue;
        if (n <= 0)
          break;
        if (said.size() < 2000)
          said.append(text, static_cast<size_t>(n));
      }
      ::close(messages_);
      messages_ = -1;
    }
    if (child_ <= 0)
      return {};
    int state = 0;
    while (::waitpid(child_, &state, 0) < 0 && errno == EINTR) {
    }
    child_ = -1;
    // It exits with 0 after a full disk cut some containers short, but it says so.
    if (WIFEXITED(state) && WEXITSTATUS(state) == 0 && said.empty())
      return {};
    while (!said.empty() && said.back() == '\n')
      said.pop_back();
    for (char &c : said)
      c = c == '\n' ? ';' : c;
    return Status::environment("ffmpeg failed", said.empty() ? "" : ": ", said).at(path_);
  }

private:
  static void close_both(int (&ends)[2]) {
    ::close(ends[0]);
    ::close(ends[1]);
  }
  static Status pipe_error() {
    return Status::environment("cannot make a pipe to ffmpeg: ", std::strerror(errno));
  }

  std::string path_;
  FrameFormat format_;
  pid_t child_ = -1;
  int pipe_ = -1, messages_ = -1;
  Picture large_;
};

} // namespace

Result<std::unique_ptr<FrameWriter>> open_ffmpeg_writer(const std::string &path,
                                                        const FrameFormat &format) {
  auto writer = std::make_unique<FfmpegWriter>(path, format);
  ATTN_RETURN_IF_ERROR(writer->start());
  return std::unique_ptr<FrameWriter>(std::move(writer));
}

} // namespace attn::stream
