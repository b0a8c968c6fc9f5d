// Heuristics measured on lavapipe 22, where a load costs as much as seven
// multiply-adds and compiling takes longer the more values are live: register
// tiles of 8 x 8 keep both low.
#include "compiler/target/spirv/SpirvSchedule.h"

#include "compiler/target/Target.h"

using namespace mlir;
using namespace mlir::attn;

namespace {
constexpr int64_t kMaxInvocations = 128;      // what every Vulkan 1.1 device has
constexpr int64_t kWorkgroupBytes = 16 << 10; // of shared memory, likewise
} // namespace

// The largest divisor of `value` that is at most `limit`.
static int64_t divisorUpTo(int64_t value, int64_t limit) {
  limit = std::clamp<int64_t>(limit, 1, value);
  while (value % limit != 0)
    --limit;
  return limit;
}

// A tuned schedule states numbers as attributes of the kernel.
static int64_t tuned(tile::KernelOp kernel, StringRef name, int64_t otherwise) {
  auto attr = kernel->getAttrOfType<IntegerAttr>(name);
  return attr ? attr.getInt() : otherwise;
}

std::optional<SpirvTier> mlir::attn::spirvTier(StringRef arch) {
  if (arch == "t0")
    return SpirvTier{};
  if (arch == "t1")
    return SpirvTier{.narrowStorage = true, .integerDot = true};
  if (arch == "t1-subgroup8")
    return SpirvTier{.narrowStorage = true, .integerDot = true, .broadcast = true};
  return std::nullopt;
}

uint32_t mlir::attn::requiredFeatures(tile::KernelOp kernel, const SpirvTier &tier) {
  uint32_t features = tier.broadcast ? ::attn::kFeatureVkSubgroup : 0;
  for (auto binding : kernel.getBindings().getAsRange<tile::BindingAttr>()) {
    Type type = binding.getElementType();
    if (tier.narrowStorage && (type.isF16() || type.isBF16()))
      features |= ::attn::kFeatureVkFloat16;
    if (tier.integerDot && type.isInteger(8) && binding.getRole() == tile::Role::k)
      features |= ::attn::kFeatureVkIntegerDot;
  }
  return features;
}

FailureOr<SpirvSchedule> mlir::attn::chooseSchedule(tile::KernelOp kernel, StringRef arch) {
  std::optional<SpirvTier> tier = spirvTier(arch);
  if (!tier)
    return kernel.emitError() << "unknown spirv arch '" << arch
                              << "'; there are t0, t1 and t1-subgroup8";
  int64_t blockQ = kernel.getBlockQ();
  SpirvSchedule s;
  s.tier = *tier;
  s.rows = divisorUpTo(blockQ, tuned(kernel, "rows", 8));
  int64_t rowGroups = blockQ / s.rows;
  s.columns = std::max<int64_t>(1, tuned(kernel, "columns", kernel.getVDim() > 64 ? 16 : 8));
  while (rowGroups * s.columns > kMaxInvocations && s.columns > 1)
    s.columns /= 2;
  // A subgroup must not span row groups, and without keys it has nothing to share.
  if (s.columns % SpirvTier::kSubgroup != 0 || s.rows > SpirvTier::kSubgroup ||
      kernel.getBody().getOps<tile::ForKeysOp>().empty())
    s.tier.broadcast = false;
  s.workgroup = rowGroups * s.columns;
  if (s.workgroup > kMaxInvocations)
    return kernel.emitError() << "block_q " << blockQ << " needs " << s.workgroup
                              << " invocations; spirv allows " << kMaxInvocations
                              << ", choose a multiple of 8 up to 1024";
  s.ownRows = (blockQ + s.workgroup - 1) / s.workgroup;
  s.idleLanes = s.ownRows * s.workgroup > blockQ;

  // Workgroup memory: a row's scores (one word of padding turns bank conflicts
  // away), its factor, and its int8 query.
  int64_t queryBytes = 0;
  kernel.walk([&](tile::QuantizeOp) { queryBytes = (kernel.getQkDim() + 3) / 4 * 4; });
  int64_t perRow = kWorkgroupBytes / blockQ - 8 - queryBytes;
  if (perRow < 4 * s.columns)
    return kernel.emitError() << blockQ << " rows of head dim " << kernel.getQkDim()
                              << " leave no workgroup memory for scores; spirv has "
                              << kWorkgroupBytes
                              << " bytes: give smaller head dims, or leave this target out";
  s.keys = divisorUpTo(kernel.getBlockK(), std::min(perRow / 4, tuned(kernel, "keys", 64)));
  return s;
}

BlockShape mlir::attn::chooseSpirvBlocks(StringRef arch, const KernelShape &shape) {
  return {32, 64};
}
