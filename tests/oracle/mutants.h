// Specs with one token changed, and whether that changes what they mean.
#pragma once

#include "compiler/oracle/attention_reference.h"
#include "compiler/spec/Check.h"
#include "tools/attn-run/problem.h"

#include <filesystem>
#include <optional>
#include <random>
#include <string>
#include <vector>

namespace attn::oracle {

// What a clause says: who attends whom and how much, what else a spec declares, or
// what a pattern asks of its arguments.
enum class Part { meaning, declaration, requirement };

struct Mutant {
  std::string text, description; // "LINE: OLD -> NEW (N)", N counts equal ones of a line
  Part part;
};

// Every change of one token of a spec file: numbers by one, operators to their neighbours.
std::vector<Mutant> mutantsOf(const std::string &text);

enum class Judgement { rejected, same, differs };

// Compares files' first attentions: what a mutant changes in a declaration by what is
// declared, otherwise masks, scores and sink logits, at pairs of tokens under many params
// and tables. First all pairs of a small square, then pairs at places where something may
// change, then pairs at the mask's own borders. What no mutant has needed is not made.
class MutantJudge {
public:
  struct Pair {
    int32_t query, key, head, batch;
  };
  explicit MutantJudge(const std::string &original);
  bool ok() const { return !original_.attentions.empty(); }
  Judgement judge(const std::string &text, Part part);

private:
  struct Setting {
    Bindings bindings;
    std::vector<Pair> pairs;
  };
  const Setting &setting(int round);
  Setting make(int round);
  bool differsAt(const spec::AttentionSpec &other, const Bindings &bindings, Pair pair) const;

  spec::CheckedSpec original_;
  std::vector<int64_t> numbers_; // of its text
  std::vector<Setting> settings_;
  std::mt19937_64 random_;
};

} // namespace attn::oracle
