// Runs the checker over a file: standard patterns and the file's own first,
// then each attention, declarations before the clauses that use them.
#include "compiler/spec/Check.h"

#include "compiler/spec/Checker.h"
#include "compiler/spec/Parser.h"
#include "compiler/spec/StandardLibrary.h"

namespace attn::spec {
namespace {

// Parsed once; a mistake in it is a mistake of ours, which a test reports.
const std::vector<ast::File> &standardFiles() {
  static const std::vector<ast::File> files = [] {
    std::vector<ast::File> result;
    Diagnostics diagnostics;
    for (size_t i = 0; i < standardLibrary().size(); ++i)
      result.push_back(
          parseSpec(standardLibrary()[i].text, static_cast<uint32_t>(i + 1), diagnostics));
    return result;
  }();
  return files;
}

// `replaced`: the standard file that this one is a version of, if it is one.
PatternTable collectPatterns(const ast::File &file, std::string_view text, size_t replaced,
                             Diagnostics &diagnostics) {
  PatternTable table;
  for (size_t i = 0; i < standardFiles().size(); ++i)
    for (const ast::Pattern &pattern : standardFiles()[i].patterns)
      if (i != replaced)
        table.emplace(pattern.name.text, PatternEntry{&pattern, standardLibrary()[i].text, true});
  for (const ast::Pattern &pattern : file.patterns) {
    const std::string &name = pattern.name.text;
    if (isLanguageWord(name)) {
      diagnostics.error(DiagnosticId::name_c2, pattern.name.range, {"`" + name + "`"});
      continue;
    }
    auto [entry, fresh] = table.emplace(name, PatternEntry{&pattern, text, false});
    if (!fresh) {
      Diagnostic &d =
          diagnostics.error(DiagnosticId::name_c1, pattern.name.range, {"`" + name + "`"});
      d.notes.push_back({entry->second.pattern->name.range, "declared here"});
    }
  }
  return table;
}

} // namespace

// Within a pattern the user's place is the outermost call; the line inside the
// pattern follows as a note.
Diagnostic &Checker::report(DiagnosticId id, SourceRange range, std::vector<std::string> args) {
  if (frames.empty())
    return diagnostics.error(id, range, std::move(args));
  Diagnostic &diagnostic = diagnostics.error(id, frames.front().call, std::move(args));
  if (range.valid() && (range.offset != frames.front().call.offset || range.file != 0))
    diagnostic.notes.push_back({range, "in pattern `" + frames.back().pattern + "`"});
  return diagnostic;
}

AttentionSpec Checker::check(const ast::Attention &attention) {
  source = &attention;
  spec.name = attention.name.text;
  spec.range = attention.name.range;
  for (const ast::Binding &binding : attention.consts)
    checkConst(binding);
  for (const ast::Param &param : attention.params)
    checkParam(param);
  for (const ast::Space &space : attention.spaces)
    checkSpace(space);
  for (const ast::Tokens &tokens : attention.tokens)
    checkTokens(tokens);
  for (const ast::Derived &derived : attention.axes)
    checkDerived(derived);
  for (const ast::Table &table : attention.tables)
    checkTable(table);
  for (const ast::Input &input : attention.inputs)
    checkInput(input);
  for (const ast::Binding &let : attention.lets)
    declare(let.name);
  visibleLets = attention.lets.size();
  for (const ast::Cells &cells : attention.cells) {
    declare(cells.name);
    poisoned.insert(cells.name.text);
    report(DiagnosticId::cells_c1, cells.name.range, {});
  }
  for (const ast::Select &select : attention.selects) {
    declare(select.name);
    poisoned.insert(select.name.text);
    report(DiagnosticId::select_c1, select.range, {});
  }

  checkTokensClauses(attention);
  if (!attention.queries.empty())
    checkQueryBlock(attention.queries[0]);
  if (const ast::Heads *heads = single(attention.heads, "heads"))
    checkHeads(*heads);
  else
    report(DiagnosticId::clause_c2, attention.name.range,
           {"`" + spec.name + "`", "heads", "heads N dim 64"});
  if (const ast::Types *types = single(attention.types, "type"))
    checkTypes(*types);
  if (const ast::Scalar *scale = single(attention.scales, "scale"))
    checkScale(*scale);
  if (const ast::Mask *mask = single(attention.masks, "mask"))
    checkMask(*mask);
  else
    report(DiagnosticId::clause_c2, attention.name.range,
           {"`" + spec.name + "`", "mask", "mask all"});
  if (const ast::Scalar *score = single(attention.scores, "score"))
    checkScore(*score);
  if (const ast::Scalar *softmax = single(attention.softmaxes, "softmax"))
    checkSoftmax(*softmax);
  if (const ast::Scalar *output = single(attention.outputs, "output"))
    checkOutput(*output);
  if (const ast::Rope *rope = single(attention.ropes, "rope"))
    checkRope(*rope);
  if (const ast::Emit *emit = single(attention.emits, "emit"))
    checkEmit(*emit);
  if (const ast::Cache *cache = single(attention.caches, "cache"))
    checkCache(*cache);
  if (const ast::Recache *recache = single(attention.recaches, "recache"))
    checkRecache(*recache);

  // What nothing uses is checked all the same.
  for (size_t i = 0; i < attention.lets.size(); ++i)
    if (!usedLets.count(i)) {
      visibleLets = i;
      resolveAt(Place::Let, *attention.lets[i].value);
    }
  nameCoordinates(Side::Query, spec.query);
  nameCoordinates(Side::Key, spec.keys);
  return std::move(spec);
}

std::optional<CheckedSpec> checkSpec(const ast::File &file, std::string_view text,
                                     Diagnostics &diagnostics) {
  PatternTable patterns = collectPatterns(file, text, SIZE_MAX, diagnostics);
  if (file.attentions.empty() && !diagnostics.hasErrors())
    diagnostics.error(DiagnosticId::file_c2, {0, 1, 1, 0, 1});
  CheckedSpec result;
  std::map<std::string, SourceRange> names;
  for (const ast::Attention &attention : file.attentions) {
    auto [entry, fresh] = names.emplace(attention.name.text, attention.name.range);
    if (!fresh) {
      Diagnostic &d = diagnostics.error(DiagnosticId::name_c1, attention.name.range,
                                        {"`" + attention.name.text + "`"});
      d.notes.push_back({entry->second, "declared here"});
    }
    result.attentions.push_back(Checker(patterns, diagnostics).check(attention));
  }
  if (diagnostics.hasErrors())
    return std::nullopt;
  return result;
}

std::optional<size_t> findStandardFile(std::string_view path) {
  for (size_t i = 0; i < standardLibrary().size(); ++i)
    if (path.ends_with("/" + std::string(standardLibrary()[i].name)))
      return i;
  return std::nullopt;
}

size_t checkStandardFile(size_t which, std::string_view text, std::string_view fileName,
                         Diagnostics &diagnostics) {
  diagnostics.setSource(fileName, text);
  ast::File file = parseSpec(text, 0, diagnostics);
  PatternTable patterns = collectPatterns(file, text, which, diagnostics);
  for (const ast::Attention &attention : file.attentions)
    Checker(patterns, diagnostics).check(attention);
  return file.patterns.size();
}

std::optional<CheckedSpec> parseAndCheck(std::string_view text, std::string_view fileName,
                                         Diagnostics &diagnostics) {
  diagnostics.setSource(fileName, text);
  ast::File file = parseSpec(text, 0, diagnostics);
  std::optional<CheckedSpec> result = checkSpec(file, text, diagnostics);
  if (result) {
    result->fileName = fileName;
    result->text = text;
  }
  return result;
}

} // namespace attn::spec
