// One random spec through everything: compiled, run, compared with the float64
// oracle; its mask recovered, its tile classes and its printed form checked.
#pragma once

#include "runtime/device/device.h"
#include "tests/fuzz/draft.h"

namespace attn::fuzz {

// How the derived classes of a kernel's tiles compare with its mask.
struct TileCounts {
  uint64_t tiles = 0, empty = 0, visited_for_nothing = 0, full = 0, masked_for_nothing = 0;
  void add(const TileCounts &other);
};

enum class Verdict : uint8_t {
  passed,
  rejected, // by the front end
  refused,  // by the target
  failed
};

struct Outcome {
  Verdict verdict = Verdict::passed;
  std::string stage;   // of a failure: "check", "compile", "values", "mask", "tiles", "print"
  std::string message; // why, unless it passed
  std::string setting; // kernel and shape
  TileCounts tiles;
};

struct Setting {
  bool tuned = false;  // as the product compiles; else small blocks, so that small
                       // shapes have many tiles, and without LLVM's optimizations
  uint64_t seed = 1;   // chooses variant, architecture, shape and contents
  bool simple = false; // f32, one batch entry, as few rows and keys as still say something
};

Outcome check(const Draft &draft, const std::string &text, Device &device, const Setting &setting);

} // namespace attn::fuzz
