// The ordered list of what happens to a spec: import, expand, tile, target.
#include "compiler/pipeline/Pipeline.h"

#include "compiler/conversion/Passes.h"
#include "compiler/import/ImportSpec.h"
#include "compiler/pipeline/Diagnostics.h"
#include "compiler/target/cpu/CpuSchedule.h"
#include "dialects/attn/AttnDialect.h"
#include "runtime/device/device.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Transforms/Passes.h"
#include "llvm/Support/ThreadPool.h"

using namespace mlir;
using namespace mlir::attn;
using ::attn::ElementType;
using ::attn::TargetKind;

bool mlir::attn::isVariant(StringRef name) {
  return name == "f32" || name == "bf16" || name == "f16" || name == "int8";
}

bool mlir::attn::parseStage(StringRef name, Stage &stage) {
  static const std::pair<StringRef, Stage> stages[] = {
      {"attn", Stage::attn}, {"tile", Stage::tile}, {"schedule", Stage::schedule},
      {"llvm", Stage::llvm}, {"ptx", Stage::ptx},   {"spirv", Stage::spirv}};
  for (auto [known, value] : stages)
    if (known == name) {
      stage = value;
      return true;
    }
  return false;
}

bool mlir::attn::parseTarget(StringRef text, StringRef variant, StringRef floatType,
                             std::vector<TargetRequest> &requests, std::string &error) {
  static const std::pair<StringRef, std::vector<StringRef>> archs[] = {
      {"cpu", {"avx2", "avx512", "avx512-bf16", "avx512-vnni", "avx512-vnni-bf16", "neon"}},
      {"ptx", {"sm_80", "sm_90a"}},
      {"spirv", {"t0", "t1", "t1-subgroup8"}}};
  static const TargetKind kinds[] = {TargetKind::cpu, TargetKind::ptx, TargetKind::spirv};
  auto [kindName, arch] = text.split(':');
  for (size_t i = 0; i < std::size(archs); ++i) {
    if (archs[i].first != kindName)
      continue;
    if (!arch.empty()) {
      // Behind an architecture of ptx a schedule may follow, which that target reads.
      StringRef name = kinds[i] == TargetKind::ptx ? arch.split(':').first : arch;
      if (!llvm::is_contained(archs[i].second, name)) {
        error = ("unknown architecture '" + arch + "' of target " + kindName + "; it knows " +
                 llvm::join(archs[i].second, ", "))
                    .str();
        return false;
      }
      requests.push_back({kinds[i], arch.str()});
      return true;
    }
    if (kinds[i] == TargetKind::spirv) {
      // Both tiers; without narrow elements T1 gains by its subgroups alone.
      requests.push_back({TargetKind::spirv, "t0"});
      if (variant != "f32")
        requests.push_back({TargetKind::spirv, "t1"});
      requests.push_back({TargetKind::spirv, "t1-subgroup8"});
      return true;
    }
    if (kinds[i] != TargetKind::cpu) {
      requests.push_back({kinds[i], archs[i].second.front().str()});
      return true;
    }
    // The widest vectors that speak the element type, and a fallback for every x86-64-v3.
    if (variant == "bf16")
      requests.push_back({TargetKind::cpu, "avx512-bf16"});
    if (variant == "int8" && floatType == "bf16") // values are multiplied in bf16 too
      requests.push_back({TargetKind::cpu, "avx512-vnni-bf16"});
    if (variant == "int8")
      requests.push_back({TargetKind::cpu, "avx512-vnni"});
    requests.push_back({TargetKind::cpu, "avx512"});
    requests.push_back({TargetKind::cpu, "avx2"});
    return true;
  }
  error = ("unknown target '" + text +
           "'; targets are cpu, ptx and spirv, each optionally with an "
           "architecture such as cpu:avx2")
              .str();
  return false;
}

std::string mlir::attn::defaultVariant(const ::attn::spec::AttentionSpec &spec) {
  using ::attn::spec::Element;
  if (spec.types.k == Element::Int8 || (spec.cache && spec.cache->element == Element::Int8))
    return "int8";
  return queryType(spec);
}

std::string mlir::attn::queryType(const ::attn::spec::AttentionSpec &spec) {
  using ::attn::spec::Element;
  switch (spec.types.q) {
  case Element::F32:
    return "f32";
  case Element::F16:
    return "f16";
  default:
    return "bf16";
  }
}

std::unique_ptr<MLIRContext> mlir::attn::makeContext() {
  DialectRegistry registry;
  registry.insert<AttnDialect, tile::TileDialect, arith::ArithDialect, math::MathDialect>();
  auto context = std::make_unique<MLIRContext>(registry, MLIRContext::Threading::DISABLED);
  context->loadAllAvailableDialects();
  context->printOpOnDiagnostic(false); // the place in the spec says more than the op
  return context;
}

static KernelShape kernelShape(const ::attn::spec::AttentionSpec &spec, StringRef variant) {
  ElementType type = variant == "bf16"  ? ElementType::bf16
                     : variant == "f16" ? ElementType::f16
                                        : ElementType::f32;
  ElementType stored = variant == "int8" ? ElementType::i8 : type;
  return {spec.qkDim, spec.vDim, type, stored, stored};
}

static std::optional<CpuSchedule> chooseSchedule(const TargetRequest &target,
                                                 const KernelShape &shape,
                                                 const CpuScheduleTable *table) {
  if (!table || target.kind != TargetKind::cpu)
    return std::nullopt;
  return table->find(*findCpuArch(target.arch), shape);
}

static BlockShape chooseBlocks(const TargetRequest &target, const KernelShape &shape) {
  switch (target.kind) {
  case TargetKind::cpu:
    return chooseCpuBlocks(target.arch, shape);
  case TargetKind::ptx:
    return choosePtxBlocks(target.arch, shape);
  case TargetKind::spirv:
    return chooseSpirvBlocks(target.arch, shape);
  }
  return {};
}

OwningOpRef<ModuleOp> mlir::attn::lowerToTile(MLIRContext &context,
                                              const ::attn::spec::CheckedSpec &spec,
                                              const ::attn::spec::AttentionSpec &attention,
                                              const TargetRequest &target, StringRef variant,
                                              StringRef floatType,
                                              const CpuScheduleTable *cpuSchedules) {
  OwningOpRef<ModuleOp> module = importAttention(&context, spec, attention);
  if (!module)
    return nullptr;
  KernelShape shape = kernelShape(attention, variant);
  std::optional<CpuSchedule> schedule = chooseSchedule(target, shape, cpuSchedules);
  BlockShape blocks =
      schedule ? cpuBlocks(*findCpuArch(target.arch), *schedule) : chooseBlocks(target, shape);
  PassManager passes(&context);
  passes.addPass(createAttnExpandPatterns());
  passes.addPass(createCanonicalizerPass());
  AttnToTileOptions options;
  options.blockQ = blocks.q;
  options.blockK = blocks.k;
  options.variant = variant.str();
  options.floatType = floatType.str();
  options.sortRows = target.kind == TargetKind::cpu;
  passes.addPass(createAttnToTile(options));
  passes.addPass(createCanonicalizerPass());
  passes.addPass(createCSEPass());
  if (failed(passes.run(*module)))
    return nullptr;
  if (schedule)
    for (auto kernel : module->getOps<tile::KernelOp>())
      setCpuSchedule(kernel, *schedule);
  return module;
}

static FailureOr<TargetOutput> compileFor(const TargetRequest &target, ModuleOp module,
                                          const CompileOptions &options) {
  Stage stopAfter = options.stopAfter;
  switch (target.kind) {
  case TargetKind::cpu:
    return compileCpu(module, target.arch, stopAfter, options.objectPrefix, options.quick);
  case TargetKind::ptx:
    return compilePtx(module, target.arch, stopAfter);
  case TargetKind::spirv:
    return compileSpirv(module, target.arch, stopAfter);
  }
  return failure();
}

static std::string toText(ModuleOp module) {
  std::string text;
  llvm::raw_string_ostream stream(text);
  module.print(stream);
  return text + "\n";
}

// How many kernels an attention has: its own, that of its recache, that which merges parts.
static size_t countKernels(const ::attn::spec::AttentionSpec &attention) {
  return 1 + attention.recache.has_value() + attention.partial;
}

// Erases all kernels but the one at `index`.
static void keepKernel(ModuleOp module, size_t index) {
  SmallVector<tile::KernelOp> kernels(module.getOps<tile::KernelOp>());
  for (auto [i, kernel] : llvm::enumerate(kernels))
    if (i != index)
      kernel.erase();
}

// Compiles all kernels of `attention`, or the one at `kernel`.
static bool compileAttention(MLIRContext &context, const ::attn::spec::CheckedSpec &spec,
                             const ::attn::spec::AttentionSpec &attention,
                             std::optional<size_t> kernel, const TargetRequest &target,
                             StringRef variant, const CompileOptions &options,
                             CompileResult &result) {
  Stage stopAfter = options.stopAfter;
  if (stopAfter == Stage::attn) {
    OwningOpRef<ModuleOp> module = importAttention(&context, spec, attention);
    if (module)
      result.text += toText(*module);
    return bool(module);
  }
  OwningOpRef<ModuleOp> module = lowerToTile(context, spec, attention, target, variant,
                                             options.floatType, options.cpuSchedules);
  if (!module)
    return false;
  if (stopAfter == Stage::tile) {
    result.text += toText(*module);
    return true;
  }
  if (kernel)
    keepKernel(*module, *kernel);
  FailureOr<TargetOutput> output = compileFor(target, *module, options);
  if (failed(output))
    return false;
  result.text += output->text;
  for (std::string &image : output->images)
    result.images.push_back({target.kind, std::move(image)});
  for (::attn::KernelInfo &kernel : output->kernels) {
    kernel.heads = attention.heads;
    kernel.kv_heads = attention.kvHeads;
    kernel.scale = float(attention.scale.value_or(0)); // 0: 1 / sqrt(qk_dim)
    result.kernels.push_back(std::move(kernel));
  }
  return true;
}

namespace {
/// One attention for one target and variant, or one kernel of it where the target
/// writes an image for each. Jobs share nothing: each has its own context.
struct Job {
  const ::attn::spec::AttentionSpec *attention;
  std::string variant;
  TargetRequest target;
  std::optional<size_t> kernel;
  bool good = false;
  CompileResult result = {};
  std::string errors = {};
};
} // namespace

// "ptx:sm_80 bf16"
static std::string subjectOf(const Job &job) {
  return (Twine(::attn::target_name(job.target.kind)) + ":" + job.target.arch + " " + job.variant)
      .str();
}

static void addJobs(const ::attn::spec::AttentionSpec &attention, const std::string &variant,
                    const TargetRequest &request, Stage stopAfter, std::vector<Job> &jobs) {
  size_t kernels = countKernels(attention);
  if (stopAfter != Stage::image || request.kind == TargetKind::cpu || kernels == 1) {
    jobs.push_back({&attention, variant, request, std::nullopt});
    return;
  }
  for (size_t kernel = 0; kernel < kernels; ++kernel)
    jobs.push_back({&attention, variant, request, kernel});
}

static bool listJobs(const ::attn::spec::CheckedSpec &spec, const CompileOptions &options,
                     std::vector<Job> &jobs, llvm::raw_ostream &errors) {
  for (const ::attn::spec::AttentionSpec &attention : spec.attentions) {
    if (!options.attention.empty() && attention.name != options.attention)
      continue;
    std::vector<std::string> variants = options.variants;
    if (variants.empty())
      variants.push_back(defaultVariant(attention));
    std::string floatType = options.floatType.empty() ? queryType(attention) : options.floatType;
    for (const std::string &variant : variants) {
      std::vector<TargetRequest> requests;
      for (const std::string &text : options.targets) {
        std::string error;
        if (!parseTarget(text, variant, floatType, requests, error)) {
          errors << "error: " << error << "\n";
          return false;
        }
      }
      for (TargetRequest &request : requests)
        if (llvm::none_of(jobs, [&](const Job &job) { // `cpu,cpu:avx2` means avx2 once
              return job.attention == &attention && job.variant == variant &&
                     job.target.kind == request.kind && job.target.arch == request.arch;
            }))
          addJobs(attention, variant, request, options.stopAfter, jobs);
    }
  }
  return true;
}

static void append(CompileResult &whole, CompileResult part) {
  whole.text += part.text;
  uint32_t firstImage = whole.images.size();
  for (::attn::KernelInfo &kernel : part.kernels) {
    kernel.image += firstImage;
    whole.kernels.push_back(std::move(kernel));
  }
  std::move(part.images.begin(), part.images.end(), std::back_inserter(whole.images));
}

bool mlir::attn::compileSpec(const ::attn::spec::CheckedSpec &spec, const CompileOptions &options,
                             CompileResult &result, llvm::raw_ostream &errors) {
  std::vector<Job> jobs;
  if (!listJobs(spec, options, jobs, errors))
    return false;
  // One pool for the jobs and for what they do beside each other.
  llvm::DefaultThreadPool pool(llvm::hardware_concurrency());
  auto compile = [&](Job &job) {
    std::unique_ptr<MLIRContext> context = makeContext();
    context->setThreadPool(pool);
    llvm::raw_string_ostream stream(job.errors);
    DiagnosticPrinter printer(context.get(), stream,
                              (options.stopAfter == Stage::attn ? "" : subjectOf(job)));
    job.good = compileAttention(*context, spec, *job.attention, job.kernel, job.target, job.variant,
                                options, job.result);
  };
  if (jobs.size() == 1) {
    compile(jobs.front());
  } else {
    for (Job &job : jobs)
      pool.async([&] { compile(job); });
    pool.wait();
  }
  bool good = true;
  StringRef last;
  for (Job &job : jobs) {   // in order, so that a bundle is the same on every machine
    if (last != job.errors) // what is wrong with an attention is found for each kernel
      errors << job.errors;
    last = job.errors;
    good &= job.good;
    append(result, std::move(job.result));
  }
  return good;
}
