// Walks the ONNX nodes in order, inferring types and folding constants.
#include "runtime/graph/build.h"

#include "runtime/base/aligned_memory.h"
#include "runtime/base/text.h"
#include "runtime/graph/contrib.h"
#include "runtime/graph/copy.h"
#include "runtime/graph/views.h"
#include <cstring>
#include <map>
#include <set>

namespace attn::graph {

// Folding may not blow a small file up into gigabytes.
static constexpr size_t kLargestFolded = size_t(1) << 28;
// Smaller weights are widened when a model is built: a copy of them costs little.
static constexpr size_t kLeastLeftNarrow = size_t(1) << 20;
static constexpr int64_t kLargestTensor = int64_t(1) << 40;

Result<std::vector<int64_t>> NodeView::constant_integers(size_t i) const {
  const Value *v = in(i);
  if (!v)
    return Status::invalid_input("lacks input ", i);
  if (!v->is_constant())
    return Status::invalid_input("takes '", v->name,
                                 "' as a shape or index list, which is computed at run time: only "
                                 "static shapes are run; export with fixed sizes");
  int64_t n = v->type.elements();
  std::vector<int64_t> out(static_cast<size_t>(n));
  for (int64_t k = 0; k < n; ++k) {
    if (v->type.dtype == DType::i64)
      out[static_cast<size_t>(k)] = static_cast<const int64_t *>(v->data)[k];
    else if (v->type.dtype == DType::i32)
      out[static_cast<size_t>(k)] = static_cast<const int32_t *>(v->data)[k];
    else
      return Status::invalid_input("takes '", v->name, "' as integers, but it is ",
                                   dtype_name(v->type.dtype));
  }
  return out;
}

Status NodeView::require(size_t i, const char *what) const {
  if (has(i))
    return {};
  return Status::invalid_input("lacks input ", i, ", ", what);
}

Status NodeView::require_dtype(size_t i, DType dtype) const {
  ATTN_RETURN_IF_ERROR(require(i, "which it needs"));
  if (in(i)->type.dtype == dtype)
    return {};
  return Status::invalid_input("has input ", i, " of ", dtype_name(in(i)->type.dtype), "; only ",
                               dtype_name(dtype), " is run");
}

Status infer_node(Graph &graph, const Node &node) {
  const OpDef *def = find_op(node.domain, node.op);
  if (!def)
    return Status::invalid_input("is an operator that this runtime lacks");
  std::vector<TensorType> types(node.outputs.size());
  InferContext infer{{graph, node}, types};
  ATTN_RETURN_IF_ERROR(def->infer(infer));
  for (size_t i = 0; i < node.outputs.size(); ++i) {
    if (node.outputs[i] == kAbsent)
      continue;
    if (i >= types.size())
      return Status::invalid_input("has more outputs than the operator");
    for (int d = 0; d < types[i].shape.rank; ++d)
      if (types[i].shape[d] < 0 || types[i].shape[d] > kLargestTensor)
        return Status::invalid_input("makes a tensor of impossible size ", types[i].text());
    graph.values[node.outputs[i]].type = types[i];
  }
  return {};
}

Status evaluate_node(const Graph &graph, const Node &node, std::vector<Tensor> inputs,
                     std::vector<Tensor> outputs) {
  const OpDef *def = find_op(node.domain, node.op);
  NodeView view{graph, node};
  if (def->flags & kView) {
    for (size_t i = 0; i < outputs.size(); ++i) {
      Tensor seen;
      if (!view_of(view, inputs[0], i, seen))
        return Status::internal("a constant view is not dense");
      copy_tensor(seen, outputs[i]);
    }
    return {};
  }
  MakeContext context{{graph, node}, inputs, outputs};
  ATTN_ASSIGN_OR_RETURN(std::unique_ptr<OpKernel> kernel, def->make(context));
  std::vector<const Tensor *> in;
  std::vector<Tensor *> out;
  for (Tensor &t : inputs)
    in.push_back(t.data || t.elements() == 0 ? &t : nullptr);
  for (Tensor &t : outputs)
    out.push_back(&t);
  ThreadPool pool(1);
  return kernel->run({in.data(), out.data(), pool});
}

namespace {

struct Memory { // owns a folded constant
  AlignedMemory block;
};

class Builder {
public:
  Builder(const onnx::Model &model, const BuildOptions &options, Graph &graph)
      : model_(model), options_(options), graph_(graph) {}

  Status build() {
    graph_.opset = model_.opsets.at("");
    graph_.files = model_.mapped;
    ATTN_RETURN_IF_ERROR(check_operators());
    for (const onnx::Tensor &t : model_.initializers) {
      auto value = add_constant(t.name, t);
      if (!value.ok())
        return value.status().at("initializer '" + t.name + "'");
    }
    for (const onnx::ValueInfo &info : model_.inputs) {
      Status status = add_input(info);
      if (!status.ok())
        return status.at("graph input '" + info.name + "'");
    }
    for (const onnx::Node &node : model_.nodes) {
      Status status = add_node(node);
      if (!status.ok())
        return status.at(node.label());
    }
    for (const onnx::ValueInfo &info : model_.outputs) {
      int v = names_.at(info.name);
      graph_.outputs.push_back(v);
      graph_.values[v].is_output = true;
    }
    graph_.remove_dead_nodes();
    return {};
  }

private:
  // All unknown operators at once: a list is what one needs to judge a model.
  Status check_operators() const {
    std::set<std::string> unknown;
    std::string first;
    for (const onnx::Node &node : model_.nodes) {
      if (node.op == "Constant" && node.domain.empty())
        continue;
      bool is_ours = node.domain == "attn"; // made by the runtime itself, and trusted
      if (!is_ours && (find_op(node.domain, node.op) || is_contrib(node.domain, node.op)))
        continue;
      if (first.empty())
        first = node.label();
      unknown.insert(node.domain.empty() ? node.op : node.domain + "::" + node.op);
    }
    if (unknown.empty())
      return {};
    return Status::invalid_input("uses operators that this runtime lacks: ",
                                 some_of({unknown.begin(), unknown.end()}),
                                 " (docs: runtime/ops/registry.cpp lists those it has)")
        .at(first);
  }

  Result<int> add_constant(const std::string &name, const onnx::Tensor &t) {
    TensorType type;
    ATTN_RETURN_IF_ERROR(convert_type(t.type, type.dtype));
    type.shape = Shape(t.dims);
    int v = add_value(name, type);
    Value &value = graph_.values[v];
    value.data = t.data.data();
    value.owner = t.owned;
    if (!value.data)
      value.data = ""; // an empty tensor is a constant too
    else if (reinterpret_cast<uintptr_t>(value.data) % dtype_size(type.dtype)) {
      ATTN_RETURN_IF_ERROR(allocate_constant(value));
      std::memcpy(const_cast<void *>(value.data), t.data.data(), t.data.size());
    }
    return v;
  }

  Status allocate_constant(Value &value) {
    auto memory = std::make_shared<Memory>();
    memory->block = AlignedMemory(std::max<size_t>(value.type.bytes(), 64));
    if (!memory->block.data())
      return Status::environment("no memory for a constant of ", value.type.bytes(), " bytes");
    value.data = memory->block.data();
    value.owner = memory;
    return {};
  }

  // A shape from outside against the one in the model, whose symbolic sizes are open.
  static Status check_declared(const onnx::ValueInfo &info, const std::vector<int64_t> &given) {
    bool fits = !info.has_shape || given.size() == info.dims.size();
    for (size_t i = 0; info.has_shape && fits && i < given.size(); ++i)
      fits = info.dims[i] < 0 || info.dims[i] == given[i];
    if (fits)
      return {};
    auto list = [](size_t count, auto &&size_of) {
      std::string text = "[";
      for (size_t i = 0; i < count; ++i)
        text += (i ? ", " : "") + size_of(i);
      return text + "]";
    };
    return Status::invalid_input(
        "is given with shape ",
        list(given.size(), [&](size_t i) { return std::to_string(given[i]); }),
        "; the model declares ",
        list(info.dims.size(),
             [&](size_t i) {
               return info.dims[i] >= 0         ? std::to_string(info.dims[i])
                      : info.symbols[i].empty() ? std::string("?")
                                                : info.symbols[i];
             }),
        ": give one of that shape, or export the model with open sizes");
  }

  Status add_input(const onnx::ValueInfo &info) {
    TensorType type;
    ATTN_RETURN_IF_ERROR(convert_type(info.type, type.dtype));
    auto given = options_.shapes.find(info.name);
    if (!info.has_shape && given == options_.shapes.end())
      return Status::invalid_input("has no shape");
    if (given != options_.shapes.end())
      ATTN_RETURN_IF_ERROR(check_declared(info, given->second));
    const std::vector<int64_t> &dims = given != options_.shapes.end() ? given->second : info.dims;
    if (dims.size() > kMaxRank)
      return Status::invalid_input("has rank ", dims.size(), "; at most ", kMaxRank);
    int64_t elements = 1;
    for (size_t i = 0; i < dims.size(); ++i) {
      int64_t d = dims[i];
      if (d < 0) {
        auto bound = options_.symbols.find(info.symbols[i]);
        if (bound == options_.symbols.end())
          return Status::invalid_input("has no size for dimension ", i, " ('", info.symbols[i],
                                       "'): only static shapes are run; export with fixed sizes");
        d = bound->second;
      }
      if (__builtin_mul_overflow(elements, d, &elements) || elements > kLargestTensor)
        return Status::invalid_input("is too large");
      type.shape.push(d);
    }
    int v = add_value(info.name, type);
    graph_.values[v].is_input = true;
    graph_.inputs.push_back(v);
    return {};
  }

  int add_value(const std::string &name, TensorType type) {
    int v = graph_.add_value(name, type);
    names_[name] = v;
    return v;
  }

  Status add_constant_node(const onnx::Node &source) {
    onnx::Tensor t;
    if (const onnx::Attribute *a = source.find("value")) {
      t = a->tensor;
    } else {
      t.owned = std::make_shared<std::vector<uint8_t>>();
      auto put = [&](const auto *data, size_t n, onnx::DataType type, bool scalar) {
        t.type = type;
        const auto *raw = reinterpret_cast<const uint8_t *>(data);
        t.owned->assign(raw, raw + n * sizeof *data);
        if (!scalar)
          t.dims = {static_cast<int64_t>(n)};
      };
      if (const onnx::Attribute *a = source.find("value_float"))
        put(&a->number, 1, onnx::DataType::f32, true);
      else if (const onnx::Attribute *a = source.find("value_int"))
        put(&a->integer, 1, onnx::DataType::i64, true);
      else if (const onnx::Attribute *a = source.find("value_floats"))
        put(a->numbers.data(), a->numbers.size(), onnx::DataType::f32, false);
      else if (const onnx::Attribute *a = source.find("value_ints"))
        put(a->integers.data(), a->integers.size(), onnx::DataType::i64, false);
      else
        return Status::invalid_input("has no numeric value");
      t.data = *t.owned;
    }
    auto value = add_constant(source.outputs.at(0), t);
    return value.status();
  }

  Status add_node(const onnx::Node &source) {
    if (source.outputs.empty())
      return Status::invalid_input("makes nothing");
    if (source.op == "Constant" && source.domain.empty())
      return add_constant_node(source);
    Node node;
    node.name = source.name;
    node.op = source.op;
    node.domain = source.domain;
    node.attributes = source.attributes;
    for (const std::string &name : source.inputs)
      node.inputs.push_back(name.empty() ? kAbsent : names_.at(name));
    for (const std::string &name : source.outputs)
      node.outputs.push_back(name.empty() ? kAbsent : add_value(name, {}));
    if (is_contrib(node.domain, node.op))
      return append_contrib(source, node);
    return append_any(std::move(node));
  }

  Status append_contrib(const onnx::Node &source, const Node &node) {
    int64_t present_len = -1; // as declared where the cache is handed out
    for (const onnx::ValueInfo &out : model_.outputs)
      if (source.outputs.size() > 1 && out.name == source.outputs[1] && out.dims.size() == 4)
        present_len = out.dims[2];
    ATTN_ASSIGN_OR_RETURN(std::vector<Node> nodes, expand_contrib(graph_, node, present_len));
    for (Node &made : nodes)
      ATTN_RETURN_IF_ERROR(append_any(std::move(made)));
    return {};
  }

  Status append_any(Node node) {
    if (node.op == "CastLike" && node.input(1) != kAbsent) { // only the type of input 1 counts
      node.op = "Cast";
      node.set("to", static_cast<int64_t>(onnx_type(graph_.values[node.inputs[1]].type.dtype)));
      node.inputs.resize(1);
    }
    if (casts_to_itself(node))
      node.op = "Identity";
    return needs_f32(node) ? append_widened(std::move(node)) : append(std::move(node));
  }

  bool casts_to_itself(const Node &node) const {
    return node.op == "Cast" && node.input(0) != kAbsent &&
           node.integer("to", 0) ==
               static_cast<int64_t>(onnx_type(graph_.values[node.inputs[0]].type.dtype));
  }

  static bool is_narrow(DType t) { return t == DType::f16 || t == DType::bf16; }

  // Operators that compute, and those that move what was computed in f32.
  bool needs_f32(const Node &node) const {
    bool narrow = false, computed = false;
    for (int in : node.inputs)
      if (in != kAbsent && is_narrow(graph_.values[in].type.dtype)) {
        narrow = true;
        computed |= wide_.count(in) != 0;
      }
    const OpDef *def = find_op(node.domain, node.op);
    const bool moves = (def->flags & kView) || node.op == "Where" || node.op == "Concat";
    return narrow && ((def->flags & kF32) || (computed && moves));
  }

  // f16 and bf16 are types to store: x -> Cast -> operator in f32 -> Cast -> y. Operators that
  // follow each other hand over in f32.
  Status append_widened(Node node) {
    // ONNX gives results the type of the first operand, RMSNormalization and Where that of
    // the second.
    const size_t typed = node.op == "RMSNormalization" || node.op == "Where" ? 1 : 0;
    const DType result =
        node.input(typed) == kAbsent ? DType::f32 : graph_.values[node.inputs[typed]].type.dtype;
    for (int &in : node.inputs)
      if (in != kAbsent && is_narrow(graph_.values[in].type.dtype)) {
        auto [known, added] = wide_.try_emplace(in, kAbsent);
        if (added) {
          known->second = graph_.add_value(graph_.values[in].name + ".f32", {});
          ATTN_RETURN_IF_ERROR(append_cast(in, known->second, DType::f32));
        }
        in = known->second;
      }
    const std::vector<int> results = node.outputs;
    for (int &out : node.outputs)
      if (out != kAbsent)
        out = graph_.add_value(graph_.values[out].name + ".f32", {});
    const std::vector<int> computed = node.outputs;
    ATTN_RETURN_IF_ERROR(append(std::move(node)));
    for (size_t i = 0; i < results.size(); ++i)
      if (results[i] != kAbsent) {
        const DType made = graph_.values[computed[i]].type.dtype;
        if (made == DType::f32)
          wide_[results[i]] = computed[i];
        ATTN_RETURN_IF_ERROR(
            append_cast(computed[i], results[i], made == DType::f32 ? result : made));
      }
    return {};
  }

  Status append_cast(int from, int to, DType type) {
    Node cast;
    cast.name = graph_.values[to].name;
    cast.op = "Cast";
    cast.inputs = {from};
    cast.outputs = {to};
    cast.set("to", static_cast<int64_t>(onnx_type(type)));
    return append(std::move(cast));
  }

  // Infers the types of a node's outputs, then folds it or takes it into the graph.
  Status append(Node node) {
    ATTN_RETURN_IF_ERROR(infer_node(graph_, node));
    bool constant = true;
    for (int in : node.inputs)
      constant &= in == kAbsent || graph_.values[in].is_constant();
    size_t bytes = 0;
    for (int out : node.outputs)
      bytes += out == kAbsent ? 0 : graph_.values[out].type.bytes();
    if ((node.op == "Shape" || node.op == "Size") && node.domain.empty())
      return fold_shape(node);
    if (constant && bytes <= kLargestFolded && !left_narrow(node))
      return fold(node);
    graph_.nodes.push_back(std::move(node));
    return {};
  }

  // Large weights of products stay as the file has them; the products widen them (fuse.cpp).
  bool left_narrow(const Node &node) {
    if ((node.op != "Cast" && node.op != "DequantizeLinear") || !node.domain.empty())
      return false;
    const Value &made = graph_.values[node.outputs[0]];
    return made.type.dtype == DType::f32 && made.type.shape.rank == 2 &&
           made.type.bytes() >= kLeastLeftNarrow && only_multiplied(made.name);
  }

  // Whether all that reads a value of the file takes it as the right side of a product.
  bool only_multiplied(const std::string &name) {
    if (readers_.empty()) {
      for (const onnx::Node &node : model_.nodes)
        for (size_t i = 0; i < node.inputs.size(); ++i) {
          Readers &readers = readers_[node.inputs[i]];
          ++readers.all;
          readers.products += node.op == "MatMul" && node.domain.empty() && i == 1;
        }
      for (const onnx::ValueInfo &out : model_.outputs)
        ++readers_[out.name].all;
    }
    auto found = readers_.find(name);
    return found != readers_.end() && found->second.all == found->second.products;
  }

  Status fold(const Node &node) {
    std::vector<Tensor> in, out;
    for (int v : node.inputs) {
      Tensor t;
      if (v != kAbsent) {
        const Value &value = graph_.values[v];
        t = {const_cast<void *>(value.data), value.type.dtype, value.type.shape,
             dense_strides(value.type.shape)};
      }
      in.push_back(t);
    }
    for (int v : node.outputs) {
      if (v == kAbsent) {
        out.emplace_back();
        continue;
      }
      Value &value = graph_.values[v];
      ATTN_RETURN_IF_ERROR(allocate_constant(value));
      out.push_back({const_cast<void *>(value.data), value.type.dtype, value.type.shape,
                     dense_strides(value.type.shape)});
    }
    return evaluate_node(graph_, node, std::move(in), std::move(out));
  }

  Status fold_shape(const Node &node) {
    const Shape &in = graph_.values[node.inputs[0]].type.shape;
    Value &value = graph_.values[node.outputs[0]];
    ATTN_RETURN_IF_ERROR(allocate_constant(value));
    auto *sizes = static_cast<int64_t *>(const_cast<void *>(value.data));
    if (node.op == "Size") {
      *sizes = in.elements();
      return {};
    }
    int64_t start = node.integer("start", 0);
    start = std::clamp<int64_t>(start < 0 ? start + in.rank : start, 0, in.rank);
    for (int64_t i = 0; i < value.type.elements(); ++i)
      sizes[i] = in[static_cast<int>(start + i)];
    return {};
  }

  struct Readers {
    int all = 0, products = 0;
  };
  const onnx::Model &model_;
  std::map<std::string, Readers> readers_; // of the file's values, by name
  const BuildOptions &options_;
  Graph &graph_;
  std::map<std::string, int> names_;
  std::map<int, int> wide_; // values of f16 and bf16 -> the same in f32
};

} // namespace

Result<Graph> build_graph(const onnx::Model &model, const BuildOptions &options) {
  Graph graph;
  ATTN_RETURN_IF_ERROR(Builder(model, options, graph).build());
  return graph;
}

} // namespace attn::graph
