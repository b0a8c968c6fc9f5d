// Specs with one token changed, and whether that changes what they mean.
#pragma once

#include "compiler/oracle/attention_reference.h"
#include "compiler/spec/Check.h"

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace attn::oracle {

struct Mutant {
  std::string text, description; // "LINE: OLD -> NEW (N)", N counts equal ones of a line
};

// Every change of one token in the masks, scores, lets, axes, consts and patterns
// of a spec file: numbers by one, operators to their neighbours.
std::vector<Mutant> mutantsOf(const std::string &text);

enum class Judgement { rejected, same, differs };

class MutantJudge {
public:
  explicit MutantJudge(const std::string &original);
  // Compares masks, scores and sink logits pair by pair.
  Judgement judge(const std::string &text) const;

private:
  struct Pair {
    int32_t query, key;
  };
  struct Setting {
    Bindings bindings;
    std::vector<Pair> pairs;
  };
  bool differsAt(const spec::AttentionSpec &other, const Bindings &bindings, Pair pair) const;

  spec::CheckedSpec original_;
  std::vector<Setting> settings_;
};

} // namespace attn::oracle
