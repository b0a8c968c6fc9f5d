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

struct Mutant {
  std::string text, description; // "LINE: OLD -> NEW (N)", N counts equal ones of a line
};

// Every change of one token in the spaces, axes, consts, lets, patterns, masks, scores
// and sink logits of a spec file: numbers by one, operators to their neighbours.
std::vector<Mutant> mutantsOf(const std::string &text);

enum class Judgement { rejected, same, differs };

// Compares the masks, scores and sink logits of a file's first attention: on every
// pair of a small square under many small params and tables, and on chosen pairs
// under large ones.
class MutantJudge {
public:
  explicit MutantJudge(const std::string &original);
  bool ok() const { return !settings_.empty(); }
  Judgement judge(const std::string &text) const;

private:
  using Pair = std::pair<int32_t, int32_t>; // positions of query and key
  struct Setting {
    Bindings bindings;
    std::vector<Pair> pairs;
  };
  // Params and tables whose numbers are at most `most`, and the shape they are for.
  std::pair<Setting, Shape> draw(int round, int32_t tokens, int64_t most);
  bool differsAt(const spec::AttentionSpec &other, const Bindings &bindings, Pair pair,
                 int32_t head) const;

  spec::CheckedSpec original_;
  std::vector<Setting> settings_;
  std::mt19937_64 random_;
};

} // namespace attn::oracle
