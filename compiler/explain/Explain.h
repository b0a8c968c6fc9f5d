// What a kernel will do for a given shape: tile classes, density, work and
// traffic, found with the kernel's own classify and mask regions.
#pragma once

#include "compiler/conversion/TileParts.h"
#include "compiler/explain/RegionEvaluator.h"
#include "dialects/tile/TileDialect.h"

#include <array>
#include <memory>

namespace mlir::attn {

/// Keys of a call; see runtime/bundle/kernel_abi.h.
struct Segment {
  int64_t firstSlot = 0, length = 0, firstPosition = 0;
};

/// The call to explain.
struct CallShape {
  int64_t qLength = 0, qPosition = 0;
  int64_t heads = 1, kvHeads = 1, batch = 1;
  std::vector<Segment> segments;
  EvaluatorInputs inputs;

  int64_t keyCount() const;
};

enum class TileClass : uint8_t { empty, partial, full };

/// Asks a kernel's regions about tiles and pairs.
class MaskView {
public:
  /// Absent, with `reason`, if the kernel cannot be evaluated.
  static std::optional<MaskView> create(tile::KernelOp kernel, std::string &reason);

  TileClass classify(int64_t qLow, int64_t qHigh, int64_t kLow, int64_t kHigh, bool whole,
                     const EvaluatorInputs &inputs);
  bool admits(int64_t qPosition, int64_t kPosition, const EvaluatorInputs &inputs);
  /// How many pairs of a box are admitted.
  double count(PositionRange q, PositionRange k, const EvaluatorInputs &inputs);
  /// The rows of the tile [qLow, qLow + count) as the lanes of a CPU kernel with vectors
  /// of `width` have them (cpu/SortRows.cpp), counted from qLow.
  std::vector<int64_t> rowsOfLanes(int64_t qLow, int64_t count, int64_t width,
                                   const EvaluatorInputs &inputs);
  /// Whether all pairs of a box are admitted, or none; absent: some of them.
  std::optional<bool> uniform(PositionRange q, PositionRange k, const EvaluatorInputs &inputs);
  /// What a pair costs to count.
  size_t stepsOfPair() const { return mask ? mask->stepsOfPair() : 0; }
  /// (any, all) of a box, not asked about part by part.
  std::pair<bool, bool> classify(PositionRange q, PositionRange k, const EvaluatorInputs &inputs);

  int64_t blockQ, blockK;

private:
  MaskView(RegionEvaluator classifier, std::optional<RegionEvaluator> mask, int64_t blockQ,
           int64_t blockK)
      : blockQ(blockQ), blockK(blockK), classifier(std::move(classifier)), mask(std::move(mask)) {}

  /// Of a box with at most RegionEvaluator::kSide queries and keys.
  int64_t countEach(PositionRange q, PositionRange k, const EvaluatorInputs &inputs);

  std::optional<bool> uniformBox(PositionRange q, PositionRange k, const EvaluatorInputs &inputs);

  RegionEvaluator classifier;
  std::optional<RegionEvaluator> mask;               // absent: every pair is admitted
  std::optional<RegionEvaluator> queryCuts, keyCuts; // absent: ranges are not cut
  std::optional<RegionEvaluator> traits;             // absent: rows are not sorted
  std::vector<int64_t> axes;                         // of the traits
};

/// Per head; multiply work by heads and batch.
struct Explanation {
  int64_t tiles[3] = {0, 0, 0}; ///< by TileClass
  double pairs = 0;             ///< admitted (query, key) pairs
  double visitedPairs = 0;      ///< pairs in tiles that are computed
  bool estimated = false;       ///< pairs of partial tiles were sampled
  int64_t conservative = 0;     ///< partial tiles that are full or empty in truth (checked ones)
  double derivationMs = 0;      ///< time to derive all tile classes
  double density = 0;           ///< pairs / (q * kv)
};

/// `counted` is what is known about the same call from another target: it has the same
/// pairs, which are not counted again.
Explanation explain(MaskView &view, const CallShape &shape, const Explanation *counted = nullptr);

} // namespace mlir::attn
