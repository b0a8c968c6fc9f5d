// attn-stream: a model, its compiled attention kernels and prompts in; a video
// and the figures of the stream out.
#include "runtime/base/text.h"
#include "runtime/base/thread_pool.h"
#include "runtime/base/write_file.h"
#include "runtime/stream/frame_writer.h"
#include "runtime/stream/stats.h"
#include "runtime/stream/streamer.h"
#include "tools/attn-stream/dump.h"
#include "tools/attn-stream/progress.h"
#include "tools/support/run_tool.h"
#ifdef ATTN_SERVE
#include "tools/attn-stream/serve/live.h"
#endif
#include <charconv>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <optional>

using namespace attn;

namespace {

volatile std::sig_atomic_t interrupted = 0;
extern "C" void on_interrupt(int signal_number) {
  interrupted = 1;
  if (signal_number != SIGHUP)           // of which a shell adds one to the terminal's
    std::signal(signal_number, SIG_DFL); // the second one ends the process
}

struct Options {
  stream::StreamerOptions stream;
  std::optional<std::string> prompt; // absent: the model's
  std::string out, stats, dump, dump_passes, recache = "full", precision = "f32", kv = "auto";
  std::vector<std::string> switches;
  uint64_t frames = 240;
  int64_t scale = 0;
  bool no_sink = false, quiet = false, profile = false;
  // The live page.
  std::optional<int> serve; // port
  std::string bind = "127.0.0.1", token;
  bool unpaced = false;
};

struct Switch {
  uint64_t frame;
  std::string prompt;
};

Status parse_switches(const Options &options, std::vector<Switch> &out) {
  for (const std::string &text : options.switches) {
    size_t colon = text.find(':');
    uint64_t frame = 0;
    auto [end, error] =
        std::from_chars(text.data(), text.data() + std::min(colon, text.size()), frame);
    if (colon == std::string::npos || error != std::errc() || end != text.data() + colon)
      return Status::usage("--switch is '", text,
                           "'; it must be FRAME:PROMPT, such as 40:\"blue square right\"");
    if (!out.empty() && frame <= out.back().frame)
      return Status::usage("--switch frames must rise: ", out.back().frame, " is followed by ",
                           frame);
    out.push_back({frame, text.substr(colon + 1)});
  }
  return {};
}

std::string quoted(const std::string &text) {
  std::string out = "\"";
  for (char c : text)
    out += c == '"' || c == '\\' ? std::string("\\") + c : std::string(1, c);
  return out + "\"";
}

// FRAMES.json beside FRAMES.npy: which prompt holds from which frame on.
Status write_schedule(const Options &options, const std::string &first,
                      const std::vector<Switch> &switches) {
  std::string text = "{\"streams\": [{\"0\": " + quoted(first);
  for (const Switch &s : switches)
    text += concat(", \"", s.frame, "\": ", quoted(s.prompt));
  text += "}]}\n";
  std::string path = options.out.substr(0, options.out.size() - 4) + ".json";
  return write_file(path, {std::as_bytes(std::span<const char>(text))});
}

void print_profile(stream::Streamer &streamer) {
  std::vector<graph::NodeTime> times = streamer.session().times();
  std::sort(times.begin(), times.end(),
            [](const auto &a, const auto &b) { return a.nanoseconds > b.nanoseconds; });
  for (const graph::NodeTime &t : times)
    if (t.runs)
      std::fprintf(stderr, "%10.3f ms %8llu runs %8.1f us  %s\n", double(t.nanoseconds) * 1e-6,
                   static_cast<unsigned long long>(t.runs),
                   double(t.nanoseconds) * 1e-3 / double(t.runs), t.label.c_str());
}

// Frames into the file, as fast as they come.
Status make_frames(const Options &options, stream::Streamer &streamer, stream::FrameWriter *writer,
                   stream::StreamStats &stats) {
  using Clock = std::chrono::steady_clock;
  const stream::Description &d = streamer.description();
  tool::Progress progress(options.frames, options.quiet);
  stream::Picture picture;
  uint64_t written = 0;
  Status status;
  while (status.ok() && !interrupted && (options.frames == 0 || written < options.frames)) {
    auto block = streamer.next_block();
    if (!block.ok()) {
      status = block.status();
      break;
    }
    auto start = Clock::now();
    int64_t frames = d.frames_per_block;
    for (int64_t f = 0; f < frames && status.ok(); ++f) {
      if (options.frames && written >= options.frames)
        break;
      stream::to_picture(block->data() + f * d.frame_elements(), d.sample_shape[0],
                         d.sample_shape[1], d.sample_shape[2], d.range_low, d.range_high, picture,
                         d.to_rgb);
      if (writer)
        status = writer->write(picture);
      ++written;
    }
    stats.block(streamer.times(), frames,
                std::chrono::duration<double>(Clock::now() - start).count());
    if (status.ok() && !options.dump.empty())
      status = tool::dump_block(options.dump, streamer, *block);
    if (status.ok() && !options.dump_passes.empty())
      status = tool::dump_passes(options.dump_passes, streamer);
    progress.update(written, stats.end_to_end_fps());
  }
  progress.finish();
  return status;
}

#ifdef ATTN_SERVE
Status serve_frames(const Options &options, stream::Streamer &streamer, stream::FrameWriter *writer,
                    stream::StreamStats &stats, const std::string &first,
                    const std::vector<Switch> &switches) {
  std::vector<tool::PendingPrompt> pending;
  for (const Switch &s : switches)
    pending.push_back({s.prompt, s.frame});
  tool::LiveOptions live;
  live.server.port = static_cast<uint16_t>(*options.serve);
  live.server.address = options.bind;
  live.server.token = options.token;
  live.frames = options.frames;
  live.paced = !options.unpaced;
  live.quiet = options.quiet;
  tool::Live page(streamer, writer, stats, first, std::move(pending), options.stream.seed);
  Status status = page.run(live);
  interrupted = page.stopped();
  return status;
}
#endif

// What is only written at the end is not to fail there for want of a folder.
Status check_outputs(const Options &options) {
  if (options.scale && options.out.ends_with(".npy"))
    return Status::usage("--scale enlarges pictures; .npy files keep the frames as they are, leave "
                         "it out");
  if (!options.stats.empty())
    ATTN_RETURN_IF_ERROR(check_folder_of(options.stats));
  for (const std::string &folder : {options.dump, options.dump_passes}) {
    std::error_code error;
    if (!folder.empty())
      std::filesystem::create_directories(folder, error);
    if (error)
      return Status::environment("cannot create the folder: ", error.message()).at(folder);
  }
  return {};
}

// The model's own files, which the command line does not name.
Status check_kept(const Options &options, const stream::Description &d) {
  for (const std::string &to : {options.out, options.stats})
    for (const std::string &kept : {d.path, d.vocabulary_path}) {
      std::error_code error;
      if (std::filesystem::is_regular_file(to, error) &&
          std::filesystem::equivalent(to, kept, error))
        return Status::usage("would overwrite a file of the model; write to another").at(to);
    }
  return {};
}

// A prompt of the command line that the model does not take.
Status of_option(const Status &status, const std::string &option) {
  return status.code() == StatusCode::invalid_input ? Status::usage(status.message()).at(option)
                                                    : status;
}

Status run(const Options &options) {
  stream::StreamStats stats;
  stats.start();
  std::vector<Switch> switches;
  ATTN_RETURN_IF_ERROR(parse_switches(options, switches));
  ATTN_RETURN_IF_ERROR(check_outputs(options));
  for (const Switch &s : switches)
    if (options.frames && s.frame >= options.frames && !options.quiet)
      std::fprintf(stderr, "attn-stream: note: --switch %llu comes after the last of %llu frames\n",
                   static_cast<unsigned long long>(s.frame),
                   static_cast<unsigned long long>(options.frames));
  ATTN_ASSIGN_OR_RETURN(auto streamer, stream::Streamer::create(options.stream));
  if (const auto &plain = streamer->attention().plain; !plain.empty() && !options.quiet)
    std::fprintf(stderr, "attn-stream: note: attention nodes without a generated kernel: %s\n",
                 some_of(plain, 4, "\n  ").c_str());
  const stream::Description &d = streamer->description();
  ATTN_RETURN_IF_ERROR(check_kept(options, d));
  std::string first = options.prompt.value_or(d.default_prompt);
  // Every prompt is checked here, not when its turn comes: at the first block that
  // begins at its frame or later.
  ATTN_RETURN_IF_ERROR(options.prompt ? of_option(streamer->push_prompt(first), "--prompt")
                                      : streamer->push_prompt(first).at(d.path));
  const uint64_t per_block = static_cast<uint64_t>(d.frames_per_block);
  for (const Switch &s : switches)
    ATTN_RETURN_IF_ERROR(of_option(
        streamer->push_prompt(s.prompt, {}, s.frame / per_block + (s.frame % per_block != 0)),
        concat("--switch ", s.frame)));
  streamer->session().profile(options.profile);
  streamer->record_passes(!options.dump_passes.empty());

  stream::FrameFormat format;
  format.width = d.sample_shape[2];
  format.height = d.sample_shape[1];
  format.fps = d.fps;
  format.scale = options.scale ? options.scale : d.scale;
  std::unique_ptr<stream::FrameWriter> writer;
  if (!options.out.empty()) {
    ATTN_ASSIGN_OR_RETURN(writer, stream::open_frame_writer(options.out, format));
    if (options.out.ends_with(".npy"))
      ATTN_RETURN_IF_ERROR(write_schedule(options, first, switches));
  }
  Status status;
#ifdef ATTN_SERVE
  if (options.serve)
    status = serve_frames(options, *streamer, writer.get(), stats, first, switches);
  else
#endif
  {
    std::signal(SIGINT, on_interrupt);
    std::signal(SIGTERM, on_interrupt);
    if (std::signal(SIGHUP, on_interrupt) == SIG_IGN) // nohup
      std::signal(SIGHUP, SIG_IGN);
    status = make_frames(options, *streamer, writer.get(), stats);
  }
  // What was made so far is completed whatever went wrong.
  if (writer) {
    Status finished = writer->finish();
    if (status.ok())
      status = finished;
  }
  stats.finish(*streamer);
  ATTN_RETURN_IF_ERROR(status);
  if (options.profile)
    print_profile(*streamer);
  if (!options.quiet) {
    if (interrupted)
      std::fprintf(stderr, "interrupted; the file so far is complete\n");
    std::fprintf(stderr, "%s%s%s\n%s", d.name.c_str(), options.out.empty() ? "" : " -> ",
                 options.out.c_str(), stats.table().c_str());
  }
  if (!options.stats.empty()) {
    std::string json = stats.json();
    ATTN_RETURN_IF_ERROR(write_file(options.stats, {std::as_bytes(std::span<const char>(json))}));
  }
  return {};
}

} // namespace

int main(int argc, char **argv) {
  Options options;
  CLI::App app("Streams frames from an autoregressive video model while its prompt changes.",
               "attn-stream");
  app.footer("Example:\n  attn-stream demo/step.onnx demo.attnb --prompt \"red circle left\" \\\n"
             "      --switch 80:\"blue square right\" --frames 240 --out video.mp4\n"
             "  attn-stream demo.attnp --frames 0 --serve 8080\n" +
             std::string(tool::kExitCodeHelp));
  // A script's settings can be overridden at the end of its command line.
  app.option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  app.add_option("model", options.stream.model_path,
                 "the model: an ONNX file with stream.toml beside it, or a package (.attnp)")
      ->required();
  app.add_option("bundle", options.stream.bundle_path,
                 "compiled attention kernels (.attnb); a package has its own");
  app.add_option("--prompt", options.prompt, "first prompt; default: the model's. Several are mixed by weight: \"A:0.7 | B:0.3\"");
  app.add_option("--switch", options.switches,
                 "FRAME:PROMPT, a new prompt from that frame on (repeatable)")
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  app.add_option("--frames", options.frames, "frames to make; 0: until Ctrl-C")
      ->check(tool::whole_number(0, uint64_t(1) << 53))
      ->capture_default_str();
  app.add_option("--seed", options.stream.seed, "noise seed; the same seed gives the same frames")
      ->check(tool::whole_number(0, UINT64_MAX))
      ->capture_default_str();
  app.add_option("--device", options.stream.device, "cpu, vulkan[:n] or cuda[:n]")
      ->capture_default_str();
  app.add_option("--threads", options.stream.threads, "threads; 0: one per core")
      ->check(tool::whole_number(0, ThreadPool::kMost))
      ->capture_default_str();
  app.add_option("--out", options.out,
                 "video.mp4, .gif, .webm, .mkv, .y4m, .npy, - (y4m), or a folder for PNG files");
  app.add_option("--scale", options.scale,
                 "enlarge the pictures this many times; default: the model's")
      ->check(tool::whole_number(1, 64));
#ifdef ATTN_SERVE
  app.add_option("--serve", options.serve,
                 "serve the live stream as a web page on this port; 0: any free one")
      ->check(tool::whole_number(0, 65535));
  app.add_option("--bind", options.bind,
                 "address to serve on; elsewhere than on loopback a token is asked for")
      ->needs("--serve")
      ->capture_default_str();
  app.add_option("--token", options.token, "ask viewers for this token; default: see --bind")
      ->needs("--serve");
  app.add_flag("--unpaced", options.unpaced, "serve frames as fast as they can be made")
      ->needs("--serve");
#endif
  app.add_option("--stats", options.stats, "write the figures as JSON");
  app.add_option("--recache", options.recache,
                 "on a new prompt: full (re-run kept frames as the model says), window (all but "
                 "the sinks), stale (keep), flush (forget)")
      ->check(CLI::IsMember({"full", "window", "stale", "flush"}))
      ->capture_default_str();
  app.add_flag("--no-sink", options.no_sink, "keep no first frames beyond the window");
  app.add_option(
         "--precision", options.precision,
         "of matrix products with weights: f32, or bf16 (processors with AVX512-BF16 or AMX)")
      ->check(CLI::IsMember({"f32", "bf16"}))
      ->capture_default_str();
  app.add_option(
         "--kv", options.kv,
         "how keys and values are cached: f32, int8, or f32 unless the kernels take int8 alone")
      ->check(CLI::IsMember({"auto", "f32", "int8"}))
      ->capture_default_str();
  app.add_option("--variant", options.stream.variant, "force a kernel variant, such as f32");
  app.add_option("--description", options.stream.description_path, "another stream.toml");
  app.add_flag("--reference-attention", options.stream.allow_reference,
               "run attention nodes without a compiled kernel by the slow reference");
  app.add_option("--dump", options.dump,
                 "folder for the state after every block, to compare runtimes");
  app.add_option("--dump-passes", options.dump_passes,
                 "folder for what every pass of the model was given and made");
  app.add_flag("--profile", options.profile, "time every node of the graph");
  app.add_flag("--quiet", options.quiet, "print errors only");
  return tool::run_tool(app, argc, argv, [&] {
    options.stream.bf16 = options.precision == "bf16";
    options.stream.cache_type = options.kv == "int8"  ? stream::CacheType::int8
                                : options.kv == "f32" ? stream::CacheType::f32
                                                      : stream::CacheType::automatic;
    options.stream.use_sink = !options.no_sink;
    options.stream.recache = options.recache == "stale"    ? stream::Recache::stale
                             : options.recache == "flush"  ? stream::Recache::flush
                             : options.recache == "window" ? stream::Recache::window
                                                           : stream::Recache::full;
    Status status = run(options);
    if (!status.ok())
      std::fprintf(stderr, "attn-stream: error: %s\n", status.to_string().c_str());
    return status.exit_code();
  });
}
