// The CPU architectures that kernels are compiled for: a name enters, the shape
// of its vectors, its instructions and LLVM's names for them leave.
#pragma once

#include "llvm/ADT/StringRef.h"

#include <cstdint>

namespace mlir::attn {

struct CpuArch {
  llvm::StringRef name;
  llvm::StringRef triple, cpu, features; ///< as LLVM spells them
  uint32_t needs;                        ///< ::attn::Feature bits
  int64_t width;                         ///< f32 lanes of a vector
  int64_t vectors;                       ///< vectors of a sub-tile of query rows
  int64_t rows;                          ///< rows of the register tile
  bool scalef;                           ///< has vreduceps and vscalefps
  bool bf16Dot;                          ///< has vdpbf16ps
  bool int8Dot;                          ///< has vpdpbusd

  /// Query rows of a sub-tile; rows x vectors accumulators stay in registers.
  int64_t lanes() const { return width * vectors; }
};

/// The architecture called `name`, or null.
const CpuArch *findCpuArch(llvm::StringRef name);

} // namespace mlir::attn
