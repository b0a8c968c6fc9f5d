// What the oracle's tests share: a checked spec from text, and calls on random
// arrays.
#pragma once

#include "compiler/oracle/attention_reference.h"
#include "compiler/spec/Check.h"

#include <cmath>
#include <gtest/gtest.h>
#include <random>
#include <string>

namespace attn::oracle {

inline spec::AttentionSpec specOf(const std::string &text) {
  spec::Diagnostics diagnostics;
  auto checked = spec::parseAndCheck(text, "test.attn", diagnostics);
  EXPECT_TRUE(checked.has_value()) << diagnostics.render();
  return checked ? checked->attentions[0] : spec::AttentionSpec{};
}

// `space` is the inside of `space tok(...)`; `clauses` are added.
inline spec::AttentionSpec tokens(const std::string &space, const std::string &clauses,
                                  const std::string &heads = "heads any dim 8") {
  return specOf("attention test {\n  space tok(" + space + ")\n  query tok\n  keys tok\n  " +
                heads + "\n" + clauses + "\n}\n");
}

inline std::vector<double> randomValues(size_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<double> values(count);
  for (double &value : values)
    value = normal(random);
  return values;
}

struct Sample {
  Call call;
  std::vector<double> q, k, v;
  Arrays arrays() const { return {q, k, v}; }
};

inline Sample sample(const spec::AttentionSpec &spec, int batch, int heads, int kvHeads, int rows,
                     int keys, unsigned seed = 1) {
  Sample s;
  s.call.batch = batch;
  s.call.heads = heads;
  s.call.kvHeads = kvHeads;
  s.call.queryLength = rows;
  s.call.slots = keys;
  s.call.segments = {{Segment{0, keys, 0}}};
  s.q = randomValues(size_t(batch) * heads * rows * spec.qkDim, seed);
  s.k = randomValues(size_t(batch) * kvHeads * keys * spec.qkDim, seed + 1);
  s.v = randomValues(size_t(batch) * kvHeads * keys * spec.vDim, seed + 2);
  return s;
}

} // namespace attn::oracle
