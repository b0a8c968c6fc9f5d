// A kernel and a problem enter; how its mask differs from the spec's leaves.
#include "tools/attn-run/mask_recovery.h"

#include <algorithm>
#include <cmath>

namespace attn {

namespace {

struct KeyAt {
  int64_t slot;
  int32_t position; // -1: the slot is in no segment, hence never attended
  uint32_t segment;
  int32_t index; // within the segment
};

const char *class_name(uint32_t tile_class) {
  return tile_class == ATTN_TILE_FULL      ? "full"
         : tile_class == ATTN_TILE_PARTIAL ? "partial"
                                           : "empty";
}

// The class of the tile that holds a key, as the kernel's own ranges say.
std::string tile_class(const Kernel &kernel, const HostCall &call, uint32_t batch, uint32_t head,
                       uint32_t q_tile, const KeyAt &key) {
  if (!kernel.ranges())
    return "";
  std::vector<uint32_t> ranges(4 * 4096);
  uint32_t count = call.ranges(batch, head, q_tile, ranges);
  for (uint32_t i = 0; i < count; ++i) {
    const uint32_t *r = &ranges[4 * i];
    if (r[0] == key.segment && r[1] <= static_cast<uint32_t>(key.index) &&
        static_cast<uint32_t>(key.index) < r[2])
      return concat(", in a ", class_name(r[3]), " range [", r[1], ", ", r[2], ")");
  }
  return ", in no range";
}

// Large enough to show beside what an output expression adds, in every type.
constexpr float kOneHot = 256;

// What is not larger than this is lost when a result of this size is rounded, or is a
// weight that the type of the output, which may be that of the probabilities, makes 0.
double rounding(const KernelInfo &info, double size) {
  double unit = 1e-6, least = 1e-30;
  for (const BindingInfo &binding : info.bindings)
    if (binding.role == BindingRole::o && binding.type == ElementType::bf16)
      unit = 1.6e-2;
    else if (binding.role == BindingRole::o && binding.type == ElementType::f16)
      unit = 2e-3, least = 0x1p-23; // twice the smallest number
  return std::max(least, size * unit);
}

} // namespace

Result<MaskReport> recover_mask(Device &device, Kernel &kernel, const spec::AttentionSpec &spec,
                                const VerifyProblem &problem) {
  const KernelInfo &info = kernel.info();
  VerifyProblem probe = problem;
  std::fill(probe.args.q.values.begin(), probe.args.q.values.end(), 0.0f);
  int64_t dim = info.v_dim, slots = problem.shape.slots, rows = problem.shape.rows;
  int64_t heads = problem.shape.heads, batches = problem.shape.batch;
  std::vector<KeyAt> keys;
  std::vector<bool> used(static_cast<size_t>(slots));
  for (size_t s = 0; s < problem.args.segments.size(); ++s)
    for (int32_t i = 0; i < problem.args.segments[s].length; ++i) {
      keys.push_back({problem.args.segments[s].first_slot + i,
                      problem.args.segments[s].first_position + i, static_cast<uint32_t>(s), i});
      used[static_cast<size_t>(keys.back().slot)] = true;
    }
  for (int64_t slot = 0; slot < slots; ++slot)
    if (!used[static_cast<size_t>(slot)])
      keys.push_back({slot, -1, UINT32_MAX, 0});

  // An output expression is seen by how it differs from the one without values.
  HostResult without;
  oracle::Result expected_without;
  if (spec.output) {
    std::fill(probe.args.v.values.begin(), probe.args.v.values.end(), 0.0f);
    ATTN_ASSIGN_OR_RETURN(without, run_on_device(device, kernel, probe.args));
    ATTN_ASSIGN_OR_RETURN(expected_without, run_oracle(spec, info, probe, false));
  }

  MaskReport report;
  for (int64_t first = 0; first < slots; first += dim) {
    std::vector<float> &v = probe.args.v.values;
    std::fill(v.begin(), v.end(), 0.0f);
    for (size_t row = 0; row < v.size() / static_cast<size_t>(dim); ++row) {
      int64_t slot = static_cast<int64_t>(row) % slots;
      if (slot >= first && slot < first + dim)
        v[row * dim + (slot - first)] = spec.output ? kOneHot : 1;
    }
    ATTN_ASSIGN_OR_RETURN(HostResult got, run_on_device(device, kernel, probe.args));
    // Only scores and outputs can make an admitted key weigh nothing.
    oracle::Result weights;
    if (spec.score || spec.output || spec.sinkLogit) {
      ATTN_ASSIGN_OR_RETURN(weights, run_oracle(spec, info, probe, false));
    }
    for (int64_t b = 0; b < batches; ++b)
      for (int64_t h = 0; h < heads; ++h)
        for (int64_t r = 0; r < rows; ++r)
          for (const KeyAt &key : keys) {
            if (key.slot < first || key.slot >= first + dim)
              continue;
            size_t at = static_cast<size_t>(((b * heads + h) * rows + r) * dim + key.slot - first);
            float weight = got.o.values[at], nothing = spec.output ? without.o.values[at] : 0;
            bool want =
                key.position >= 0 &&
                oracle::maskAt(spec, problem.call.bindings, static_cast<int32_t>(b),
                               static_cast<int32_t>(h),
                               problem.args.q_position + static_cast<int32_t>(r), key.position);
            ++report.pairs;
            report.admitted += want;
            double base = spec.output ? expected_without.o[at] : 0;
            if (want && !weights.o.empty() &&
                std::abs(weights.o[at] - base) < rounding(info, std::abs(base))) {
              ++report.skipped;
              continue;
            }
            bool attends = !(weight == nothing); // NaN counts as attending
            if (attends == want)
              continue;
            if (report.wrong++)
              continue;
            uint32_t q_tile = static_cast<uint32_t>(r / info.block_q);
            ATTN_ASSIGN_OR_RETURN(HostCall call, HostCall::create(device, kernel, probe.args));
            report.first_wrong = concat(
                "batch ", b, ", head ", h, ", q ", r, " (position ", problem.args.q_position + r,
                "), k slot ", key.slot, key.position < 0 ? " (in no segment" : " (position ",
                key.position < 0 ? "" : std::to_string(key.position), "): the kernel ",
                attends ? "attends" : "does not attend", ", the spec says ",
                want ? "it does" : "it does not", "; q tile ", q_tile);
            if (key.position >= 0)
              report.first_wrong +=
                  concat(", k tile ", key.index / static_cast<int32_t>(info.block_k),
                         " of segment ", key.segment,
                         tile_class(kernel, call, static_cast<uint32_t>(b),
                                    static_cast<uint32_t>(h), q_tile, key));
          }
  }
  return report;
}

} // namespace attn
