// Compiles with compileCpu and loads the image with dlopen.
#include "tests/target/cpu/cpu_kernel.h"

#include "dialects/tile/TileDialect.h"
#include "tests/target/cpu/emulated_call.h"
#include "tests/target/cpu/guarded_buffer.h"

#include "mlir/IR/Diagnostics.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/Parser/Parser.h"
#include <algorithm>
#include <ctime>
#include <dlfcn.h>
#include <sys/mman.h>
#include <unistd.h>

namespace {

mlir::MLIRContext &context() {
  static mlir::DialectRegistry registry = [] {
    mlir::DialectRegistry r;
    r.insert<mlir::tile::TileDialect, mlir::arith::ArithDialect, mlir::math::MathDialect>();
    return r;
  }();
  static auto *context = new mlir::MLIRContext(registry, mlir::MLIRContext::Threading::DISABLED);
  context->loadAllAvailableDialects();
  return *context;
}

double cpu_milliseconds() {
  timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return 1e3 * double(t.tv_sec) + 1e-6 * double(t.tv_nsec);
}

bool is_foreign(const std::string &arch) {
#if defined(__aarch64__)
  return arch != "neon";
#else
  return arch == "neon";
#endif
}

} // namespace

std::string call_kernel(const CpuKernel &kernel, std::vector<uint32_t> words,
                        const std::vector<KernelBuffer> &buffers, uint32_t begin, uint32_t end) {
  GuardedBuffer arena((kernel.info.arena_bytes + 63) / 64 * 64);
  if (!kernel.emulated) {
    std::vector<void *> pointers;
    for (const KernelBuffer &buffer : buffers)
      pointers.push_back(buffer.data);
    kernel.entry(words.data(), pointers.data(), arena.data(), begin, end);
    return "";
  }
  EmulatedCall call;
  call.pass(KernelBuffer{words.data(), 4 * words.size()});
  call.pass(buffers);
  call.pass(KernelBuffer{arena.data(), arena.size()});
  call.pass(begin);
  call.pass(end);
  uint64_t result;
  return call.run(kernel.image, kernel.info.symbol, result);
}

std::vector<uint32_t> call_plan(const CpuKernel &kernel, std::vector<uint32_t> words,
                                std::string &problem) {
  std::vector<uint32_t> plan(ATTN_PLAN_WORDS);
  if (!kernel.emulated) {
    kernel.decode_plan(words.data(), plan.data());
    return plan;
  }
  EmulatedCall call;
  call.pass(KernelBuffer{words.data(), 4 * words.size()});
  call.pass(KernelBuffer{plan.data(), 4 * plan.size()});
  uint64_t result;
  problem = call.run(kernel.image, kernel.info.symbol + "_decode_plan", result);
  return plan;
}

std::string call_decode(const CpuKernel &kernel, std::vector<uint32_t> words,
                        const std::vector<KernelBuffer> &buffers, uint32_t grain) {
  GuardedBuffer arena((kernel.info.arena_bytes + 63) / 64 * 64);
  KernelBuffer word_bytes{words.data(), 4 * words.size()};
  std::string problem;
  std::vector<uint32_t> plan = call_plan(kernel, words, problem);
  if (!problem.empty())
    return problem;
  uint32_t pieces = plan[ATTN_PLAN_PIECES], tiles = plan[ATTN_PLAN_TILES];
  GuardedBuffer parts(size_t(pieces) * plan[ATTN_PLAN_PIECE_BYTES]);
  std::vector<void *> pointers;
  for (const KernelBuffer &buffer : buffers)
    pointers.push_back(buffer.data);
  auto run = [&](attn_cpu_decode_fn function, const char *suffix, uint32_t begin,
                 uint32_t end) -> std::string {
    if (!kernel.emulated) {
      function(words.data(), pointers.data(), arena.data(), parts.data(), begin, end);
      return "";
    }
    EmulatedCall call;
    call.pass(word_bytes);
    call.pass(buffers);
    call.pass(KernelBuffer{arena.data(), arena.size()});
    call.pass(KernelBuffer{parts.data(), parts.size()});
    call.pass(begin);
    call.pass(end);
    uint64_t result;
    return call.run(kernel.image, kernel.info.symbol + suffix, result);
  };
  grain = grain ? grain : (pieces + 1) / 2;
  for (uint32_t end = pieces; end > 0 && problem.empty(); end -= std::min(end, grain))
    problem += run(kernel.decode_walk, "_decode_walk", end - std::min(end, grain), end);
  return problem + run(kernel.decode_finish, "_decode_finish", 0, tiles);
}

uint32_t call_ranges(const CpuKernel &kernel, std::vector<uint32_t> words, uint32_t q_tile,
                     std::vector<uint32_t> &out, uint32_t capacity) {
  if (!kernel.emulated)
    return kernel.ranges(words.data(), nullptr, 0, 0, q_tile, out.data(), capacity);
  EmulatedCall call;
  call.pass(KernelBuffer{words.data(), 4 * words.size()});
  call.pass(uint64_t(0)); // no buffers
  call.pass(uint64_t(0));
  call.pass(uint64_t(0));
  call.pass(q_tile);
  call.pass(KernelBuffer{out.data(), 4 * out.size()});
  call.pass(capacity);
  uint64_t result = ~0u;
  call.run(kernel.image, kernel.info.symbol + "_ranges", result);
  return result;
}

std::shared_ptr<CpuKernel> compile_cpu(const std::string &text, const std::string &arch,
                                       bool load) {
  auto kernel = std::make_shared<CpuKernel>();
  mlir::ScopedDiagnosticHandler handler(
      &context(), [&](mlir::Diagnostic &diagnostic) { kernel->error += diagnostic.str() + "\n"; });
  auto module = mlir::parseSourceString<mlir::ModuleOp>(text, &context());
  if (!module)
    return kernel;
  double start = cpu_milliseconds();
  auto output = mlir::attn::compileCpu(*module, arch, mlir::attn::Stage::image);
  kernel->milliseconds = cpu_milliseconds() - start;
  if (failed(output))
    return kernel;
  kernel->info = output->kernels[0];
  kernel->image = output->images[kernel->info.image];
  if (!load)
    return kernel;
  if (is_foreign(arch)) {
    kernel->emulated = true;
    return kernel;
  }
  int file = memfd_create("kernel", 0);
  if (write(file, kernel->image.data(), kernel->image.size()) != ssize_t(kernel->image.size()))
    return kernel;
  void *library = dlopen(("/proc/self/fd/" + std::to_string(file)).c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!library) {
    kernel->error += dlerror();
    return kernel;
  }
  auto find = [&]<typename F>(F &function, const char *suffix) {
    function = reinterpret_cast<F>(dlsym(library, (kernel->info.symbol + suffix).c_str()));
  };
  find(kernel->entry, "");
  find(kernel->ranges, "_ranges");
  find(kernel->decode_plan, "_decode_plan");
  find(kernel->decode_walk, "_decode_walk");
  find(kernel->decode_finish, "_decode_finish");
  // The descriptor stays open: dlopen tells libraries apart by file, and a
  // reused number would name the same path.
  return kernel;
}

std::string print_cpu(const std::string &text, const std::string &arch, mlir::attn::Stage stage) {
  auto module = mlir::parseSourceString<mlir::ModuleOp>(text, &context());
  auto output = mlir::attn::compileCpu(*module, arch, stage);
  return failed(output) ? std::string() : output->text;
}

#if defined(__x86_64__)
static bool has_features(const std::string &arch) {
  __builtin_cpu_init();
  bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  bool bf16 = __builtin_cpu_supports("avx512bf16"), vnni = __builtin_cpu_supports("avx512vnni");
  return (arch == "avx2" && avx2) || (arch == "avx512" && avx512) ||
         (arch == "avx512-bf16" && avx512 && bf16) || (arch == "avx512-vnni" && avx512 && vnni) ||
         (arch == "avx512-vnni-bf16" && avx512 && bf16 && vnni);
}
#else
static bool has_features(const std::string &arch) { return arch == "neon"; }
#endif

bool cpu_runs(const std::string &arch, std::string &reason) {
  if (has_features(arch))
    return true;
  reason = "this CPU does not run " + arch;
  return arch == "neon" && !find_emulator(reason).empty();
}
