// Searches the schedule of a spec's CPU kernel by running candidates in this process.
#pragma once

#include "compiler/pipeline/Pipeline.h"
#include "runtime/base/status.h"

#include <functional>
#include <string>

namespace attn::tools {

struct TuneRequest {
  std::string attention, arch, variant, floatType;
  int32_t rows = 768, slots = 4096; ///< query rows and keys of the call that is timed
  double seconds = 30;              ///< budget of processor time, compilation included
};

struct TuneResult {
  mlir::attn::CpuScheduleRow row;
  double speedup = 1;    ///< over the schedule that the table gives
  int candidates = 0;    ///< that were timed
  bool finished = false; ///< false: the budget ended the search
};

/// Starts from the table's schedule and changes one number at a time, keeping what is
/// faster in runs that alternate with the best so far. `progress` is told each find.
Result<TuneResult> tuneCpu(const spec::CheckedSpec &spec, const TuneRequest &request,
                           const std::function<void(const std::string &)> &progress);

} // namespace attn::tools
