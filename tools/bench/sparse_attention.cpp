// What sparsity gains on the CPU: masks of video models at several densities,
// each beside the dense kernel of the same shape, the two alternating. One JSON
// object per mask: `of_ideal` is dense time x density / time.
#include "compiler/explain/Explain.h"
#include "compiler/pipeline/Pipeline.h"
#include "tools/attn-run/host_call.h"

#include <algorithm>
#include <cstdio>
#include <ctime>
#include <optional>

namespace {

double process_seconds() {
  timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return double(t.tv_sec) + 1e-9 * double(t.tv_nsec);
}

struct Pattern {
  std::string name, declarations, mask;
  int32_t rows, q_position, keys;
};

// Frames of 1560 tokens in blocks of three, as LongLive has; HunyuanVideo's grid
// of 30 x 48 x 80 with neighbourhoods; token windows beside a sink.
std::vector<Pattern> patterns(int32_t rows) {
  std::string longlive = "  space video(t: stream, y: 30, x: 52)\n  axis b = video.t // 3\n";
  std::string grid = "  space video(t: 30, y: 48, x: 80)\n";
  std::string tiled = "  space video(tt: 5, ty: 6, tx: 10, it: 6, iy: 8, ix: 8)\n"
                      "  axis t = video.tt * 6 + video.it\n  axis y = video.ty * 8 + video.iy\n"
                      "  axis x = video.tx * 8 + video.ix\n";
  std::string line = "  space video(i: stream)\n";
  const int32_t grid_keys = 30 * 48 * 80, middle = grid_keys / 2 - 1000;
  std::vector<Pattern> list;
  for (auto [blocks, mask] : {std::pair{7, "causal(b) and (sink(b, 1) or window(b, 3))"},
                              {14, "causal(b) and (sink(b, 1) or window(b, 3))"},
                              {20, "causal(b) and window(b, 2)"}})
    list.push_back({"longlive_" + std::to_string(blocks), longlive, mask, rows,
                    4680 * (blocks - 1), 4680 * blocks});
  for (auto [name, mask] : {std::pair{"frames_9", "band(t, 4, 4)"},
                            {"frames_3", "band(t, 1, 1)"},
                            {"t15_y23", "band(t, 7, 7) and band(y, 11, 11)"},
                            {"t15_y23_x39", "band(t, 7, 7) and band(y, 11, 11) and band(x, 19, 19)"},
                            {"t11_y15_x31", "band(t, 5, 5) and band(y, 7, 7) and band(x, 15, 15)"}}) {
    list.push_back({std::string("hunyuan_") + name, grid, mask, rows, middle, grid_keys});
    list.push_back({std::string("hunyuan_tiled_") + name, tiled, mask, rows, middle, grid_keys});
  }
  for (int window : {5600, 1400, 380})
    list.push_back({"window_sink_" + std::to_string(window), line,
                    "causal(i) and (sink(i, 64) or window(i, " + std::to_string(window) + "))",
                    rows, 18720 - rows, 18720});
  return list;
}

struct Compiled {
  std::unique_ptr<attn::Kernel> kernel;
  std::optional<mlir::attn::Explanation> explanation;
};

class Bench {
public:
  Bench(std::string arch, int dim, int rounds) : arch_(std::move(arch)), dim_(dim), rounds_(rounds) {
    device_ = *attn::open_device("cpu", {.threads = 1});
  }

  void run(const Pattern &pattern) {
    std::optional<Compiled> sparse = compile(pattern, pattern.mask);
    std::optional<Compiled> dense = compile(pattern, "all");
    if (!sparse || !dense)
      return;
    attn::HostArgs args = arguments(pattern);
    auto s = attn::HostCall::create(*device_, *sparse->kernel, args);
    auto d = attn::HostCall::create(*device_, *dense->kernel, args);
    if (!s.ok() || !d.ok()) {
      std::fprintf(stderr, "%s\n", (s.ok() ? d : s).status().message().c_str());
      return;
    }
    std::vector<double> ratios, sparse_ms, dense_ms, walk;
    for (int round = 0; round <= rounds_; ++round) {
      double dense_before = milliseconds([&] { return d->launch(); });
      int repeat = round == 0 ? 1 : std::clamp(int(dense_before / std::max(last_, 1e-3) / 2), 1, 20);
      last_ = milliseconds([&] {
                attn::Status status;
                for (int i = 0; i < repeat && status.ok(); ++i)
                  status = s->launch();
                return status;
              }) /
              repeat;
      if (round == 0)
        continue;
      sparse_ms.push_back(last_);
      dense_ms.push_back(dense_before);
      ratios.push_back(dense_before / last_);
      walk.push_back(walk_milliseconds(*s, *sparse->kernel, pattern.rows));
    }
    const mlir::attn::Explanation &e = *sparse->explanation;
    double pairs = double(pattern.rows) * pattern.keys;
    double density = e.pairs / pairs, visited = e.visitedPairs / pairs;
    double speedup = median(ratios);
    std::printf("{\"mask\": \"%s\", \"arch\": \"%s\", \"rows\": %d, \"keys\": %d, \"dim\": %d, "
                "\"density\": %.4f, \"visited\": %.4f, \"partial_tiles\": %.3f, \"dense_ms\": %.2f, "
                "\"ms\": %.3f, \"speedup\": %.2f, \"of_ideal\": %.3f, \"of_visited\": %.3f, "
                "\"walk_share\": %.4f, \"tiles_for_nothing\": %.3f}\n",
                pattern.name.c_str(), arch_.c_str(), pattern.rows, pattern.keys, dim_, density,
                visited, double(e.tiles[1]) / double(std::max<int64_t>(e.tiles[1] + e.tiles[2], 1)),
                median(dense_ms), median(sparse_ms), speedup, speedup * density, speedup * visited,
                median(walk) / median(sparse_ms),
                double(e.conservative) / double(std::max<int64_t>(e.tiles[1] + e.tiles[2], 1)));
    std::fflush(stdout);
  }

private:
  static double median(std::vector<double> values) {
    std::sort(values.begin(), values.end());
    return values[values.size() / 2];
  }

  template <typename Launch> double milliseconds(Launch launch) {
    double start = process_seconds();
    attn::Status status = launch();
    if (!status.ok())
      std::fprintf(stderr, "%s\n", status.message().c_str());
    return 1e3 * (process_seconds() - start);
  }

  // The walk alone: classification without bodies.
  double walk_milliseconds(const attn::HostCall &call, const attn::Kernel &kernel, int32_t rows) {
    std::vector<uint32_t> out(4 * 8192);
    double start = process_seconds();
    for (uint32_t tile = 0; tile * kernel.info().block_q < uint32_t(rows); ++tile)
      call.ranges(0, 0, tile, out);
    return 1e3 * (process_seconds() - start);
  }

  std::optional<Compiled> compile(const Pattern &pattern, const std::string &mask) {
    std::string text = "attention bench {\n" + pattern.declarations +
                       "  query video\n  keys video\n  heads 1 dim " + std::to_string(dim_) +
                       "\n  mask " + mask + "\n}\n";
    attn::spec::Diagnostics diagnostics;
    auto spec = attn::spec::parseAndCheck(text, pattern.name + ".attn", diagnostics);
    if (!spec) {
      std::fprintf(stderr, "%s", diagnostics.render().c_str());
      return std::nullopt;
    }
    mlir::attn::CompileOptions options;
    options.targets = {"cpu:" + arch_};
    options.variants = {"f32"};
    mlir::attn::CompileResult result;
    if (!mlir::attn::compileSpec(*spec, options, result, llvm::errs()))
      return std::nullopt;
    const std::string &image = result.images[0].bytes;
    auto kernel = device_->load(result.kernels[0],
                                {reinterpret_cast<const std::byte *>(image.data()), image.size()});
    if (!kernel.ok()) {
      std::fprintf(stderr, "%s\n", kernel.status().message().c_str());
      return std::nullopt;
    }
    Compiled compiled{std::move(*kernel), std::nullopt};
    auto context = mlir::attn::makeContext();
    auto module = mlir::attn::lowerToTile(*context, *spec, spec->attentions[0],
                                          {attn::TargetKind::cpu, arch_}, "f32");
    std::string reason;
    auto view = mlir::attn::MaskView::create(*module->getOps<mlir::tile::KernelOp>().begin(), reason);
    if (!view)
      return std::nullopt;
    mlir::attn::CallShape shape;
    shape.qLength = pattern.rows;
    shape.qPosition = pattern.q_position;
    shape.segments = {{0, pattern.keys, 0}};
    compiled.explanation = mlir::attn::explain(*view, shape);
    return compiled;
  }

  attn::HostArgs arguments(const Pattern &pattern) const {
    attn::HostArgs args;
    uint32_t state = 12345;
    auto fill = [&](attn::HostTensor &tensor, int64_t tokens) {
      const int64_t shape[4] = {1, 1, tokens, dim_};
      std::copy_n(shape, 4, tensor.shape);
      tensor.values.resize(size_t(tokens) * size_t(dim_));
      for (float &value : tensor.values)
        value = float(int32_t(state = state * 1664525 + 1013904223)) / float(1u << 31);
    };
    fill(args.q, pattern.rows);
    fill(args.k, pattern.keys);
    fill(args.v, pattern.keys);
    args.q_position = pattern.q_position;
    return args;
  }

  std::string arch_;
  int dim_, rounds_;
  double last_ = 1;
  std::unique_ptr<attn::Device> device_;
};

} // namespace

int main(int argc, char **argv) {
  if (argc > 5) {
    std::fprintf(stderr, "usage: sparse_attention [ARCH [DIM [ROWS [NAME]]]]\n");
    return 2;
  }
  Bench bench(argc > 1 ? argv[1] : "avx512", argc > 2 ? std::atoi(argv[2]) : 64, 7);
  std::string only = argc > 4 ? argv[4] : "";
  for (const Pattern &pattern : patterns(argc > 3 ? std::atoi(argv[3]) : 1536))
    if (pattern.name.find(only) != std::string::npos)
      bench.run(pattern);
}
