// Compiles the text of a tile kernel to PTX for the tests.
#pragma once

#include "compiler/target/Target.h"

#include <string>

namespace attn::test {

struct Compiled {
  std::string ptx;
  KernelInfo info;
  std::string diagnostics; ///< what was reported, empty if nothing was
  bool ok = false;
  double milliseconds = 0; ///< from tile ops to PTX text
  mlir::attn::TargetOutput output;
};

Compiled compileText(const std::string &text, const std::string &arch = "sm_80",
                     mlir::attn::Stage stage = mlir::attn::Stage::ptx);

} // namespace attn::test
