// Prints MLIR diagnostics the way the spec front end prints its own.
#pragma once

#include "mlir/IR/Diagnostics.h"
#include "llvm/Support/raw_ostream.h"

namespace mlir::attn {

/// While it lives, errors and notes of `context` go to `os` as
/// `file:line:col: error: message`, with the innermost file location.
class DiagnosticPrinter {
public:
  DiagnosticPrinter(MLIRContext *context, llvm::raw_ostream &os);

private:
  ScopedDiagnosticHandler handler;
};

} // namespace mlir::attn
