// A bundle with one kernel per target, and a graph to package, for tests of the format.
#pragma once

#include "runtime/bundle/bundle_writer.h"
#include <memory>
#include <string>
#include <vector>

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

// y = transposed softmax(x w + b, turned by a Gemm) of x [4, k]; w is k x 10, u 6 x 10.
inline graph::Graph sample_graph(int64_t k = 8) {
  using graph::DType;
  graph::Graph g;
  g.opset = 23;
  auto constant = [&](const char *name, graph::Shape shape, float step) {
    auto data = std::make_shared<std::vector<float>>(static_cast<size_t>(shape.elements()));
    for (size_t i = 0; i < data->size(); ++i)
      (*data)[i] = step * float(int(i * 7 % 23) - 11);
    const int v = g.add_value(name, {DType::f32, shape});
    g.values[static_cast<size_t>(v)].data = data->data();
    g.values[static_cast<size_t>(v)].owner = data;
    return v;
  };
  const int x = g.add_value("x", {DType::f32, {4, k}});
  g.values[static_cast<size_t>(x)].is_input = true;
  g.inputs = {x};
  const int w = constant("w", {k, 10}, 0.05f), u = constant("u", {6, 10}, 0.03f),
            b = constant("b", {6}, 0.1f);
  auto node = [&](const char *op, std::vector<int> inputs) -> graph::Node & {
    graph::Node made;
    made.name = std::string("the ") + op;
    made.op = op;
    made.inputs = std::move(inputs);
    made.outputs = {g.add_value(std::string(op) + ".out", {})};
    g.nodes.push_back(std::move(made));
    return g.nodes.back();
  };
  const int h = node("MatMul", {x, w}).outputs[0];
  graph::Node &gemm = node("Gemm", {h, u, b});
  gemm.set("transB", 1);
  const int s = node("Softmax", {gemm.outputs[0]}).outputs[0];
  graph::Node &turn = node("Transpose", {s});
  turn.set("perm", std::vector<int64_t>{1, 0});
  g.outputs = {turn.outputs[0]};
  return g;
}

} // namespace attn
