// Takes regions with named patterns, leaves regions of scalar ops only.
#include "compiler/conversion/Passes.h"

using namespace mlir;
using namespace mlir::attn;

namespace mlir::attn {
#define GEN_PASS_DEF_ATTNEXPANDPATTERNS
#include "compiler/conversion/Passes.h.inc"
} // namespace mlir::attn

void mlir::attn::expandPatterns(Operation *root) {
  SmallVector<PatternOpInterface> patterns;
  root->walk([&](PatternOpInterface pattern) { patterns.push_back(pattern); });
  for (PatternOpInterface pattern : patterns) {
    OpBuilder builder(pattern);
    Value predicate = pattern.expandPredicate(builder);
    pattern->getResult(0).replaceAllUsesWith(predicate);
    pattern->erase();
  }
}

namespace {
struct ExpandPatterns : mlir::attn::impl::AttnExpandPatternsBase<ExpandPatterns> {
  void runOnOperation() override { expandPatterns(getOperation()); }
};
} // namespace
