// Walks the boolean structure of a mask: of a true `or` the first true side
// decides, of a false one both; of a false `and` the first false side.
#include "compiler/oracle/Witness.h"

#include "compiler/spec/StandardLibrary.h"

#include <algorithm>
#include <cctype>

namespace attn::oracle {

using spec::Expr;
using spec::Op;

namespace {

class Walk {
public:
  Walk(const Evaluator &evaluator, const Point &point) : evaluator(evaluator), point(point) {}

  void visit(const Expr &e, std::vector<Clause> &found) {
    const bool value = evaluator.truth(e, point);
    if (e.op == Op::And || e.op == Op::Or) {
      bool both = value == (e.op == Op::And);
      if (both || evaluator.truth(*e.operands[0], point) == value)
        visit(*e.operands[0], found);
      if (both || evaluator.truth(*e.operands[0], point) != value)
        visit(*e.operands[1], found);
      return;
    }
    if (e.op == Op::Select) {
      visit(*e.operands[evaluator.truth(*e.operands[0], point) ? 1 : 2], found);
      return;
    }
    if (e.range.valid())
      found.push_back({e.range, e.op == Op::Pattern ? e.pattern().name : ""});
  }

private:
  const Evaluator &evaluator;
  const Point &point;
};

auto key(const Clause &clause) {
  return std::tuple(clause.range.file, clause.range.offset, clause.range.length);
}

} // namespace

bool Witness::operator==(const Witness &other) const {
  return admitted == other.admitted &&
         std::equal(clauses.begin(), clauses.end(), other.clauses.begin(), other.clauses.end(),
                    [](const auto &a, const auto &b) { return key(a) == key(b); });
}

Witness witness(const Expr &mask, const Bindings &bindings, const Point &point) {
  Evaluator evaluator(bindings);
  Witness result;
  result.admitted = evaluator.truth(mask, point);
  Walk(evaluator, point).visit(mask, result.clauses);
  // A clause that is said twice is said once.
  std::vector<Clause> kept;
  for (const Clause &clause : result.clauses)
    if (std::none_of(kept.begin(), kept.end(),
                     [&](const Clause &other) { return key(other) == key(clause); }))
      kept.push_back(clause);
  result.clauses = std::move(kept);
  return result;
}

static std::pair<std::string_view, std::string_view> fileOf(const spec::CheckedSpec &spec,
                                                            spec::SourceRange range) {
  const auto &library = spec::standardLibrary();
  if (range.file != 0 && range.file <= library.size())
    return {library[range.file - 1].name, library[range.file - 1].text};
  return {spec.fileName, spec.text};
}

std::string sourceText(const spec::CheckedSpec &spec, const Clause &clause) {
  const spec::SourceRange &range = clause.range;
  std::string_view text = fileOf(spec, range).second;
  if (!range.valid() || range.offset > text.size())
    return "";
  std::string line;
  bool comment = false;
  for (char c : text.substr(range.offset, range.length)) {
    comment = c == '\n' ? false : comment || c == '#';
    if (comment)
      continue;
    bool space = std::isspace(static_cast<unsigned char>(c)) != 0;
    if (!space)
      line += c;
    else if (!line.empty() && line.back() != ' ')
      line += ' ';
  }
  return clause.pattern.empty() || line.starts_with(clause.pattern)
             ? line
             : clause.pattern + "(" + line + ")";
}

std::string sourcePlace(const spec::CheckedSpec &spec, const Clause &clause) {
  const spec::SourceRange &range = clause.range;
  return std::string(fileOf(spec, range).first) + ":" + std::to_string(range.line) + ":" +
         std::to_string(range.column);
}

std::string explainClauses(const spec::CheckedSpec &spec, const Witness &witness) {
  std::string text;
  size_t count = witness.clauses.size();
  for (size_t i = 0; i < count; ++i) {
    if (witness.admitted)
      text += i ? " and " : "";
    else
      text += i ? " nor " : count > 1 ? "neither " : "not ";
    text += sourceText(spec, witness.clauses[i]);
  }
  return text.empty() ? (witness.admitted ? "all" : "nothing") : text;
}

} // namespace attn::oracle
