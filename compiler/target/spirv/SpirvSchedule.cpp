// Heuristics measured on lavapipe 22, where an SSBO load costs as much as 27
// multiply-adds: rows per invocation amortise each load.
#include "compiler/target/spirv/SpirvSchedule.h"

#include "compiler/target/Target.h"

using namespace mlir;
using namespace mlir::attn;

namespace {
constexpr int64_t kMaxInvocations = 128; // what every Vulkan 1.1 device has
constexpr int64_t kLanes = 8;            // a workgroup is a multiple of this if it can be
constexpr int64_t kMaxHeadDim = 512;
} // namespace

// Rows that one invocation can hold: Q and O take (qk_dim + v_dim) registers each.
static int64_t preferredRows(int64_t qkDim, int64_t vDim) {
  int64_t rows = 1024 / std::max<int64_t>(qkDim + vDim, 1);
  return std::clamp<int64_t>(rows, 1, 4);
}

// The largest divisor of `value` that is at most `limit`.
static int64_t divisorUpTo(int64_t value, int64_t limit) {
  while (value % limit != 0)
    --limit;
  return limit;
}

// A tuned schedule states numbers as attributes of the kernel.
static int64_t tuned(tile::KernelOp kernel, StringRef name, int64_t otherwise) {
  auto attr = kernel->getAttrOfType<IntegerAttr>(name);
  return attr ? attr.getInt() : otherwise;
}

FailureOr<SpirvSchedule> mlir::attn::chooseSchedule(tile::KernelOp kernel, StringRef arch) {
  int64_t blockQ = kernel.getBlockQ(), blockK = kernel.getBlockK();
  if (std::max(kernel.getQkDim(), kernel.getVDim()) > int64_t(kMaxHeadDim))
    return kernel.emitError() << "head dims " << kernel.getQkDim() << " and " << kernel.getVDim()
                              << " do not fit an invocation's registers; spirv allows up to "
                              << kMaxHeadDim;
  SpirvSchedule schedule;
  int64_t wanted = tuned(kernel, "rows", preferredRows(kernel.getQkDim(), kernel.getVDim()));
  schedule.rows = 0;
  for (bool wholeSubgroups : {true, false})
    for (int64_t rows = wanted; rows >= 1 && !schedule.rows; --rows)
      if (blockQ % rows == 0 && blockQ / rows <= kMaxInvocations &&
          (!wholeSubgroups || (blockQ / rows) % kLanes == 0))
        schedule.rows = rows;
  if (!schedule.rows)
    return kernel.emitError() << "block_q " << blockQ << " cannot be spread over at most "
                              << kMaxInvocations << " invocations of at most " << wanted
                              << " rows; choose a multiple of " << wanted << " up to "
                              << wanted * kMaxInvocations;
  schedule.workgroup = blockQ / schedule.rows;
  schedule.keys = divisorUpTo(blockK, tuned(kernel, "keys", 8));
  schedule.rollKeys = tuned(kernel, "roll_keys", 1);
  return schedule;
}

BlockShape mlir::attn::chooseSpirvBlocks(StringRef arch, const KernelShape &shape) {
  return {32 * preferredRows(shape.qkDim, shape.vDim), 64};
}
