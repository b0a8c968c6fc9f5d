// Prints MLIR diagnostics the way the spec front end prints its own.
#pragma once

#include "mlir/IR/Diagnostics.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/Support/raw_ostream.h"

#include <string>

namespace mlir::attn {

/// While it lives, errors and notes of `context` go to `os` as
/// `file:line:col: error: subject: message`, with the innermost file location. `subject` is
/// the target and type that are compiled, if it matters which. What several ops of one place
/// say alike is said once, and without the ops' names.
class DiagnosticPrinter {
public:
  DiagnosticPrinter(MLIRContext *context, llvm::raw_ostream &os, std::string subject = {});

private:
  llvm::StringSet<> said;
  ScopedDiagnosticHandler handler;
};

} // namespace mlir::attn
