// Fuzz target for the ONNX reader: the wire format, the model, and the graph
// built from it.
#include "runtime/graph/build.h"
#include "runtime/onnx/load_model.h"
#include "tests/fuzz_target.h"
#include "tests/onnx/onnx_builder.h"

using namespace attn;
using namespace attn::test;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  (void)onnx::parse_tensor({data, size}).ok();
  Result<onnx::Model> model = onnx::parse_model({data, size}, "");
  if (model.ok())
    (void)graph::build_graph(*model).ok();
  return 0;
}

std::vector<std::string> fuzz_seeds() {
  OnnxBuilder add;
  add.input("x", kF32, {2, -1}).constant<float>("w", {2, 1}, {1, 2});
  add.node("Add", {"x", "w"}, {"y"}, {attr("axis", 3), attr("list", Dims{1, -2})}, "add0");
  add.output("y", kF32, {2, -1});
  OnnxBuilder chain;
  chain.input("x", kF32, {1, 4, 8}).constant<float>("w", {8, 2}, std::vector<float>(16, 0.5f));
  chain.node("MatMul", {"x", "w"}, {"m"}, {}, "project");
  chain.node("Softmax", {"m"}, {"s"}, {attr("axis", -1)}, "weights");
  chain.node("Transpose", {"s"}, {"y"}, {attr("perm", Dims{0, 2, 1})}, "turn");
  chain.output("y", kF32, {1, 2, 4});
  return {add.model(), chain.model()};
}
