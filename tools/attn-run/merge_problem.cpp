// Parts for a merge kernel, and what the oracle makes of them.
#include "tools/attn-run/problem.h"

#include <cmath>
#include <limits>

namespace attn {

HostMerge make_parts(const KernelInfo &kernel, const VerifyProblem &problem,
                     std::mt19937_64 &random) {
  const Shape &shape = problem.shape;
  int64_t rows = int64_t(shape.batch) * shape.heads * shape.rows, dim = kernel.v_dim;
  ElementType type = ElementType::f32;
  for (const BindingInfo &binding : kernel.bindings)
    if (binding.role == BindingRole::part_o)
      type = binding.type;
  auto number = [&] { return static_cast<float>(static_cast<double>(random() >> 11) * 0x1p-53); };
  HostMerge merge;
  merge.tensors = problem.args.tensors;
  merge.params = problem.args.params;
  merge.q_position = problem.args.q_position;
  merge.layer = problem.args.layer;
  size_t count = 1 + random() % 4, empty = random() % (count + 1);
  for (size_t part = 0; part < count; ++part) {
    HostTensor o{{shape.batch, shape.heads, shape.rows, dim}, {}};
    std::vector<float> lse;
    for (int64_t row = 0; row < rows; ++row) {
      bool attends = part != empty && random() % 5 != 0;
      lse.push_back(attends ? 16 * number() - 8 : -std::numeric_limits<float>::infinity());
      for (int64_t d = 0; d < dim; ++d)
        o.values.push_back(attends ? 4 * number() - 2 : std::nanf(""));
    }
    round_to_type(o.values, type);
    merge.o.push_back(std::move(o));
    merge.lse.push_back(std::move(lse));
  }
  return merge;
}

Result<oracle::Result> run_merge_oracle(const spec::AttentionSpec &spec,
                                        const VerifyProblem &problem, const HostMerge &parts) {
  std::vector<oracle::Partial> partials;
  for (size_t i = 0; i < parts.o.size(); ++i)
    partials.push_back({oracle::widen(parts.o[i].values), oracle::widen(parts.lse[i])});
  oracle::Result result = oracle::mergeReference(spec, problem.call, partials);
  if (!result.ok())
    return Status::internal("the oracle refuses the merge (", problem.description,
                            "): ", result.error);
  return result;
}

} // namespace attn
