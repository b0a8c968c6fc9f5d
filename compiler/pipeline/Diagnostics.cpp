// Finds the place in the user's spec behind an op's location.
#include "compiler/pipeline/Diagnostics.h"

using namespace mlir;
using namespace mlir::attn;

// The message without the "'tile.kernel' op " that emitOpError puts before it.
static std::string messageOf(Diagnostic &diagnostic) {
  std::string text = diagnostic.str();
  StringRef rest = text;
  if (rest.consume_front("'")) {
    auto [op, message] = rest.split("' op ");
    if (!message.empty() && !op.contains(' '))
      return message.str();
  }
  return text;
}

static void print(Diagnostic &diagnostic, StringRef subject, llvm::raw_ostream &os) {
  if (auto place = diagnostic.getLocation()->findInstanceOf<FileLineColLoc>())
    os << place.getFilename().getValue() << ":" << place.getLine() << ":" << place.getColumn()
       << ": ";
  switch (diagnostic.getSeverity()) {
  case DiagnosticSeverity::Note: os << "note: "; break;
  case DiagnosticSeverity::Warning: os << "warning: "; break;
  case DiagnosticSeverity::Error: os << "error: "; break;
  case DiagnosticSeverity::Remark: os << "remark: "; break;
  }
  os << subject << (subject.empty() ? "" : ": ") << messageOf(diagnostic) << "\n";
  for (Diagnostic &note : diagnostic.getNotes())
    print(note, "", os);
}

DiagnosticPrinter::DiagnosticPrinter(MLIRContext *context, llvm::raw_ostream &os,
                                     std::string subject)
    : handler(context, [this, &os, subject = std::move(subject)](Diagnostic &diagnostic) {
        if (diagnostic.getSeverity() == DiagnosticSeverity::Remark)
          return success();
        std::string text;
        llvm::raw_string_ostream stream(text);
        print(diagnostic, subject, stream);
        if (said.insert(text).second)
          os << text;
        return success();
      }) {}
