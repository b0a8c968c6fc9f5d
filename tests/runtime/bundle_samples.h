// A bundle with one kernel per target, for tests of the format.
#pragma once

#include "runtime/bundle/bundle_writer.h"
#include <string>

namespace attn {

inline KernelInfo sample_kernel(TargetKind target) {
  KernelInfo kernel;
  kernel.name = "causal";
  kernel.variant = "f32";
  kernel.target = target;
  kernel.arch = target == TargetKind::cpu ? "avx512" : target == TargetKind::ptx ? "sm_80" : "t0";
  kernel.symbol = "attn_causal_f32";
  kernel.features = target == TargetKind::cpu ? kFeatureAvx512 : 0;
  kernel.priority = 7;
  kernel.qk_dim = 128;
  kernel.v_dim = 64;
  kernel.heads = 12;
  kernel.kv_heads = 4;
  kernel.block_q = 32;
  kernel.block_k = 64;
  kernel.workgroup[0] = 128;
  kernel.shared_bytes = 4096;
  kernel.arena_bytes = 65536;
  kernel.compute_capability = target == TargetKind::ptx ? 80 : 0;
  kernel.error_bound = 1e-5f;
  kernel.scale = 0.25f;
  kernel.bindings = {{"q", BindingRole::q, ElementType::f32, 4, false},
                     {"k", BindingRole::k, ElementType::bf16, 4, false},
                     {"v", BindingRole::v, ElementType::i8, 4, false},
                     {"o", BindingRole::o, ElementType::f32, 4, true},
                     {"lse", BindingRole::lse, ElementType::f32, 3, true},
                     {"slopes", BindingRole::table, ElementType::f32, 1, false}};
  if (target == TargetKind::ptx) {
    kernel.bindings[1].map_rows = 256;
    kernel.bindings[1].map_bytes = 128;
  }
  kernel.params = {{"window", ElementType::i32, 1, 4096}, {"cap", ElementType::f32, 0.5, 50}};
  return kernel;
}

inline std::span<const std::byte> bytes_of(const std::string &text) {
  return std::as_bytes(std::span(text));
}

inline BundleWriter sample_writer() {
  BundleWriter writer;
  uint32_t spec = writer.add_spec("causal.attn", "attention causal { mask causal }\n");
  for (TargetKind target : {TargetKind::cpu, TargetKind::ptx, TargetKind::spirv}) {
    KernelInfo kernel = sample_kernel(target);
    kernel.spec = spec;
    kernel.image = writer.add_image(
        target, bytes_of(concat("image for ", target == TargetKind::cpu ? "the processor" : "a GPU",
                                int(target))));
    writer.add_kernel(kernel);
  }
  writer.add_blob("model.plan", bytes_of("steps"));
  return writer;
}

} // namespace attn
