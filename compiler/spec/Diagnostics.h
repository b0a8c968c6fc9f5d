// Collects what is wrong with a spec and renders it as `file:line:col: error:`
// with the source line and a caret. Every message's text is in Diagnostics.def.
#pragma once

#include "compiler/spec/SourceRange.h"

#include <array>
#include <string>
#include <string_view>
#include <vector>

namespace attn::spec {

// One entry per message; the name is the label that LANGUAGE.md and tests use.
enum class DiagnosticId : uint16_t {
#define DIAGNOSTIC(ID, TEXT) ID,
#include "compiler/spec/Diagnostics.def"
#undef DIAGNOSTIC
};

std::string_view diagnosticName(DiagnosticId id);
std::string_view diagnosticText(DiagnosticId id);
size_t diagnosticCount();

struct Note {
  SourceRange range; // may be invalid: no place
  std::string message;
};

struct Diagnostic {
  DiagnosticId id;
  SourceRange range;
  std::string message; // placeholders filled in
  std::vector<Note> notes;
};

class Diagnostics {
public:
  // Later reports refer to this text. Called by parseAndCheck.
  void setSource(std::string_view fileName, std::string_view text);

  // Reports an error; %0, %1, ... of the text are replaced by `args`. Beyond a
  // hundred errors only the count grows. Returns the entry, to add notes to.
  Diagnostic &error(DiagnosticId id, SourceRange range, std::vector<std::string> args = {});

  bool hasErrors() const { return count != 0; }
  size_t errorCount() const { return count; }
  const std::vector<Diagnostic> &all() const { return entries; }

  // All diagnostics as text, in source order, ready for stderr.
  std::string render() const;
  std::string render(const Diagnostic &diagnostic) const;

private:
  std::string renderPlace(SourceRange range, std::string_view kind,
                          const std::string &message) const;

  std::string fileName = "<spec>";
  std::string text;
  std::vector<Diagnostic> entries;
  Diagnostic overflow{};
  size_t count = 0;
};

} // namespace attn::spec
