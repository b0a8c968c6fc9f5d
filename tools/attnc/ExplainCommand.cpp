// attnc explain: what a kernel will do for a shape, as text, JSON and a picture.
#include "tools/attnc/Commands.h"

#include "compiler/explain/Picture.h"
#include "compiler/pipeline/Diagnostics.h"
#include "compiler/pipeline/Pipeline.h"
#include "compiler/target/KernelRecord.h"

#include "llvm/Support/JSON.h"
#include "llvm/Support/raw_ostream.h"

#include <charconv>
#include <iostream>
#include <map>
#include <memory>

namespace attn::tools {

using namespace mlir::attn;

namespace {

struct Options {
  std::string spec, name, target = "cpu", variant, picture;
  std::vector<std::string> shape;
  bool json = false;
};

// "axis=n" pairs. Names are axes, parameters, or q, kv, q_position, heads, batch.
bool parseShape(const Options &options, std::map<std::string, int64_t> &values) {
  for (const std::string &item : options.shape) {
    size_t equals = item.find('=');
    int64_t value = 0;
    const char *begin = item.data() + equals + 1, *end = item.data() + item.size();
    if (equals == std::string::npos || equals == 0 ||
        std::from_chars(begin, end, value).ptr != end || begin == end || value < 0 ||
        value > 100'000'000) {
      std::cerr << "attnc: error: --shape has '" << item
                << "'; write axis=n with n from 0 to 100,000,000, separated by commas\n";
      return false;
    }
    values[item.substr(0, equals)] = value;
  }
  return true;
}

class ShapeReader {
public:
  ShapeReader(const spec::AttentionSpec &spec, std::map<std::string, int64_t> given)
      : spec(spec), given(std::move(given)) {}

  // The call that --shape describes; false after printing what is wrong.
  bool read(CallShape &shape) {
    for (const spec::ParamInfo &param : spec.params) {
      Scalar scalar{0};
      double value = double(param.implicit ? raggedLength(param)
                                           : take(param.name, int64_t(param.maximum)));
      if (value < param.minimum || value > param.maximum) {
        std::cerr << "attnc: error: parameter " << param.name << " is " << value
                  << "; the spec allows " << param.minimum << " to " << param.maximum << "\n";
        return false;
      }
      if (param.type == spec::Type::Float)
        scalar.f = float(value);
      else
        scalar.i = int64_t(value);
      shape.inputs.params.push_back(scalar);
      params[param.name] = int64_t(value);
    }
    int64_t keys = tokenCount(spec.keys), queries = tokenCount(spec.query);
    keys = take("kv", keys);
    shape.qLength = take("q", queries);
    shape.qPosition = take("q_position", 0);
    shape.heads = spec.heads ? spec.heads : take("heads", 1);
    shape.kvHeads = spec.kvHeads ? spec.kvHeads : shape.heads;
    shape.batch = take("batch", 1);
    shape.inputs.head = int32_t(take("head", 0));
    shape.segments = {{0, keys, 0}};
    if (!given.empty()) {
      std::cerr << "attnc: error: --shape names '" << given.begin()->first
                << "', which is no axis or parameter of " << spec.name << "\n";
      return false;
    }
    return true;
  }

private:
  // Consumes a given value; names may be used by both sides of the attention.
  int64_t take(const std::string &name, int64_t otherwise) {
    auto it = given.find(name);
    if (it != given.end()) {
      used[name] = it->second;
      given.erase(it);
    }
    auto known = used.find(name);
    return known == used.end() ? otherwise : known->second;
  }
  // The length of a ragged space, which the checker names len_SPACE.
  int64_t raggedLength(const spec::ParamInfo &param) {
    for (const spec::SpaceInfo &space : spec.spaces)
      if (param.name == "len_" + space.name)
        return extentOf(space.axes.front());
    return take(param.name, int64_t(param.maximum));
  }
  int64_t extentOf(const spec::SpaceAxis &axis) {
    switch (axis.kind) {
    case spec::AxisKind::Stream: return take(axis.name, 12);
    case spec::AxisKind::Packed: return take(axis.name, 4);
    case spec::AxisKind::Ragged:
      return take(axis.name, std::min<int64_t>(axis.extent.isStatic() ? axis.extent.value : 1024, 1024));
    case spec::AxisKind::Fixed: break;
    }
    if (axis.extent.isStatic())
      return axis.extent.value;
    if (axis.extent.dynamic->op == spec::Op::Param)
      return params[spec.params[axis.extent.dynamic->index()].name];
    return take(axis.name, 1);
  }
  int64_t tokenCount(const spec::TokensInfo &tokens) {
    int64_t total = 0;
    for (const spec::TokenGroup &group : tokens.groups) {
      int64_t count = 1;
      const spec::SpaceInfo &space = spec.spaces[group.space];
      bool single = space.axes.size() == 1;
      for (const spec::SpaceAxis &axis : space.axes)
        count *= single && axis.kind == spec::AxisKind::Stream ? take(axis.name, 1024)
                                                               : extentOf(axis);
      total += count;
    }
    return total;
  }

  const spec::AttentionSpec &spec;
  std::map<std::string, int64_t> given, used, params;
};

// Multiply-adds count twice; every admitted pair costs a dot product and a sum.
double flops(const spec::AttentionSpec &spec, const CallShape &shape, double pairs) {
  return 2.0 * pairs * double(spec.qkDim + spec.vDim) * double(shape.heads * shape.batch);
}

double bytesMoved(const KernelInfo &kernel, const CallShape &shape) {
  double total = 0;
  for (const BindingInfo &binding : kernel.bindings) {
    double size = element_size(binding.type) * double(shape.batch);
    switch (binding.role) {
    case BindingRole::q: total += size * shape.heads * shape.qLength * kernel.qk_dim; break;
    case BindingRole::o: total += size * shape.heads * shape.qLength * kernel.v_dim; break;
    case BindingRole::k: total += size * shape.kvHeads * shape.keyCount() * kernel.qk_dim; break;
    case BindingRole::v: total += size * shape.kvHeads * shape.keyCount() * kernel.v_dim; break;
    case BindingRole::lse: total += size * shape.heads * shape.qLength; break;
    case BindingRole::k_scale:
    case BindingRole::v_scale: total += size * shape.kvHeads * shape.keyCount(); break;
    default: break;
    }
  }
  return total;
}

int explainOne(const Options &options, const spec::CheckedSpec &checked,
               const spec::AttentionSpec &attention) {
  std::map<std::string, int64_t> values;
  if (!parseShape(options, values))
    return kUsage;
  CallShape shape;
  if (!ShapeReader(attention, values).read(shape))
    return kRejected;
  std::string variant = options.variant.empty() ? defaultVariant(attention) : options.variant;
  std::vector<TargetRequest> requests;
  std::string error;
  if (!isVariant(variant) || !parseTarget(options.target, variant, requests, error)) {
    std::cerr << "attnc: error: " << (error.empty() ? "unknown element type '" + variant + "'" : error)
              << "\n";
    return kUsage;
  }
  auto context = makeContext();
  DiagnosticPrinter printer(context.get(), llvm::errs());
  auto module = lowerToTile(*context, checked, attention, requests.front(), variant);
  if (!module)
    return kRejected;
  mlir::tile::KernelOp kernel = *module->getOps<mlir::tile::KernelOp>().begin();
  std::string reason;
  auto view = MaskView::create(kernel, reason);
  if (!view) {
    std::cerr << "attnc: error: cannot explain " << attention.name << ": " << reason << "\n";
    return kRejected;
  }
  Explanation facts = explain(*view, shape);
  KernelInfo record = makeKernelRecord(kernel, requests.front().kind, requests.front().arch);
  double all = double(shape.qLength) * double(shape.keyCount());
  double bytes = bytesMoved(record, shape);
  double speedup = facts.visitedPairs > 0 ? all / facts.visitedPairs : 1;

  if (options.json) {
    llvm::json::Object object{
        {"spec", attention.name}, {"variant", variant}, {"target", options.target},
        {"arch", record.arch}, {"queries", shape.qLength}, {"keys", shape.keyCount()},
        {"heads", shape.heads}, {"kv_heads", shape.kvHeads}, {"batch", shape.batch},
        {"block_q", view->blockQ}, {"block_k", view->blockK},
        {"tiles", llvm::json::Object{{"full", facts.tiles[int(TileClass::full)]},
                                     {"partial", facts.tiles[int(TileClass::partial)]},
                                     {"empty", facts.tiles[int(TileClass::empty)]}}},
        {"conservative_tiles", facts.conservative}, {"admitted_pairs", facts.pairs},
        {"visited_pairs", facts.visitedPairs}, {"estimated", facts.estimated},
        {"density", facts.density}, {"flops", flops(attention, shape, facts.pairs)},
        {"dense_flops", flops(attention, shape, all)}, {"bytes", bytes},
        {"expected_speedup", speedup}, {"derivation_ms", facts.derivationMs},
        {"mask_build_bytes", 0}, {"mask_build_ms", 0}};
    llvm::outs() << llvm::formatv("{0:2}", llvm::json::Value(std::move(object))) << "\n";
  } else {
    llvm::outs() << attention.name << " " << variant << " on " << options.target << " ("
                 << record.arch << "): " << shape.qLength << " queries x " << shape.keyCount()
                 << " keys, " << shape.heads << " heads, tiles " << view->blockQ << "x"
                 << view->blockK << "\n"
                 << llvm::formatv("  tiles     {0} full, {1} partial, {2} empty ({3} of the partial "
                                  "are full or empty in truth)\n",
                                  facts.tiles[int(TileClass::full)],
                                  facts.tiles[int(TileClass::partial)],
                                  facts.tiles[int(TileClass::empty)], facts.conservative)
                 << llvm::formatv("  density   {0:f4} of all pairs admitted{1}, {2:f4} visited\n",
                                  facts.density, facts.estimated ? " (sampled)" : "",
                                  all > 0 ? facts.visitedPairs / all : 0)
                 << llvm::formatv("  work      {0:f3} GFLOP of {1:f3} dense; {2:f1} MB moved at least\n",
                                  flops(attention, shape, facts.pairs) / 1e9,
                                  flops(attention, shape, all) / 1e9, bytes / 1e6)
                 << llvm::formatv("  expected  {0:f2}x the speed of dense\n", speedup)
                 << llvm::formatv("  mask      build: 0 bytes, 0 ms; tiles derived in {0:f2} ms\n",
                                  facts.derivationMs);
  }
  if (options.picture.empty())
    return kDone;
  PictureText text{attention.name + " (" + options.target + ", " + variant + ")"};
  bool svg = llvm::StringRef(options.picture).ends_with(".svg");
  if (!svg && !llvm::StringRef(options.picture).ends_with(".png")) {
    std::cerr << "attnc: error: --picture is '" << options.picture
              << "'; its name must end in .png or .svg\n";
    return kUsage;
  }
  int exitCode = kDone;
  writeOutput(options.picture,
              svg ? drawSvg(*view, shape, facts, text) : drawPng(*view, shape, facts, text),
              exitCode);
  return exitCode;
}

int explainSpec(const Options &options) {
  int exitCode = kDone;
  auto checked = loadSpec(options.spec, exitCode);
  if (!checked)
    return exitCode;
  const spec::AttentionSpec *attention =
      options.name.empty() ? &checked->attentions.front() : checked->find(options.name);
  if (!attention) {
    std::cerr << "attnc: error: " << options.spec << " defines no attention '" << options.name
              << "'\n";
    return kUsage;
  }
  return explainOne(options, *checked, *attention);
}

} // namespace

void addExplainCommand(CLI::App &app, int &exitCode) {
  auto options = std::make_shared<Options>();
  CLI::App *command =
      app.add_subcommand("explain", "Show tile classes, density, work and a picture of the mask");
  command->add_option("SPEC", options->spec, "Spec file (.attn)")->required();
  command->add_option("--name", options->name, "Which attention of the file; default: the first");
  command
      ->add_option("--shape", options->shape,
                   "Sizes: axis=n for streams and ragged axes, param=n, or q=n, kv=n, "
                   "q_position=n, heads=n, head=n; separated by commas")
      ->delimiter(',');
  command->add_option("--target", options->target, "Whose tiles to show")->capture_default_str();
  command->add_option("--dtype", options->variant, "f32, bf16, f16 or int8");
  command->add_flag("--json", options->json, "Print JSON");
  command->add_option("--picture", options->picture, "Draw the mask: FILE.png or FILE.svg");
  command->footer("Example:\n  attnc explain specs/longlive_self.attn --shape t=12 --picture "
                  "mask.png");
  command->callback([options, &exitCode] { exitCode = explainSpec(*options); });
}

} // namespace attn::tools
