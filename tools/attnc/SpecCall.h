// The call that a command line describes: --shape, --set and --table for one
// attention, as numbers that the oracle and `explain` take.
#pragma once

#include "compiler/oracle/attention_reference.h"
#include "runtime/base/npy.h"

#include <CLI/CLI.hpp>

#include <map>
#include <string>
#include <vector>

namespace attn::tools {

struct CallOptions {
  std::vector<std::string> shape, params, tables;
  void add(CLI::App &command); // --shape, --set, --table
};

// One run of keys, in order of positions: the mask is a function of these, so
// nothing is lost by leaving caches out.
struct SpecCall {
  int64_t queries = 0, keys = 0, queryPosition = 0, keyPosition = 0;
  int64_t heads = 1, kvHeads = 1, batch = 1;
  bool batched = false;      // the batch was given, be it 1
  bool headChosen = false;   // the head was given
  int64_t head = 0;          // which one to look at, where one is looked at
  oracle::Bindings bindings; // a table that was not given has no extents
  // Sizes and parameters that the spec leaves open and the options do not give.
  struct Assumption {
    std::string name, why; // "its maximum", or empty
    double value;
  };
  std::vector<Assumption> assumed;
  int32_t queryAt(int64_t row) const { return static_cast<int32_t>(queryPosition + row); }
  int32_t keyAt(int64_t index) const { return static_cast<int32_t>(keyPosition + index); }
};

// Fills `call`; `used` collects the names of options that the spec knows. On
// failure prints why and returns the exit code, else kDone.
int readCall(const spec::AttentionSpec &spec, const CallOptions &options, SpecCall &call,
             std::set<std::string> &used);
// As above; a name that the spec does not know is an error.
int readCall(const spec::AttentionSpec &spec, const CallOptions &options, SpecCall &call);
// The names that the options give and `used` does not hold: an error if any, which
// says what the specs leave open.
int refuseUnused(const CallOptions &options, const std::set<std::string> &used,
                 const std::vector<const spec::AttentionSpec *> &specs);

// Prints which table that `expr` reads was not given; false if one was not.
bool haveTables(const spec::AttentionSpec &spec, const spec::Expr &expr, const SpecCall &call);

// The attention of a file that `name` asks for, by default the first; null after
// printing that there is none.
const spec::AttentionSpec *pickAttention(const spec::CheckedSpec &checked, const std::string &name);

// "width = 65536 (its maximum), i = 1024; give --shape width=N,i=N for others", or empty.
std::string describeAssumptions(const SpecCall &call);
// The same as a note on standard error, for commands whose output is an array.
void noteAssumptions(const SpecCall &call);

} // namespace attn::tools
