// attnc explain: what a kernel will do for a shape, as text, JSON and a picture.
#include "tools/attnc/Commands.h"
#include "tools/attnc/SpecCall.h"

#include "compiler/explain/Picture.h"
#include "compiler/pipeline/Diagnostics.h"
#include "compiler/pipeline/Pipeline.h"
#include "compiler/target/KernelRecord.h"

#include "llvm/Support/JSON.h"
#include "llvm/Support/raw_ostream.h"

#include <iostream>
#include <memory>

namespace attn::tools {

using namespace mlir::attn;

namespace {

struct Options {
  std::string spec, name, target = "cpu", variant, picture;
  CallOptions call;
  bool json = false;
};

CallShape callShape(const spec::AttentionSpec &spec, const SpecCall &call) {
  CallShape shape;
  shape.qLength = call.queries;
  shape.qPosition = call.queryPosition;
  shape.heads = call.heads;
  shape.kvHeads = call.kvHeads;
  shape.batch = call.batch;
  shape.segments = {{0, call.keys, call.keyPosition}};
  shape.inputs.head = static_cast<int32_t>(call.head);
  shape.inputs.layer = call.bindings.layer;
  for (size_t i = 0; i < spec.params.size(); ++i) {
    Scalar scalar{0};
    if (spec.params[i].type == spec::Type::Float)
      scalar.f = static_cast<float>(call.bindings.params[i]);
    else
      scalar.i = static_cast<int64_t>(call.bindings.params[i]);
    shape.inputs.params.push_back(scalar);
  }
  return shape;
}

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
  SpecCall call;
  if (int code = readCall(attention, options.call, call); code != kDone)
    return code;
  CallShape shape = callShape(attention, call);
  std::string variant = options.variant.empty() ? defaultVariant(attention) : options.variant;
  std::vector<TargetRequest> requests;
  std::string error;
  if (!isVariant(variant) || !parseTarget(options.target, variant, queryType(attention), requests, error)) {
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
  const spec::AttentionSpec *attention = pickAttention(*checked, options.name);
  if (!attention)
    return kUsage;
  return explainOne(options, *checked, *attention);
}

} // namespace

void addExplainCommand(CLI::App &app, int &exitCode) {
  auto options = std::make_shared<Options>();
  CLI::App *command =
      app.add_subcommand("explain", "Show tile classes, density, work and a picture of the mask");
  command->add_option("SPEC", options->spec, "Spec file (.attn)")->required();
  command->add_option("--name", options->name, "Which attention of the file; default: the first");
  options->call.add(*command);
  command->add_option("--target", options->target, "Whose tiles to show")->capture_default_str();
  command->add_option("--dtype", options->variant, "f32, bf16, f16 or int8");
  command->add_flag("--json", options->json, "Print JSON");
  command->add_option("--picture", options->picture, "Draw the mask: FILE.png or FILE.svg");
  command->footer("Example:\n  attnc explain specs/longlive_self.attn --shape t=12 --picture "
                  "mask.png");
  command->callback([options, &exitCode] { exitCode = explainSpec(*options); });
}

} // namespace attn::tools
