// The ordered list of what happens to a spec: import, expand, tile, target.
#include "compiler/pipeline/Pipeline.h"

#include "compiler/conversion/Passes.h"
#include "compiler/import/ImportSpec.h"
#include "compiler/pipeline/Diagnostics.h"
#include "compiler/target/cpu/CpuSchedule.h"
#include "dialects/attn/AttnDialect.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Transforms/Passes.h"

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
      {"ptx", {"sm_80"}},
      {"spirv", {"t0", "t1", "t1-subgroup8"}}};
  static const TargetKind kinds[] = {TargetKind::cpu, TargetKind::ptx, TargetKind::spirv};
  auto [kindName, arch] = text.split(':');
  for (size_t i = 0; i < std::size(archs); ++i) {
    if (archs[i].first != kindName)
      continue;
    if (!arch.empty()) {
      if (!llvm::is_contained(archs[i].second, arch)) {
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
  error = ("unknown target '" + text + "'; targets are cpu, ptx and spirv, each optionally with an "
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
  case Element::F32: return "f32";
  case Element::F16: return "f16";
  default: return "bf16";
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

static BlockShape chooseBlocks(const TargetRequest &target, const KernelShape &shape) {
  switch (target.kind) {
  case TargetKind::cpu: return chooseCpuBlocks(target.arch, shape);
  case TargetKind::ptx: return choosePtxBlocks(target.arch, shape);
  case TargetKind::spirv: return chooseSpirvBlocks(target.arch, shape);
  }
  return {};
}

OwningOpRef<ModuleOp> mlir::attn::lowerToTile(MLIRContext &context,
                                              const ::attn::spec::CheckedSpec &spec,
                                              const ::attn::spec::AttentionSpec &attention,
                                              const TargetRequest &target, StringRef variant,
                                              StringRef floatType, BlockShape blocks) {
  OwningOpRef<ModuleOp> module = importAttention(&context, spec, attention);
  if (!module)
    return nullptr;
  if (!blocks.q)
    blocks = chooseBlocks(target, kernelShape(attention, variant));
  PassManager passes(&context);
  passes.addPass(createAttnExpandPatterns());
  passes.addPass(createCanonicalizerPass());
  AttnToTileOptions options;
  options.blockQ = blocks.q;
  options.blockK = blocks.k;
  options.variant = variant.str();
  options.floatType = floatType.str();
  passes.addPass(createAttnToTile(options));
  passes.addPass(createCanonicalizerPass());
  passes.addPass(createCSEPass());
  if (failed(passes.run(*module)))
    return nullptr;
  return module;
}

static FailureOr<TargetOutput> compileFor(const TargetRequest &target, ModuleOp module,
                                          const CompileOptions &options) {
  Stage stopAfter = options.stopAfter;
  switch (target.kind) {
  case TargetKind::cpu:
    return compileCpu(module, target.arch, stopAfter, options.objectPrefix, options.quick);
  case TargetKind::ptx: return compilePtx(module, target.arch, stopAfter);
  case TargetKind::spirv: return compileSpirv(module, target.arch, stopAfter);
  }
  return failure();
}

static std::string toText(ModuleOp module) {
  std::string text;
  llvm::raw_string_ostream stream(text);
  module.print(stream);
  return text + "\n";
}

static bool compileAttention(MLIRContext &context, const ::attn::spec::CheckedSpec &spec,
                             const ::attn::spec::AttentionSpec &attention,
                             const TargetRequest &target, StringRef variant,
                             const CompileOptions &options, CompileResult &result) {
  Stage stopAfter = options.stopAfter;
  if (stopAfter == Stage::attn) {
    OwningOpRef<ModuleOp> module = importAttention(&context, spec, attention);
    if (module)
      result.text += toText(*module);
    return bool(module);
  }
  BlockShape blocks;
  bool scheduled = target.kind == TargetKind::cpu && options.cpuSchedule;
  if (scheduled)
    blocks = blocksOf(*findCpuArch(target.arch), *options.cpuSchedule);
  OwningOpRef<ModuleOp> module =
      lowerToTile(context, spec, attention, target, variant, options.floatType, blocks);
  if (!module)
    return false;
  if (scheduled)
    for (auto kernel : module->getOps<tile::KernelOp>())
      setCpuSchedule(kernel, *options.cpuSchedule);
  if (stopAfter == Stage::tile) {
    result.text += toText(*module);
    return true;
  }
  FailureOr<TargetOutput> output = compileFor(target, *module, options);
  if (failed(output))
    return false;
  result.text += output->text;
  uint32_t firstImage = result.images.size();
  for (std::string &image : output->images)
    result.images.push_back({target.kind, std::move(image)});
  for (::attn::KernelInfo &kernel : output->kernels) {
    kernel.image += firstImage;
    kernel.heads = attention.heads;
    kernel.kv_heads = attention.kvHeads;
    kernel.scale = float(attention.scale.value_or(0)); // 0: 1 / sqrt(qk_dim)
    result.kernels.push_back(std::move(kernel));
  }
  return true;
}

bool mlir::attn::compileSpec(const ::attn::spec::CheckedSpec &spec, const CompileOptions &options,
                             CompileResult &result, llvm::raw_ostream &errors) {
  std::unique_ptr<MLIRContext> context = makeContext();
  DiagnosticPrinter printer(context.get(), errors);
  bool good = true;
  for (const ::attn::spec::AttentionSpec &attention : spec.attentions) {
    std::vector<std::string> variants = options.variants;
    if (variants.empty())
      variants.push_back(defaultVariant(attention));
    for (const std::string &variant : variants) {
      std::vector<TargetRequest> requests;
      for (const std::string &text : options.targets) {
        std::string error;
        std::string floatType =
            options.floatType.empty() ? queryType(attention) : options.floatType;
        if (!parseTarget(text, variant, floatType, requests, error)) {
          errors << "error: " << error << "\n";
          return false;
        }
      }
      for (const TargetRequest &request : requests)
        good &= compileAttention(*context, spec, attention, request, variant, options, result);
    }
  }
  return good;
}
