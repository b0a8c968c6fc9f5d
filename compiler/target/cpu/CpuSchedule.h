// How a kernel is spread over registers and caches. The numbers come from a table
// of tuned rows, kernels-gen/cpu_schedules.txt, or from the kernel's own attribute.
#pragma once

#include "compiler/target/Target.h"
#include "compiler/target/cpu/CpuArch.h"
#include "dialects/tile/TileDialect.h"

#include <optional>

namespace mlir::attn {

/// An array of the numbers below, in order; absent: the table decides.
inline constexpr char kCpuScheduleAttr[] = "attn.cpu_schedule";

/// The tuned row for a kernel of this shape. Every shape has one.
CpuSchedule findCpuSchedule(const CpuArch &arch, const KernelShape &shape);
/// What `kernel` asks for, else the table's row for its shape.
CpuSchedule cpuScheduleOf(tile::KernelOp kernel, const CpuArch &arch);
/// The blocks of a kernel that follows `schedule`.
BlockShape blocksOf(const CpuArch &arch, const CpuSchedule &schedule);
void setCpuSchedule(tile::KernelOp kernel, const CpuSchedule &schedule);

/// Why `arch` cannot follow `schedule`; empty if it can.
std::string checkCpuSchedule(const CpuArch &arch, const CpuSchedule &schedule);

/// One line of the table per row:
///
///   arch  keys  dims  rows vectors unroll sub_tiles block_k
///
/// `keys` is the stored type of the keys or *, `dims` the larger head dim up to
/// which the row holds or *. The first row that fits is taken.
struct CpuScheduleRow {
  std::string arch, keys;
  int64_t dims = 0; ///< 0: any
  CpuSchedule schedule;
};

class CpuScheduleTable {
public:
  /// Empty, with `error` set to "line N: ...", if a line cannot be read.
  static std::optional<CpuScheduleTable> parse(StringRef text, std::string &error);
  /// The table that the compiler was built with.
  static const CpuScheduleTable &shipped();
  std::optional<CpuSchedule> find(const CpuArch &arch, const KernelShape &shape) const;
  ArrayRef<CpuScheduleRow> rows() const { return entries; }

private:
  std::vector<CpuScheduleRow> entries;
};

std::string printCpuScheduleRow(const CpuScheduleRow &row);

} // namespace mlir::attn
