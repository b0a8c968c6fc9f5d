// Looks for a pair of tokens that tells a mutant from the original.
#include "tests/oracle/mutants.h"

#include "compiler/spec/Lexer.h"
#include "tests/spec/declarations.h"
#include "tools/attn-run/problem.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace attn::oracle {

namespace {

// Settings of each kind, and the pairs and borders that one looks at.
constexpr int kSquares = 40, kPlaces = 4, kRounded = 240, kPairs = 12000, kBorders = 150;
constexpr int64_t kTableSize = 1 << 14;
constexpr int32_t kSquare = 40;

int64_t below(std::mt19937_64 &random, int64_t limit) {
  return int64_t(random() % uint64_t(std::max<int64_t>(limit, 1)));
}

// The whole numbers of a spec's text.
std::vector<int64_t> numbersOf(const std::string &text) {
  spec::Diagnostics diagnostics;
  std::vector<int64_t> numbers = {1};
  for (const spec::Token &token : spec::lexSpec(text, 0, diagnostics))
    if (token.kind == spec::TokenKind::Integer && token.integer > 0 && token.integer < 200000)
      numbers.push_back(token.integer);
  return numbers;
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
}

// Tables may be smaller than what is asked of them: their last elements repeat.
void shrink(TableData &table) {
  int64_t count = int64_t(table.values.size());
  while (count > kTableSize) {
    int64_t &longest = *std::max_element(table.extents.begin(), table.extents.end());
    count = count / longest * ((longest + 1) / 2);
    longest = (longest + 1) / 2;
  }
  table.values.resize(size_t(count));
  table.values.shrink_to_fit();
}

// Near multiples of the text's numbers, where something that is rounded just changes;
// each param and table in a size of its own.
void chooseMultiples(const spec::AttentionSpec &attention, Bindings &bindings,
                     const std::vector<int64_t> &numbers, std::mt19937_64 &random) {
  auto number = [&](int64_t most) {
    int64_t unit = numbers[size_t(below(random, int64_t(numbers.size())))];
    return unit * below(random, 1 + most / unit) + below(random, 3) - 1;
  };
  for (size_t i = 0; i < bindings.params.size(); ++i) {
    const spec::ParamInfo &param = attention.params[i];
    if (param.implicit || param.type != spec::Type::Int)
      continue;
    int64_t most = std::array{12, 300, 9000}[size_t(below(random, 3))];
    bindings.params[i] = std::clamp(double(number(most)), param.minimum, param.maximum);
  }
  for (size_t i = 0; i < bindings.tables.size(); ++i)
    if (attention.tables[i].element == spec::Element::F32 && below(random, 2)) {
      for (double &value : bindings.tables[i].values)
        value = double(below(random, 9)) / 4;
    } else if (!attention.tables[i].implicit &&
               attention.tables[i].element == spec::Element::Int32) {
      int64_t most = std::array{8, 600, 9000}[size_t(below(random, 3))];
      for (double &value : bindings.tables[i].values)
        value = double(number(most));
    }
}

// Chooses pairs around the numbers of the text, the params, and their products
// with the tokens of a frame.
class PairMaker {
public:
  PairMaker(const spec::AttentionSpec &attention, const Bindings &bindings,
            const std::vector<int64_t> &numbers, int64_t lastQuery, int64_t lastKey,
            std::mt19937_64 &random)
      : attention_(attention), bindings_(bindings), random_(random) {
    Evaluator evaluator(bindings);
    for (const spec::SpaceInfo &space : attention.spaces) {
      int64_t inner = 1;
      strides_.push_back(1);
      for (size_t i = space.axes.size(); i-- > 1;) {
        const spec::Extent &extent = space.axes[i].extent;
        inner *= std::clamp<int64_t>(
            extent.isStatic() ? extent.value : int64_t(evaluator.value(*extent.dynamic, {})), 1,
            1 << 20);
        inner = std::min<int64_t>(inner, 1 << 24);
        strides_.push_back(inner);
      }
      unit_ = std::max(unit_, inner);
    }
    steps_ = {0, 1, 2, unit_};
    for (int64_t number : numbers)
      addStep(number);
    for (double param : bindings.params)
      if (param == std::floor(param))
        addStep(int64_t(std::abs(param)));
    auto limit = [&](const spec::TokensInfo &tokens, int64_t made) {
      const std::optional<spec::Extent> &length = tokens.groups.back().length;
      if (length && length->isStatic() && tokens.groups.back().base.isStatic())
        return std::min<int64_t>(tokens.groups.back().base.value + length->value, 1 << 28);
      return length ? made
                    : std::max<int64_t>(made, std::min<int64_t>(64 * unit_ + 100000, 1 << 28));
    };
    queryLimit_ = limit(attention.query, lastQuery);
    keyLimit_ = limit(attention.keys, lastKey);
  }

  // Every pair of the first few tokens.
  void square() {
    for (int32_t q = 0; q < std::min<int64_t>(kSquare, queryLimit_); ++q)
      for (int32_t k = 0; k < std::min<int64_t>(kSquare, keyLimit_); ++k)
        add(q, k, q + 5 * k, k);
  }

  // Where something may change.
  void places() {
    for (int i = 0; i < kPairs; ++i) {
      int64_t q = query();
      int64_t k = below(random_, 4) ? place(q, keyLimit_)
                                    : below(random_, std::min<int64_t>(keyLimit_, 800));
      add(q, k, q + 5 * k, k);
    }
  }

  // The keys on both sides of where the mask of a query changes, and neighbours along
  // several axes.
  void borders() {
    for (int i = 0; i < kBorders; ++i) {
      int64_t q = below(random_, 2) ? query() : below(random_, std::min<int64_t>(queryLimit_, 12000));
      int64_t head = below(random_, bindings_.heads), batch = below(random_, 2);
      auto admits = [&](int64_t k) {
        return maskAt(attention_, bindings_, int32_t(batch), int32_t(head), int32_t(q), int32_t(k));
      };
      int64_t from = below(random_, 2) ? std::min(q, keyLimit_ - 1) : neighbour(q);
      int64_t to = below(random_, 2) ? place(q, keyLimit_) : below(random_, keyLimit_);
      bool wanted = admits(from);
      if (admits(to) != wanted) {
        while (std::abs(to - from) > 1) {
          int64_t middle = (from + to) / 2;
          (admits(middle) == wanted ? from : to) = middle;
        }
        for (int64_t k : {from, to})
          for (int64_t by : {-1, 0, 1})
            add(std::clamp<int64_t>(q + by, 0, queryLimit_ - 1), k, head, batch);
      }
      for (int j = 0; j < 8; ++j)
        add(q, neighbour(q), head, batch);
    }
  }

  std::vector<MutantJudge::Pair> take() { return std::move(pairs_); }

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
    int64_t at =
        (below(random_, 2) ? from : 0) + (below(random_, 2) ? step : -step) + below(random_, 5) - 2;
    return std::clamp<int64_t>(at, 0, end - 1);
  }

  int64_t query() {
    return below(random_, 3) ? place(unit_ * below(random_, 12), queryLimit_)
                             : below(random_, std::min<int64_t>(queryLimit_, 800));
  }
  // A key whose coordinates are a query's, or differ by little.
  int64_t neighbour(int64_t q) {
    int64_t k = q;
    for (int64_t stride : strides_)
      if (below(random_, 2))
        k += stride * (below(random_, 15) - 7);
    return std::clamp<int64_t>(k, 0, keyLimit_ - 1);
  }
  void add(int64_t q, int64_t k, int64_t head, int64_t batch) {
    pairs_.push_back({int32_t(q), int32_t(k), int32_t(head % bindings_.heads), int32_t(batch % 2)});
  }

  const spec::AttentionSpec &attention_;
  const Bindings &bindings_;
  std::mt19937_64 &random_;
  std::vector<MutantJudge::Pair> pairs_;
  std::vector<int64_t> strides_; // of all spaces' axes
  int64_t unit_ = 1, queryLimit_ = 1, keyLimit_ = 1;
  std::vector<int64_t> steps_;
};

} // namespace

MutantJudge::MutantJudge(const std::string &text) : numbers_(numbersOf(text)), random_(5) {
  spec::Diagnostics diagnostics;
  if (auto checked = spec::parseAndCheck(text, "original.attn", diagnostics))
    original_ = std::move(*checked);
}

const MutantJudge::Setting &MutantJudge::setting(int round) {
  while (int(settings_.size()) <= round)
    settings_.push_back(make(int(settings_.size())));
  return settings_[size_t(round)];
}

MutantJudge::Setting MutantJudge::make(int round) {
  const spec::AttentionSpec &attention = original_.attentions[0];
  bool square = round < kSquares, places = !square && round < kSquares + kPlaces;
  Shape shape;
  shape.heads = attention.heads ? int32_t(attention.heads) : round % 2 ? 4 : 12;
  shape.kv_heads = attention.kvHeads ? int32_t(attention.kvHeads)
                   : attention.heads ? shape.heads
                                     : shape.heads / (1 + round % 2);
  shape.batch = 2;
  bool bulky = std::any_of(attention.tables.begin(), attention.tables.end(),
                           [](const spec::TableInfo &table) { return table.dims.size() > 1; });
  shape.rows = shape.slots = square ? kSquare : places || !bulky ? 3000 : 400;
  shape.contents = false;
  VerifyProblem problem = make_problem(attention, KernelInfo(), shape, random_);
  Setting setting{std::move(problem.call.bindings), {}};
  setting.bindings.layer = round % 3;
  for (TableData &table : setting.bindings.tables)
    shrink(table);
  if (square || places)
    choose(attention, setting.bindings, round, places ? 1500 : round % 2 ? 3 : 12, random_);
  else
    chooseMultiples(attention, setting.bindings, numbers_, random_);
  PairMaker maker(attention, setting.bindings, numbers_, problem.shape.rows, problem.shape.slots,
                  random_);
  square ? maker.square() : places ? maker.places() : maker.borders();
  setting.pairs = maker.take();
  return setting;
}

bool MutantJudge::differsAt(const spec::AttentionSpec &other, const Bindings &bindings,
                            Pair pair) const {
  const spec::AttentionSpec &attention = original_.attentions[0];
  auto [query, key, head, batch] = pair;
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

Judgement MutantJudge::judge(const std::string &text, Part part) {
  spec::Diagnostics diagnostics;
  auto checked = spec::parseAndCheck(text, "mutant.attn", diagnostics);
  if (!checked || checked->attentions.empty())
    return Judgement::rejected;
  const spec::AttentionSpec &attention = original_.attentions[0], &other = checked->attentions[0];
  if (part == Part::declaration)
    return declarationsOf(attention) == declarationsOf(other) ? Judgement::same
                                                              : Judgement::differs;
  if (part == Part::requirement) // what is refused is refused before
    return Judgement::same;
  if (callsDiffer(attention, other))
    return Judgement::differs;
  for (int round = 0; round < kSquares + kPlaces + kRounded; ++round) {
    const Setting &tried = setting(round);
    if (sinksDiffer(attention, other, tried.bindings))
      return Judgement::differs;
    for (Pair pair : tried.pairs)
      if (differsAt(other, tried.bindings, pair))
        return Judgement::differs;
  }
  return Judgement::same;
}

} // namespace attn::oracle
