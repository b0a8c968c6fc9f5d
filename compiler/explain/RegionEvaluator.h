// Runs a scalar region of the tile dialect (classify, mask, score) on numbers,
// so that tools can ask a kernel's own derivation without compiling it.
#pragma once

#include "mlir/IR/Block.h"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace mlir::attn {

/// One scalar; which member counts follows from the op that made it.
union Scalar {
  int64_t i; // i1 and i32, sign-extended
  float f;
};

/// A table's contents, row-major; no extents: not known.
struct EvaluatorTable {
  std::vector<int64_t> extents;
  std::vector<double> values;
};

/// What a region can read besides its arguments.
struct EvaluatorInputs {
  std::vector<EvaluatorTable> tables;
  std::vector<Scalar> params;
  int32_t head = 0, batch = 0, layer = 0;
};

/// A region flattened into straight-line code over registers.
class RegionEvaluator {
public:
  /// Absent, with `reason`, if the block holds an op that has no value here. The
  /// kernel's bindings from `firstTable` on are its tables.
  static std::optional<RegionEvaluator> create(Block &block, int64_t firstTable,
                                               std::string &reason);

  /// Results of the terminator for these arguments; valid until the next call.
  const std::vector<Scalar> &run(llvm::ArrayRef<Scalar> args, const EvaluatorInputs &inputs);

private:
  enum class Code : uint8_t;
  struct Step {
    Code code;
    uint8_t predicate = 0; // of comparisons
    uint32_t result = 0;
    uint32_t a = 0, b = 0, c = 0, d = 0; // registers
    Scalar constant{0};                  // Constant, Param, Item, Table
  };
  static bool makeStep(Operation &op, int64_t firstTable, Step &step, std::string &reason);
  double element(const Step &step, const EvaluatorTable &table) const;

  std::vector<Step> steps;
  std::vector<Scalar> registers;
  std::vector<uint32_t> outputs;
  std::vector<Scalar> results;
  uint32_t argumentCount = 0;
};

} // namespace mlir::attn
