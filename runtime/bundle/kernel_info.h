// What a bundle records about one compiled kernel. The compiler's targets fill
// it, bundle_format.h says how it lies in the file, the runtime reads it back.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace attn {

enum class ElementType : uint8_t { f32 = 0, f16 = 1, bf16 = 2, i8 = 3, i32 = 4, u8 = 5, i64 = 6 };

enum class TargetKind : uint8_t { cpu = 0, ptx = 1, spirv = 2 };

enum class BindingRole : uint8_t {
  q = 0, k = 1, v = 2, o = 3,
  lse = 4,      // f32 (batch, head, token), natural logarithm
  k_scale = 5,  // f32 (batch, kv_head, slot): K is int8, real K = int8 * scale
  v_scale = 6,  // f32 (batch, kv_head, slot)
  table = 7,    // a named table of the spec
  input = 8,    // a named per-query tensor of the spec (a gate)
  part_o = 9,   // merge kernels: outputs of the parts
  part_lse = 10 // merge kernels: f32 (batch, head, token) of the parts
};

struct BindingInfo {
  std::string name;
  BindingRole role = BindingRole::q;
  ElementType type = ElementType::f32;
  uint8_t rank = 4;
  bool written = false;
  // ptx: the kernel reads this binding by bulk copies of `map_rows` tokens by
  // `map_bytes` of a row, through a tensor map with a swizzle of that width; 0: no.
  uint16_t map_rows = 0;
  uint8_t map_bytes = 0;
  bool operator==(const BindingInfo &) const = default;
};

// A runtime scalar of the spec; one word at ATTN_W_PARAMS + index.
struct ParamInfo {
  std::string name;
  ElementType type = ElementType::i32;  // i32 or f32
  double minimum = 0, maximum = 0;      // inclusive
  bool operator==(const ParamInfo &) const = default;
};

// Machine features a kernel needs; the runtime skips an entry whose features
// the device lacks, and says which was missing.
enum Feature : uint32_t {
  kFeatureAvx2 = 1u << 0,
  kFeatureAvx512 = 1u << 1,       // f, bw, dq, vl
  kFeatureAvx512Bf16 = 1u << 2,
  kFeatureAvx512Vnni = 1u << 3,
  kFeatureNeon = 1u << 4,
  kFeatureVkInt8 = 1u << 8,       // 8-bit storage and arithmetic
  kFeatureVkFloat16 = 1u << 9,    // 16-bit storage and arithmetic
  kFeatureVkSubgroup = 1u << 10,  // subgroup arithmetic
  kFeatureVkIntegerDot = 1u << 11,
};

struct KernelInfo {
  std::string name;     // the spec's name, e.g. "longlive_self"
  std::string variant;  // e.g. "f32", "bf16", "int8"
  TargetKind target = TargetKind::cpu;
  std::string arch;     // "avx512", "sm_80", "t0", ...
  std::string symbol;   // entry point in the image
  uint32_t features = 0;          // Feature bits
  uint32_t priority = 0;          // among entries that hold, highest first
  uint32_t qk_dim = 0, v_dim = 0; // head dims
  uint32_t heads = 0, kv_heads = 0; // as declared by the spec; 0: any
  uint32_t block_q = 0, block_k = 0;
  uint32_t workgroup[3] = {1, 1, 1};
  uint32_t shared_bytes = 0;      // dynamic shared memory (ptx)
  uint32_t arena_bytes = 0;       // per-thread scratch (cpu)
  uint32_t compute_capability = 0; // ptx: 80, 90
  float error_bound = 0;          // relative Frobenius against the f64 oracle
  float scale = 0;                // factor on q . k; 0: 1 / sqrt(qk_dim)
  std::vector<BindingInfo> bindings;
  std::vector<ParamInfo> params;
  uint32_t spec = 0;              // index of the spec's source in the bundle
  uint32_t image = 0;             // index of the image that holds `symbol`
  bool operator==(const KernelInfo &) const = default;
};

// Bytes of one element.
inline uint32_t element_size(ElementType t) {
  switch (t) {
  case ElementType::f32:
  case ElementType::i32: return 4;
  case ElementType::f16:
  case ElementType::bf16: return 2;
  case ElementType::i8:
  case ElementType::u8: return 1;
  case ElementType::i64: return 8;
  }
  return 0;
}

} // namespace attn
