// Chooses the table of inner loops once, by the processor and ATTN_CPU_ISA.
#include "runtime/ops/isa.h"

#include "runtime/base/text.h"

#include <cstdlib>
#include <cstring>
#include <initializer_list>
#include <string>
#include <vector>

namespace attn::ops {

extern const Isa *const isa_avx512, *const isa_avx2, *const isa_portable;

static bool has(const char *name) {
#if defined(__x86_64__)
  __builtin_cpu_init();
  bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  if (!std::strcmp(name, "avx2"))
    return avx2;
  if (!std::strcmp(name, "avx512"))
    return avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
#endif
  return !std::strcmp(name, "portable");
}

const Isa *isa_named(const char *name) {
  for (const Isa *table : {isa_avx512, isa_avx2, isa_portable})
    if (table && !std::strcmp(table->name, name) && has(name))
      return table;
  return nullptr;
}

static const char *const kNames[] = {"avx512", "avx2", "portable"}; // the best one first

Status check_isa() {
  const char *wanted = std::getenv("ATTN_CPU_ISA");
  if (!wanted || !*wanted || isa_named(wanted))
    return {};
  std::vector<std::string> there;
  for (const char *name : kNames)
    if (isa_named(name))
      there.push_back(name);
  return Status::usage("'", wanted,
                       "' of ATTN_CPU_ISA is no table of inner loops of this machine; "
                       "it has ",
                       some_of(there), ": set one of them, or none for the first");
}

static const Isa &choose() {
  if (const char *wanted = std::getenv("ATTN_CPU_ISA"))
    if (const Isa *table = isa_named(wanted))
      return *table;
  for (const char *name : kNames)
    if (const Isa *table = isa_named(name))
      return *table;
  return *isa_portable;
}

const Isa &isa() {
  static const Isa &chosen = choose();
  return chosen;
}

} // namespace attn::ops
