// `attn-run model`: an ONNX model on NumPy arrays, its attention on the kernels of a
// bundle or as plain operators.
#include "runtime/base/npy.h"
#include "runtime/graph/build.h"
#include "runtime/graph/package.h"
#include "runtime/graph/session.h"
#include "runtime/onnx/load_model.h"
#include "runtime/stream/derived_attention.h"
#include "runtime/stream/model.h"
#include "tools/attn-run/commands.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <optional>

namespace attn {

namespace {

struct Options {
  std::string model, inputs, outputs, bundle;
  DeviceChoice device;
  int repeat = 1;
  bool plain = false, zeros = false;
};

Result<ElementType> element_type(graph::DType t) {
  switch (t) {
  case graph::DType::f32:
    return ElementType::f32;
  case graph::DType::f16:
    return ElementType::f16;
  case graph::DType::i8:
    return ElementType::i8;
  case graph::DType::i32:
    return ElementType::i32;
  case graph::DType::i64:
    return ElementType::i64;
  case graph::DType::u8:
  case graph::DType::boolean:
    return ElementType::u8;
  default:
    return Status::invalid_input("no .npy type for ", graph::dtype_name(t));
  }
}

// Slashes in a tensor's name would be folders.
std::string file_of(const std::string &folder, std::string name) {
  std::replace(name.begin(), name.end(), '/', '_');
  return folder + "/" + name + ".npy";
}

// The arrays' shapes decide symbolic dimensions. With `zeros`, inputs without a file are zero.
Result<std::map<std::string, NpyArray>> read_inputs(const std::vector<std::string> &names,
                                                    const std::string &folder, bool zeros) {
  std::map<std::string, NpyArray> inputs;
  for (const std::string &name : names) {
    const std::string file = file_of(folder, name);
    if (zeros && !std::filesystem::exists(file))
      continue;
    if (!std::filesystem::exists(file))
      return Status::invalid_input("there is no such file for input '", name,
                                   "' of the model; write it, or give --zeros to run with zeros")
          .at(file);
    ATTN_ASSIGN_OR_RETURN(NpyArray array, read_npy(file));
    inputs.emplace(name, std::move(array));
  }
  return inputs;
}

Status write_outputs(const graph::Session &session, const std::string &folder) {
  std::error_code error; // shows when the first file is written
  std::filesystem::create_directories(folder, error);
  for (int v : session.graph().outputs) {
    const std::string &name = session.graph().values[static_cast<size_t>(v)].name;
    const graph::Tensor *t = session.find(name);
    ATTN_ASSIGN_OR_RETURN(ElementType type, element_type(t->dtype));
    std::vector<int64_t> shape(t->shape.dims, t->shape.dims + t->shape.rank);
    ATTN_RETURN_IF_ERROR(write_npy(file_of(folder, name), type, shape, t->data));
  }
  return {};
}

Status run_often(graph::Session &session, const std::map<std::string, NpyArray> &inputs,
                 int repeat) {
  double milliseconds = 0;
  for (int i = 0; i < repeat; ++i) {
    session.profile(repeat > 1 && i >= repeat / 2);
    for (const auto &[name, array] : inputs) {
      const graph::Tensor *t = session.find(name);
      std::vector<int64_t> shape(t->shape.dims, t->shape.dims + t->shape.rank);
      ATTN_ASSIGN_OR_RETURN(ElementType type, element_type(t->dtype));
      if (array.shape != shape || array.type != type)
        return Status::invalid_input("the array is ", element_type_name(array.type), " with ",
                                     array.shape.size(), " axes; the model takes ",
                                     graph::dtype_name(t->dtype), " ", t->shape.text())
            .at("input '" + name + "'");
      std::memcpy(t->data, array.data.data(), array.bytes());
    }
    session.forget();
    auto start = std::chrono::steady_clock::now();
    ATTN_RETURN_IF_ERROR(session.run());
    milliseconds =
        std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
  }
  if (repeat > 1) {
    std::printf("last run: %.3f ms\n", milliseconds);
    for (const graph::NodeTime &t : session.times())
      if (t.runs)
        std::printf("%8.1f us  %s\n", double(t.nanoseconds) / double(t.runs) / 1e3,
                    t.label.c_str());
  }
  return {};
}

// Says on what attention runs. A bundle that no node runs on was given in vain.
Status report_attention(const Options &options, const graph::Graph &graph,
                        const std::vector<stream::NodeBinding> &bound) {
  bool none = true;
  for (const stream::NodeBinding &node : bound) {
    std::printf("%s\n", node.text().c_str());
    none &= node.plain();
  }
  const std::string command = "attnc model " + options.model + " -o FILE.attnb";
  if (is_bundle_file(options.model)) {
    if (none && !bound.empty())
      return Status::invalid_input("no kernel fits an attention node (", bound.front().node, ": ",
                                   bound.front().reason,
                                   "); make the package again with a --target for this device")
          .at(options.model);
    return {};
  }
  if (!options.bundle.empty() && none)
    return (bound.empty()
                ? Status::invalid_input("the model has no attention for its kernels; leave "
                                        "--bundle out")
                : Status::invalid_input("no kernel fits an attention node (", bound.front().node,
                                        ": ", bound.front().reason,
                                        "); make a bundle that fits "
                                        "with `",
                                        command, "`, or leave --bundle out"))
        .at(options.bundle);
  const auto nodes = std::count_if(graph.nodes.begin(), graph.nodes.end(),
                                   [](const graph::Node &node) { return node.op == "Attention"; });
  if (options.bundle.empty() && nodes)
    std::fprintf(stderr,
                 "attn-run: note: %lld attention nodes run as plain operators; `%s` makes kernels "
                 "for --bundle\n",
                 static_cast<long long>(nodes), command.c_str());
  return {};
}

using Inputs = std::map<std::string, NpyArray>;

Result<graph::Graph> build_onnx(const Options &options, Inputs &inputs) {
  ATTN_ASSIGN_OR_RETURN(onnx::Model model, onnx::load_model(options.model));
  std::vector<std::string> names;
  for (const onnx::ValueInfo &info : model.inputs)
    names.push_back(info.name);
  ATTN_ASSIGN_OR_RETURN(inputs, read_inputs(names, options.inputs, options.zeros));
  graph::BuildOptions build;
  for (const auto &[name, array] : inputs)
    build.shapes[name] = array.shape;
  auto graph = graph::build_graph(model, build);
  if (!graph.ok())
    return graph.status().at(options.model);
  return graph;
}

// A package has kernels and graph in one; `bundle` must outlive the graph.
Result<graph::Graph> open_package(const Options &options, std::optional<Bundle> &bundle,
                                  Inputs &inputs) {
  if (!options.bundle.empty())
    return Status::usage("a package has its own kernels; leave --bundle out").at(options.model);
  ATTN_ASSIGN_OR_RETURN(bundle, Bundle::open(options.model));
  const PackedGraph *packed = bundle->find_graph(stream::kPackedModel);
  if (!packed)
    return Status::invalid_input("the bundle holds kernels alone, no model: name an ONNX file and "
                                 "give it with --bundle, or make a package with `attnc model "
                                 "MODEL.onnx --package`")
        .at(options.model);
  graph::Graph graph = packed->graph;
  if (Status status = graph::restore_graph(graph); !status.ok())
    return status.at(options.model);
  std::vector<std::string> names;
  for (int v : graph.inputs)
    names.push_back(graph.values[static_cast<size_t>(v)].name);
  ATTN_ASSIGN_OR_RETURN(inputs, read_inputs(names, options.inputs, options.zeros));
  return graph;
}

Status run_model(const Options &options) {
  const bool package = is_bundle_file(options.model);
  std::optional<Bundle> bundle;
  Inputs inputs;
  ATTN_ASSIGN_OR_RETURN(graph::Graph graph, package ? open_package(options, bundle, inputs)
                                                    : build_onnx(options, inputs));

  std::unique_ptr<Device> device;
  std::vector<stream::NodeBinding> bound;
  graph::SessionOptions session_options;
  session_options.fuse = !options.plain;
  session_options.plan.memoise = !options.plain;
  if (!options.bundle.empty()) {
    ATTN_ASSIGN_OR_RETURN(bundle, Bundle::open(options.bundle));
  }
  if (bundle) {
    ATTN_ASSIGN_OR_RETURN(device, open_device(options.device.id, options.device.options));
    session_options.attention = stream::derived_attention(*bundle, *device, bound);
  }
  ThreadPool pool(options.device.options.threads);
  ATTN_ASSIGN_OR_RETURN(auto session,
                        graph::Session::create(std::move(graph), pool, session_options));
  ATTN_RETURN_IF_ERROR(report_attention(options, session->graph(), bound));
  ATTN_RETURN_IF_ERROR(run_often(*session, inputs, options.repeat));
  ATTN_RETURN_IF_ERROR(write_outputs(*session, options.outputs));
  const graph::MemoryUse use = session->memory();
  std::printf("%zu nodes; bytes: arena %zu, inputs and outputs %zu, remembered %zu\n",
              session->graph().nodes.size(), use.arena, use.persistent, use.memo);
  return {};
}

} // namespace

void add_model_command(CLI::App &program, Action &action) {
  auto options = std::make_shared<Options>();
  CLI::App *command = program.add_subcommand("model", "Run an ONNX model on NumPy arrays");
  command->add_option("MODEL", options->model, "the model (.onnx), or a package (.attnp)")
      ->required();
  command->add_option("--inputs", options->inputs, "folder with NAME.npy for its inputs; / is _")
      ->required();
  command->add_option("--outputs", options->outputs, "folder for NAME.npy of its outputs")
      ->required();
  command->add_option(
      "--bundle", options->bundle,
      "kernels for its attention, made by attnc model; default: those of the package, "
      "or plain operators");
  options->device.add_to(*command);
  command->add_flag("--zeros", options->zeros, "take zeros for inputs that have no file");
  command->add_flag("--plain", options->plain, "fuse and remember nothing");
  command->add_option("--repeat", options->repeat, "runs; several print the time of every node")
      ->check(CLI::PositiveNumber);
  command->footer("Example:\n  attn-run model encoder.onnx --bundle encoder.attnb --inputs in "
                  "--outputs out");
  command->callback(
      [options, &action] { action = [options] { return report(run_model(*options)); }; });
}

} // namespace attn
