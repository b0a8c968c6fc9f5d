// A random spec as a tree of text templates, so that it can be printed and then
// made smaller piece by piece.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace attn::fuzz {

// Numbers that are the same with every standard library.
class Random {
public:
  explicit Random(uint64_t seed) : state_(seed * 0x9e3779b97f4a7c15u + 0x632be59bd9b4e019u) {
    next();
  }
  uint64_t next() {
    uint64_t z = (state_ += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }
  int64_t below(int64_t limit) { return static_cast<int64_t>(next() % uint64_t(limit)); }
  int64_t between(int64_t low, int64_t high) { return low + below(high - low + 1); }
  bool one_in(int64_t count) { return below(count) == 0; }
  template <typename T> const T &pick(const std::vector<T> &values) {
    return values[static_cast<size_t>(below(static_cast<int64_t>(values.size())))];
  }
  int64_t pick(std::initializer_list<int64_t> values) { return *(values.begin() + below(int64_t(values.size()))); }

private:
  uint64_t state_;
};

enum class Kind : uint8_t { boolean, integer, number };

// `format` with each $ replaced by a child.
struct Node {
  Kind kind = Kind::boolean;
  std::string format;
  std::vector<Node> children = {};

  std::string text() const;
  size_t size() const; // nodes
};

// One clause of an attention, or one whole pattern.
struct Clause {
  std::string format;
  std::vector<Node> children = {};

  std::string text() const;
};

struct Draft {
  std::vector<Clause> clauses;
  // How far the scores of f32 kernels may be from exact arithmetic.
  double score_error = 0;

  std::string text() const;
  size_t size() const;
  // The clause that begins with `word`, or null.
  const Clause *find(const std::string &word) const;
};

// A random draft; equal seeds give equal drafts.
Draft generate(uint64_t seed);

} // namespace attn::fuzz
