// Makes verification problems for a kernel from its spec: shapes around the
// tile borders, keys placed where the mask's coordinates turn over, parameters
// and tables within their declared ranges.
#pragma once

#include "compiler/oracle/attention_reference.h"
#include "runtime/bundle/bundle_reader.h"
#include "tools/attn-run/host_call.h"
#include <memory>
#include <random>

namespace attn {

// The checked spec of a kernel of the bundle. A kernel "NAME_recache" has the
// spec of NAME with the recache's mask in place of its own, "NAME_merge" that of NAME.
class KernelSpec {
public:
  static Result<KernelSpec> load(const Bundle &bundle, const KernelInfo &kernel);
  const spec::AttentionSpec &operator*() const { return *attention_; }
  const spec::AttentionSpec *operator->() const { return attention_.get(); }

private:
  std::shared_ptr<const spec::AttentionSpec> attention_;
};

// What a problem is made from.
struct Shape {
  int32_t batch = 1, heads = 1, kv_heads = 1, rows = 1, slots = 1;
  uint32_t segments = 1; // 1: one run from position 0; more: rotated, at mask borders
  bool contents = true;  // false: Q, K and V stay empty
};

struct VerifyProblem {
  Shape shape;
  HostArgs args;
  oracle::Call call; // the same call for the oracle
  std::string description;
};

// The shapes that `verify` tries on a kernel.
std::vector<Shape> verify_shapes(const KernelInfo &kernel);

// Equal seeds give equal problems. Values of Q, K and V are rounded to the
// kernel's types; inputs of the output expression are positive.
VerifyProblem make_problem(const spec::AttentionSpec &spec, const KernelInfo &kernel,
                           const Shape &shape, std::mt19937_64 &random);

// Parts to be merged for the rows of a problem: some rows of some parts, and all rows
// of one of them, attended nothing; their outputs are NaN.
HostMerge make_parts(const KernelInfo &kernel, const VerifyProblem &problem,
                     std::mt19937_64 &random);

// The oracle's answer to a merge.
Result<oracle::Result> run_merge_oracle(const spec::AttentionSpec &spec,
                                        const VerifyProblem &problem, const HostMerge &parts);

// The oracle's answer, with K and V (and Q) rounded to int8 first where the
// kernel's are, if `quantised`.
Result<oracle::Result> run_oracle(const spec::AttentionSpec &spec, const KernelInfo &kernel,
                                  const VerifyProblem &problem, bool quantised);

bool has_int8_keys(const KernelInfo &kernel);

// The bound against the oracle that quantises as the kernel does: int8 kernels
// are held to that of their other types.
double exact_bound(const KernelInfo &kernel);

} // namespace attn
