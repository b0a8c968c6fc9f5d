// The CPU architectures that kernels are compiled for: a name enters, the shape
// of its vectors, its instructions and LLVM's names for them leave.
#pragma once

#include "llvm/ADT/StringRef.h"

#include <cstdint>
#include <string>

namespace mlir::attn {

struct CpuArch {
  llvm::StringRef name;
  llvm::StringRef triple, cpu, features; ///< as LLVM spells them
  uint32_t needs;                        ///< ::attn::Feature bits
  int64_t width;                         ///< f32 lanes of a vector
  int64_t registers;                     ///< vector registers
  bool scalef;                           ///< has vreduceps and vscalefps
  bool bf16Dot;                          ///< has vdpbf16ps
  bool int8Dot;                          ///< has vpdpbusd
};

/// Rows x vectors accumulators of a product stay in registers; `subTiles` tiles of
/// `vectors` vectors of query rows share each block of keys while it is in cache.
struct CpuSchedule {
  int64_t rows = 0;     ///< of the register tile: keys in Q K, dims in P V
  int64_t vectors = 0;  ///< of query rows in a sub-tile
  int64_t unroll = 0;   ///< steps of a product per iteration, in full blocks
  int64_t subTiles = 0; ///< of a query tile
  int64_t blockK = 0;   ///< keys of a block
};

/// The architecture called `name`, or null.
const CpuArch *findCpuArch(llvm::StringRef name);
/// "avx2, avx512, ... and neon".
std::string cpuArchNames();

} // namespace mlir::attn
