// How long the derivation of all tile classes of one head takes: for each spec,
// the kernel's exported ranges over all query tiles of a long call. One JSON
// object per spec.
#include "compiler/pipeline/Pipeline.h"
#include "tools/attn-run/problem.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <fstream>
#include <sstream>

namespace {

double process_milliseconds() {
  timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return 1e3 * double(t.tv_sec) + 1e-6 * double(t.tv_nsec);
}

// Words and tables of a call of `tokens` queries and keys, without Q, K and V.
struct RangesCall {
  std::vector<uint32_t> words;
  std::vector<std::vector<std::byte>> tables;
  std::vector<void *> buffers;
};

RangesCall make_call(const attn::KernelInfo &info, const attn::VerifyProblem &problem) {
  RangesCall call;
  call.words.assign(ATTN_W_BINDINGS + ATTN_BINDING_WORDS * info.bindings.size(), 0);
  call.words[ATTN_W_Q_LEN] = uint32_t(problem.shape.rows);
  call.words[ATTN_W_BATCH] = uint32_t(problem.shape.batch);
  call.words[ATTN_W_HEADS] = uint32_t(problem.shape.heads);
  call.words[ATTN_W_KV_HEADS] = uint32_t(problem.shape.kv_heads);
  call.words[ATTN_W_Q_POSITION] = uint32_t(problem.args.q_position);
  call.buffers.resize(info.bindings.size());
  for (size_t i = 0; i < info.bindings.size(); ++i)
    for (const attn::NamedArray &table : problem.args.tensors)
      if (table.name == info.bindings[i].name && info.bindings[i].role == attn::BindingRole::table) {
        size_t size = element_size(info.bindings[i].type);
        std::vector<std::byte> bytes(table.array.values.size() * size);
        for (size_t j = 0; j < table.array.values.size(); ++j) {
          int32_t whole = int32_t(table.array.values[j]);
          float real = float(table.array.values[j]);
          std::memcpy(&bytes[j * size], size == 4 && info.bindings[i].type == attn::ElementType::f32
                                            ? static_cast<const void *>(&real)
                                            : static_cast<const void *>(&whole),
                      std::min<size_t>(size, 4));
        }
        for (size_t d = 0; d < table.array.shape.size(); ++d)
          call.words[ATTN_W_BINDINGS + ATTN_BINDING_WORDS * i + d] = uint32_t(table.array.shape[d]);
        call.tables.push_back(std::move(bytes));
        call.buffers[i] = call.tables.back().data();
      }
  call.words[ATTN_W_PARAMS] = uint32_t(call.words.size());
  for (const attn::ParamInfo &param : info.params) {
    double value = param.minimum;
    for (const auto &[name, given] : problem.args.params)
      if (name == param.name)
        value = given;
    uint32_t word = uint32_t(int32_t(value));
    float real = float(value);
    if (param.type == attn::ElementType::f32)
      std::memcpy(&word, &real, 4);
    call.words.push_back(word);
  }
  call.words[ATTN_W_SEGMENT_BASE] = uint32_t(call.words.size());
  call.words[ATTN_W_SEGMENTS] = uint32_t(problem.args.segments.size());
  for (const attn::Segment &s : problem.args.segments)
    call.words.insert(call.words.end(), {uint32_t(s.first_slot), uint32_t(s.length),
                                         uint32_t(s.first_position), 0u});
  return call;
}

bool measure(const std::string &path, int32_t tokens, attn::Device &device) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  attn::spec::Diagnostics diagnostics;
  auto spec = attn::spec::parseAndCheck(text.str(), path, diagnostics);
  if (!spec) {
    std::fprintf(stderr, "%s", diagnostics.render().c_str());
    return false;
  }
  mlir::attn::CompileOptions options;
  options.targets = {"cpu:avx512"};
  options.variants = {"f32"};
  mlir::attn::CompileResult result;
  std::string errors;
  llvm::raw_string_ostream stream(errors);
  if (!mlir::attn::compileSpec(*spec, options, result, stream)) {
    std::printf("{\"spec\": \"%s\", \"refused\": true}\n", path.c_str());
    return true;
  }
  const std::string &image = result.images[0].bytes;
  auto kernel = device.load(result.kernels[0],
                            {reinterpret_cast<const std::byte *>(image.data()), image.size()});
  if (!kernel.ok()) {
    std::fprintf(stderr, "%s\n", kernel.status().message().c_str());
    return false;
  }
  const attn::KernelInfo &info = (*kernel)->info();
  attn::Shape shape;
  shape.heads = shape.kv_heads = info.heads ? int32_t(info.heads) : 1;
  shape.rows = shape.slots = tokens;
  shape.contents = false;
  std::mt19937_64 random(3);
  attn::VerifyProblem problem = make_problem(spec->attentions[0], info, shape, random);
  RangesCall call = make_call(info, problem);
  std::vector<uint32_t> out(4 * 16384);
  uint32_t q_tiles = (uint32_t(problem.shape.rows) + info.block_q - 1) / info.block_q;
  std::vector<double> times;
  uint64_t ranges = 0, visited = 0, full = 0;
  for (int round = 0; round < 3; ++round) {
    ranges = visited = full = 0;
    double start = process_milliseconds();
    for (uint32_t tile = 0; tile < q_tiles; ++tile) {
      uint32_t count = std::min((*kernel)->ranges()(call.words.data(), call.buffers.data(), 0, 0,
                                                    tile, out.data(), 16384),
                                16384u);
      ranges += count;
      for (uint32_t i = 0; i < count; ++i) {
        visited += out[4 * i + 2] - out[4 * i + 1];
        full += out[4 * i + 3] == ATTN_TILE_FULL ? out[4 * i + 2] - out[4 * i + 1] : 0;
      }
    }
    times.push_back(process_milliseconds() - start);
  }
  std::sort(times.begin(), times.end());
  double all = double(q_tiles) * problem.shape.slots;
  bool table = false;
  for (const attn::BindingInfo &binding : info.bindings)
    table |= binding.role == attn::BindingRole::table;
  std::printf("{\"spec\": \"%s\", \"queries\": %d, \"keys\": %d, \"tiles\": %.0f, \"ms\": %.3f, "
              "\"ns_per_tile\": %.2f, \"ranges\": %llu, \"visited\": %.4f, \"full\": %.4f, "
              "\"table\": %s}\n",
              path.c_str(), problem.shape.rows, problem.shape.slots,
              double(q_tiles) * ((problem.shape.slots + info.block_k - 1) / info.block_k), times[1],
              1e6 * times[1] / double(q_tiles) /
                  ((problem.shape.slots + info.block_k - 1) / info.block_k),
              static_cast<unsigned long long>(ranges), double(visited) / all, double(full) / all,
              table ? "true" : "false");
  std::fflush(stdout);
  return true;
}

} // namespace

int main(int argc, char **argv) {
  if (argc < 3) {
    std::fprintf(stderr, "usage: derivation TOKENS SPEC...\n");
    return 2;
  }
  auto device = attn::open_device("cpu", {.threads = 1});
  if (!device.ok())
    return 3;
  bool good = true;
  for (int i = 2; i < argc; ++i)
    good &= measure(argv[i], std::atoi(argv[1]), **device);
  return good ? 0 : 1;
}
