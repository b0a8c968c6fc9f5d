// onnx-cases [OPTION VALUE]... FOLDER...: runs cases as the ONNX project lays them
// out (model.onnx, test_data_set_N/input_M.pb and output_M.pb) and prints one line of
// JSON per case: passed, failed or refused, why, and on what its attention ran.
//   --rtol R, --atol A   tolerance
//   --specs DIR          run nothing; write the specs of all attention nodes there
//   --bundle B           run attention on kernels of such specs ...
//   --device D           ... on this device (default cpu)
#include "runtime/base/half.h"
#include "runtime/base/mapped_file.h"
#include "runtime/base/write_file.h"
#include "runtime/graph/build.h"
#include "runtime/graph/derive_spec.h"
#include "runtime/graph/recognise_attention.h"
#include "runtime/graph/session.h"
#include "runtime/onnx/load_model.h"
#include "runtime/onnx/load_tensor.h"
#include "runtime/stream/derived_attention.h"
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <map>
#include <optional>

using namespace attn;
using graph::DType;

namespace {

struct Tolerance {
  double relative = 1e-3, absolute = 1e-7;
};

// A tensor of a file; `files` keeps what it points into.
struct StoredTensor {
  onnx::Tensor tensor;
  std::shared_ptr<MappedFile> file;
};

Result<StoredTensor> read_tensor(const std::string &path) {
  ATTN_ASSIGN_OR_RETURN(MappedFile mapped, MappedFile::open(path));
  StoredTensor stored;
  stored.file = std::make_shared<MappedFile>(std::move(mapped));
  onnx::TensorLoader loader("");
  Status status =
      loader.load(onnx::WireReader(onnx::as_wire_bytes(stored.file->bytes())), stored.tensor);
  if (!status.ok())
    return status.at(path);
  return stored;
}

double element(const void *data, DType type, int64_t i) {
  switch (type) {
  case DType::f32:
    return static_cast<const float *>(data)[i];
  case DType::f64:
    return static_cast<const double *>(data)[i];
  case DType::f16:
    return f16_to_f32(static_cast<const uint16_t *>(data)[i]);
  case DType::bf16:
    return bf16_to_f32(static_cast<const uint16_t *>(data)[i]);
  case DType::i32:
    return static_cast<const int32_t *>(data)[i];
  case DType::i64:
    return static_cast<double>(static_cast<const int64_t *>(data)[i]);
  default:
    return static_cast<const uint8_t *>(data)[i];
  }
}

// What differs, or nothing.
std::string compare(const graph::Tensor &made, const onnx::Tensor &expected,
                    const std::string &name, const Tolerance &tolerance) {
  DType type;
  if (!graph::convert_type(expected.type, type).ok() || made.dtype != type)
    return concat("output '", name, "' is ", graph::dtype_name(made.dtype), ", expected ",
                  onnx::data_type_name(expected.type));
  if (!(made.shape == graph::Shape(expected.dims)))
    return concat("output '", name, "' has shape ", made.shape.text(), ", expected ",
                  graph::Shape(expected.dims).text());
  // ONNX allows bfloat16 two units in the last place.
  const double relative =
      type == DType::bf16 ? std::max(tolerance.relative, 0x1p-6) : tolerance.relative;
  for (int64_t i = 0; i < made.elements(); ++i) {
    const double x = element(made.data, type, i), y = element(expected.data.data(), type, i);
    const bool equal = x == y || (std::isnan(x) && std::isnan(y)) ||
                       std::abs(x - y) <= tolerance.absolute + relative * std::abs(y);
    if (!equal)
      return concat("output '", name, "' element ", i, " is ", x, ", expected ", y);
  }
  return {};
}

// Refusals are statuses; a wrong result is text in `difference`.
Status run_case(const std::string &folder, const Tolerance &tolerance, ThreadPool &pool,
                const graph::SessionOptions &options, std::string &difference) {
  ATTN_ASSIGN_OR_RETURN(onnx::Model model, onnx::load_model(folder + "/model.onnx"));
  ATTN_ASSIGN_OR_RETURN(graph::Graph built, graph::build_graph(model));
  ATTN_ASSIGN_OR_RETURN(auto session, graph::Session::create(std::move(built), pool, options));
  int sets = 0;
  for (;; ++sets) {
    const std::string set = folder + "/test_data_set_" + std::to_string(sets) + "/";
    if (!std::filesystem::exists(set))
      break;
    for (size_t i = 0; i < model.inputs.size(); ++i) {
      ATTN_ASSIGN_OR_RETURN(StoredTensor in, read_tensor(concat(set, "input_", i, ".pb")));
      const graph::Tensor *to = session->find(model.inputs[i].name);
      if (!to || !(to->shape == graph::Shape(in.tensor.dims)))
        return Status::invalid_input("input ", i, " has another shape than the model says");
      if (to->elements())
        std::memcpy(to->data, in.tensor.data.data(), in.tensor.data.size());
    }
    session->forget();
    ATTN_RETURN_IF_ERROR(session->run());
    for (size_t i = 0; i < model.outputs.size() && difference.empty(); ++i) {
      const std::string &name = model.outputs[i].name;
      ATTN_ASSIGN_OR_RETURN(StoredTensor expected, read_tensor(concat(set, "output_", i, ".pb")));
      difference = compare(*session->find(name), expected.tensor, name, tolerance);
    }
  }
  return sets ? Status() : Status::environment("has no test_data_set_0");
}

std::string json_text(const std::string &text) {
  std::string out = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\')
      out += '\\';
    out += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
  }
  return out + "\"";
}

// Writes NAME.attn for every attention node that a spec can be derived of.
Status write_specs(const std::string &folder, const std::string &to) {
  ATTN_ASSIGN_OR_RETURN(onnx::Model model, onnx::load_model(folder + "/model.onnx"));
  ATTN_ASSIGN_OR_RETURN(graph::Graph built, graph::build_graph(model));
  graph::recognise_attention(built);
  for (const graph::Node &node : built.nodes) {
    if (node.op != "Attention")
      continue;
    auto spec = graph::derive_spec({built, node});
    if (spec.ok())
      ATTN_RETURN_IF_ERROR(write_file(concat(to, "/", spec->name, ".attn"),
                                      {std::as_bytes(std::span<const char>(spec->text))}));
  }
  return {};
}

int usage() {
  std::fprintf(stderr, "usage: onnx-cases [--rtol R] [--atol A] [--specs DIR | --bundle B "
                       "[--device D]] FOLDER...\n");
  return 2;
}

int fail(const Status &status) {
  std::fprintf(stderr, "onnx-cases: error: %s\n", status.to_string().c_str());
  return status.exit_code();
}

} // namespace

int main(int argc, char **argv) {
  std::map<std::string, std::string> options = {{"--rtol", "1e-3"},
                                                {"--atol", "1e-7"},
                                                {"--specs", ""},
                                                {"--bundle", ""},
                                                {"--device", "cpu"}};
  std::vector<std::string> folders;
  for (int i = 1; i < argc; ++i) {
    auto option = options.find(argv[i]);
    if (option == options.end())
      folders.push_back(argv[i]);
    else if (++i < argc)
      option->second = argv[i];
    else
      return usage();
  }
  if (folders.empty())
    return usage();
  if (!options["--specs"].empty()) {
    for (const std::string &folder : folders)
      if (Status status = write_specs(folder, options["--specs"]); !status.ok())
        return fail(status);
    return 0;
  }
  const Tolerance tolerance = {std::atof(options["--rtol"].c_str()),
                               std::atof(options["--atol"].c_str())};
  ThreadPool pool(1);
  graph::SessionOptions session;
  std::vector<stream::NodeBinding> bound;
  std::unique_ptr<Device> device;
  std::optional<Bundle> bundle;
  if (!options["--bundle"].empty()) {
    auto opened = open_device(options["--device"]);
    auto read = Bundle::open(options["--bundle"]);
    if (!opened.ok() || !read.ok())
      return fail(opened.ok() ? read.status() : opened.status());
    device = std::move(*opened);
    bundle = std::move(*read);
    session.attention = stream::derived_attention(*bundle, *device, bound);
  }
  for (const std::string &folder : folders) {
    std::string difference, ran;
    bound.clear();
    Status status = run_case(folder, tolerance, pool, session, difference);
    const char *result = !status.ok() ? "refused" : difference.empty() ? "passed" : "failed";
    for (const stream::NodeBinding &node : bound)
      ran += (ran.empty() ? "" : "; ") + node.text();
    std::printf("{\"case\": %s, \"result\": \"%s\", \"reason\": %s, \"attention\": %s}\n",
                json_text(std::filesystem::path(folder).filename()).c_str(), result,
                json_text(status.ok() ? difference : status.to_string()).c_str(),
                json_text(ran).c_str());
  }
  return 0;
}
