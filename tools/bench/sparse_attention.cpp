// What a mask gains on the CPU: the kernel of a spec beside the dense kernel of the
// same shape, the two alternating. `of_ideal` is density x dense time / time. `visited` is
// the share of pairs in tiles that are not empty; `of_ideal` can hardly exceed `bound`,
// density over the share of pairs that a vector of rows computes for the keys that one of
// them attends, with the rows in the kernel's order.
#include "compiler/explain/Explain.h"
#include "compiler/pipeline/Pipeline.h"
#include "tools/attn-run/host_call.h"
#include "tools/bench/machine.h"
#include "tools/bench/options.h"

#include <optional>
#include <random>

namespace {

struct Options {
  std::string name = "case", arch = "avx512", type = "f32", declarations, space = "video", mask;
  int dim = 64, q = 1536, kv = 18720, position = -1, heads = 1, documents = 0, repeat = 7;
};

// A spec compiled for one architecture, and its mask to be counted.
struct Compiled {
  std::unique_ptr<attn::Kernel> kernel;
  mlir::OwningOpRef<mlir::ModuleOp> module;
};

attn::HostArray documents_of(const Options &o, bool starts) {
  std::mt19937 random(7);
  std::vector<int> ends(size_t(o.documents) - 1);
  for (int &end : ends)
    end = int(random() % unsigned(o.kv));
  std::sort(ends.begin(), ends.end());
  attn::HostArray array{{o.kv}, std::vector<double>(size_t(o.kv))};
  for (int i = 0; i < o.kv; ++i) {
    auto next = std::upper_bound(ends.begin(), ends.end(), i);
    array.values[size_t(i)] =
        starts ? (next == ends.begin() ? 0 : *std::prev(next)) : double(next - ends.begin());
  }
  return array;
}

// Of sampled tiles: admitted pairs, and those of all rows of a vector with the keys that
// one of its rows attends. A share of the tiles is enough.
double bound_of(mlir::attn::MaskView &view, const mlir::attn::CallShape &shape, int64_t width) {
  struct Tile {
    int64_t q_low, q_high, k_low, k_high;
  };
  std::vector<Tile> partial;
  double admitted = 0, pairs = 0, full = 0;
  for (int64_t q = 0; q < shape.qLength; q += view.blockQ)
    for (int64_t k = 0; k < shape.segments[0].length; k += view.blockK) {
      int64_t rows = std::min(view.blockQ, shape.qLength - q);
      int64_t keys = std::min(view.blockK, shape.segments[0].length - k);
      int64_t low = shape.qPosition + q;
      auto kind =
          view.classify(low, low + rows - 1, k, k + keys - 1, keys == view.blockK, shape.inputs);
      if (kind == mlir::attn::TileClass::full)
        full += double(rows * keys);
      if (kind == mlir::attn::TileClass::partial)
        partial.push_back({low, low + rows, k, k + keys});
    }
  const size_t most = 2000; // tiles
  size_t stride = partial.size() / most + 1, seen = 0;
  for (size_t i = 0; i < partial.size(); i += stride, ++seen) {
    const Tile &tile = partial[i];
    std::vector<int64_t> order =
        view.rowsOfLanes(tile.q_low, tile.q_high - tile.q_low, width, shape.inputs);
    for (size_t first = 0; first < order.size(); first += size_t(width))
      for (int64_t k = tile.k_low; k < tile.k_high; ++k) {
        size_t rows = std::min(size_t(width), order.size() - first), some = 0;
        for (size_t row = first; row < first + rows; ++row)
          some += view.admits(tile.q_low + order[row], k, shape.inputs);
        admitted += double(some);
        pairs += some ? double(rows) : 0;
      }
  }
  double scale = seen ? double(partial.size()) / double(seen) : 0;
  return (admitted * scale + full) / (pairs * scale + full);
}

class Bench {
public:
  explicit Bench(const Options &o)
      : o(o), device(*attn::open_device("cpu", {.threads = 1})),
        context(mlir::attn::makeContext()) {}

  int run() {
    std::optional<Compiled> sparse = compile(o.mask), dense = compile("all");
    if (!sparse || !dense)
      return 1;
    attn::HostArgs args = arguments();
    args.tensors = tables(*sparse->kernel);
    auto sparse_call = attn::HostCall::create(*device, *sparse->kernel, args);
    args.tensors = tables(*dense->kernel);
    auto dense_call = attn::HostCall::create(*device, *dense->kernel, args);
    for (auto *call : {&sparse_call, &dense_call})
      if (!call->ok()) {
        std::fprintf(stderr, "error: %s\n", call->status().message().c_str());
        return 1;
      }
    std::string reason;
    auto kernel = *sparse->module->getOps<mlir::tile::KernelOp>().begin();
    auto view = mlir::attn::MaskView::create(kernel, reason);
    if (!view) {
      std::fprintf(stderr, "error: %s\n", reason.c_str());
      return 1;
    }
    mlir::attn::CallShape call_shape = shape(*sparse->kernel);
    mlir::attn::Explanation mask = mlir::attn::explain(*view, call_shape);
    double bound = bound_of(*view, call_shape, o.arch == "avx2" ? 8 : 16);

    std::vector<double> ratios, sparse_seconds, dense_seconds, walks;
    seconds([&] { return sparse_call->launch(); }); // pages, caches
    double once = seconds([&] { return sparse_call->launch(); });
    double before = seconds([&] { return dense_call->launch(); });
    int times = std::clamp(int(before / once / 3), 1, 30);
    for (int round = 0; round < o.repeat; ++round) {
      double own = 0;
      for (int i = 0; i < times; ++i)
        own += seconds([&] { return sparse_call->launch(); }) / times;
      double after = seconds([&] { return dense_call->launch(); });
      sparse_seconds.push_back(own);
      dense_seconds.push_back(after);
      ratios.push_back((before + after) / 2 / own);
      walks.push_back(walk_seconds(*sparse_call, *sparse->kernel));
      before = after;
    }
    double pairs = double(o.q) * o.kv, density = mask.pairs / pairs;
    double visited = mask.visitedPairs / pairs, speedup = median(ratios);
    std::printf("{\"case\": \"%s\", \"arch\": \"%s\", \"type\": \"%s\", \"q\": %d, \"kv\": %d, "
                "\"heads\": %d, \"dim\": %d, \"density\": %.4f, \"density_sampled\": %s, "
                "\"visited\": %.4f, \"dense_ms\": %.2f, \"ms\": %.3f, \"speedup\": %.2f, "
                "\"of_ideal\": %.3f, \"bound\": %.3f, \"derivation\": %.4f}\n",
                o.name.c_str(), o.arch.c_str(), o.type.c_str(), o.q, o.kv, o.heads, o.dim, density,
                mask.estimated ? "true" : "false", visited, median(dense_seconds) * 1e3,
                median(sparse_seconds) * 1e3, speedup, speedup * density, bound,
                median(walks) / median(sparse_seconds));
    return 0;
  }

private:
  template <typename Launch> static double seconds(Launch launch) {
    double start = thread_seconds();
    attn::Status status = launch();
    if (!status.ok())
      std::fprintf(stderr, "error: %s\n", status.message().c_str());
    return thread_seconds() - start;
  }

  // The walk over all tiles of all heads, without their products.
  double walk_seconds(const attn::HostCall &call, const attn::Kernel &kernel) {
    std::vector<uint32_t> out(4 * 8192);
    double start = thread_seconds();
    for (uint32_t head = 0; head < uint32_t(o.heads); ++head)
      for (uint32_t tile = 0; tile * kernel.info().block_q < uint32_t(o.q); ++tile)
        call.ranges(0, head, tile, out);
    return thread_seconds() - start;
  }

  std::optional<Compiled> compile(const std::string &mask) {
    std::string text = "attention bench {\n  " + o.declarations + "\n  query " + o.space +
                       "\n  keys " + o.space + "\n  heads " + std::to_string(o.heads) + " dim " +
                       std::to_string(o.dim) + "\n  mask " + mask + "\n}\n";
    attn::spec::Diagnostics diagnostics;
    auto spec = attn::spec::parseAndCheck(text, o.name + ".attn", diagnostics);
    if (!spec) {
      std::fprintf(stderr, "%s", diagnostics.render().c_str());
      return std::nullopt;
    }
    mlir::attn::CompileOptions options;
    options.targets = {"cpu:" + o.arch};
    options.variants = {o.type};
    mlir::attn::CompileResult result;
    if (!mlir::attn::compileSpec(*spec, options, result, llvm::errs()))
      return std::nullopt;
    const std::string &image = result.images[0].bytes;
    auto kernel = device->load(result.kernels[0],
                               {reinterpret_cast<const std::byte *>(image.data()), image.size()});
    if (!kernel.ok()) {
      std::fprintf(stderr, "error: %s\n", kernel.status().message().c_str());
      return std::nullopt;
    }
    auto module = mlir::attn::lowerToTile(*context, *spec, spec->attentions[0],
                                          {attn::TargetKind::cpu, o.arch}, o.type);
    return Compiled{std::move(*kernel), std::move(module)};
  }

  int32_t position() const { return o.position < 0 ? o.kv - o.q : o.position; }

  std::vector<attn::NamedArray> tables(const attn::Kernel &kernel) const {
    std::vector<attn::NamedArray> result;
    for (const attn::BindingInfo &binding : kernel.info().bindings)
      if (binding.role == attn::BindingRole::table)
        result.push_back({binding.name, documents_of(o, binding.name.ends_with("_start"))});
    return result;
  }

  mlir::attn::CallShape shape(const attn::Kernel &kernel) const {
    mlir::attn::CallShape shape;
    shape.qLength = o.q;
    shape.qPosition = position();
    shape.segments = {{0, o.kv, 0}};
    for (const attn::NamedArray &table : tables(kernel))
      shape.inputs.tables.push_back({table.array.shape, table.array.values});
    return shape;
  }

  attn::HostArgs arguments() const {
    attn::HostArgs args;
    std::mt19937 random(1);
    std::normal_distribution<float> normal;
    auto fill = [&](attn::HostTensor &tensor, int64_t tokens) {
      const int64_t shape[4] = {1, o.heads, tokens, o.dim};
      std::copy_n(shape, 4, tensor.shape);
      tensor.values.resize(size_t(tensor.count()));
      for (float &value : tensor.values)
        value = normal(random);
    };
    fill(args.q, o.q);
    fill(args.k, o.kv);
    fill(args.v, o.kv);
    args.q_position = position();
    return args;
  }

  const Options &o;
  std::unique_ptr<attn::Device> device;
  std::unique_ptr<mlir::MLIRContext> context;
};

const char *kUsage =
    "usage: sparse_attention --declarations SPACES --mask MASK [--space NAME] [--name NAME]\n"
    "                        [--arch A] [--type f32|f16|bf16|int8] [--dim D] [--q N] [--kv N]\n"
    "                        [--position P] [--heads N] [--documents N] [--repeat N]\n"
    "(--position: of the first query, which by default makes queries the newest keys;\n"
    "--documents: of random length, for a packed space)\n"
    "example: sparse_attention --declarations 'space video(t: 30, y: 48, x: 80)' \\\n"
    "         --kv 115200 --mask 'band(t, 7, 7) and band(y, 11, 11)'\n";

} // namespace

int main(int argc, char **argv) {
  Options o;
  if (!parse_options(argc, argv,
                     {{"--name", &o.name},
                      {"--arch", &o.arch},
                      {"--type", &o.type},
                      {"--declarations", &o.declarations},
                      {"--space", &o.space},
                      {"--mask", &o.mask},
                      {"--dim", &o.dim},
                      {"--q", &o.q},
                      {"--kv", &o.kv},
                      {"--position", &o.position},
                      {"--heads", &o.heads},
                      {"--documents", &o.documents},
                      {"--repeat", &o.repeat}},
                     kUsage))
    return 2;
  if (o.mask.empty() || o.declarations.empty() || o.q < 1 || o.kv < 1 || o.documents < 0)
    return std::fputs(kUsage, stderr), 2;
  return Bench(o).run();
}
