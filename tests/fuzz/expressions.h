// Random expressions over the names that a spec declares.
#pragma once

#include "tests/fuzz/draft.h"

namespace attn::fuzz {

struct NamedAxis {
  std::string query, key; // "q.x", "k.x"; empty: not on that side
  std::string name;       // as pattern argument; empty: ambiguous
  int64_t extent = 0;     // number of values where a pattern may rely on it
  std::string space;      // that has it
};

struct NamedTable {
  std::string name;
  int rank = 1;
  bool real = false;
};

struct Vocabulary {
  std::vector<NamedAxis> axes;
  std::vector<std::string> ints;    // params and consts
  std::vector<std::string> numbers; // float params, at most 2 in magnitude
  std::vector<NamedTable> tables;
  std::vector<std::string> lengths; // len(space), extent(axis)
  std::vector<std::string> lets;    // boolean lets

  // What a line of a mask case may use: the coordinates of two groups of tokens
  // (empty: of all spaces).
  Vocabulary between(const std::string &query_space, const std::string &key_space) const;
};

// A float expression with what is known of its value: f32 arithmetic differs
// from exact arithmetic by at most `error`; 0: it is a multiple of 1/64.
struct Number {
  Node node;
  double bound = 0, error = 0;
};

class ExpressionMaker {
public:
  ExpressionMaker(Random &random, const Vocabulary &names) : random_(random), names_(names) {}

  Node boolean(int depth);
  Node integer(int depth);
  Number score();
  // Without positions, for sink logits.
  Number logit();

private:
  Node comparison(int depth);
  Node relation(); // of a coordinate of the query and the same one of the key
  Node pattern();
  Node integer_leaf();
  Node literal();
  Node divisor(int depth);
  Node gather(const NamedTable &table, int depth);
  Node exact_number(int depth);
  Number bounded_integer(int depth);
  Number term(int depth);
  Number transformed(Number x);
  const NamedAxis *shared_axis();

  Random &random_;
  const Vocabulary &names_;
  bool positions_ = true;
};

} // namespace attn::fuzz
