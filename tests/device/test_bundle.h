// The bundle of the reference kernels, made from the shared object that CMake
// builds of reference_kernel.c.
#pragma once

#include "runtime/base/mapped_file.h"
#include "runtime/bundle/bundle_writer.h"

namespace attn {

inline KernelInfo reference_kernel_info(const char *name, const char *symbol) {
  KernelInfo kernel;
  kernel.name = name;
  kernel.variant = "f32";
  kernel.symbol = symbol;
  kernel.qk_dim = kernel.v_dim = 16;
  kernel.block_q = 4;
  kernel.block_k = 1;
  kernel.arena_bytes = 64;
  kernel.error_bound = 1e-5f;
  kernel.bindings = {{"q", BindingRole::q, ElementType::f32, 4, false},
                     {"k", BindingRole::k, ElementType::f32, 4, false},
                     {"v", BindingRole::v, ElementType::f32, 4, false},
                     {"o", BindingRole::o, ElementType::f32, 4, true},
                     {"lse", BindingRole::lse, ElementType::f32, 3, true}};
  return kernel;
}

// Kernels dense, causal, window (parameter "size") and, under the name and
// spec of causal but as variant "wrong", one that admits one key too many.
inline Result<BundleWriter> reference_bundle(const std::string &shared_object) {
  ATTN_ASSIGN_OR_RETURN(MappedFile image, MappedFile::open(shared_object));
  BundleWriter writer;
  uint32_t index = writer.add_image(TargetKind::cpu, image.bytes());
  auto add = [&](KernelInfo kernel, const char *mask, const char *params) {
    std::string source = concat("attention ", kernel.name, " {\n", params,
                                "  space tok(i: stream)\n  query tok\n  keys  tok\n"
                                "  heads any dim 16\n  mask  ",
                                mask, "\n  emit  lse\n}\n");
    kernel.spec = writer.add_spec(kernel.name + ".attn", source);
    kernel.image = index;
    writer.add_kernel(kernel);
  };
  KernelInfo window = reference_kernel_info("window", "reference_window");
  window.params = {{"size", ElementType::i32, 1, 1000}};
  KernelInfo wrong = reference_kernel_info("causal", "reference_off_by_one");
  wrong.variant = "wrong";
  add(reference_kernel_info("dense", "reference_dense"), "all", "");
  KernelInfo causal = reference_kernel_info("causal", "reference_causal");
  causal.priority = 1;
  add(causal, "causal(i)", "");
  add(wrong, "causal(i)", "");
  add(window, "causal(i) and window(i, size)", "  param size in 1..1000\n");
  return writer;
}

// The same kernels as "PTX" for the stand-in driver.
inline BundleWriter stand_in_bundle() {
  BundleWriter writer;
  const std::string ptx = ".version 8.0\n";
  uint32_t image = writer.add_image(TargetKind::ptx, std::as_bytes(std::span(ptx)));
  for (const char *name : {"dense", "causal"}) {
    KernelInfo kernel = reference_kernel_info(name, name);
    kernel.symbol = concat("reference_", name);
    kernel.target = TargetKind::ptx;
    kernel.arch = "sm_80";
    kernel.compute_capability = 80;
    kernel.spec = writer.add_spec("none.attn", "");
    kernel.image = image;
    writer.add_kernel(kernel);
  }
  return writer;
}

} // namespace attn
