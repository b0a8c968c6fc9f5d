// What the processor and the operating system together offer to kernels.
#pragma once

#include "runtime/base/status.h"
#include <cstdint>
#include <string>

namespace attn {

// Feature bits of this machine.
uint32_t detect_cpu_features();

// Keeps of `present` what `names` lists ("avx2,avx512", "none"). Unknown names
// are a usage failure; names of absent features are ignored, since pretending
// them would end in an illegal instruction.
Result<uint32_t> restrict_cpu_features(uint32_t present, const std::string &names);

// The processor's name as it gives it itself.
std::string cpu_name();

} // namespace attn
