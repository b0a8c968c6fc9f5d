// onnx-cases [--rtol R] [--atol A] FOLDER...: runs cases as the ONNX project lays
// them out (model.onnx, test_data_set_N/input_M.pb and output_M.pb) and prints one
// line of JSON per case: passed, failed or refused, and why.
#include "runtime/base/half.h"
#include "runtime/base/mapped_file.h"
#include "runtime/graph/build.h"
#include "runtime/graph/session.h"
#include "runtime/onnx/load_model.h"
#include "runtime/onnx/load_tensor.h"
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>

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
                std::string &difference) {
  ATTN_ASSIGN_OR_RETURN(onnx::Model model, onnx::load_model(folder + "/model.onnx"));
  ATTN_ASSIGN_OR_RETURN(graph::Graph built, graph::build_graph(model));
  ATTN_ASSIGN_OR_RETURN(auto session, graph::Session::create(std::move(built), pool));
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

std::string quoted(const std::string &text) {
  std::string out = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\')
      out += '\\';
    out += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
  }
  return out + "\"";
}

} // namespace

int main(int argc, char **argv) {
  Tolerance tolerance;
  ThreadPool pool(1);
  int cases = 0;
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    if ((argument == "--rtol" || argument == "--atol") && i + 1 < argc) {
      (argument == "--rtol" ? tolerance.relative : tolerance.absolute) = std::atof(argv[++i]);
      continue;
    }
    std::string difference;
    Status status = run_case(argument, tolerance, pool, difference);
    const char *result = !status.ok() ? "refused" : difference.empty() ? "passed" : "failed";
    std::printf("{\"case\": %s, \"result\": \"%s\", \"reason\": %s}\n",
                quoted(std::filesystem::path(argument).filename()).c_str(), result,
                quoted(status.ok() ? difference : status.to_string()).c_str());
    ++cases;
  }
  if (cases == 0) {
    std::fprintf(stderr, "usage: onnx-cases [--rtol R] [--atol A] FOLDER...\n");
    return 2;
  }
  return 0;
}
