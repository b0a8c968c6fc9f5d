// Booleans and integers of masks: half of them shaped like masks that people
// write, half of them anything that has a type.
#include "tests/fuzz/expressions.h"

namespace attn::fuzz {

static Node leaf(Kind kind, std::string text) { return {kind, std::move(text)}; }
static Node make(Kind kind, std::string format, std::vector<Node> children) {
  return {kind, std::move(format), std::move(children)};
}

Vocabulary Vocabulary::between(const std::string &query_space,
                               const std::string &key_space) const {
  Vocabulary result = *this;
  for (NamedAxis &axis : result.axes) {
    if (!query_space.empty() && axis.space != query_space)
      axis.query.clear();
    if (!key_space.empty() && axis.space != key_space)
      axis.key.clear();
  }
  if (!query_space.empty() || !key_space.empty())
    result.lets.clear();
  return result;
}

// An axis that both sides have and that a pattern can name.
const NamedAxis *ExpressionMaker::shared_axis() {
  std::vector<const NamedAxis *> found;
  for (const NamedAxis &axis : names_.axes)
    if (!axis.query.empty() && !axis.key.empty() && !axis.name.empty())
      found.push_back(&axis);
  return found.empty() ? nullptr : random_.pick(found);
}

Node ExpressionMaker::literal() {
  switch (random_.below(12)) {
  case 0:
    return leaf(Kind::integer, std::to_string(random_.pick({31, 32, 63, 64, 127, 128, 255, 1000})));
  case 1:
    return leaf(Kind::integer, "(-" + std::to_string(random_.between(1, 9)) + ")");
  case 2:
    return random_.one_in(3) ? leaf(Kind::integer, random_.one_in(2) ? "0x7fffffff" : "(~0x7fffffff)")
                             : leaf(Kind::integer, "100000");
  default:
    return leaf(Kind::integer, std::to_string(random_.below(13)));
  }
}

Node ExpressionMaker::integer_leaf() {
  for (;;) {
    int64_t choice = random_.below(100);
    if (choice < 62 && positions_) {
      if (choice < 6)
        return leaf(Kind::integer, random_.one_in(2) ? "q.position" : "k.position");
      const NamedAxis &axis = random_.pick(names_.axes);
      const std::string &side = random_.one_in(2) ? axis.query : axis.key;
      if (side.empty())
        continue;
      return leaf(Kind::integer, side);
    }
    if (choice < 68)
      return leaf(Kind::integer, "head");
    if (choice < 71)
      return leaf(Kind::integer, "batch");
    if (choice < 73)
      return leaf(Kind::integer, random_.one_in(2) ? "heads" : random_.one_in(2) ? "kv_heads" : "layer");
    if (choice < 80 && !names_.ints.empty())
      return leaf(Kind::integer, random_.pick(names_.ints));
    if (choice < 82 && !names_.lengths.empty())
      return leaf(Kind::integer, random_.pick(names_.lengths));
    if (choice >= 82)
      return literal();
  }
}

// Mostly a constant; sometimes what may be negative or 0 at run time.
Node ExpressionMaker::divisor(int depth) {
  int64_t choice = random_.below(10);
  if (choice < 6)
    return leaf(Kind::integer, std::to_string(random_.between(1, 9)));
  if (choice == 6)
    return leaf(Kind::integer, "(-" + std::to_string(random_.between(1, 5)) + ")");
  if (choice < 9 && !names_.ints.empty())
    return leaf(Kind::integer, random_.pick(names_.ints));
  return integer(depth);
}

Node ExpressionMaker::gather(const NamedTable &table, int depth) {
  std::string format = table.name + "[";
  std::vector<Node> indices;
  for (int i = 0; i < table.rank; ++i) {
    format += i ? ", $" : "$";
    indices.push_back(integer(std::min(depth - 1, 2)));
  }
  return make(table.real ? Kind::number : Kind::integer, format + "]", std::move(indices));
}

Node ExpressionMaker::integer(int depth) {
  if (depth <= 0 || random_.one_in(5))
    return integer_leaf();
  auto binary = [&](const char *format) {
    Node left = integer(depth - 1);
    return make(Kind::integer, format, {std::move(left), integer(depth - 1)});
  };
  switch (random_.below(24)) {
  case 0:
  case 1:
    return binary("($ + $)");
  case 2:
  case 3:
  case 4:
    return binary("($ - $)");
  case 5:
    return binary("($ * $)");
  case 6:
  case 7: {
    Node left = integer(depth - 1);
    return make(Kind::integer, "($ // $)", {std::move(left), divisor(depth - 1)});
  }
  case 8:
  case 9: {
    Node left = integer(depth - 1);
    return make(Kind::integer, "($ % $)", {std::move(left), divisor(depth - 1)});
  }
  case 10:
    return binary("($ & $)");
  case 11:
    return binary("($ | $)");
  case 12:
    return binary("($ ^ $)");
  case 13: {
    Node left = integer(depth - 1);
    Node amount = random_.one_in(4) ? integer(depth - 1)
                                    : leaf(Kind::integer, std::to_string(random_.below(7)));
    return make(Kind::integer, random_.one_in(2) ? "($ << $)" : "($ >> $)",
                {std::move(left), std::move(amount)});
  }
  case 14:
    return binary("min($, $)");
  case 15:
    return binary("max($, $)");
  case 16: {
    Node x = integer(depth - 1), low = integer(depth - 2);
    return make(Kind::integer, "clamp($, $, $)", {std::move(x), std::move(low), integer(depth - 2)});
  }
  case 17:
    return make(Kind::integer, "abs($)", {integer(depth - 1)});
  case 18:
    return make(Kind::integer, random_.one_in(2) ? "(-$)" : "(~$)", {integer(depth - 1)});
  case 19: {
    Node condition = boolean(depth - 1), yes = integer(depth - 1);
    return make(Kind::integer, "(if $ then $ else $)",
                {std::move(condition), std::move(yes), integer(depth - 1)});
  }
  case 20:
    return make(Kind::integer, "int($)", {boolean(depth - 1)});
  case 21:
    return make(Kind::integer, random_.one_in(2) ? "int($)" : "int(floor($))", {exact_number(depth - 1)});
  case 22: {
    Node count = leaf(Kind::integer, std::to_string(random_.between(1, 3)));
    return make(Kind::integer, "sum(n in 0..$: $ + n)", {std::move(count), integer(depth - 2)});
  }
  default:
    for (const NamedTable &table : names_.tables)
      if (!table.real && random_.one_in(2))
        return gather(table, depth);
    return binary("($ - $)");
  }
}

// Multiples of 1/64 below 2^12: exact in f32, so that comparisons cannot differ.
Node ExpressionMaker::exact_number(int depth) {
  Number whole = bounded_integer(depth);
  switch (random_.below(5)) {
  case 0:
    return make(Kind::number, "(float($) * 0.5)", {std::move(whole.node)});
  case 1:
    return make(Kind::number, "(float($) * -0.25)", {std::move(whole.node)});
  case 2:
    return make(Kind::number, "abs(float($) / 4.0)", {std::move(whole.node)});
  case 3: {
    Number other = bounded_integer(depth - 1);
    return make(Kind::number, random_.one_in(2) ? "min(float($), $ * 0.125)" : "(float($) - $ / 8.0)",
                {std::move(whole.node), std::move(other.node)});
  }
  default:
    return make(Kind::number, "float($)", {std::move(whole.node)});
  }
}

Number ExpressionMaker::bounded_integer(int depth) {
  switch (random_.below(4)) {
  case 0:
    return {make(Kind::integer, "clamp($, -50, 50)", {integer(depth)}), 50};
  case 1:
    return {make(Kind::integer, "($ & 31)", {integer(depth)}), 31};
  case 2:
    return {leaf(Kind::integer, "head"), 16};
  default:
    return {make(Kind::integer, "($ % 24)", {integer(depth)}), 24};
  }
}

Node ExpressionMaker::comparison(int depth) {
  static const std::vector<std::string> operators = {"==", "!=", "<", "<=", ">", ">="};
  std::string format = "($ " + random_.pick(operators) + " $)";
  if (random_.one_in(8)) {
    Node left = exact_number(depth - 1);
    return make(Kind::boolean, format, {std::move(left), exact_number(depth - 1)});
  }
  Node left = integer(depth);
  return make(Kind::boolean, format, {std::move(left), integer(depth - 1)});
}

Node ExpressionMaker::relation() {
  const NamedAxis *axis = shared_axis();
  if (!axis)
    return comparison(2);
  Node q = leaf(Kind::integer, axis->query), k = leaf(Kind::integer, axis->key);
  Node n = random_.one_in(3) ? integer(1) : leaf(Kind::integer, std::to_string(random_.between(0, 9)));
  Node step = leaf(Kind::integer, std::to_string(random_.between(1, 6)));
  switch (random_.below(9)) {
  case 0:
    return make(Kind::boolean, "($ - $ < $)", {q, k, n});
  case 1:
    return make(Kind::boolean, "(abs($ - $) <= $)", {q, k, n});
  case 2:
    return make(Kind::boolean, "($ // $ == $ // $)", {q, step, k, step});
  case 3:
    return make(Kind::boolean, "(($ - $) % $ == 0)", {q, k, step});
  case 4:
    return make(Kind::boolean, "($ <= $ + $)", {k, q, n});
  case 5:
    return make(Kind::boolean, "(($ + $) % $ >= $ % $)", {q, n, step, k, step});
  case 6:
    return make(Kind::boolean, "(min($, $) <= $)", {k, q, n});
  case 7:
    return make(Kind::boolean, "(clamp($, $, $ + 5) <= $)", {q, n, n, k});
  default:
    return make(Kind::boolean, "(($ ^ $) < $)", {q, k, n});
  }
}

Node ExpressionMaker::pattern() {
  const NamedAxis *axis = shared_axis();
  if (!axis)
    return relation();
  const std::string &a = axis->name;
  auto count = [&](int64_t low, int64_t high) {
    return leaf(Kind::integer, std::to_string(random_.between(low, high)));
  };
  auto boolean = [](std::string format, std::vector<Node> children) {
    return make(Kind::boolean, std::move(format), std::move(children));
  };
  switch (random_.below(14)) {
  case 0:
  case 1:
    return leaf(Kind::boolean, "causal(" + a + ")");
  case 2:
    return boolean("window(" + a + ", $)", {count(1, 40)});
  case 3:
    return boolean("band(" + a + ", $, $)", {count(0, 20), count(0, 9)});
  case 4:
    return boolean(random_.one_in(2) ? "sink(" + a + ", $)" : "prefix(" + a + ", n $)", {count(0, 9)});
  case 5:
    return boolean("prefix_lm(" + a + ", $)", {count(0, 30)});
  case 6:
    return leaf(Kind::boolean, "same(" + a + ")");
  case 7:
    return boolean("chunked(" + a + ", $)", {count(1, 20)});
  case 8:
    return boolean("block_causal(" + a + ", $)", {count(1, 20)});
  case 9:
    return boolean("strided(" + a + ", $)", {count(1, 7)});
  case 10:
    return boolean(random_.one_in(2) ? "dilated(" + a + ", $, $)" : "causal_dilated(" + a + ", $, $)",
                   {count(1, 20), count(1, 4)});
  case 11:
  case 12: {
    int64_t extent = axis->extent ? axis->extent : 1000;
    int64_t size = random_.between(1, std::min<int64_t>(extent, 9));
    int64_t dilation = random_.between(1, std::max<int64_t>(1, std::min<int64_t>(3, extent / size)));
    std::string rest = ", " + std::to_string(size) + ", stride " +
                       std::to_string(random_.between(1, size)) + ", dilation " +
                       std::to_string(dilation);
    if (!axis->extent)
      return leaf(Kind::boolean, "causal(" + a + ")");
    if (random_.one_in(3))
      return leaf(Kind::boolean, "causal_neighborhood(" + a + rest + ")");
    return leaf(Kind::boolean,
                "neighborhood(" + a + rest + (random_.one_in(2) ? ", edge cut)" : ")"));
  }
  default: {
    const NamedAxis *place = shared_axis();
    return leaf(Kind::boolean, "radial(" + a + ", " + place->name + ", " +
                                   std::to_string(random_.between(1, 60)) + ", 0.5, block " +
                                   std::to_string(random_.between(1, 12)) + ")");
  }
  }
}

Node ExpressionMaker::boolean(int depth) {
  if (depth <= 0)
    return positions_ && !random_.one_in(4) ? relation() : comparison(1);
  switch (random_.below(16)) {
  case 0:
  case 1:
  case 2: {
    Node left = boolean(depth - 1);
    return make(Kind::boolean, "($ and $)", {std::move(left), boolean(depth - 1)});
  }
  case 3:
  case 4:
  case 5: {
    Node left = boolean(depth - 1);
    return make(Kind::boolean, "($ or $)", {std::move(left), boolean(depth - 1)});
  }
  case 6:
    return make(Kind::boolean, "(not $)", {boolean(depth - 1)});
  case 7: {
    Node condition = boolean(depth - 1), yes = boolean(depth - 1);
    return make(Kind::boolean, "(if $ then $ else $)",
                {std::move(condition), std::move(yes), boolean(depth - 1)});
  }
  case 8: {
    Node bound = leaf(Kind::integer, std::to_string(random_.between(1, 4)));
    return make(Kind::boolean, random_.one_in(2) ? "any(n in 0..$: $ == n * 3)" : "every(n in 0..$: $ != n)",
                {std::move(bound), integer(depth - 1)});
  }
  case 9:
    return names_.lets.empty() || !positions_ ? comparison(depth) : leaf(Kind::boolean, random_.pick(names_.lets));
  case 10:
  case 11:
    return comparison(depth);
  case 12:
  case 13:
    return positions_ ? relation() : comparison(depth);
  default:
    return positions_ ? pattern() : comparison(depth);
  }
}

} // namespace attn::fuzz
