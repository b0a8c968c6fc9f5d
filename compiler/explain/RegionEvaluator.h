// Runs a scalar region of the tile dialect (classify, mask, score) on numbers,
// so that tools can ask a kernel's own derivation without compiling it.
#pragma once

#include "mlir/IR/Block.h"

#include <array>
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

  static constexpr size_t kSide = 32;

  /// For a region of (query, key, head, batch): for how many pairs of at most kSide
  /// queries and as many keys its first result is true. What belongs to a query or a
  /// key alone is computed once, not for each pair.
  int64_t countPairs(int64_t firstQuery, size_t queries, int64_t firstKey, size_t keys,
                     const EvaluatorInputs &inputs);

  /// Steps that countPairs takes for each pair.
  size_t stepsOfPair() const { return pairSteps.size(); }

private:
  enum class Code : uint8_t;
  struct Step {
    Code code;
    uint8_t predicate = 0; // of comparisons
    uint8_t operands = 0;  // how many of a to d are read
    uint32_t result = 0;
    uint32_t a = 0, b = 0, c = 0, d = 0; // registers
    Scalar constant{0};                  // Constant, Param, Item, Table
  };
  static bool makeStep(Operation &op, int64_t firstTable, Step &step, std::string &reason);
  template <size_t stride>
  void execute(const Step &step, Scalar *values, size_t lanes, const EvaluatorInputs &inputs);
  void planPairs();

  std::vector<Step> constants, steps;                            // constants hold for good
  std::vector<Step> fixedSteps, querySteps, keySteps, pairSteps; // the steps, for countPairs
  struct RowValue {                                              // a query's value that pairs read
    uint32_t slot;
    std::array<Scalar, kSide> ofRows;
  };
  std::vector<RowValue> rowValues;
  std::vector<Scalar> lanes; // kSide of each register
  std::vector<Scalar> registers;
  std::vector<uint32_t> outputs;
  std::vector<Scalar> results;
  uint32_t argumentCount = 0;
};

} // namespace mlir::attn
