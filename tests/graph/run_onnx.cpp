// run-onnx MODEL.onnx FOLDER [--plain] [--repeat N]: reads FOLDER/in/NAME.npy for
// every graph input that has one, runs the model, writes FOLDER/out/NAME.npy.
#include "runtime/base/npy.h"
#include "runtime/graph/build.h"
#include "runtime/graph/session.h"
#include "runtime/onnx/load_model.h"
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <filesystem>

using namespace attn;

static Result<ElementType> element_type(graph::DType t) {
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
static std::string file_of(const std::string &folder, std::string name) {
  std::replace(name.begin(), name.end(), '/', '_');
  return folder + "/" + name + ".npy";
}

static Status run(const std::string &path, const std::string &folder, bool plain, int repeat) {
  ATTN_ASSIGN_OR_RETURN(onnx::Model model, onnx::load_model(path));
  graph::BuildOptions build;
  std::map<std::string, NpyArray> inputs;
  for (const onnx::ValueInfo &info : model.inputs) {
    std::string file = file_of(folder + "/in", info.name);
    if (!std::filesystem::exists(file))
      continue;
    ATTN_ASSIGN_OR_RETURN(NpyArray array, read_npy(file));
    build.shapes[info.name] = array.shape;
    inputs.emplace(info.name, std::move(array));
  }
  ATTN_ASSIGN_OR_RETURN(graph::Graph g, graph::build_graph(model, build));
  ThreadPool pool;
  graph::SessionOptions options;
  options.fuse = !plain;
  options.plan.memoise = !plain;
  ATTN_ASSIGN_OR_RETURN(auto session, graph::Session::create(std::move(g), pool, options));
  for (int i = 0; i < repeat; ++i) {
    session->profile(repeat > 1 && i >= repeat / 2);
    for (auto &[name, array] : inputs) {
      const graph::Tensor *t = session->find(name);
      if (t && t->elements())
        std::memcpy(t->data, array.data.data(), array.bytes());
    }
    session->forget();
    auto start = std::chrono::steady_clock::now();
    ATTN_RETURN_IF_ERROR(session->run());
    if (i + 1 == repeat && repeat > 1)
      std::printf("%.3f ms\n", std::chrono::duration<double, std::milli>(
                                   std::chrono::steady_clock::now() - start)
                                   .count());
  }
  if (repeat > 1)
    for (const graph::NodeTime &t : session->times())
      if (t.runs)
        std::printf("%8.1f us  %s\n", double(t.nanoseconds) / double(t.runs) / 1e3,
                    t.label.c_str());
  std::filesystem::create_directories(folder + "/out");
  for (int v : session->graph().outputs) {
    const std::string &name = session->graph().values[v].name;
    const graph::Tensor *t = session->find(name);
    auto type = element_type(t->dtype);
    if (!type.ok())
      return type.status();
    std::vector<int64_t> shape(t->shape.dims, t->shape.dims + t->shape.rank);
    ATTN_RETURN_IF_ERROR(write_npy(file_of(folder + "/out", name), *type, shape, t->data));
  }
  graph::MemoryUse use = session->memory();
  std::printf("arena %zu persistent %zu memo %zu nodes %zu\n", use.arena, use.persistent, use.memo,
              session->graph().nodes.size());
  return {};
}

int main(int argc, char **argv) {
  bool plain = false;
  int repeat = 1;
  std::vector<std::string> words;
  for (int i = 1; i < argc; ++i) {
    if (!std::strcmp(argv[i], "--plain"))
      plain = true;
    else if (!std::strcmp(argv[i], "--repeat") && i + 1 < argc)
      repeat = std::atoi(argv[++i]);
    else
      words.push_back(argv[i]);
  }
  if (words.size() != 2) {
    std::fprintf(stderr, "usage: run-onnx MODEL.onnx FOLDER [--plain] [--repeat N]\n");
    return 2;
  }
  Status status = run(words[0], words[1], plain, repeat);
  if (!status.ok())
    std::fprintf(stderr, "run-onnx: error: %s\n", status.to_string().c_str());
  return status.exit_code();
}
