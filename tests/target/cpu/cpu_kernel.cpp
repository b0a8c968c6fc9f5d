// Compiles with compileCpu and loads the image with dlopen.
#include "tests/target/cpu/cpu_kernel.h"

#include "dialects/tile/TileDialect.h"

#include "mlir/IR/Diagnostics.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/Parser/Parser.h"
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

} // namespace

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
  int file = memfd_create("kernel", 0);
  if (write(file, kernel->image.data(), kernel->image.size()) != ssize_t(kernel->image.size()))
    return kernel;
  void *library = dlopen(("/proc/self/fd/" + std::to_string(file)).c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!library) {
    kernel->error += dlerror();
    return kernel;
  }
  kernel->entry = reinterpret_cast<attn_cpu_kernel_fn>(dlsym(library, kernel->info.symbol.c_str()));
  kernel->ranges = reinterpret_cast<attn_cpu_ranges_fn>(
      dlsym(library, (kernel->info.symbol + "_ranges").c_str()));
  // The descriptor stays open: dlopen tells libraries apart by file, and a
  // reused number would name the same path.
  return kernel;
}

std::string print_cpu(const std::string &text, const std::string &arch, mlir::attn::Stage stage) {
  auto module = mlir::parseSourceString<mlir::ModuleOp>(text, &context());
  auto output = mlir::attn::compileCpu(*module, arch, stage);
  return failed(output) ? std::string() : output->text;
}

bool cpu_runs(const std::string &arch) {
  __builtin_cpu_init();
  bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  if (arch == "avx2")
    return avx2;
  if (arch == "avx512")
    return avx512;
  if (arch == "avx512-bf16")
    return avx512 && __builtin_cpu_supports("avx512bf16");
  if (arch == "avx512-vnni")
    return avx512 && __builtin_cpu_supports("avx512vnni");
  if (arch == "avx512-vnni-bf16")
    return cpu_runs("avx512-vnni") && cpu_runs("avx512-bf16");
  return false;
}
