// attnc model: everything a model needs, ahead of time: its graph is checked,
// its attention nodes are bound to specs, and their kernels are compiled.
#include "tools/attnc/Commands.h"

#include "compiler/pipeline/BindModel.h"
#include "runtime/graph/build.h"
#include "runtime/onnx/load_model.h"

#include <filesystem>
#include <iostream>
#include <map>
#include <memory>

namespace attn::tools {

namespace {
struct Options {
  std::string model, description, output;
  std::vector<std::string> specs, targets{"cpu"}, variants;
};

// Keys and values as the spec's cache stores them; what it leaves open is f32, the
// type of the graph around the attention.
std::vector<std::string> cacheVariants(const spec::CheckedSpec &spec) {
  for (const spec::AttentionSpec &attention : spec.attentions)
    if (attention.cache && attention.cache->element == spec::Element::Int8)
      return {"int8"};
  return {"f32"};
}

int compileModel(const Options &options) {
  if (!checkTargets(options.targets))
    return kUsage;
  auto model = onnx::load_model(options.model);
  if (!model.ok())
    return fail(model.status());
  auto graph = graph::build_graph(*model);
  if (!graph.ok())
    return fail(graph.status().at(options.model));
  std::string path = options.description;
  if (path.empty())
    path = (std::filesystem::path(options.model).parent_path() / "stream.toml").string();
  auto description = stream::read_description(path);
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
  auto bound = mlir::attn::bindModel(*graph, *description, attentions);
  if (!bound.ok())
    return fail(bound.status().at(options.model));

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
  if (int code = writeBundle(options.output, bundle); code != kDone)
    return code;

  std::map<std::string, int> counts;
  for (const mlir::attn::BoundNode &node : *bound)
    ++counts[node.spec];
  std::ostream &report = options.output == "-" ? std::cerr : std::cout;
  report << options.model << ": " << graph->nodes.size() << " nodes";
  for (const auto &[spec, count] : counts)
    report << ", " << count << " computed by " << spec;
  report << "\n";
  return kDone;
}
} // namespace

void addModelCommand(CLI::App &app, int &exitCode) {
  auto options = std::make_shared<Options>();
  CLI::App *command = app.add_subcommand(
      "model", "Check an ONNX model, bind its attention to specs, compile their kernels");
  command->add_option("MODEL", options->model, "The model (.onnx)")->required();
  command->add_option("--spec", options->specs, "Spec files that [attention] names")->required();
  command->add_option("--stream", options->description,
                      "Stream description; default: stream.toml beside the model");
  command->add_option("--target", options->targets, "What to compile for, as in attnc compile")
      ->delimiter(',')
      ->capture_default_str();
  command
      ->add_option("--dtype", options->variants,
                   "Element types of keys and values: f32, int8; separated by commas; default: "
                   "int8 where the spec's cache stores it, else f32")
      ->delimiter(',')
      ->check(CLI::IsMember({"f32", "int8"}));
  command->add_option("-o,--output", options->output, "The bundle to write (.attnb)")->required();
  command->footer("Example:\n  attnc model step.onnx --spec demo_self.attn --spec demo_cross.attn "
                  "--target cpu,spirv -o demo.attnb");
  command->callback([options, &exitCode] { exitCode = compileModel(*options); });
}

} // namespace attn::tools
