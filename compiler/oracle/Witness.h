// Why a mask admits a pair, or does not: the parts of the spec that decide it.
#pragma once

#include "compiler/oracle/Evaluate.h"

#include <string>
#include <vector>

namespace attn::oracle {

struct Clause {
  spec::SourceRange range;
  std::string pattern; // called here; one of `neighborhood(y: 3, x: 3)` stands at `y: 3`
};
struct Witness {
  bool admitted = false;
  // What decides, in the order of the text: for an admitted pair all of them
  // hold, for an excluded one none does. Calls of patterns are not looked into.
  std::vector<Clause> clauses;

  bool operator==(const Witness &other) const;
};

Witness witness(const spec::Expr &mask, const Bindings &bindings, const Point &point);

// The text of a clause, on one line.
std::string sourceText(const spec::CheckedSpec &spec, const Clause &clause);
// "file:line:column"
std::string sourcePlace(const spec::CheckedSpec &spec, const Clause &clause);
// "causal(b) and sink(b, 1)", or "neither a nor b".
std::string explainClauses(const spec::CheckedSpec &spec, const Witness &witness);

} // namespace attn::oracle
