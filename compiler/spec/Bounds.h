// Bounds what an expression can be, given bounds on positions and parameters.
// Sound: the true value always lies within; used to accept, never to compute.
#pragma once

#include "compiler/spec/CheckedSpec.h"

namespace attn::spec {

// All values slope * B + x with low <= x <= high, where B is one unknown block
// number of the environment. Booleans use 0 and 1 with slope 0. The slope lets
// differences of two coordinates cancel B.
struct Bounds {
  double slope = 0, low = 0, high = 0;

  bool isTrue() const { return slope == 0 && low >= 1; }
  bool isFalse() const { return slope == 0 && high <= 0; }
};

// What is known where an expression is bounded. `space` is the one whose first
// axis lies `perBlock` values to a block: a key is in block B, firstBlock <= B
// <= lastBlock, and its query in block B + d, minDistance <= d <= maxDistance.
struct BoundsEnvironment {
  const AttentionSpec *spec = nullptr;
  uint32_t space = UINT32_MAX; // none: positions are not bounded
  double perBlock = 1;
  double firstBlock = 0, lastBlock = 0, minDistance = 0, maxDistance = 0;
  // Calls of several blocks whose first one is a param: d is the distance to that one.
  double callBlocks = 1;
  std::optional<double> batch; // its number; absent: any
};

Bounds boundsOf(const Expr &expr, const BoundsEnvironment &environment);

} // namespace attn::spec
