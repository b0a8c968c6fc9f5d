// What attnc explain says: facts of one call on each target, as text or JSON.
#pragma once

#include "compiler/explain/Explain.h"
#include "compiler/explain/Machine.h"
#include "compiler/spec/CheckedSpec.h"
#include "runtime/bundle/kernel_info.h"
#include "tools/attnc/SpecCall.h"

#include "llvm/Support/JSON.h"

#include <string>
#include <vector>

namespace attn::tools {

struct TargetFacts {
  std::string target, arch; // as asked for; the architecture chosen
  std::string refusal;      // not empty: the target cannot compile this
  int64_t blockQ = 0, blockK = 0;
  mlir::attn::Explanation tiles; // of one head of the first batch entry
  // Where heads or batch entries differ: how many were looked at, the mean over
  // them, and the least and most visited.
  int64_t partsSeen = 0;
  double meanPairs = 0, meanVisited = 0, leastVisited = 0, mostVisited = 0;
  mlir::attn::Machine machine;
  double visitedFlops = 0, bytes = 0; // of all heads and batch entries

  double pairs() const { return partsSeen ? meanPairs : tiles.pairs; }
  double visitedPairs() const { return partsSeen ? meanVisited : tiles.visitedPairs; }
  double computeSeconds() const { return visitedFlops / machine.flops; }
  double memorySeconds() const { return bytes / machine.bytes; }
};

struct Report {
  const SpecCall &call;
  const spec::AttentionSpec &attention;
  std::string variant;
  mlir::attn::CallShape shape;
  std::vector<TargetFacts> targets;

  double allPairs() const { return double(shape.qLength) * double(shape.keyCount()); }
  // Multiply-adds count twice; a pair costs a dot product and a sum.
  double flops(double pairs) const {
    return 2.0 * pairs * double(attention.qkDim + attention.vDim) *
           double(shape.heads * shape.batch);
  }
};

// What every kernel must read and write at least: each tensor once.
double bytesMoved(const KernelInfo &kernel, const mlir::attn::CallShape &shape);

// {"width": 65536}: what readCall assumed.
llvm::json::Object assumptionsJson(const SpecCall &call);

void printText(const Report &report);
void printJson(const Report &report);

} // namespace attn::tools
