// Stores diagnostics and renders them with their source line and a caret. Long
// lines are cut around the place, and control characters are shown as `?`.
#include "compiler/spec/Diagnostics.h"

#include "compiler/spec/StandardLibrary.h"

#include <algorithm>

namespace attn::spec {
namespace {

constexpr size_t maxEntries = 100;
constexpr size_t maxLine = 140;

struct Entry {
  std::string_view name, text;
};
constexpr Entry table[] = {
#define DIAGNOSTIC(ID, TEXT) {#ID, TEXT},
#include "compiler/spec/Diagnostics.def"
#undef DIAGNOSTIC
};

std::string fill(std::string_view text, const std::vector<std::string> &args) {
  std::string result;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%' && i + 1 < text.size() && text[i + 1] >= '0' && text[i + 1] <= '9') {
      size_t index = static_cast<size_t>(text[++i] - '0');
      if (index < args.size())
        result += args[index];
      continue;
    }
    result += text[i];
  }
  return result;
}

} // namespace

std::string_view diagnosticName(DiagnosticId id) { return table[static_cast<size_t>(id)].name; }
std::string_view diagnosticText(DiagnosticId id) { return table[static_cast<size_t>(id)].text; }
size_t diagnosticCount() { return std::size(table); }

void Diagnostics::setSource(std::string_view name, std::string_view source) {
  fileName = name;
  text = source;
}

Diagnostic &Diagnostics::error(DiagnosticId id, SourceRange range, std::vector<std::string> args) {
  ++count;
  Diagnostic diagnostic{id, range, fill(diagnosticText(id), args), {}};
  if (entries.size() >= maxEntries) {
    overflow = std::move(diagnostic);
    return overflow;
  }
  entries.push_back(std::move(diagnostic));
  return entries.back();
}

std::string Diagnostics::renderPlace(SourceRange range, std::string_view kind,
                                     const std::string &message) const {
  std::string_view name = fileName, source = text;
  if (range.file != 0 && range.file <= standardLibrary().size()) {
    const StandardFile &file = standardLibrary()[range.file - 1];
    name = file.name;
    source = file.text;
  }
  std::string out(name);
  if (range.valid())
    out += ":" + std::to_string(range.line) + ":" + std::to_string(range.column);
  out += ": ";
  out += kind;
  out += ": " + message + "\n";
  if (!range.valid() || range.offset > source.size())
    return out;

  size_t begin = range.offset - std::min<size_t>(range.offset, range.column - 1);
  size_t end = source.find('\n', range.offset);
  end = end == std::string_view::npos ? source.size() : end;
  size_t caret = range.offset - begin;
  if (caret > maxLine / 2) {
    begin += caret - maxLine / 2;
    caret = maxLine / 2;
  }
  std::string line(source.substr(begin, std::min(end - begin, maxLine)));
  std::string marks;
  for (size_t i = 0; i < caret; ++i)
    marks += i < line.size() && line[i] == '\t' ? '\t' : ' ';
  for (char &c : line)
    if (static_cast<unsigned char>(c) < 0x20 && c != '\t')
      c = '?';
  size_t room = line.size() > caret ? line.size() - caret : 1;
  marks += '^';
  marks.append(std::max<size_t>(1, std::min<size_t>(range.length, room)) - 1, '~');
  return out + "  " + line + "\n  " + marks + "\n";
}

std::string Diagnostics::render(const Diagnostic &diagnostic) const {
  std::string out = renderPlace(diagnostic.range, "error", diagnostic.message);
  for (const Note &note : diagnostic.notes)
    out += renderPlace(note.range, "note", note.message);
  return out;
}

std::string Diagnostics::render() const {
  std::vector<const Diagnostic *> ordered;
  for (const Diagnostic &diagnostic : entries)
    ordered.push_back(&diagnostic);
  // Entries lie in one vector, so the address breaks ties by order of report.
  std::sort(ordered.begin(), ordered.end(), [](const Diagnostic *a, const Diagnostic *b) {
    return std::pair(a->range.offset, a) < std::pair(b->range.offset, b);
  });
  std::string out;
  for (const Diagnostic *diagnostic : ordered)
    out += render(*diagnostic);
  if (count > entries.size())
    out += fileName + ": note: " + std::to_string(count - entries.size()) + " more errors\n";
  return out;
}

} // namespace attn::spec
