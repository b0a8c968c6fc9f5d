// The inner loops for any machine: 4 floats a vector (SSE2, NEON), tiles of 4 x 8.
#include "runtime/ops/isa.h"

namespace attn::ops {
namespace portable {
#define VF 4
#define MR 4
#define ATTN_ISA_NAME "portable"
#include "runtime/ops/isa_loops.inc"
} // namespace portable
extern const Isa *const isa_portable = &portable::table;
} // namespace attn::ops
