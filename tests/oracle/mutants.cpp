// Makes mutants and looks for a pair of tokens that tells them from the original.
#include "tests/oracle/mutants.h"

#include "compiler/spec/Lexer.h"
#include "tools/attn-run/problem.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

namespace attn::oracle {

using spec::Token;
using spec::TokenKind;

namespace {

std::vector<std::string> neighbours(const Token &token) {
  if (token.kind == TokenKind::Integer) {
    std::vector<std::string> numbers = {std::to_string(token.integer + 1)};
    if (token.integer > 0)
      numbers.push_back(std::to_string(token.integer - 1));
    return numbers;
  }
  static const std::map<std::string_view, std::vector<std::string>> words = {
      {"<", {"<=", ">"}},  {"<=", {"<", ">="}},   {">", {">=", "<"}},   {">=", {">", "<="}},
      {"==", {"!="}},      {"!=", {"=="}},        {"and", {"or"}},      {"or", {"and"}},
      {"not", {""}},       {"+", {"-"}},          {"-", {"+"}},         {"*", {"+"}},
      {"//", {"%"}},       {"%", {"//"}},         {"/", {"*"}},         {"min", {"max"}},
      {"max", {"min"}},    {"true", {"false"}},   {"false", {"true"}},  {"any", {"every"}},
      {"every", {"any"}},  {"clamp", {"cut"}},    {"cut", {"clamp"}},   {"&", {"|"}},
      {"|", {"&"}},        {"^", {"&"}},          {"<<", {">>"}},       {">>", {"<<"}},
      {"causal", {"same"}}};
  auto found = words.find(token.text);
  return found == words.end() || token.kind == TokenKind::End ? std::vector<std::string>{}
                                                              : found->second;
}

// Whether the tokens from here on, up to the next clause, say what attends what.
std::optional<bool> clauseMatters(std::string_view word) {
  static const std::set<std::string_view> yes = {"mask", "score", "let", "axis", "const", "pattern",
                                                 "softmax"},
                                          no = {"space", "tokens", "query", "keys", "heads", "type",
                                                "scale", "table", "input", "rope", "output", "emit",
                                                "cache", "recache", "param", "attention", "require",
                                                "cells", "select"};
  return yes.count(word)  ? std::optional(true)
         : no.count(word) ? std::optional(false)
                          : std::nullopt;
}

} // namespace

std::vector<Mutant> mutantsOf(const std::string &text) {
  spec::Diagnostics diagnostics;
  std::vector<Mutant> mutants;
  bool matters = false;
  int braces = 0;
  std::map<std::string, int> seen;
  for (const Token &token : spec::lexSpec(text, 0, diagnostics)) {
    size_t at = token.kind == TokenKind::End ? text.size() : size_t(token.text.data() - text.data());
    size_t lineBegin = text.rfind('\n', at ? at - 1 : 0) + 1;
    bool startsLine = at >= lineBegin &&
                      text.find_first_not_of(" \t", lineBegin) == at; // a clause has its own line
    // The braces of a cache hold items that look like clauses.
    if (token.kind == TokenKind::Word && startsLine && braces <= 1)
      if (std::optional<bool> clause = clauseMatters(token.text)) {
        matters = *clause;
        continue;
      }
    braces += token.is("{") - token.is("}");
    if (!matters)
      continue;
    size_t line = size_t(std::count(text.begin(), text.begin() + ptrdiff_t(at), '\n')) + 1;
    for (const std::string &replacement : neighbours(token)) {
      std::string mutant = text;
      mutant.replace(at, token.text.size(), replacement);
      std::string description = std::to_string(line) + ": " + std::string(token.text) + " -> " +
                                replacement;
      if (int again = seen[description]++)
        description += " (" + std::to_string(again + 1) + ")";
      mutants.push_back({std::move(mutant), std::move(description)});
    }
  }
  return mutants;
}

// Round by round other params: as kernels are tested with, small, large; and
// numbers in tables beyond the small ones.
static Bindings widened(const spec::AttentionSpec &attention, Bindings bindings, int round,
                        std::mt19937_64 &random) {
  bool far = round > 0;
  for (size_t i = 0; far && i < bindings.params.size(); ++i) {
    const spec::ParamInfo &param = attention.params[i];
    double most = std::min(param.maximum - param.minimum, round < 3 ? 9.0 : 1500.0);
    if (!param.implicit && param.type == spec::Type::Int)
      bindings.params[i] = param.minimum + double(random() % uint64_t(most + 1));
  }
  for (size_t i = 0; far && i < bindings.tables.size(); ++i)
    if (!attention.tables[i].implicit && attention.tables[i].element == spec::Element::Int32)
      for (double &value : bindings.tables[i].values)
        if (random() % 4 == 0)
          value *= double(random() % 300);
  return bindings;
}

namespace {

// Chooses pairs at places where something may change: the numbers of the text,
// the params, and their products with the tokens of a frame.
class PairMaker {
public:
  PairMaker(const spec::AttentionSpec &attention, const Bindings &bindings, const std::string &text,
            int64_t lastQuery, int64_t lastKey, std::mt19937_64 &random)
      : random_(random) {
    Evaluator evaluator(bindings);
    for (const spec::SpaceInfo &space : attention.spaces) {
      int64_t inner = 1;
      for (size_t i = 1; i < space.axes.size(); ++i) {
        const spec::Extent &extent = space.axes[i].extent;
        inner *= std::clamp<int64_t>(
            extent.isStatic() ? extent.value : int64_t(evaluator.value(*extent.dynamic, {})), 1,
            1 << 20);
        inner = std::min<int64_t>(inner, 1 << 24);
      }
      unit_ = std::max(unit_, inner);
    }
    steps_ = {0, 1, 2, unit_};
    spec::Diagnostics diagnostics;
    for (const Token &token : spec::lexSpec(text, 0, diagnostics))
      if (token.kind == TokenKind::Integer)
        addStep(token.integer);
    for (double param : bindings.params)
      if (param == std::floor(param))
        addStep(int64_t(std::abs(param)));
    auto limit = [&](const spec::TokensInfo &tokens, int64_t made) {
      const std::optional<spec::Extent> &length = tokens.groups.back().length;
      if (length && length->isStatic() && tokens.groups.back().base.isStatic())
        return std::min<int64_t>(tokens.groups.back().base.value + length->value, 1 << 28);
      return length ? made : std::max<int64_t>(made, std::min<int64_t>(64 * unit_ + 100000, 1 << 28));
    };
    queryLimit_ = limit(attention.query, lastQuery);
    keyLimit_ = limit(attention.keys, lastKey);
  }

  std::pair<int32_t, int32_t> next() {
    int64_t q = below(3) ? place(unit_ * below(12), queryLimit_)
                         : below(std::min<int64_t>(queryLimit_, 800));
    int64_t k = below(4) ? place(q, keyLimit_) : below(std::min<int64_t>(keyLimit_, 800));
    return {int32_t(q), int32_t(k)};
  }

private:
  int64_t below(int64_t limit) { return int64_t(random_() % uint64_t(limit)); }
  void addStep(int64_t step) {
    if (step < 200000)
      steps_.push_back(step);
    if (unit_ > 1 && step * unit_ < 20000000)
      steps_.push_back(step * unit_);
  }
  int64_t place(int64_t from, int64_t end) {
    int64_t step = steps_[size_t(below(int64_t(steps_.size())))];
    if (below(3) == 0) // the sum of two
      step += steps_[size_t(below(int64_t(steps_.size())))];
    int64_t at = (below(2) ? from : 0) + (below(2) ? step : -step) + below(5) - 2;
    return std::clamp<int64_t>(at, 0, end - 1);
  }

  std::mt19937_64 &random_;
  int64_t unit_ = 1, queryLimit_ = 1, keyLimit_ = 1;
  std::vector<int64_t> steps_;
};

} // namespace

MutantJudge::MutantJudge(const std::string &text) {
  spec::Diagnostics diagnostics;
  auto checked = spec::parseAndCheck(text, "original.attn", diagnostics);
  if (!checked)
    return;
  original_ = std::move(*checked);
  const spec::AttentionSpec &attention = original_.attentions[0];
  std::mt19937_64 random(5);
  KernelInfo kernel;
  for (int round = 0; round < 4; ++round) {
    Shape shape;
    shape.heads = attention.heads ? int32_t(attention.heads) : 4;
    shape.kv_heads = attention.kvHeads ? int32_t(attention.kvHeads) : shape.heads;
    shape.batch = 2;
    shape.rows = shape.slots = 3000;
    shape.contents = false;
    VerifyProblem problem = make_problem(attention, kernel, shape, random);
    Setting setting{widened(attention, problem.call.bindings, round, random), {}};
    PairMaker maker(attention, setting.bindings, text, problem.shape.rows, problem.shape.slots,
                    random);
    for (int i = 0; i < 25000; ++i) {
      auto [query, key] = maker.next();
      setting.pairs.push_back({query, key});
    }
    settings_.push_back(std::move(setting));
  }
}

bool MutantJudge::differsAt(const spec::AttentionSpec &other, const Bindings &bindings,
                            Pair pair) const {
  const spec::AttentionSpec &attention = original_.attentions[0];
  for (int32_t head : {0, bindings.heads - 1}) {
    int32_t batch = pair.key % 2;
    bool admitted = maskAt(attention, bindings, batch, head, pair.query, pair.key);
    if (admitted != maskAt(other, bindings, batch, head, pair.query, pair.key))
      return true;
    if (admitted && attention.score && other.score)
      for (double s : {0.7, -2.5}) {
        double a = scoreAt(attention, bindings, batch, head, pair.query, pair.key, s);
        double b = scoreAt(other, bindings, batch, head, pair.query, pair.key, s);
        if (!(std::abs(a - b) <= 1e-9 * (1 + std::abs(a))) && !(std::isinf(a) && a == b))
          return true;
      }
    Point point;
    point.batch = batch;
    point.head = head;
    if (attention.sinkLogit && other.sinkLogit &&
        Evaluator(bindings).value(*attention.sinkLogit, point) !=
            Evaluator(bindings).value(*other.sinkLogit, point))
      return true;
  }
  return false;
}

Judgement MutantJudge::judge(const std::string &text) const {
  spec::Diagnostics diagnostics;
  auto checked = spec::parseAndCheck(text, "mutant.attn", diagnostics);
  if (!checked || checked->attentions.empty())
    return Judgement::rejected;
  const spec::AttentionSpec &other = checked->attentions[0];
  if (other.params.size() != original_.attentions[0].params.size() ||
      other.tables.size() != original_.attentions[0].tables.size())
    return Judgement::differs;
  for (const Setting &setting : settings_)
    for (Pair pair : setting.pairs)
      if (differsAt(other, setting.bindings, pair))
        return Judgement::differs;
  return Judgement::same;
}

} // namespace attn::oracle
