// The fusion passes. Each looks at a node and what reads it, and replaces the
// last node of a pattern, so that every input is made before it is read.
#include "runtime/graph/fuse.h"

#include "runtime/base/aligned_memory.h"
#include "runtime/graph/views.h"
#include "runtime/ops/elementwise.h"
#include <algorithm>
#include <map>

namespace attn::graph {

namespace {

class Fuser {
public:
  Fuser(Graph &graph, const FuseOptions &options) : g_(graph), options_(options) {}

  void run() {
    swish();
    if (options_.gemm)
      gemm();
    if (options_.norm)
      norm();
    if (options_.groups)
      groups();
    if (options_.rope_cache)
      rope_cache();
    if (options_.elementwise)
      elementwise();
  }

private:
  // ---- what patterns ask ------------------------------------------------------
  void index() {
    uses_ = g_.use_counts();
    reader_.assign(g_.values.size(), -1);
    for (size_t n = 0; n < g_.nodes.size(); ++n)
      for (int in : g_.nodes[n].inputs)
        if (in != kAbsent)
          reader_[in] = static_cast<int>(n);
    g_.renumber_producers();
  }
  bool is(int n, const char *op, const char *domain = "") const {
    return n >= 0 && g_.nodes[n].op == op && g_.nodes[n].domain == domain;
  }
  // The only node that reads value v, or -1.
  int only_reader(int v) const {
    return uses_[v] == 1 && !g_.values[v].is_output ? reader_[v] : -1;
  }
  const Shape &shape(int v) const { return g_.values[v].type.shape; }
  bool constant(int v) const { return v != kAbsent && g_.values[v].is_constant(); }
  bool f32(int v) const { return g_.values[v].type.dtype == DType::f32; }
  int other_input(const Node &node, int v) const {
    return node.inputs[0] == v ? node.inputs[1] : node.inputs[0];
  }
  void kill(int n) {
    g_.nodes[n].outputs.clear();
    g_.nodes[n].inputs.clear();
  }
  void sweep() {
    std::erase_if(g_.nodes, [](const Node &n) { return n.outputs.empty(); });
    g_.remove_dead_nodes();
    index();
  }

  // ---- Mul(x, Sigmoid(x)) -> Swish ----------------------------------------------
  void swish() {
    index();
    for (size_t n = 0; n < g_.nodes.size(); ++n) {
      if (!is(static_cast<int>(n), "Mul") || g_.nodes[n].inputs.size() != 2)
        continue;
      Node &mul = g_.nodes[n];
      for (int side = 0; side < 2; ++side) {
        int s = mul.inputs[side], x = mul.inputs[1 - side], p = g_.values[s].producer;
        if (!is(p, "Sigmoid") || g_.nodes[p].inputs[0] != x || only_reader(s) < 0)
          continue;
        mul.op = "Swish";
        mul.inputs = {x};
        kill(p);
        break;
      }
    }
    sweep();
  }

  // ---- products with their epilogue -----------------------------------------------
  // A 2-D constant transposed; the copy belongs to the graph.
  int transposed(int v) {
    const Value &from = g_.values[v];
    struct Memory {
      AlignedMemory block;
    };
    auto memory = std::make_shared<Memory>();
    memory->block = AlignedMemory(std::max<size_t>(from.type.bytes(), 64));
    if (!memory->block.data())
      return kAbsent;
    int64_t rows = from.type.shape[0], columns = from.type.shape[1];
    const float *x = static_cast<const float *>(from.data);
    float *y = static_cast<float *>(memory->block.data());
    for (int64_t i = 0; i < rows; ++i)
      for (int64_t j = 0; j < columns; ++j)
        y[j * rows + i] = x[i * columns + j];
    int t = g_.add_value(from.name + ".transposed", {DType::f32, {columns, rows}});
    g_.values[t].data = memory->block.data();
    g_.values[t].owner = memory;
    return t;
  }

  bool row_of(int v, int64_t n) const {
    return constant(v) && f32(v) && shape(v).elements() == n && shape(v).back() == n;
  }

  // A gate repeats over all rows, or steps along one outer axis with nothing before it.
  bool gate_fits(int gate, const Shape &out) const {
    Shape wide;
    const Shape &g = shape(gate);
    if (!f32(gate) || g.back() != out.back() || !broadcast_shapes(out, g, wide) || !(wide == out))
      return false;
    int stepping = 0;
    int64_t before = 1;
    for (int i = 0; i + 1 < out.rank; ++i) {
      int j = i - (out.rank - g.rank);
      if (j >= 0 && g[j] != 1) {
        ++stepping;
        if (before != 1)
          return false;
      }
      before *= out[i];
    }
    return stepping <= 1;
  }

  static const char *activation(const Node &node) {
    if (!node.domain.empty())
      return nullptr;
    if (node.op == "Gelu")
      return node.text("approximate", "none") == "tanh" ? "gelu_tanh" : "gelu_erf";
    if (node.op == "Relu")
      return "relu";
    if (node.op == "Sigmoid")
      return "sigmoid";
    if (node.op == "Tanh")
      return "tanh";
    if (node.op == "Swish" && node.number("alpha", 1.0f) == 1.0f)
      return "silu";
    return nullptr;
  }

  void gemm() {
    index();
    for (size_t i = 0; i < g_.nodes.size(); ++i) {
      int n = static_cast<int>(i);
      bool matmul = is(n, "MatMul"), full = is(n, "Gemm");
      if (!matmul && !full)
        continue;
      Node fused = g_.nodes[i];
      int scales = kAbsent;
      if (matmul)
        fused.inputs[1] = as_stored(fused.inputs[1], scales);
      if (!constant(fused.inputs[1]))
        continue;
      if (shape(fused.inputs[1]).rank != 2 || shape(fused.inputs[0]).rank < 2)
        continue;
      int bias = kAbsent;
      if (full) {
        if (fused.integer("transA", 0) || fused.number("alpha", 1) != 1 ||
            fused.number("beta", 1) != 1)
          continue;
        if (fused.input(2) != kAbsent) {
          bias = fused.inputs[2];
          if (!row_of(bias, shape(fused.outputs[0]).back()))
            continue;
        }
        if (fused.integer("transB", 0) &&
            (fused.inputs[1] = transposed(fused.inputs[1])) == kAbsent)
          continue;
        index(); // a constant was added
      }
      fuse_epilogue(n, std::move(fused), bias, scales);
    }
    sweep();
  }

  // A weight that was left as the file has it (build.cpp), and its scales; else the value itself.
  int as_stored(int v, int &scales) const {
    const int p = g_.values[v].producer;
    if (is(p, "Cast") && constant(g_.nodes[p].inputs[0]))
      return is_narrow(g_.nodes[p].inputs[0]) ? g_.nodes[p].inputs[0] : v;
    if (!is(p, "DequantizeLinear"))
      return v;
    const Node &node = g_.nodes[p];
    const int x = node.inputs[0], scale = node.inputs[1], zero = node.input(2);
    const bool by_column = node.integer("axis", 1) == 1 || node.integer("axis", 1) == -1;
    if (!constant(x) || g_.values[x].type.dtype != DType::i8 || !constant(scale) || !f32(scale) ||
        (shape(scale).elements() != 1 && !by_column) || (zero != kAbsent && !all_zero(zero)))
      return v;
    scales = scale;
    return x;
  }
  bool is_narrow(int v) const {
    const DType type = g_.values[v].type.dtype;
    return type == DType::bf16 || type == DType::f16;
  }
  bool all_zero(int v) const {
    if (!constant(v))
      return false;
    const char *bytes = static_cast<const char *>(g_.values[v].data);
    return std::all_of(bytes, bytes + g_.values[v].type.bytes(), [](char b) { return b == 0; });
  }

  void fuse_epilogue(int first, Node fused, int bias, int scales) {
    int out = fused.outputs[0], last = first, gate = kAbsent, residual = kAbsent;
    const Shape full = shape(out);
    std::vector<int> used = {first};
    const char *act = nullptr;
    auto take = [&](int n) {
      used.push_back(n);
      last = n;
      out = g_.nodes[n].outputs[0];
    };
    int next = only_reader(out);
    if (bias == kAbsent && is(next, "Add") &&
        row_of(other_input(g_.nodes[next], out), full.back())) {
      bias = other_input(g_.nodes[next], out);
      take(next);
      next = only_reader(out);
    }
    if (next >= 0 && (act = activation(g_.nodes[next]))) {
      take(next);
      next = only_reader(out);
    }
    // The gate is taken only where the residual follows: alone it may as well be a
    // term of an elementwise chain.
    int add = next;
    if (is(next, "Mul") && shape(g_.nodes[next].outputs[0]) == full &&
        gate_fits(other_input(g_.nodes[next], out), full)) {
      gate = other_input(g_.nodes[next], out);
      add = only_reader(g_.nodes[next].outputs[0]);
    }
    int carried = gate == kAbsent ? out : g_.nodes[next].outputs[0];
    if (is(add, "Add") && g_.nodes[add].inputs[0] != g_.nodes[add].inputs[1] &&
        shape(other_input(g_.nodes[add], carried)) == full &&
        f32(other_input(g_.nodes[add], carried))) {
      residual = other_input(g_.nodes[add], carried);
      if (gate != kAbsent)
        take(next);
      take(add);
    } else {
      gate = kAbsent;
    }
    fused.op = "Gemm";
    fused.domain = "attn";
    fused.attributes.clear();
    if (act)
      fused.set("activation", act);
    fused.inputs = {fused.inputs[0], fused.inputs[1], bias, gate, residual};
    if (scales != kAbsent)
      fused.inputs.push_back(scales);
    fused.outputs = {out};
    for (int n : used)
      kill(n);
    g_.nodes[last] = std::move(fused);
  }

  // ---- normalisation with modulation ------------------------------------------------
  void norm() {
    index();
    for (size_t i = 0; i < g_.nodes.size(); ++i) {
      int n = static_cast<int>(i);
      bool layer = is(n, "LayerNormalization");
      if ((!layer && !is(n, "RMSNormalization")) || g_.nodes[i].outputs.size() != 1)
        continue;
      int out = g_.nodes[i].outputs[0], mul = only_reader(out);
      const Shape full = shape(out);
      if (first_normalised_axis(g_.nodes[i], full.rank) + 1 != full.rank)
        continue;
      auto fits = [&](int v) {
        Shape wide;
        return f32(v) && shape(v).rank > 0 && shape(v).back() == full.back() &&
               broadcast_shapes(full, shape(v), wide) && wide == full;
      };
      if (!is(mul, "Mul") || !fits(other_input(g_.nodes[mul], out)))
        continue;
      int scaled = g_.nodes[mul].outputs[0], add = only_reader(scaled);
      if (!is(add, "Add") || !fits(other_input(g_.nodes[add], scaled)))
        continue;
      Node fused = g_.nodes[i];
      float epsilon = fused.number("epsilon", 1e-5f);
      fused.op = "Norm";
      fused.domain = "attn";
      std::erase_if(fused.attributes, [](const onnx::Attribute &a) { return a.name != "axis"; });
      fused.set("centered", int64_t(layer));
      onnx::Attribute e;
      e.name = "epsilon";
      e.kind = onnx::Attribute::Kind::number;
      e.number = epsilon;
      fused.attributes.push_back(e);
      fused.inputs = {fused.inputs[0], drop_ones(fused.input(1)), fused.input(2),
                      other_input(g_.nodes[mul], out), other_input(g_.nodes[add], scaled)};
      fused.outputs = g_.nodes[add].outputs;
      kill(n);
      kill(mul);
      g_.nodes[add] = std::move(fused);
    }
    sweep();
  }

  // A gamma of ones multiplies nothing.
  int drop_ones(int v) const {
    if (!constant(v))
      return v;
    const float *x = static_cast<const float *>(g_.values[v].data);
    for (int64_t i = 0; i < shape(v).elements(); ++i)
      if (x[i] != 1.0f)
        return v;
    return kAbsent;
  }

  // ---- products of one input ----------------------------------------------------------
  void groups() {
    index();
    std::map<int, std::vector<int>> by_input;
    for (size_t n = 0; n < g_.nodes.size(); ++n) {
      const Node &node = g_.nodes[n];
      if (is(static_cast<int>(n), "Gemm", "attn") && !node.find("activation") &&
          node.input(3) == kAbsent && node.input(4) == kAbsent && node.input(5) == kAbsent)
        by_input[node.inputs[0]].push_back(static_cast<int>(n));
    }
    for (auto &[a, members] : by_input) {
      if (members.size() < 2)
        continue;
      if (members.size() > 8)
        members.resize(8);
      Node group;
      group.name = g_.nodes[members[0]].name;
      group.op = "GemmGroup";
      group.domain = "attn";
      group.inputs = {a};
      for (int n : members) {
        const Node &node = g_.nodes[n];
        group.inputs.insert(group.inputs.end(), {node.inputs[1], node.input(2)});
        group.outputs.push_back(node.outputs[0]);
      }
      for (int n : members)
        kill(n);
      g_.nodes[members[0]] = std::move(group);
    }
    sweep();
  }

  // ---- keys roped in the cache ----------------------------------------------------------
  void rope_cache() {
    index();
    for (Node &node : g_.nodes) {
      if (node.op != "RotaryEmbedding" || !node.domain.empty() || node.input(3) == kAbsent)
        continue;
      int x = node.inputs[0], p = g_.values[x].producer;
      if (!is(p, "TensorScatter") || shape(x).rank != 4 || shape(x)[0] != 1)
        continue;
      const Node &scatter = g_.nodes[p];
      if (scatter.input(2) == kAbsent || scatter.text("mode", "linear") != "linear" ||
          !g_.values[scatter.inputs[0]].is_input || !g_.values[x].is_output ||
          uses_[scatter.inputs[0]] != 1)
        continue;
      int64_t axis = scatter.integer("axis", -2);
      if (axis != -2 && axis != 2)
        continue;
      node.op = "RopeCache";
      node.domain = "attn";
    }
  }

  // ---- elementwise chains ------------------------------------------------------------------
  bool program_of(const Node &node, std::vector<ops::Instruction> &program) const {
    if (node.outputs.size() != 1 || !f32(node.outputs[0]))
      return false;
    if (node.domain == "attn" && node.op == "Elementwise") {
      program = ops::decode_program(node.integers("program"));
      return true;
    }
    ops::Instruction one;
    if (!ops::instruction_of(node, one))
      return false;
    for (int in : node.inputs)
      if (in == kAbsent || !f32(in))
        return false;
    program = {one};
    return true;
  }

  void elementwise() {
    index();
    for (size_t i = 0; i < g_.nodes.size(); ++i) {
      std::vector<ops::Instruction> second;
      if (!program_of(g_.nodes[i], second))
        continue;
      for (size_t slot = 0; slot < g_.nodes[i].inputs.size(); ++slot) {
        int v = g_.nodes[i].inputs[slot], p = g_.values[v].producer;
        std::vector<ops::Instruction> first;
        if (p < 0 || only_reader(v) < 0 || !program_of(g_.nodes[p], first) ||
            !(shape(v) == shape(g_.nodes[i].outputs[0])))
          continue;
        if (!join(p, static_cast<int>(i), slot, first, second))
          continue;
        slot = static_cast<size_t>(-1); // look at the joined node's inputs anew
      }
    }
    sweep();
  }

  bool join(int p, int n, size_t slot, const std::vector<ops::Instruction> &first,
            std::vector<ops::Instruction> &second) {
    Node &consumer = g_.nodes[n];
    const Node &producer = g_.nodes[p];
    std::vector<int> inputs = producer.inputs;
    std::vector<int> place(consumer.inputs.size()); // consumer's input -> joined register
    for (size_t i = 0; i < consumer.inputs.size(); ++i) {
      if (i == slot)
        continue;
      size_t at = 0;
      while (at < inputs.size() && inputs[at] != consumer.inputs[i])
        ++at;
      if (at == inputs.size())
        inputs.push_back(consumer.inputs[i]);
      place[i] = static_cast<int>(at);
    }
    if (inputs.size() > ops::kMaxOperands || first.size() + second.size() > ops::kMaxInstructions)
      return false;
    int count = static_cast<int>(inputs.size()), before = static_cast<int>(producer.inputs.size());
    std::vector<ops::Instruction> program;
    for (ops::Instruction op : first) {
      op.a = op.a < before ? op.a : op.a - before + count;
      op.b = op.b < before ? op.b : op.b - before + count;
      program.push_back(op);
    }
    int own = static_cast<int>(consumer.inputs.size());
    int shift = count + static_cast<int>(first.size());
    place[slot] = shift - 1;
    for (ops::Instruction op : second) {
      op.a = op.a < own ? place[op.a] : op.a - own + shift;
      op.b = op.b < own ? place[op.b] : op.b - own + shift;
      program.push_back(op);
    }
    consumer.op = "Elementwise";
    consumer.domain = "attn";
    consumer.attributes.clear();
    consumer.set("program", ops::encode_program(program));
    consumer.inputs = std::move(inputs);
    second = std::move(program);
    kill(p);
    for (int in : consumer.inputs)
      reader_[in] = n;
    uses_ = g_.use_counts();
    return true;
  }

  Graph &g_;
  const FuseOptions &options_;
  std::vector<int> uses_, reader_;
};

} // namespace

void fuse_graph(Graph &graph, const FuseOptions &options) { Fuser(graph, options).run(); }

} // namespace attn::graph
