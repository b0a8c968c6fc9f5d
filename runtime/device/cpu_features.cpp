// Asks the processor for its instruction sets, and the operating system
// whether it saves their registers.
#include "runtime/device/cpu_features.h"

#include "runtime/bundle/kernel_info.h"
#include "runtime/device/device.h"
#include <cstdio>
#include <cstring>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace attn {

#if defined(__x86_64__)

// Register state that the operating system switches, XCR0.
static uint64_t enabled_state() {
  uint32_t low, high;
  asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return uint64_t(high) << 32 | low;
}

uint32_t detect_cpu_features() {
  uint32_t a, b, c, d;
  if (!__get_cpuid(1, &a, &b, &c, &d))
    return 0;
  bool osxsave = c >> 27 & 1, avx = c >> 28 & 1, fma = c >> 12 & 1, f16c = c >> 29 & 1;
  if (!osxsave || !avx)
    return 0;
  uint64_t state = enabled_state();
  if ((state & 0x6) != 0x6) // SSE and AVX registers
    return 0;
  uint32_t b7, c7;
  if (!__get_cpuid_count(7, 0, &a, &b7, &c7, &d))
    return 0;
  uint32_t features = 0;
  bool avx2 = b7 >> 5 & 1, bmi = (b7 >> 3 & 1) && (b7 >> 8 & 1);
  if (avx2 && fma && f16c && bmi)
    features |= kFeatureAvx2;
  constexpr uint32_t avx512 = 1u << 16 | 1u << 17 | 1u << 30 | 1u << 31; // f, dq, bw, vl
  if (!(features & kFeatureAvx2) || (b7 & avx512) != avx512 || (state & 0xe6) != 0xe6)
    return features;
  features |= kFeatureAvx512;
  if (c7 >> 11 & 1)
    features |= kFeatureAvx512Vnni;
  if (__get_cpuid_count(7, 1, &a, &b, &c, &d) && (a >> 5 & 1))
    features |= kFeatureAvx512Bf16;
  return features;
}

std::string cpu_vendor() {
  uint32_t most, words[3];
  if (!__get_cpuid(0, &most, &words[0], &words[2], &words[1]))
    return "";
  return std::string(reinterpret_cast<const char *>(words), sizeof words);
}

std::string cpu_name() {
  uint32_t words[12] = {};
  uint32_t a, b, c, d;
  if (!__get_cpuid(0x80000000u, &a, &b, &c, &d) || a < 0x80000004u)
    return "x86-64";
  for (uint32_t i = 0; i < 3; ++i)
    __get_cpuid(0x80000002u + i, &words[4 * i], &words[4 * i + 1], &words[4 * i + 2],
                &words[4 * i + 3]);
  char text[sizeof words + 1] = {};
  std::memcpy(text, words, sizeof words);
  std::string name(text);
  while (!name.empty() && name.back() == ' ')
    name.pop_back();
  return name.substr(std::min(name.find_first_not_of(' '), name.size()));
}

#elif defined(__aarch64__)

uint32_t detect_cpu_features() { return kFeatureNeon; }
std::string cpu_vendor() { return ""; }
std::string cpu_name() { return "aarch64"; }

#else

uint32_t detect_cpu_features() { return 0; }
std::string cpu_vendor() { return ""; }
std::string cpu_name() { return "unknown processor"; }

#endif

// AMD runs vdpbf16ps at the rate of an FMA, hence twice as many products; Intel
// takes longer for it (its fast bf16 is AMX), so that widened values are no slower
// and round less.
uint32_t unrewarding_cpu_features(const std::string &vendor) {
  return vendor == "GenuineIntel" ? kFeatureAvx512Bf16 : 0;
}

Result<uint32_t> restrict_cpu_features(uint32_t present, const std::string &names) {
  uint32_t kept = 0;
  for (size_t at = 0; at <= names.size();) {
    size_t end = std::min(names.find(',', at), names.size());
    std::string name = names.substr(at, end - at);
    bool known = name.empty() || name == "none";
    for (uint32_t bit = 1; bit <= kFeatureNeon; bit <<= 1)
      if (feature_names(bit) == name) {
        kept |= bit;
        known = true;
      }
    if (!known)
      return Status::usage("unknown processor feature '", name,
                           "'; allowed are none, avx2, avx512, avx512-bf16, avx512-vnni, neon");
    at = end + 1;
  }
  return kept & present;
}

} // namespace attn
