// Looks for a pair of tokens that tells a mutant from the original.
#include "tests/oracle/mutants.h"

#include "compiler/spec/Lexer.h"
#include "tools/attn-run/problem.h"

#include <algorithm>
#include <cmath>

namespace attn::oracle {

namespace {

// Rounds with small numbers look at every pair of a small square; the others at
// places where something may change.
constexpr int kSmallRounds = 40, kFarRounds = 4, kPairs = 12000;
constexpr int32_t kSquare = 40;

int64_t below(std::mt19937_64 &random, int64_t limit) {
  return int64_t(random() % uint64_t(std::max<int64_t>(limit, 1)));
}

// Params and whole numbers in tables: up to 3, up to 12, or up to `most`.
void choose(const spec::AttentionSpec &attention, Bindings &bindings, int round, int64_t most,
            std::mt19937_64 &random) {
  bool small = most <= 12;
  for (size_t i = 0; i < bindings.params.size(); ++i) {
    const spec::ParamInfo &param = attention.params[i];
    if (param.implicit || param.type != spec::Type::Int)
      continue;
    double least = std::max(param.minimum, -double(most));
    double span = std::min(param.maximum - least, double(most) + std::max(0.0, -least));
    bindings.params[i] = least + double(below(random, int64_t(span) + 1));
  }
  for (size_t i = 0; i < bindings.tables.size(); ++i)
    if (!attention.tables[i].implicit && attention.tables[i].element == spec::Element::Int32)
      for (double &value : bindings.tables[i].values)
        value = small                   ? double(below(random, round % 3 ? 5 : kSquare))
                : below(random, 4) == 0 ? double(below(random, most))
                                        : value;
  bindings.layer = round % 3;
}

// Chooses pairs around the numbers of the text, the params, and their products
// with the tokens of a frame.
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
    for (const spec::Token &token : spec::lexSpec(text, 0, diagnostics))
      if (token.kind == spec::TokenKind::Integer)
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

  // Every pair of the first few tokens.
  void square(std::vector<std::pair<int32_t, int32_t>> &pairs) const {
    for (int32_t q = 0; q < std::min<int64_t>(kSquare, queryLimit_); ++q)
      for (int32_t k = 0; k < std::min<int64_t>(kSquare, keyLimit_); ++k)
        pairs.push_back({q, k});
  }

  std::pair<int32_t, int32_t> next() {
    int64_t q = below(random_, 3) ? place(unit_ * below(random_, 12), queryLimit_)
                                  : below(random_, std::min<int64_t>(queryLimit_, 800));
    int64_t k = below(random_, 4) ? place(q, keyLimit_)
                                  : below(random_, std::min<int64_t>(keyLimit_, 800));
    return {int32_t(q), int32_t(k)};
  }

private:
  void addStep(int64_t step) {
    if (step < 200000)
      steps_.push_back(step);
    if (unit_ > 1 && step * unit_ < 20000000)
      steps_.push_back(step * unit_);
  }
  int64_t place(int64_t from, int64_t end) {
    int64_t step = steps_[size_t(below(random_, int64_t(steps_.size())))];
    if (below(random_, 3) == 0) // the sum of two
      step += steps_[size_t(below(random_, int64_t(steps_.size())))];
    int64_t at = (below(random_, 2) ? from : 0) + (below(random_, 2) ? step : -step) +
                 below(random_, 5) - 2;
    return std::clamp<int64_t>(at, 0, end - 1);
  }

  std::mt19937_64 &random_;
  int64_t unit_ = 1, queryLimit_ = 1, keyLimit_ = 1;
  std::vector<int64_t> steps_;
};

} // namespace

MutantJudge::MutantJudge(const std::string &text) : random_(5) {
  spec::Diagnostics diagnostics;
  auto checked = spec::parseAndCheck(text, "original.attn", diagnostics);
  if (!checked)
    return;
  original_ = std::move(*checked);
  for (int round = 0; round < kSmallRounds + kFarRounds; ++round) {
    bool small = round < kSmallRounds;
    auto [setting, shape] = draw(round, small ? kSquare : 3000, !small ? 1500 : round % 2 ? 3 : 12);
    PairMaker maker(original_.attentions[0], setting.bindings, text, shape.rows, shape.slots,
                    random_);
    if (small)
      maker.square(setting.pairs);
    for (int i = 0; !small && i < kPairs; ++i)
      setting.pairs.push_back(maker.next());
    settings_.push_back(std::move(setting));
  }
}

std::pair<MutantJudge::Setting, Shape> MutantJudge::draw(int round, int32_t tokens, int64_t most) {
  const spec::AttentionSpec &attention = original_.attentions[0];
  Shape shape;
  shape.heads = attention.heads ? int32_t(attention.heads) : round % 2 ? 4 : 12;
  shape.kv_heads = attention.kvHeads ? int32_t(attention.kvHeads)
                   : attention.heads ? shape.heads
                                     : shape.heads / (1 + round % 2);
  shape.batch = 2;
  shape.rows = shape.slots = tokens;
  shape.contents = false;
  VerifyProblem problem = make_problem(attention, KernelInfo(), shape, random_);
  Setting setting{std::move(problem.call.bindings), {}};
  choose(attention, setting.bindings, round, most, random_);
  return {std::move(setting), problem.shape};
}

bool MutantJudge::differsAt(const spec::AttentionSpec &other, const Bindings &bindings, Pair pair,
                            int32_t head) const {
  const spec::AttentionSpec &attention = original_.attentions[0];
  auto [query, key] = pair;
  int32_t batch = key % 2;
  bool admitted = maskAt(attention, bindings, batch, head, query, key);
  if (admitted != maskAt(other, bindings, batch, head, query, key))
    return true;
  if (!admitted || !attention.score || !other.score)
    return false;
  for (double s : {0.7, double(query % 5), -2.5}) {
    double a = scoreAt(attention, bindings, batch, head, query, key, s);
    double b = scoreAt(other, bindings, batch, head, query, key, s);
    bool equal = std::isfinite(a) ? std::abs(a - b) <= 1e-9 * (1 + std::abs(a))
                                  : a == b || (std::isnan(a) && std::isnan(b));
    if (!equal)
      return true;
  }
  return false;
}

// The sink logit belongs to the head, not to the pair.
static bool sinksDiffer(const spec::AttentionSpec &a, const spec::AttentionSpec &b,
                        const Bindings &bindings) {
  if (!a.sinkLogit || !b.sinkLogit)
    return !a.sinkLogit != !b.sinkLogit;
  for (Point point; point.head < bindings.heads; ++point.head)
    if (Evaluator(bindings).value(*a.sinkLogit, point) !=
        Evaluator(bindings).value(*b.sinkLogit, point))
      return true;
  return false;
}

// Other numbers of tokens, other limits, other params or tables.
static bool callsDiffer(const spec::AttentionSpec &a, const spec::AttentionSpec &b) {
  if (a.params.size() != b.params.size() || a.tables.size() != b.tables.size())
    return true;
  for (size_t i = 0; i < a.params.size(); ++i)
    if (a.params[i].minimum != b.params[i].minimum || a.params[i].maximum != b.params[i].maximum)
      return true;
  for (size_t i = 0; i < a.spaces.size(); ++i)
    for (size_t j = 0; j < a.spaces[i].axes.size(); ++j) {
      const spec::SpaceAxis &ours = a.spaces[i].axes[j], &theirs = b.spaces[i].axes[j];
      bool isNumberOfTokens = j == 0 || ours.kind == spec::AxisKind::Ragged;
      if (isNumberOfTokens && ours.extent.value != theirs.extent.value)
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
  if (callsDiffer(original_.attentions[0], other))
    return Judgement::differs;
  for (const Setting &setting : settings_) {
    if (sinksDiffer(original_.attentions[0], other, setting.bindings))
      return Judgement::differs;
    for (Pair pair : setting.pairs)
      if (differsAt(other, setting.bindings, pair,
                    (pair.first + 5 * pair.second) % setting.bindings.heads))
        return Judgement::differs;
  }
  return Judgement::same;
}

} // namespace attn::oracle
