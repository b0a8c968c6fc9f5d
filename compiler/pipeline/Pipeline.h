// The compiler as one function: a checked spec in, compiled kernels (or the text
// of an intermediate stage) out.
#pragma once

#include "compiler/spec/Check.h"
#include "compiler/target/Target.h"
#include "compiler/target/cpu/CpuSchedule.h"
#include "dialects/tile/TileDialect.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/MLIRContext.h"
#include "llvm/Support/raw_ostream.h"

#include <optional>
#include <string>
#include <vector>

namespace mlir::attn {

struct TargetRequest {
  ::attn::TargetKind kind;
  std::string arch;
};

/// Reads "cpu", "cpu:avx2", "ptx:sm_80", "spirv", ... A kind without an arch asks
/// for every arch that this variant is worth having on; `floatType` is that of q
/// and o beside int8 keys. False with `error` set if the text names no target.
bool parseTarget(StringRef text, StringRef variant, StringRef floatType,
                 std::vector<TargetRequest> &requests, std::string &error);

/// The variants a kernel can be compiled as.
bool isVariant(StringRef name); // f32, bf16, f16, int8

/// Reads the name of a stage ("attn", "tile", ...).
bool parseStage(StringRef name, Stage &stage);

struct CompileOptions {
  std::vector<std::string> targets = {"cpu"};
  std::vector<std::string> variants; ///< empty: what the spec's types say
  std::string floatType; ///< type of q and o of int8 kernels; empty: what the spec says
  std::string attention; ///< only this one of the spec; empty: all
  /// Rows that are taken before the shipped ones.
  const CpuScheduleTable *cpuSchedules = nullptr;
  bool quick = false; ///< cpu: without LLVM's optimizations, for tests
  Stage stopAfter = Stage::image;
  std::string objectPrefix; ///< not empty: cpu images are objects, see compileCpu
};

struct CompiledImage {
  ::attn::TargetKind target;
  std::string bytes;
};

struct CompileResult {
  std::vector<::attn::KernelInfo> kernels; // info.image indexes `images`
  std::vector<CompiledImage> images;
  std::string text; // when stopped before the image
};

/// A context with every dialect the pipeline uses.
std::unique_ptr<MLIRContext> makeContext();

/// The variant that a spec's own element types ask for.
std::string defaultVariant(const ::attn::spec::AttentionSpec &spec);
/// The type of its queries: f32, bf16 or f16.
std::string queryType(const ::attn::spec::AttentionSpec &spec);

/// The tile kernels of `attention` for one target and variant, with the block
/// sizes the target chooses, or `blocks`. Null after an error has been reported.
OwningOpRef<ModuleOp> lowerToTile(MLIRContext &context, const ::attn::spec::CheckedSpec &spec,
                                  const ::attn::spec::AttentionSpec &attention,
                                  const TargetRequest &target, StringRef variant,
                                  StringRef floatType = "",
                                  const CpuScheduleTable *cpuSchedules = nullptr);

/// Compiles all attentions of `spec`. Errors are written to `errors` as
/// `file:line:col: error: ...`; false if there were any.
bool compileSpec(const ::attn::spec::CheckedSpec &spec, const CompileOptions &options,
                 CompileResult &result, llvm::raw_ostream &errors);

} // namespace mlir::attn
