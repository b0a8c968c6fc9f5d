// attnc model: everything a model needs, ahead of time: its graph is checked,
// its attention nodes are bound to specs, given or derived, and their kernels are
// compiled.
#include "tools/attnc/Commands.h"
#include "tools/attnc/PackageModel.h"

#include "compiler/pipeline/BindModel.h"
#include "runtime/base/text.h"
#include "runtime/graph/build.h"
#include "runtime/graph/recognise_attention.h"
#include "runtime/onnx/load_model.h"

#include "llvm/Support/raw_ostream.h"

#include <algorithm>
#include <filesystem>
#include <iostream>
#include <map>
#include <memory>
#include <optional>
#include <set>

namespace attn::tools {

namespace {
struct Options {
  std::string model, description, output, emitSpecs;
  std::vector<std::string> specs, targets{"cpu"}, variants;
  std::vector<std::string> sizeTexts;
  std::map<std::string, int64_t> sizes; // read from them
  bool force = false, package = false;
};

// Keys and values as the spec's cache stores them; what it leaves open is f32, the
// type of the graph around the attention.
std::vector<std::string> cacheVariants(const spec::CheckedSpec &spec) {
  for (const spec::AttentionSpec &attention : spec.attentions)
    if (attention.cache && attention.cache->element == spec::Element::Int8)
      return {"int8"};
  return {"f32"};
}

// stream.toml beside the model, unless another one is named; a model that is no
// stream has none.
Result<std::optional<stream::Description>> readDescription(const Options &options) {
  std::string path = options.description;
  if (path.empty()) {
    path = (std::filesystem::path(options.model).parent_path() / "stream.toml").string();
    if (!std::filesystem::exists(path))
      return std::optional<stream::Description>();
  }
  ATTN_ASSIGN_OR_RETURN(stream::Description description, stream::read_description(path));
  return std::optional(std::move(description));
}

Status readSizes(Options &options) {
  const char *form = "NAME=N with a whole N from 1 to 2147483647";
  std::string name, value;
  for (const std::string &text : options.sizeTexts) {
    ATTN_RETURN_IF_ERROR(tool::split_assignment(text, "--size", form, name, value));
    if (!tool::whole_number(1, INT32_MAX)(value).empty())
      return Status::usage("--size has '", text, "'; write ", form);
    if (!options.sizes.emplace(name, std::stoll(value)).second)
      return Status::usage("--size gives ", name, " twice; give it once");
  }
  return {};
}

// Every size given is that of a symbolic dimension.
Status checkSizes(const onnx::Model &model, const std::map<std::string, int64_t> &sizes) {
  std::set<std::string> symbols;
  for (const onnx::ValueInfo &input : model.inputs)
    symbols.insert(input.symbols.begin(), input.symbols.end());
  symbols.erase("");
  for (const auto &[name, size] : sizes)
    if (!symbols.count(name))
      return Status::usage("--size names '", name,
                           "', which no input has; symbolic dimensions are ",
                           some_of({symbols.begin(), symbols.end()}));
  return {};
}

// What the runtime does with a model that has a bundle, see Session::prepare.
Result<graph::Graph> buildGraph(const Options &options) {
  ATTN_ASSIGN_OR_RETURN(onnx::Model model, onnx::load_model(options.model));
  graph::BuildOptions build;
  build.symbols = options.sizes;
  ATTN_RETURN_IF_ERROR(checkSizes(model, options.sizes).at(options.model));
  auto graph = graph::build_graph(model, build);
  if (!graph.ok())
    return graph.status().at(options.model);
  graph::recognise_attention(*graph);
  return graph;
}

// Compiles the specs that were derived, each once and for one target after the other:
// where a target refuses, its nodes run as plain operators there. False if none compiled.
bool compileDerived(const std::vector<mlir::attn::BoundNode> &bound, const Options &options,
                    mlir::attn::CompileOptions compileOptions, BundleWriter &bundle,
                    std::map<std::string, std::string> &notes) {
  compileOptions.variants = {"f32"};
  for (const mlir::attn::BoundNode &node : bound) {
    if (node.derived.empty() || notes.count(node.spec))
      continue;
    std::string &note = notes[node.spec];
    spec::Diagnostics diagnostics;
    const std::string file = node.spec + ".attn";
    auto checked = spec::parseAndCheck(node.derived, file, diagnostics);
    if (!checked) {
      std::cerr << diagnostics.render();
      return false;
    }
    for (const std::string &target : options.targets) {
      compileOptions.targets = {target};
      std::string text, messages;
      llvm::raw_string_ostream stream(messages);
      if (!compileInto(*checked, compileOptions, bundle, text, stream))
        note += "; not on " + target + ": " + messages.substr(0, messages.find('\n'));
    }
  }
  return true;
}

// Writes each derived spec, once none is left that would replace another text.
int emitSpecs(const std::vector<mlir::attn::BoundNode> &bound, const Options &options) {
  std::error_code error; // a folder that cannot be made shows when it is written to
  std::filesystem::create_directories(options.emitSpecs, error);
  std::map<std::string, const std::string *> files;
  for (const mlir::attn::BoundNode &node : bound)
    if (!node.derived.empty())
      files[options.emitSpecs + "/" + node.spec + ".attn"] = &node.derived;
  for (const auto &[path, text] : files) {
    if (options.force || !std::filesystem::exists(path, error))
      continue;
    auto present = readFile(path);
    if (!present.ok() || *present != *text)
      return fail(Status::usage("--emit-specs would overwrite it, and it differs from what is "
                                "derived: take it with --spec, name another folder, or add --force")
                      .at(path));
  }
  int exitCode = kDone;
  for (const auto &[path, text] : files)
    if (!writeOutput(path, *text, exitCode))
      break;
  return exitCode;
}

// A spec that no node takes was given in vain: a misspelt name, or one that belongs to
// another model.
Status checkUsed(const std::vector<spec::CheckedSpec> &specs,
                 const std::vector<mlir::attn::BoundNode> &bound, const Options &options) {
  std::set<std::string> taken;
  for (const mlir::attn::BoundNode &node : bound)
    if (!node.spec.empty())
      taken.insert(node.spec);
  for (size_t i = 0; i < specs.size(); ++i) {
    auto used = [&](const spec::AttentionSpec &attention) { return taken.count(attention.name); };
    if (std::none_of(specs[i].attentions.begin(), specs[i].attentions.end(), used))
      return Status::invalid_input("no attention node of ", options.model, " takes ",
                                   specs[i].attentions.front().name, "; its nodes take ",
                                   some_of({taken.begin(), taken.end()}),
                                   ": rename it, or leave --spec out")
          .at(options.specs[i]);
  }
  return {};
}

int compileModel(Options &options) {
  if (!checkTwice(options.targets, "--target") || !checkTwice(options.variants, "--dtype") ||
      !checkTwice(options.specs, "--spec") || !checkTargets(options.targets))
    return kUsage;
  if (Status status = readSizes(options); !status.ok())
    return fail(status);
  auto graph = buildGraph(options);
  if (!graph.ok())
    return fail(graph.status());
  auto description = readDescription(options);
  if (!description.ok())
    return fail(description.status());

  int exitCode = kDone;
  std::vector<spec::CheckedSpec> specs;
  for (const std::string &file : options.specs)
    if (auto spec = loadSpec(file, exitCode))
      specs.push_back(std::move(*spec));
  if (exitCode != kDone)
    return exitCode;
  if (!checkKernelNames(specs))
    return kRejected;
  std::vector<const spec::AttentionSpec *> attentions;
  for (const spec::CheckedSpec &spec : specs)
    for (const spec::AttentionSpec &attention : spec.attentions)
      attentions.push_back(&attention);
  auto bound = mlir::attn::bindModel(*graph, *description ? &**description : nullptr, attentions);
  if (!bound.ok())
    return fail(bound.status().at(options.model));

  if (Status status = checkUsed(specs, *bound, options); !status.ok())
    return fail(status);
  if (!options.emitSpecs.empty())
    if (int code = emitSpecs(*bound, options); code != kDone)
      return code;
  std::map<std::string, std::string> notes; // on derived specs
  if (!options.output.empty()) {
    mlir::attn::CompileOptions compileOptions;
    compileOptions.targets = options.targets;
    compileOptions.floatType = "f32"; // the graph around the attention computes in f32
    BundleWriter bundle;
    std::string text;
    for (const spec::CheckedSpec &spec : specs) {
      compileOptions.variants = options.variants.empty() ? cacheVariants(spec) : options.variants;
      if (!compileInto(spec, compileOptions, bundle, text))
        return kRejected;
    }
    if (!compileDerived(*bound, options, compileOptions, bundle, notes))
      return kRejected;
    if (options.package)
      if (Status status = packageModel(*graph, *description ? &**description : nullptr,
                                       options.targets, bundle);
          !status.ok())
        return fail(status);
    if (int code = writeBundle(options.output, bundle); code != kDone)
      return code;
  }

  const auto plain = std::count_if(bound->begin(), bound->end(),
                                   [](const auto &node) { return node.spec.empty(); });
  if (plain || bound->empty())
    std::cerr << "attnc: note: "
              << (bound->empty() ? "the model has no attention, the bundle no kernels"
                                 : std::to_string(plain) + " of " + std::to_string(bound->size()) +
                                       " attention nodes run without generated kernels")
              << "\n";
  std::ostream &report = options.output == "-" ? std::cerr : std::cout;
  report << options.model << ": " << graph->nodes.size() << " nodes, " << bound->size()
         << " of attention\n";
  for (const mlir::attn::BoundNode &node : *bound)
    if (node.spec.empty())
      report << "  " << node.node << ": plain operator, because " << node.reason << "\n";
    else
      report << "  " << node.node << ": " << node.spec
             << (node.derived.empty() ? " (given)" : " (derived)") << notes[node.spec] << "\n";
  return kDone;
}
} // namespace

void addModelCommand(CLI::App &app, int &exitCode) {
  auto options = std::make_shared<Options>();
  CLI::App *command = app.add_subcommand(
      "model", "Check an ONNX model, bind its attention to specs, compile their kernels");
  command->add_option("MODEL", options->model, "The model (.onnx)")->required();
  command->add_option("--spec", options->specs,
                      "Spec files: those that [attention] of the stream description names, or "
                      "edited ones of --emit-specs. For other nodes a spec is derived");
  command->add_option("--stream", options->description,
                      "Stream description; default: stream.toml beside the model, if there is one");
  command->add_option("--size", options->sizeTexts, "Size of a symbolic dimension: NAME=N");
  command->add_option("--emit-specs", options->emitSpecs,
                      "Write the derived specs into this folder, as NAME.attn");
  command
      ->add_flag("--force", options->force,
                 "Let --emit-specs overwrite files that differ from what it writes")
      ->needs("--emit-specs");
  command->add_option("--target", options->targets, "What to compile for, as in attnc compile")
      ->delimiter(',')
      ->capture_default_str();
  command
      ->add_option("--dtype", options->variants,
                   "Element types of keys and values: f32, int8; separated by commas; default: "
                   "int8 where the spec's cache stores it, else f32")
      ->delimiter(',')
      ->check(CLI::IsMember({"f32", "int8"}));
  command->add_option("-o,--output", options->output,
                      "The bundle to write (.attnb), with --package the package (.attnp)");
  command
      ->add_flag("--package", options->package,
                 "Write the model into the file, too: graph, weights, stream description and "
                 "vocabulary. It runs without the .onnx")
      ->needs("--output");
  command->footer("Examples:\n  attnc model encoder.onnx --target cpu,spirv -o encoder.attnb\n"
                  "  attnc model encoder.onnx --emit-specs specs\n"
                  "  attnc model step.onnx --spec demo_self.attn --spec demo_cross.attn "
                  "-o demo.attnb\n"
                  "  attnc model step.onnx --spec demo_self.attn --spec demo_cross.attn "
                  "--package -o demo.attnp");
  command->callback([options, &exitCode] {
    if (options->output.empty() && options->emitSpecs.empty()) {
      std::cerr << "attnc: error: nothing to write; give -o FILE.attnb or --emit-specs DIR\n";
      exitCode = kUsage;
      return;
    }
    exitCode = compileModel(*options);
  });
}

} // namespace attn::tools
