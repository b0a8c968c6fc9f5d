// Where NaN must come out is asked of the spec, pair by pair; the rest is compared with
// the result without NaN.
#include "tools/attn-run/nan_check.h"

#include <bit>
#include <cmath>
#include <optional>

namespace attn {

namespace {

// What devices make of 0 / 0 has other low bits; these must not matter.
const float kNan = std::bit_cast<float>(0x7fffffff);

struct Place {
  int32_t batch = 0, head = 0, row = 0;
};

class NanProbe {
public:
  NanProbe(const spec::AttentionSpec &spec, const VerifyProblem &problem, std::mt19937_64 &random)
      : spec_(spec), problem_(problem), shape_(problem.shape), random_(random) {}

  // Puts NaN into `args`; false if no pair is admitted by the row that was drawn.
  bool poison(HostArgs &args) {
    query_ = {draw(shape_.batch), draw(shape_.heads), draw(shape_.rows)};
    Place attends = {draw(shape_.batch), draw(shape_.heads), draw(shape_.rows)};
    std::vector<std::pair<int32_t, int32_t>> keys; // slot, position
    for (const Segment &s : args.segments)
      for (int32_t i = 0; i < s.length; ++i)
        if (gives_nan(attends, s.first_position + i))
          keys.emplace_back(s.first_slot + i, s.first_position + i);
    if (keys.empty())
      return false;
    int32_t slot;
    std::tie(slot, key_) = keys[static_cast<size_t>(draw(static_cast<int32_t>(keys.size())))];
    batch_ = attends.batch;
    kv_head_ = attends.head / group();
    put(args.k, batch_, kv_head_, slot);
    put(args.q, query_.batch, query_.head, query_.row);
    return true;
  }

  // Nothing: the score or the output expression decides, which may drop a NaN.
  std::optional<bool> expects_nan(const Place &at) const {
    bool admitted = false, nan = false;
    if (at.batch == batch_ && at.head / group() == kv_head_) {
      admitted = admits(at, key_);
      nan = gives_nan(at, key_);
    }
    if (at.batch == query_.batch && at.head == query_.head && at.row == query_.row)
      for (const Segment &s : problem_.args.segments)
        for (int32_t i = 0; i < s.length; ++i) {
          admitted |= admits(at, s.first_position + i);
          nan |= gives_nan(at, s.first_position + i);
        }
    if (admitted && (!nan || spec_.output))
      return std::nullopt;
    return nan;
  }

private:
  int32_t draw(int32_t count) {
    return std::uniform_int_distribution<int32_t>(0, count - 1)(random_);
  }
  int32_t group() const { return shape_.heads / shape_.kv_heads; }
  void put(HostTensor &tensor, int32_t batch, int32_t head, int32_t token) {
    int64_t row = (int64_t(batch) * tensor.shape[1] + head) * tensor.shape[2] + token;
    int32_t dim = draw(static_cast<int32_t>(tensor.shape[3]));
    tensor.values[static_cast<size_t>(row * tensor.shape[3] + dim)] = kNan;
  }
  bool admits(const Place &at, int32_t key) const {
    return oracle::maskAt(spec_, problem_.call.bindings, at.batch, at.head,
                          problem_.args.q_position + at.row, key);
  }
  bool gives_nan(const Place &at, int32_t key) const {
    return admits(at, key) &&
           std::isnan(oracle::scoreAt(spec_, problem_.call.bindings, at.batch, at.head,
                                      problem_.args.q_position + at.row, key, kNan));
  }

  const spec::AttentionSpec &spec_;
  const VerifyProblem &problem_;
  const Shape &shape_;
  std::mt19937_64 &random_;
  Place query_;
  int32_t batch_ = 0, kv_head_ = 0, key_ = 0; // position
};

} // namespace

Result<std::string> check_nan(Device &device, Kernel &kernel, const spec::AttentionSpec &spec,
                              const VerifyProblem &problem, const HostResult &result,
                              std::mt19937_64 random) {
  HostArgs args = problem.args;
  NanProbe probe(spec, problem, random);
  if (!probe.poison(args))
    return std::string();
  ATTN_ASSIGN_OR_RETURN(HostResult got, run_on_device(device, kernel, args));
  const size_t dim = static_cast<size_t>(got.o.shape[3]);
  size_t row = 0;
  for (Place at; at.batch < problem.shape.batch; ++at.batch)
    for (at.head = 0; at.head < problem.shape.heads; ++at.head)
      for (at.row = 0; at.row < problem.shape.rows; ++at.row, ++row) {
        std::optional<bool> nan = probe.expects_nan(at);
        if (!nan)
          continue;
        std::string where = concat("batch ", at.batch, ", head ", at.head, ", row ", at.row);
        for (size_t i = row * dim; i < (row + 1) * dim; ++i) {
          float value = got.o.values[i];
          if (*nan ? !std::isnan(value) : value != result.o.values[i])
            return concat("NaN in Q or K: the output is ", value, " instead of ",
                          *nan ? "NaN" : std::to_string(result.o.values[i]), ": ", where, ", dim ",
                          i - row * dim);
        }
        if (!got.lse.empty() &&
            (*nan ? !std::isnan(got.lse[row]) : got.lse[row] != result.lse[row]))
          return concat("NaN in Q or K: the lse is ", got.lse[row], " instead of ",
                        *nan ? "NaN" : std::to_string(result.lse[row]), ": ", where);
      }
  return std::string();
}

} // namespace attn
