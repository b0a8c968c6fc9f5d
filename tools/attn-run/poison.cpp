// A problem enters and leaves with NaN in what its answer does not depend on.
#include "tools/attn-run/poison.h"

#include <algorithm>
#include <limits>

namespace attn {

static void poison_row(HostTensor &tensor, int64_t batch, int64_t head, int64_t slot) {
  int64_t dim = tensor.shape[3];
  float *row = &tensor.values[static_cast<size_t>(
      ((batch * tensor.shape[1] + head) * tensor.shape[2] + slot) * dim)];
  std::fill_n(row, dim, std::numeric_limits<float>::quiet_NaN());
}

void poison_excluded(const spec::AttentionSpec &spec, const KernelInfo &kernel,
                     VerifyProblem &problem) {
  bool k_float = true, v_float = true;
  for (const BindingInfo &binding : kernel.bindings) {
    k_float &= binding.role != BindingRole::k || binding.type != ElementType::i8;
    v_float &= binding.role != BindingRole::v || binding.type != ElementType::i8;
  }
  const Shape &shape = problem.shape;
  std::vector<bool> used(static_cast<size_t>(shape.slots));
  for (const Segment &s : problem.args.segments)
    std::fill_n(used.begin() + s.first_slot, s.length, true);
  auto hidden = [&](int32_t batch, int32_t kv_head, int32_t position) {
    int32_t group = shape.heads / shape.kv_heads;
    for (int32_t head = kv_head * group; head < (kv_head + 1) * group; ++head)
      for (int32_t row = 0; row < shape.rows; ++row)
        if (oracle::maskAt(spec, problem.call.bindings, batch, head, problem.args.q_position + row,
                           position))
          return false;
    return true;
  };
  for (int32_t batch = 0; batch < shape.batch; ++batch)
    for (int32_t head = 0; head < shape.kv_heads; ++head) {
      for (int32_t slot = 0; slot < shape.slots; ++slot)
        if (!used[static_cast<size_t>(slot)]) {
          if (k_float)
            poison_row(problem.args.k, batch, head, slot);
          if (v_float)
            poison_row(problem.args.v, batch, head, slot);
        }
      for (const Segment &s : problem.args.segments)
        for (int32_t i = 0; k_float && i < s.length; i += 2)
          if (hidden(batch, head, s.first_position + i))
            poison_row(problem.args.k, batch, head, s.first_slot + i);
    }
}

} // namespace attn
