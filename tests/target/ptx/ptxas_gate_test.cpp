// Every shipped spec assembles: no spilled registers, nothing serialised, for each
// architecture.
#include "tests/interpreter/SpecCase.h"

#include "compiler/target/Target.h"
#include "compiler/target/ptx/PtxPipeline.h"
#include "dialects/tile/TileDialect.h"

#include "mlir/IR/Diagnostics.h"

#include <gtest/gtest.h>

namespace attn::test {
namespace {

class PtxasGate : public testing::TestWithParam<std::string> {
protected:
  void expectClean(const char *arch) {
    if (!mlir::attn::findPtxas())
      GTEST_SKIP() << "ptxas is not installed";
    interpreter::SpecCase spec(GetParam(), 5);
    ASSERT_EQ(spec.error(), "");
    const spec::AttentionSpec &a = spec.attention();
    mlir::attn::KernelShape shape{a.qkDim, a.vDim, ElementType::bf16, ElementType::bf16,
                                  ElementType::bf16};
    mlir::attn::BlockShape blocks = mlir::attn::choosePtxBlocks(arch, shape);
    mlir::tile::KernelOp kernel = spec.lower({blocks.q, blocks.k, "bf16", "f32"});
    ASSERT_TRUE(kernel);
    mlir::OwningOpRef<mlir::ModuleOp> module(mlir::ModuleOp::create(kernel.getLoc()));
    module->push_back(kernel->clone());
    std::string complaints;
    mlir::ScopedDiagnosticHandler handler(kernel.getContext(), [&](mlir::Diagnostic &diagnostic) {
      if (diagnostic.getSeverity() != mlir::DiagnosticSeverity::Remark)
        complaints += diagnostic.str() + "\n";
      return mlir::success();
    });
    auto output = mlir::attn::compilePtx(*module, arch, mlir::attn::Stage::image);
    ASSERT_TRUE(mlir::succeeded(output)) << complaints;
    EXPECT_EQ(complaints, "");
    ASSERT_EQ(output->kernels.size(), 2u); // PTX, and the cubin that is preferred
    EXPECT_EQ(output->images[output->kernels[1].image].substr(1, 3), "ELF");
    EXPECT_LE(output->kernels[1].shared_bytes, 227u * 1024);
  }
};

TEST_P(PtxasGate, Sm80) { expectClean("sm_80"); }
TEST_P(PtxasGate, Sm90a) { expectClean("sm_90a"); }

INSTANTIATE_TEST_SUITE_P(Shipped, PtxasGate, testing::ValuesIn(interpreter::shippedSpecs()),
                         [](auto &info) { return info.param; });

} // namespace
} // namespace attn::test
