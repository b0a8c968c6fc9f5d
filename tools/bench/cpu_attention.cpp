// Measures compiled CPU kernels against what the core can do at that moment:
// shapes enter on the command line, one JSON object per measurement leaves.
#include "tests/target/cpu/cpu_kernel.h"
#include "tests/target/spirv/kernel_text.h"
#include "tools/bench/machine.h"
#include "tools/bench/options.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

namespace {

// The last `window` keys up to the query's own, and the first `sink`.
const char *kWindowClassify = R"(
    %w = tile.param_value 0 : i32
    %sink = tile.param_value 1 : i32
    %low = arith.subi %q_lo, %w : i32
    %high = arith.subi %q_hi, %w : i32
    %a1 = arith.cmpi sgt, %k_hi, %low : i32
    %a2 = arith.cmpi sle, %k_lo, %q_hi : i32
    %a3 = arith.andi %a1, %a2 : i1
    %a4 = arith.cmpi slt, %k_lo, %sink : i32
    %any = arith.ori %a3, %a4 : i1
    %b1 = arith.cmpi sgt, %k_lo, %high : i32
    %b2 = arith.cmpi sle, %k_hi, %q_lo : i32
    %b3 = arith.andi %b1, %b2 : i1
    %b4 = arith.cmpi slt, %k_hi, %sink : i32
    %all = arith.ori %b3, %b4 : i1
)";
const char *kWindowMask = R"(
    %w = tile.param_value 0 : i32
    %sink = tile.param_value 1 : i32
    %low = arith.subi %q_position, %w : i32
    %a1 = arith.cmpi sgt, %k_position, %low : i32
    %a2 = arith.cmpi sle, %k_position, %q_position : i32
    %a3 = arith.andi %a1, %a2 : i1
    %a4 = arith.cmpi slt, %k_position, %sink : i32
    %admitted = arith.ori %a3, %a4 : i1
)";

struct Options {
  std::string arch = "avx512", type = "f32", narrow = "bf16";
  int dim = 64, v_dim = 0, q = 1536, kv = 18720, window = 0, sink = 0, repeat = 7, heads = 1;
  int block_q = 0, block_k = 0;
};

int measure(const Options &o) {
  KernelText text;
  bool int8 = o.type == "int8";
  text.type = int8 ? o.narrow : o.type;
  text.int8 = int8;
  int v_dim = o.v_dim ? o.v_dim : o.dim;
  text.qk_dim = o.dim, text.v_dim = v_dim;
  auto element = text.type == "bf16"  ? attn::ElementType::bf16
                 : text.type == "f16" ? attn::ElementType::f16
                                      : attn::ElementType::f32;
  auto stored = int8 ? attn::ElementType::i8 : element;
  auto blocks = mlir::attn::chooseCpuBlocks(o.arch, {o.dim, v_dim, element, stored, stored});
  text.block_q = o.block_q ? o.block_q : blocks.q;
  text.block_k = o.block_k ? o.block_k : blocks.k;
  if (o.window) {
    text.params = "#tile.param<\"window\", i32, 0, 100000>, #tile.param<\"sink\", i32, 0, 100000>";
    text.classify = kWindowClassify;
    text.mask = kWindowMask;
  }
  compile_cpu(text.str(), o.arch); // the first compilation loads dialects and targets
  auto kernel = compile_cpu(text.str(), o.arch);
  if (!kernel->entry) {
    std::fprintf(stderr, "error: %s\n", kernel->error.c_str());
    return 1;
  }

  std::string kv_type = int8 ? "i8" : text.type;
  char *q = noise(size_t(o.heads) * o.q * o.dim, text.type, 1);
  char *k = noise(size_t(o.heads) * o.kv * o.dim, kv_type, 2);
  char *v = noise(size_t(o.heads) * o.kv * v_dim, kv_type, 3);
  std::vector<float> scales(size_t(o.heads) * o.kv, 1.0f / 40), lse(size_t(o.heads) * o.q);
  char *out = allocate(size_t(o.heads) * o.q * v_dim * 4);
  std::vector<void *> buffers = {q, k, v, out};
  buffers.push_back(lse.data());
  if (int8)
    buffers.insert(buffers.end(), {scales.data(), scales.data()});

  uint32_t bindings = kernel->info.bindings.size();
  std::vector<uint32_t> words(ATTN_W_BINDINGS + ATTN_BINDING_WORDS * bindings, 0);
  words[ATTN_W_Q_LEN] = o.q;
  words[ATTN_W_BATCH] = 1;
  words[ATTN_W_HEADS] = words[ATTN_W_KV_HEADS] = o.heads;
  words[ATTN_W_Q_POSITION] = o.kv - o.q; // the newest keys
  float scale = 1 / std::sqrt(float(o.dim));
  std::memcpy(&words[ATTN_W_SCALE], &scale, 4);
  for (uint32_t i = 0; i < bindings; ++i) { // (tokens, heads, dim), as a model's projections lie
    const attn::BindingInfo &binding = kernel->info.bindings[i];
    bool values = binding.role == attn::BindingRole::v || binding.role == attn::BindingRole::o;
    uint32_t dim = binding.rank != 4 ? 1 : values ? v_dim : o.dim;
    words[ATTN_W_BINDINGS + 4 * i + 1] = dim;
    words[ATTN_W_BINDINGS + 4 * i + 2] = dim * o.heads;
  }
  words[ATTN_W_PARAMS] = words.size();
  words.insert(words.end(), {uint32_t(o.window), uint32_t(o.sink)});
  words[ATTN_W_SEGMENT_BASE] = words.size();
  words[ATTN_W_SEGMENTS] = 1;
  words[ATTN_W_KV_LEN] = o.kv;
  words.insert(words.end(), {0u, uint32_t(o.kv), 0u, 0u});

  uint32_t block_q = kernel->info.block_q, q_tiles = (o.q + block_q - 1) / block_q;
  double visited = 0; // pairs in tiles that are not empty
  std::vector<uint32_t> ranges(4096 * 4);
  for (uint32_t tile = 0; tile < q_tiles; ++tile) {
    uint32_t n = kernel->ranges(words.data(), nullptr, 0, 0, tile, ranges.data(), 4096);
    for (uint32_t i = 0; i < n; ++i)
      visited +=
          double(ranges[4 * i + 2] - ranges[4 * i + 1]) * std::min(block_q, o.q - tile * block_q);
  }
  visited *= o.heads;
  double flops = 2 * visited * (o.dim + v_dim), density = visited / (double(o.heads) * o.q * o.kv);

  char *arena = allocate(kernel->info.arena_bytes);
  bool has_bf16 = o.arch.ends_with("-bf16"), has_int8 = o.arch.find("vnni") != std::string::npos;
  Product fma = o.arch == "avx2" ? Product::fma_ymm : Product::fma_zmm;
  Product pv = has_bf16 && text.type == "bf16" ? Product::bf16 : fma;
  Product qk = int8 ? (has_int8 ? Product::int8 : fma) : pv;
  std::vector<double> ratios, rates, peaks;
  for (int r = 0; r < o.repeat; ++r) {
    double before = peak(qk, o.dim, pv, v_dim), start = thread_seconds();
    kernel->entry(words.data(), buffers.data(), arena, 0, q_tiles * o.heads);
    double seconds = thread_seconds() - start, after = peak(qk, o.dim, pv, v_dim);
    peaks.push_back((before + after) / 2);
    rates.push_back(flops / seconds / 1e9);
    ratios.push_back(rates.back() / peaks.back());
  }
  std::sort(ratios.begin(), ratios.end());
  std::sort(rates.begin(), rates.end());
  std::sort(peaks.begin(), peaks.end());
  std::printf(
      "{\"arch\": \"%s\", \"type\": \"%s\", \"dim\": %d, \"v_dim\": %d, \"q\": %d, \"kv\": %d, "
      "\"heads\": %d, \"window\": %d, \"sink\": %d, \"block_q\": %u, \"block_k\": %u, "
      "\"density\": %.4f, \"gflops_best\": %.1f, \"gflops_median\": %.1f, "
      "\"burst_gflops\": %.1f, \"ratio_best\": %.3f, \"ratio_median\": %.3f, "
      "\"compile_ms\": %.0f, \"image_bytes\": %zu, \"arena_bytes\": %u}\n",
      o.arch.c_str(), o.type.c_str(), o.dim, v_dim, o.q, o.kv, o.heads, o.window, o.sink, block_q,
      kernel->info.block_k, density, rates.back(), rates[rates.size() / 2], peaks.back(),
      ratios.back(), ratios[ratios.size() / 2], kernel->milliseconds, kernel->image.size(),
      kernel->info.arena_bytes);
  return 0;
}

const char *kUsage =
    "usage: cpu_attention [--arch A] [--type f32|f16|bf16|int8] [--float f32|f16|bf16] [--dim D]\n"
    "                     [--v-dim D]\n"
    "                     [--q N] [--kv N] (--float: type of q and o beside int8)\n"
    "                     [--heads N] [--window N --sink N] [--block-q N] [--block-k N]\n"
    "                     [--repeat N]\n"
    "example: cpu_attention --arch avx512 --dim 128 --q 1536 --kv 18720\n";

} // namespace

int main(int argc, char **argv) {
  Options o;
  if (!parse_options(argc, argv,
                     {{"--arch", &o.arch},
                      {"--type", &o.type},
                      {"--float", &o.narrow},
                      {"--dim", &o.dim},
                      {"--v-dim", &o.v_dim},
                      {"--q", &o.q},
                      {"--kv", &o.kv},
                      {"--heads", &o.heads},
                      {"--window", &o.window},
                      {"--sink", &o.sink},
                      {"--block-q", &o.block_q},
                      {"--block-k", &o.block_k},
                      {"--repeat", &o.repeat}},
                     kUsage))
    return 2;
  std::string reason;
  if (!cpu_runs(o.arch, reason) || o.arch == "neon") {
    std::fprintf(stderr, "error: %s\n", reason.c_str());
    return 3;
  }
  return measure(o);
}
