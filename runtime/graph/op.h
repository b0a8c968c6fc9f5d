// What the runtime knows about an operator: how its result types follow from
// its inputs, and how to make a kernel for one node once layouts are fixed.
#pragma once

#include "runtime/base/status.h"
#include "runtime/base/thread_pool.h"
#include "runtime/graph/graph.h"
#include <functional>
#include <memory>
#include <string_view>

namespace attn::graph {

// One node at work. Kernels are made once; `run` allocates nothing.
struct RunArgs {
  const Tensor *const *in; // null where an optional input is absent
  Tensor *const *out;
  ThreadPool &pool;
};

class OpKernel {
public:
  virtual ~OpKernel() = default;
  virtual Status run(const RunArgs &args) = 0;
};

template <typename Run> class LambdaKernel final : public OpKernel {
public:
  explicit LambdaKernel(Run run) : run_(std::move(run)) {}
  Status run(const RunArgs &args) override { return run_(args); }

private:
  Run run_;
};
template <typename Run> std::unique_ptr<OpKernel> make_kernel(Run run) {
  return std::make_unique<LambdaKernel<Run>>(std::move(run));
}

// A node seen with its values' types; constants have data.
struct NodeView {
  const Graph &graph;
  const Node &node;

  const Value *in(size_t i) const {
    int v = node.input(i);
    return v == kAbsent ? nullptr : &graph.values[v];
  }
  const Shape &shape(size_t i) const { return in(i)->type.shape; }
  DType dtype(size_t i) const { return in(i)->type.dtype; }
  size_t input_count() const { return node.inputs.size(); }
  bool has(size_t i) const { return node.input(i) != kAbsent; }
  // The constant integers of an input (int32 or int64); fails if it is computed.
  Result<std::vector<int64_t>> constant_integers(size_t i) const;
  // Fails unless input i exists; `what` names it.
  Status require(size_t i, const char *what) const;
  Status require_dtype(size_t i, DType dtype) const;
};

struct InferContext : NodeView {
  std::vector<TensorType> &outputs; // to be filled, one per output of the node
  void set(TensorType type) {
    if (outputs.empty())
      outputs.resize(1);
    outputs[0] = type;
  }
};

struct MakeContext;
using AttentionMaker = std::function<Result<std::unique_ptr<OpKernel>>(const MakeContext &)>;

// Types and strides are final. in[i] has data if constant, else data is null.
struct MakeContext : NodeView {
  std::vector<Tensor> inputs; // data null where absent
  std::vector<Tensor> outputs;
  bool bf16 = false;                         // constant weights may be rounded to bf16
  const AttentionMaker *attention = nullptr; // makes Attention nodes; null: the reference
};

enum OpFlag : uint32_t {
  kElementwise = 1u << 0,  // out[i] depends on in[i] alone: may overwrite an input
  kStrided = 1u << 1,      // reads inputs with any strides
  kStridedRows = 1u << 2,  // reads inputs whose innermost stride is 1
  kStridedOut = 1u << 3,   // writes an output with any outer strides
  kView = 1u << 4,         // the output is the input, seen otherwise (see views.cpp)
  kPacksWeights = 1u << 5, // copies its constants when made; they are dropped then
  kWritesRows = 1u << 6,   // updates rows of axis 2 of what it made before, and counts the writes
  kF32 = 1u << 7,          // computes floats in f32: f16 and bf16 are widened before, rounded after
};

struct OpDef {
  const char *op;
  const char *domain; // "" is ONNX, "attn" are ours
  uint32_t flags;
  Status (*infer)(InferContext &);
  Result<std::unique_ptr<OpKernel>> (*make)(const MakeContext &); // null for views
};

// The operator, or null. The table is built on first use.
const OpDef *find_op(std::string_view domain, std::string_view op);

} // namespace attn::graph
