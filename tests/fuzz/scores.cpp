// Random scores. A kernel computes them in f32 and the oracle in f64, so each
// step keeps count of how far apart the two can be.
#include "tests/fuzz/expressions.h"

#include <algorithm>
#include <cmath>

namespace attn::fuzz {

static constexpr double kRounding = 0x1p-23;

static Number number(std::string format, std::vector<Node> children, double bound, double error) {
  return {{Kind::number, std::move(format), std::move(children)}, bound, error + bound * kRounding};
}

// A part that does not depend on s.
Number ExpressionMaker::term(int depth) {
  switch (random_.below(depth > 0 ? 9 : 4)) {
  case 0: {
    double value = double(random_.between(-16, 16)) / 8;
    return {{Kind::number, std::to_string(value)}, std::abs(value)};
  }
  case 1:
    if (!names_.numbers.empty())
      return {{Kind::number, random_.pick(names_.numbers)}, 2};
    [[fallthrough]];
  case 2:
    for (const NamedTable &table : names_.tables)
      if (table.real && random_.one_in(2))
        return {gather(table, 2), 4};
    [[fallthrough]];
  case 3: {
    Number whole = bounded_integer(1);
    return {{Kind::number, "(0.03125 * $)", {std::move(whole.node)}}, whole.bound / 32};
  }
  case 4: {
    Number x = term(depth - 1);
    return number(random_.one_in(2) ? "sin($)" : "cos($)", {std::move(x.node)}, 1, x.error);
  }
  case 5: {
    Number x = term(depth - 1);
    return number(random_.one_in(2) ? "tanh($)" : "sigmoid($)", {std::move(x.node)}, 1, x.error);
  }
  case 6: {
    Number x = term(depth - 1), y = term(depth - 1);
    return number("($ * $)", {std::move(x.node), std::move(y.node)}, x.bound * y.bound,
                  x.error * y.bound + y.error * x.bound);
  }
  case 7: {
    Node condition = boolean(1);
    Number x = term(depth - 1), y = term(depth - 1);
    return {{Kind::number, "(if $ then $ else $)",
             {std::move(condition), std::move(x.node), std::move(y.node)}},
            std::max(x.bound, y.bound), std::max(x.error, y.error)};
  }
  default: {
    Number x = term(depth - 1);
    switch (random_.below(4)) {
    case 0:
      return number("sum(n in 0..2: cos($ * (n + 1)))", {std::move(x.node)}, 3, 6 * x.error);
    case 1:
      return number("log(abs($) + 0.5)", {std::move(x.node)}, 1 + std::log1p(x.bound), 2 * x.error);
    case 2:
      return number("sqrt(abs($) + 0.25)", {std::move(x.node)}, std::sqrt(x.bound + 0.25), x.error);
    default:
      return number("exp2(clamp($, -4.0, 2.0))", {std::move(x.node)}, 4, 3 * x.error);
    }
  }
  }
}

// What scores commonly do with s.
Number ExpressionMaker::transformed(Number x) {
  switch (random_.below(9)) {
  case 0: {
    double c = random_.one_in(2) ? 5 : 30;
    return number("softcap($, " + std::to_string(c) + ")", {std::move(x.node)}, c, x.error);
  }
  case 1:
  case 2: {
    Number y = term(2);
    return number(random_.one_in(2) ? "($ + $)" : "($ - $)", {std::move(x.node), std::move(y.node)},
                  x.bound + y.bound, x.error + y.error);
  }
  case 3: {
    Number y = term(1);
    return number("($ * $)", {std::move(x.node), std::move(y.node)}, x.bound * y.bound,
                  x.error * y.bound + y.error * x.bound);
  }
  case 4: {
    Node condition = boolean(1);
    Number y = term(1);
    return {{Kind::number, "(if $ then $ else $)",
             {std::move(condition), std::move(x.node), std::move(y.node)}},
            std::max(x.bound, y.bound), std::max(x.error, y.error)};
  }
  case 5:
    return number("tanh($)", {std::move(x.node)}, 1, x.error);
  case 6:
    return number("abs($)", {std::move(x.node)}, x.bound, x.error);
  case 7: {
    Number y = term(1);
    return number(random_.one_in(2) ? "min($, $)" : "max($, $)",
                  {std::move(x.node), std::move(y.node)}, std::max(x.bound, y.bound),
                  std::max(x.error, y.error));
  }
  default: {
    Number y = term(1);
    return number("($ / (1.5 + abs($)))", {std::move(x.node), std::move(y.node)}, x.bound,
                  x.error + x.bound * y.error);
  }
  }
}

Number ExpressionMaker::score() {
  for (;;) {
    Number x{{Kind::number, "s"}, 6, 6 * kRounding};
    for (int64_t steps = random_.between(1, 4); steps > 0; --steps)
      x = transformed(std::move(x));
    if (x.error < 1e-4 && x.bound < 100)
      return x;
  }
}

Number ExpressionMaker::logit() {
  positions_ = false;
  Number x = term(2);
  positions_ = true;
  return x;
}

} // namespace attn::fuzz
