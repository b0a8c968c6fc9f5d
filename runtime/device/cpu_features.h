// What the processor and the operating system together offer to kernels.
#pragma once

#include "runtime/base/status.h"
#include <cstdint>
#include <string>

namespace attn {

// Feature bits of this machine.
uint32_t detect_cpu_features();

// Of a vendor's processors, the features that are there but no gain: kernels without
// them are taken unless somebody asks for them by name. A rule, not a measurement at
// run time, so that the same machine always takes the same kernel.
uint32_t unrewarding_cpu_features(const std::string &vendor);

// "AuthenticAMD", "GenuineIntel", ...; empty where there is no such thing.
std::string cpu_vendor();

// Keeps of `present` what `names` lists ("avx2,avx512", "none"). Unknown names
// are a usage failure; names of absent features are ignored, since pretending
// them would end in an illegal instruction.
Result<uint32_t> restrict_cpu_features(uint32_t present, const std::string &names);

// The processor's name as it gives it itself.
std::string cpu_name();

} // namespace attn
