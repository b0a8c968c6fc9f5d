// Evaluates the scalar regions of tile kernels, one value at a time: the meaning
// of arith, math and the tile scalars, without any lowering.
#pragma once

#include "compiler/conversion/KeyWalk.h"

#include <cstdint>
#include <vector>

namespace attn::interpreter {

// An integer (i1 and i32, sign-extended) or a number; ops know which.
struct Scalar {
  int64_t integer = 0;
  double number = 0;
};

struct Table {
  std::vector<int64_t> extents;
  std::vector<double> values; // row-major
};

// What scalar ops read besides their operands.
struct ScalarEnvironment {
  std::vector<double> params;
  std::vector<Table> tables; // in the order of the kernel's table bindings
  int64_t firstTable = 0;    // binding of the first of them
  int32_t head = 0, batch = 0, layer = 0, heads = 1, kvHeads = 1;
};

using ScalarValues = llvm::DenseMap<mlir::Value, Scalar>;

// Runs one op; false if it is no scalar op that this evaluator knows.
bool evaluateScalarOp(mlir::Operation &op, ScalarValues &values, const ScalarEnvironment &env);

// Runs `block` with `arguments` and returns what its terminator yields.
std::vector<Scalar> evaluateScalars(mlir::Block &block, const std::vector<Scalar> &arguments,
                                    const ScalarEnvironment &env);

struct TileAnswer {
  bool any = false, all = false;
};

// What a walk over keys says of the tile of these positions (ends included): the
// classify region, and where that leaves doubt, the same about the parts.
TileAnswer classifyTile(const mlir::attn::KeyClasses &walk, int64_t qLow, int64_t qHigh, int64_t kLow,
                        int64_t kHigh, const ScalarEnvironment &env);

} // namespace attn::interpreter
