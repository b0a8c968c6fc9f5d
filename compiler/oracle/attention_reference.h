// Attention as its definition says it, in f64: a checked spec, shapes and
// arrays enter; output and natural-logarithm LSE leave. Every kernel of every
// target is compared with this.
#pragma once

#include "compiler/oracle/Evaluate.h"
#include "compiler/spec/CheckedSpec.h"

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace attn::oracle {

// Slots first_slot .. first_slot + length - 1 of K and V hold the keys at
// positions first_position, first_position + 1, ...
struct Segment {
  int32_t firstSlot = 0, length = 0, firstPosition = 0;
};

struct Call {
  int32_t batch = 1, heads = 1, kvHeads = 1;
  int32_t queryLength = 0;   // query rows
  int32_t slots = 0;         // tokens that K and V have room for
  int32_t queryPosition = 0; // position of row 0
  // One list for every batch entry, or one per batch entry.
  std::vector<std::vector<Segment>> segments;
  std::optional<double> scale; // absent: the spec's, else 1 / sqrt(qk dim)
  Bindings bindings;           // heads and kvHeads are filled in from above
};

// Contiguous: q (batch, heads, rows, qk dim), k (batch, kv heads, slots, qk
// dim), v (batch, kv heads, slots, v dim).
struct Arrays {
  std::span<const double> q, k, v;
};

struct Options {
  // Round to int8 per (row or token, head) first, then compute exactly:
  // scale = amax / 127 in f32, round to nearest even.
  bool quantizeQ = false, quantizeK = false, quantizeV = false;
  // A part to be merged with others: no sink logit, no output expression.
  bool partial = false;
  // The recache's mask instead of the spec's.
  bool recacheMask = false;
};

struct Result {
  std::string error;       // not empty: shapes do not fit; says which
  std::vector<double> o;   // (batch, heads, rows, v dim)
  std::vector<double> lse; // (batch, heads, rows)
  bool ok() const { return error.empty(); }
};

Result attentionReference(const spec::AttentionSpec &spec, const Call &call, const Arrays &arrays,
                          const Options &options = {});

// One pair. `bindings` must hold every param and table of the spec.
bool maskAt(const spec::AttentionSpec &spec, const Bindings &bindings, int32_t batch, int32_t head,
            int32_t queryPosition, int32_t keyPosition);
double scoreAt(const spec::AttentionSpec &spec, const Bindings &bindings, int32_t batch,
               int32_t head, int32_t queryPosition, int32_t keyPosition, double s);

// Merges partial results over disjoint keys (o: rows x dim, lse: rows), exactly
// for empty parts. A sink logit, if any, enters here and once.
struct Partial {
  std::vector<double> o, lse;
};
Partial mergePartials(const std::vector<Partial> &parts, size_t dim,
                      const std::vector<double> *sinkLogits = nullptr);

// What a kernel that merges parts of `spec` gives: the merge, with the sink logit and
// the output expression, each once. `call` needs no slots.
Result mergeReference(const spec::AttentionSpec &spec, const Call &call,
                      const std::vector<Partial> &parts);

// Replaces each row of `width` values by what int8 keeps of it.
void roundToInt8(std::vector<double> &values, size_t width);

std::vector<double> widen(std::span<const float> values);

} // namespace attn::oracle
