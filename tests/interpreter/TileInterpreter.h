// Runs a tile.kernel as written, tile by tile in f64: what a kernel means,
// independent of every target's lowering. Scheduled kernels run role by role in a
// random order, with copies that land at random times.
#pragma once

#include "tests/interpreter/ScalarEvaluator.h"

#include <span>
#include <string>
#include <vector>

namespace attn::interpreter {

struct Segment {
  int32_t firstSlot = 0, length = 0, firstPosition = 0;
};

// An input of the output expression: (batch, rows, heads, dims), an extent of 1
// is repeated.
struct Input {
  int64_t batch = 1, rows = 1, heads = 1, dims = 1;
  std::vector<double> values;
};

// One call. Arrays are contiguous: q (batch, heads, rows, qk dim), k and v
// (batch, kv heads, slots, dim), scales (batch, kv heads, slots). i8 bindings hold
// whole numbers.
struct KernelCall {
  int32_t batch = 1, heads = 1, kvHeads = 1, rows = 0, slots = 0, queryPosition = 0, layer = 0;
  double scale = 1;
  std::vector<std::vector<Segment>> segments; // one list, or one per batch entry
  std::span<const double> q, k, v, kScale, vScale;
  std::vector<double> params;
  std::vector<Table> tables;
  std::vector<Input> inputs; // in the order of the kernel's input bindings
  // Merge kernels: o (batch, heads, rows, v dim) and lse (batch, heads, rows).
  struct Part {
    std::vector<double> o, lse;
  };
  std::vector<Part> parts;
  uint64_t seed = 0; // of the order in which roles run and copies land
};

struct KernelResult {
  std::vector<double> o, lse;               // (batch, heads, rows, v dim), (batch, heads, rows)
  int64_t full = 0, partial = 0, empty = 0; // blocks by class
  std::string fault;                        // what a schedule did wrong, if anything
};

KernelResult runKernel(mlir::tile::KernelOp kernel, const KernelCall &call);

} // namespace attn::interpreter
