// Decides how a tile kernel is spread over the invocations of a workgroup. An
// arch and the kernel's dims and blocks enter, the schedule leaves.
#pragma once

#include "dialects/tile/TileDialect.h"

namespace mlir::attn {

/// A workgroup computes one work item:
///
///   invocation  0   1  ...  W-1      row = pass * W + invocation
///   pass 0      r0  r1      rW-1
///   pass 1      rW  ...
///
/// Every invocation owns `rows` query rows whole: their Q, running maximum, sum
/// and O live in registers. Keys are walked in steps of `keys`; a step's scores
/// live in registers too, so no block of keys is ever stored.
struct SpirvSchedule {
  int64_t workgroup = 32; ///< invocations
  int64_t rows = 1;       ///< query rows per invocation
  int64_t keys = 4;       ///< keys per softmax step
  /// Whether the keys of a step are a loop rather than straight code. Drivers
  /// compile in time proportional to code, and straight code is no faster.
  bool rollKeys = true;
  /// Blocks of keys that one classification may skip together.
  int64_t skipBlocks = 8;
};

/// The schedule of `kernel` for "t0". Fails, with a message on the kernel, when
/// its block or head dims cannot be spread.
FailureOr<SpirvSchedule> chooseSchedule(tile::KernelOp kernel, StringRef arch);

} // namespace mlir::attn
