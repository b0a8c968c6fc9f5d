// Finds the place in the user's spec behind an op's location.
#include "compiler/pipeline/Diagnostics.h"

using namespace mlir;
using namespace mlir::attn;

static void print(Diagnostic &diagnostic, llvm::raw_ostream &os) {
  if (auto place = diagnostic.getLocation()->findInstanceOf<FileLineColLoc>())
    os << place.getFilename().getValue() << ":" << place.getLine() << ":" << place.getColumn()
       << ": ";
  switch (diagnostic.getSeverity()) {
  case DiagnosticSeverity::Note: os << "note: "; break;
  case DiagnosticSeverity::Warning: os << "warning: "; break;
  case DiagnosticSeverity::Error: os << "error: "; break;
  case DiagnosticSeverity::Remark: os << "remark: "; break;
  }
  os << diagnostic << "\n";
  for (Diagnostic &note : diagnostic.getNotes())
    print(note, os);
}

DiagnosticPrinter::DiagnosticPrinter(MLIRContext *context, llvm::raw_ostream &os)
    : handler(context, [&os](Diagnostic &diagnostic) {
        if (diagnostic.getSeverity() != DiagnosticSeverity::Remark)
          print(diagnostic, os);
        return success();
      }) {}
