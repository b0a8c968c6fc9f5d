// attnc explain: what a kernel will do for a call, as text, JSON and a picture.
#include "tools/attnc/Commands.h"
#include "tools/attnc/ExplainAt.h"
#include "tools/attnc/ExplainReport.h"
#include "tools/attnc/PictureTicks.h"
#include "tools/attnc/SpecCall.h"

#include "compiler/pipeline/Diagnostics.h"
#include "compiler/pipeline/Pipeline.h"
#include "compiler/target/KernelRecord.h"

#include "llvm/Support/raw_ostream.h"

#include <iostream>
#include <map>
#include <memory>

namespace attn::tools {

using namespace mlir::attn;

namespace {

constexpr double maxTiles = 1e8;

struct Options {
  std::string spec, name, variant, picture;
  std::vector<std::string> targets{"cpu", "ptx", "spirv"}, machines, at;
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
  for (const oracle::TableData &table : call.bindings.tables)
    shape.inputs.tables.push_back({table.extents, table.values});
  return shape;
}

bool reads(const spec::Expr &expr, spec::Op what) {
  return expr.op == what || llvm::any_of(expr.operands, [&](const spec::ExprPtr &operand) {
           return reads(*operand, what);
         });
}

class Explainer {
public:
  Explainer(const Options &options, const spec::CheckedSpec &checked,
            const spec::AttentionSpec &attention, const SpecCall &call)
      : options(options), checked(checked),
        call(call), report{call,
                           attention,
                           options.variant.empty() ? defaultVariant(attention) : options.variant,
                           callShape(attention, call),
                           {}},
        context(makeContext()) {}

  int run() {
    if (!isVariant(report.variant)) {
      std::cerr << "attnc: error: unknown element type '" << report.variant
                << "'; --dtype takes f32, bf16, f16 or int8\n";
      return kUsage;
    }
    std::optional<MaskView> pictured; // of the first target that has one
    size_t picturedTarget = 0;
    for (const std::string &target : options.targets) {
      TargetFacts facts;
      std::optional<MaskView> view;
      if (int code = examine(target, facts, view); code != kDone)
        return code;
      if (view && !pictured) {
        pictured = std::move(view);
        picturedTarget = report.targets.size();
      }
      report.targets.push_back(std::move(facts));
    }
    if (pictured && !options.picture.empty()) // once no target has been found wrong
      if (int code = draw(report.targets[picturedTarget], *pictured); code != kDone)
        return code;
    if (options.json)
      printJson(report);
    else
      printText(report);
    bool refused = llvm::all_of(report.targets, [](auto &f) { return !f.refusal.empty(); });
    return refused ? kRejected : kDone;
  }

private:
  int examine(const std::string &target, TargetFacts &facts, std::optional<MaskView> &view) {
    std::vector<TargetRequest> requests;
    std::string error;
    if (!parseTarget(target, report.variant, queryType(report.attention), requests, error)) {
      std::cerr << "attnc: error: " << error << "\n";
      return kUsage;
    }
    facts.target = target;
    facts.arch = requests.front().arch;
    std::string message;
    modules.push_back({});
    {
      llvm::raw_string_ostream stream(message);
      DiagnosticPrinter printer(context.get(), stream);
      modules.back() =
          lowerToTile(*context, checked, report.attention, requests.front(), report.variant);
    }
    if (!modules.back()) {
      facts.refusal = llvm::StringRef(message).trim().str();
      return kDone;
    }
    mlir::tile::KernelOp kernel = *modules.back()->getOps<mlir::tile::KernelOp>().begin();
    view = MaskView::create(kernel, facts.refusal);
    if (!view)
      return kDone;
    facts.blockQ = view->blockQ;
    facts.blockK = view->blockK;
    double tiles = (double(report.shape.qLength) / double(view->blockQ) + 1) *
                   (double(report.shape.keyCount()) / double(view->blockK) + 1);
    if (tiles > maxTiles) {
      std::cerr << "attnc: error: the call has " << concat(std::ceil(tiles)) << " tiles; at most "
                << concat(maxTiles) << " are looked at; give a smaller --shape\n";
      return kUsage;
    }
    facts.tiles = explainOnce(*view, report.shape);
    examineOthers(*view, facts);
    facts.visitedFlops = report.flops(facts.visitedPairs());
    KernelInfo record = makeKernelRecord(kernel, requests.front().kind, requests.front().arch);
    facts.bytes = bytesMoved(record, report.shape);
    facts.machine = defaultMachine(requests.front().kind, facts.arch, record.bindings[1].type);
    for (const std::string &given : options.machines)
      if (auto [name, figures] = llvm::StringRef(given).split('='); name == target)
        parseMachine(figures, facts.machine);
    return kDone;
  }

  // The admitted pairs of a head and batch entry are the mask's: counted for one target.
  Explanation explainOnce(MaskView &view, const CallShape &shape) {
    auto key = std::pair(shape.inputs.head, shape.inputs.batch);
    auto known = counted.find(key);
    Explanation tiles = explain(view, shape, known == counted.end() ? nullptr : &known->second);
    counted.emplace(key, tiles);
    return tiles;
  }

  // The other heads and batch entries, where the mask asks which it is; of very
  // many, some evenly chosen ones.
  void examineOthers(MaskView &view, TargetFacts &facts) {
    constexpr int64_t most = 32;
    const spec::Expr &mask = *report.attention.mask;
    int64_t heads = !call.headChosen && reads(mask, spec::Op::Head) ? call.heads : 1;
    int64_t batch = reads(mask, spec::Op::Batch) ? call.batch : 1;
    if (heads * batch == 1)
      return;
    CallShape shape = report.shape;
    for (int64_t i = 0; i < heads * batch; i += (heads * batch + most - 1) / most) {
      shape.inputs.head = static_cast<int32_t>(heads > 1 ? i % heads : call.head);
      shape.inputs.batch = static_cast<int32_t>(i / heads);
      Explanation tiles = explainOnce(view, shape);
      double visited = tiles.visitedPairs;
      facts.leastVisited = facts.partsSeen ? std::min(facts.leastVisited, visited) : visited;
      facts.mostVisited = std::max(facts.mostVisited, visited);
      facts.meanPairs += tiles.pairs;
      facts.meanVisited += visited;
      ++facts.partsSeen;
    }
    facts.meanPairs /= double(facts.partsSeen);
    facts.meanVisited /= double(facts.partsSeen);
  }

  int draw(const TargetFacts &facts, MaskView &view) {
    PictureText text{report.attention.name + " (" + facts.target + " " + facts.arch + ", " +
                         report.variant + ")",
                     pictureTicks(report.attention, call, spec::Side::Query),
                     pictureTicks(report.attention, call, spec::Side::Key)};
    bool svg = llvm::StringRef(options.picture).ends_with(".svg");
    int exitCode = kDone;
    writeOutput(options.picture,
                svg ? drawSvg(view, report.shape, facts.tiles, text)
                    : drawPng(view, report.shape, facts.tiles, text),
                exitCode);
    return exitCode;
  }

  const Options &options;
  const spec::CheckedSpec &checked;
  const SpecCall &call;
  Report report;
  std::map<std::pair<int32_t, int32_t>, Explanation> counted; // by head and batch entry
  std::unique_ptr<mlir::MLIRContext> context;
  std::vector<mlir::OwningOpRef<mlir::ModuleOp>> modules;
};

int explainSpec(const Options &options) {
  if (!options.picture.empty() && !options.picture.ends_with(".svg") &&
      !options.picture.ends_with(".png")) {
    std::cerr << "attnc: error: --picture is '" << options.picture
              << "'; its name must end in .png or .svg\n";
    return kUsage;
  }
  for (const std::string &given : options.machines) {
    Machine machine;
    std::string name = given.substr(0, given.find('='));
    if (!llvm::is_contained(options.targets, name) ||
        !parseMachine(llvm::StringRef(given).split('=').second, machine)) {
      std::cerr << "attnc: error: --machine has '" << given
                << "'; write TARGET=TFLOPS:GBPS, such as cpu=1.5:40, for a target of --target\n";
      return kUsage;
    }
  }
  int exitCode = kDone;
  auto checked = loadSpec(options.spec, exitCode);
  if (!checked)
    return exitCode;
  const spec::AttentionSpec *attention = pickAttention(*checked, options.name);
  if (!attention)
    return kUsage;
  SpecCall call;
  if (int code = readCall(*attention, options.call, call); code != kDone)
    return code;
  if (call.queries == 0 || call.keys == 0) {
    std::cerr << "attnc: error: the call has " << call.queries << " queries and " << call.keys
              << " keys; there is nothing to explain, give a larger --shape\n";
    return kUsage;
  }
  if (!options.at.empty())
    return explainAt(*checked, *attention, call, options.at, options.json);
  if (!haveTables(*attention, *attention->mask, call))
    return kUsage;
  return Explainer(options, *checked, *attention, call).run();
}

} // namespace

void addExplainCommand(CLI::App &app, int &exitCode) {
  auto options = std::make_shared<Options>();
  CLI::App *command =
      app.add_subcommand("explain", "Show tile classes, density, work and a picture of the mask");
  command->add_option("SPEC", options->spec, "Spec file (.attn)")->required();
  command->add_option("--name", options->name, "Which attention of the file; default: the first");
  options->call.add(*command);
  command
      ->add_option("--at", options->at,
                   "List the keys that one query sees, and why: q=N or axis=N,...; also head=N, "
                   "batch=N")
      ->delimiter(',');
  command
      ->add_option("--target", options->targets, "Whose tiles to show; the picture is the first's")
      ->delimiter(',')
      ->capture_default_str();
  command->add_option("--machine", options->machines,
                      "What a target reaches at most: TARGET=TFLOPS:GBPS; may be repeated");
  command->add_option("--dtype", options->variant, "f32, bf16, f16 or int8");
  command->add_flag("--json", options->json, "Print JSON");
  command->add_option("--picture", options->picture, "Draw the mask: FILE.png or FILE.svg")
      ->excludes("--at");
  command->footer("Example:\n  attnc explain specs/longlive_self.attn --shape t=12 --picture "
                  "mask.png");
  command->callback([options, &exitCode] { exitCode = explainSpec(*options); });
}

} // namespace attn::tools
