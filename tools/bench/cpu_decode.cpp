// Measures the form of CPU kernels for few query rows against reading their keys and
// values once, and against the multiplications that they need: a shape enters, one
// JSON object leaves.
#include "tests/target/cpu/cpu_kernel.h"
#include "tests/target/spirv/kernel_text.h"
#include "tools/bench/machine.h"
#include "tools/bench/options.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <thread>
#include <vector>

namespace {

struct Options {
  std::string arch = "avx512", type = "f32", narrow = "bf16";
  int dim = 128, q = 1, kv = 16384, heads = 32, kv_heads = 8, threads = 1, repeat = 9, tiles = 0;
};

// Random numbers once, then copies of them: memory does not care.
char *plenty(size_t count, const std::string &type, unsigned seed) {
  const size_t some = 1u << 20, size = type == "f32" ? 4 : type == "i8" ? 1 : 2;
  if (count <= some)
    return noise(count, type, seed);
  char *pattern = noise(some, type, seed), *all = allocate(count * size);
  for (size_t at = 0; at < count; at += some)
    std::memcpy(all + at * size, pattern, std::min(some, count - at) * size);
  return all;
}

// Runs body(thread) on `threads` threads; the processor time of the slowest.
double on_threads(int threads, const std::function<void(int)> &body) {
  std::vector<double> seconds(threads);
  std::vector<std::thread> others;
  auto timed = [&](int t) {
    double start = thread_seconds();
    body(t);
    seconds[t] = thread_seconds() - start;
  };
  for (int t = 1; t < threads; ++t)
    others.emplace_back(timed, t);
  timed(0);
  for (std::thread &thread : others)
    thread.join();
  return *std::max_element(seconds.begin(), seconds.end());
}

int measure(const Options &o) {
  KernelText text;
  bool int8 = o.type == "int8";
  text.type = int8 ? o.narrow : o.type;
  text.int8 = int8;
  text.qk_dim = text.v_dim = o.dim;
  auto element = text.type == "bf16"  ? attn::ElementType::bf16
                 : text.type == "f16" ? attn::ElementType::f16
                                      : attn::ElementType::f32;
  auto stored = int8 ? attn::ElementType::i8 : element;
  auto blocks = mlir::attn::chooseCpuBlocks(o.arch, {o.dim, o.dim, element, stored, stored});
  text.block_q = blocks.q, text.block_k = blocks.k;
  auto kernel = compile_cpu(text.str(), o.arch);
  if (!kernel->decode_walk) {
    std::fprintf(stderr, "error: %s\n", kernel->error.c_str());
    return 1;
  }

  std::string kv_type = int8 ? "i8" : text.type;
  const size_t element_bytes = kv_type == "f32" ? 4 : kv_type == "i8" ? 1 : 2;
  const size_t keys = size_t(o.kv_heads) * o.kv, rows = size_t(o.heads) * o.q;
  char *q = noise(rows * o.dim, text.type, 1), *out = allocate(rows * o.dim * 4);
  char *k = plenty(keys * o.dim, kv_type, 2), *v = plenty(keys * o.dim, kv_type, 3);
  std::vector<float> scales(keys, 1.0f / 40), lse(rows);
  std::vector<void *> buffers = {q, k, v, out, lse.data()};
  if (int8)
    buffers.insert(buffers.end(), {scales.data(), scales.data()});

  std::vector<uint32_t> words(ATTN_W_BINDINGS + ATTN_BINDING_WORDS * buffers.size(), 0);
  words[ATTN_W_Q_LEN] = o.q;
  words[ATTN_W_BATCH] = 1;
  words[ATTN_W_HEADS] = o.heads;
  words[ATTN_W_KV_HEADS] = o.kv_heads;
  words[ATTN_W_Q_POSITION] = o.kv - o.q;
  float scale = 1 / std::sqrt(float(o.dim));
  std::memcpy(&words[ATTN_W_SCALE], &scale, 4);
  for (size_t i = 0; i < buffers.size(); ++i) { // (heads, tokens, dim), as a cache lies
    const attn::BindingInfo &binding = kernel->info.bindings[i];
    bool of_keys = i == 1 || i == 2 || i > 4;
    uint32_t dim = binding.rank == 4 ? o.dim : 1;
    words[ATTN_W_BINDINGS + 4 * i + 1] = dim * (of_keys ? o.kv : o.q);
    words[ATTN_W_BINDINGS + 4 * i + 2] = dim;
  }
  words[ATTN_W_PARAMS] = words[ATTN_W_SEGMENT_BASE] = words.size();
  words[ATTN_W_SEGMENTS] = 1;
  words[ATTN_W_KV_LEN] = o.kv;
  words.insert(words.end(), {0u, uint32_t(o.kv), 0u, 0u});

  uint32_t plan[ATTN_PLAN_WORDS];
  uint32_t chosen = kernel->decode_plan(words.data(), plan);
  uint32_t pieces = plan[ATTN_PLAN_PIECES];
  char *parts = allocate(size_t(pieces) * plan[ATTN_PLAN_PIECE_BYTES]);
  std::vector<char *> arenas;
  for (int t = 0; t < o.threads; ++t)
    arenas.push_back(allocate(kernel->info.arena_bytes));
  auto decode = [&] {
    double walk = on_threads(o.threads, [&](int t) {
      kernel->decode_walk(words.data(), buffers.data(), arenas[t], parts,
                          uint64_t(pieces) * t / o.threads, uint64_t(pieces) * (t + 1) / o.threads);
    });
    double start = thread_seconds();
    kernel->decode_finish(words.data(), buffers.data(), arenas[0], parts, 0, plan[ATTN_PLAN_TILES]);
    return walk + thread_seconds() - start;
  };
  const size_t bytes = keys * o.dim * element_bytes; // of K; as many of V
  auto read = [&] {
    return on_threads(o.threads, [&](int t) {
      size_t begin = bytes / o.threads * t, count = bytes / o.threads;
      read_seconds(k + begin, count);
      read_seconds(v + begin, count);
    });
  };
  bool has_bf16 = o.arch.ends_with("-bf16"), has_int8 = o.arch.find("vnni") != std::string::npos;
  Product fma = o.arch == "avx2" ? Product::fma_ymm : Product::fma_zmm;
  Product pv = has_bf16 && kv_type == "bf16" ? Product::bf16 : fma;
  Product qk = int8 ? (has_int8 ? Product::int8 : fma) : pv;
  const double flops = 4.0 * double(rows) * o.kv * o.dim;
  double all_bytes = 2.0 * double(bytes) + (int8 ? 8.0 * double(keys) : 0);
  std::vector<double> bandwidths, rates, of_bandwidth, of_bound, milliseconds;
  decode(); // pages, caches
  for (int r = 0; r < o.repeat; ++r) {
    double before = read(), rate = peak(qk, o.dim, pv, o.dim) * 1e9 * o.threads;
    double seconds = decode(), reading = (before + read()) / 2;
    reading *= all_bytes / (2.0 * double(bytes));
    milliseconds.push_back(seconds * 1e3);
    bandwidths.push_back(all_bytes / reading / 1e9);
    rates.push_back(all_bytes / seconds / 1e9);
    of_bandwidth.push_back(reading / seconds);
    of_bound.push_back(std::max(reading, flops / rate) / seconds);
  }
  double tiles = 0; // the form of whole tiles, for comparison
  if (o.tiles) {
    char *arena = allocate(kernel->info.arena_bytes);
    uint32_t items = (o.q + kernel->info.block_q - 1) / kernel->info.block_q * o.heads;
    double start = thread_seconds();
    kernel->entry(words.data(), buffers.data(), arena, 0, items);
    tiles = (thread_seconds() - start) * 1e3;
  }
  std::printf("{\"arch\": \"%s\", \"type\": \"%s\", \"dim\": %d, \"q\": %d, \"kv\": %d, "
              "\"heads\": %d, \"kv_heads\": %d, \"threads\": %d, \"few_rows\": %s, "
              "\"pieces\": %u, \"megabytes\": %.1f, \"milliseconds\": %.3f, "
              "\"gigabytes_per_second\": %.1f, \"read_gigabytes_per_second\": %.1f, "
              "\"of_bandwidth\": %.3f, \"of_bound\": %.3f, \"whole_tiles_milliseconds\": %.3f}\n",
              o.arch.c_str(), o.type.c_str(), o.dim, o.q, o.kv, o.heads, o.kv_heads, o.threads,
              chosen ? "true" : "false", pieces, all_bytes / 1e6, median(milliseconds),
              median(rates), median(bandwidths), median(of_bandwidth), median(of_bound), tiles);
  return 0;
}

const char *kUsage =
    "usage: cpu_decode [--arch A] [--type f32|f16|bf16|int8] [--float f32|f16|bf16] [--dim D]\n"
    "                  [--q N] [--kv N] [--heads N] [--kv-heads N] [--threads N] [--repeat N]\n"
    "                  [--tiles 1]   (--tiles: time the form of whole tiles once, too)\n"
    "example: cpu_decode --arch avx512-bf16 --type bf16 --kv 65536 --heads 64 --kv-heads 8\n";

} // namespace

int main(int argc, char **argv) {
  Options o;
  if (!parse_options(argc, argv,
                     {{"--arch", &o.arch},
                      {"--type", &o.type},
                      {"--float", &o.narrow},
                      {"--dim", &o.dim},
                      {"--q", &o.q},
                      {"--kv", &o.kv},
                      {"--heads", &o.heads},
                      {"--kv-heads", &o.kv_heads},
                      {"--threads", &o.threads},
                      {"--repeat", &o.repeat},
                      {"--tiles", &o.tiles}},
                     kUsage))
    return 2;
  if (o.kv_heads < 1 || o.heads % o.kv_heads || o.threads < 1)
    return std::fputs(kUsage, stderr), 2;
  std::string reason;
  if (!cpu_runs(o.arch, reason) || o.arch == "neon") {
    std::fprintf(stderr, "error: %s\n", reason.c_str());
    return 3;
  }
  return measure(o);
}
