// Schedules attention kernels for sm_90a: the algorithm phase of the tile dialect
// in, roles, rings and products in flight out.
#pragma once

#include "dialects/tile/TileDialect.h"

#include "mlir/Pass/Pass.h"

#include <optional>
#include <string>

namespace mlir::attn {

/// What a schedule is made of; from kernels-gen/sm_90a.def, or chosen by a tuner.
struct HopperConfig {
  int64_t blockK = 128, stages = 2;
  tile::Pipeline pipeline = tile::Pipeline::overlap;
  int64_t producerRegisters = 24, consumerRegisters = 240;
  bool conditionalRescale = true;
};

/// Query rows of a block of threads: 64 for each of two consumers.
constexpr int64_t kHopperBlockQ = 128;

/// The table's row for these head dims; none where they are too wide. `changes` to it
/// are words between dots: keysN, stagesN, simple, overlap, pingpong, rescale (always).
/// `unknown` becomes the first word that is none of these.
std::optional<HopperConfig> hopperConfig(int64_t qkDim, int64_t vDim, StringRef changes = "",
                                         StringRef *unknown = nullptr);

/// Gives a kernel whose mask or tile classes take much arithmetic fewer keys at a time,
/// unless `changes` says how many, and its producer more registers.
void adaptHopperConfig(tile::KernelOp kernel, StringRef changes, HopperConfig &config);

/// Why `kernel` cannot be scheduled this way, or an empty string.
std::string whyNotHopper(tile::KernelOp kernel, const HopperConfig &config);

/// Rewrites `kernel` as the schedule, with blocks of its own. `whyNotHopper` must have
/// found no reason.
void scheduleForHopper(tile::KernelOp kernel, const HopperConfig &config);

/// Makes the schedule of every kernel that can have one, and leaves a remark on
/// every other. Known to attn-opt as --tile-schedule-hopper.
std::unique_ptr<Pass> createTileScheduleHopperPass(StringRef changes = "");

} // namespace mlir::attn
