// Starts at every Softmax and walks down to the product with V and up to the product
// of Q and K. What does not fit leaves the graph as it was.
#include "runtime/graph/recognise_attention.h"

#include "runtime/graph/views.h"
#include "runtime/ops/attention.h"
#include <cmath>
#include <limits>
#include <optional>

namespace attn::graph {

namespace {

class Recogniser {
public:
  explicit Recogniser(Graph &graph) : g_(graph) {}

  void run() {
    for (size_t n = 0; n < g_.nodes.size(); ++n) {
      if (g_.nodes[n].op != "Softmax" || !g_.nodes[n].domain.empty())
        continue;
      g_.renumber_producers();
      uses_ = g_.use_counts();
      rewrite(static_cast<int>(n));
    }
    g_.remove_dead_nodes();
  }

private:
  struct Found {
    int q = kAbsent, k = kAbsent, v = kAbsent, mask = kAbsent;
    double scale = 1, softcap = 0;
    std::vector<Node> before; // what makes the mask and turns K
  };

  const Node *producer(int v) const {
    const int p = v == kAbsent ? -1 : g_.values[v].producer;
    return p < 0 || !g_.nodes[p].domain.empty() ? nullptr : &g_.nodes[p];
  }
  bool made_by(int v, const char *op) const {
    const Node *p = producer(v);
    return p && p->op == op;
  }
  const Shape &shape(int v) const { return g_.values[v].type.shape; }
  bool f32(int v) const { return g_.values[v].type.dtype == DType::f32; }
  // The value of a constant f32 scalar.
  std::optional<double> scalar(int v) const {
    const Value &value = g_.values[v];
    if (!value.is_constant() || value.type.dtype != DType::f32 || value.type.elements() != 1)
      return {};
    return *static_cast<const float *>(value.data);
  }
  // The only node that reads v, or -1.
  int only_reader(int v) const {
    if (uses_[v] != 1 || g_.values[v].is_output)
      return -1;
    for (size_t n = 0; n < g_.nodes.size(); ++n)
      for (int in : g_.nodes[n].inputs)
        if (in == v)
          return static_cast<int>(n);
    return -1;
  }

  // x * c or x / c with a scalar c: x, and the factor.
  bool scaled(int v, int &x, double &factor) const {
    const Node *p = producer(v);
    if (!p || (p->op != "Mul" && p->op != "Div"))
      return false;
    for (int side = 1; side >= (p->op == "Mul" ? 0 : 1); --side)
      if (auto c = scalar(p->inputs[side]); c && shape(p->inputs[1 - side]) == shape(v)) {
        x = p->inputs[1 - side];
        factor = p->op == "Mul" ? *c : 1 / *c;
        return true;
      }
    return false;
  }
  int without_scale(int v, double &scale) const {
    double factor;
    for (int x; scaled(v, x, factor); v = x)
      scale *= factor;
    return v;
  }

  // ---- from the weights to the product with V --------------------------------------
  // Weights of rows that see nothing may be set to zero on the way: ours are.
  int find_product(int softmax, int &weights) const {
    weights = g_.nodes[softmax].outputs[0];
    for (int n = only_reader(weights); n >= 0; n = only_reader(weights)) {
      const Node &node = g_.nodes[n];
      if (!node.domain.empty())
        return -1;
      if (node.op == "MatMul")
        return node.inputs[0] == weights && node.inputs[1] != weights ? n : -1;
      const bool guard = node.op == "Where" && node.inputs[2] == weights &&
                         scalar(node.inputs[1]) == 0.0 && only_for_empty_rows(node.inputs[0]);
      if (node.op != "Identity" && !guard)
        return -1;
      weights = node.outputs[0];
    }
    return -1;
  }

  // Equal(ReduceMax(mask), -inf), or the same folded where no row is empty.
  bool only_for_empty_rows(int condition) const {
    const Value &value = g_.values[condition];
    if (value.is_constant()) {
      for (int64_t i = 0; i < value.type.elements(); ++i)
        if (static_cast<const uint8_t *>(value.data)[i])
          return false;
      return true;
    }
    const Node *equal = producer(condition);
    return equal && equal->op == "Equal" && made_by(equal->inputs[0], "ReduceMax") &&
           scalar(equal->inputs[1]) == -std::numeric_limits<double>::infinity();
  }

  // ---- from the scores to the product of Q and K ------------------------------------
  bool leads_to_product(int v, int depth = 0) const {
    const Node *p = producer(v);
    if (!p || depth > 12)
      return false;
    if (p->op == "MatMul")
      return true;
    const bool passes = p->op == "Identity" || p->op == "Tanh" || p->op == "Mul" ||
                        p->op == "Div" || p->op == "Add" || p->op == "Where";
    for (size_t i = 0; passes && i < p->inputs.size(); ++i)
      if (leads_to_product(p->inputs[i], depth + 1))
        return true;
    return false;
  }

  int emit(Found &found, const char *op, std::vector<int> inputs, DType type, const Shape &out) {
    Node node;
    node.op = op;
    node.inputs = std::move(inputs);
    const int v = g_.add_value(g_.values[node.inputs[0]].name + "." + op, {type, out});
    node.name = g_.values[v].name;
    node.outputs = {v};
    found.before.push_back(std::move(node));
    return v;
  }

  bool add_mask(int mask, Found &found) {
    if (shape(mask).rank == 0 || found.scale != 1 || found.softcap != 0)
      return false;
    if (found.mask == kAbsent) {
      found.mask = mask;
      return true;
    }
    Shape wide;
    if (!f32(mask) || !f32(found.mask) || !broadcast_shapes(shape(mask), shape(found.mask), wide))
      return false;
    found.mask = emit(found, "Add", {mask, found.mask}, DType::f32, wide);
    return true;
  }

  // Where(condition, scores, -inf), or the other way round.
  bool take_where(const Node &where, int &scores, Found &found) {
    const int side = leads_to_product(where.inputs[1]) ? 1 : 2;
    auto fill = scalar(where.inputs[3 - side]);
    if (!fill || *fill != -std::numeric_limits<double>::infinity())
      return false;
    scores = where.inputs[side];
    const int condition = where.inputs[0];
    return add_mask(side == 1 ? condition
                              : emit(found, "Not", {condition}, DType::boolean, shape(condition)),
                    found);
  }

  // cap * tanh(x / cap)
  bool take_softcap(int &scores, Found &found) const {
    int capped, inner;
    double cap, inverse;
    if (found.softcap != 0 || !scaled(scores, capped, cap) || !made_by(capped, "Tanh") ||
        !scaled(producer(capped)->inputs[0], inner, inverse) || !(cap > 0) ||
        std::abs(cap * inverse - 1) > 1e-5)
      return false;
    found.softcap = cap;
    scores = inner;
    return true;
  }

  bool find_scores(int scores, Found &found) {
    const Shape full = shape(scores);
    for (int depth = 0; depth < 24; ++depth) {
      const Node *p = producer(scores);
      if (!p || !(shape(scores) == full) || uses_[scores] != 1)
        return false;
      if (p->op == "MatMul")
        return find_operands(*p, found);
      int x;
      double factor;
      if (p->op == "Identity") {
        scores = p->inputs[0];
      } else if (p->op == "Add") {
        const int side = leads_to_product(p->inputs[0]) ? 0 : 1;
        const int mask = p->inputs[1 - side];
        scores = p->inputs[side];
        if (!add_mask(mask, found))
          return false;
      } else if (p->op == "Where") {
        if (!take_where(*p, scores, found))
          return false;
      } else if (found.scale != 1 || !take_softcap(scores, found)) {
        if (!scaled(scores, x, factor))
          return false;
        found.scale *= factor;
        scores = x;
      }
    }
    return false;
  }

  // K or V of grouped queries: its heads were repeated, each in place.
  int ungrouped(int v) const {
    const Node *flat = producer(v);
    const Node *repeated = flat && flat->op == "Reshape" ? producer(flat->inputs[0]) : nullptr;
    if (!repeated || repeated->op != "Expand")
      return v;
    const int one = repeated->inputs[0];
    const Shape &to = shape(repeated->outputs[0]);
    const Node *opened = producer(one);
    if (!opened || (opened->op != "Unsqueeze" && opened->op != "Reshape") || shape(v).rank != 4)
      return v;
    const int x = opened->inputs[0];
    const Shape from = shape(x);
    if (from.rank != 4 || to.rank != 5 ||
        !(shape(one) == Shape{from[0], from[1], 1, from[2], from[3]}) ||
        !(to == Shape{from[0], from[1], to[2], from[2], from[3]}) ||
        !(shape(v) == Shape{from[0], from[1] * to[2], from[2], from[3]}))
      return v;
    return x;
  }

  static bool swaps_last_two(const Node &node, int rank) {
    if (node.op != "Transpose" || rank < 2)
      return false;
    auto perm = node.integers("perm");
    for (int i = 0; i < rank; ++i) {
      const int to = i == rank - 1 ? rank - 2 : i == rank - 2 ? rank - 1 : i;
      if (static_cast<int>(perm.size()) != rank || perm[static_cast<size_t>(i)] != to)
        return false;
    }
    return true;
  }

  bool find_operands(const Node &product, Found &found) {
    found.q = without_scale(product.inputs[0], found.scale);
    int turned = without_scale(product.inputs[1], found.scale); // (..., dim, token)
    const int rank = shape(turned).rank;
    if (shape(found.q).rank != rank || (rank != 3 && rank != 4))
      return false;
    const Node *transpose = producer(turned);
    if (transpose && swaps_last_two(*transpose, rank)) {
      found.k = without_scale(transpose->inputs[0], found.scale);
      return true;
    }
    // Moves nothing: views of views are strides.
    Shape out = shape(turned);
    std::swap(out.dims[rank - 1], out.dims[rank - 2]);
    found.k = emit(found, "Transpose", {turned}, DType::f32, out);
    std::vector<int64_t> perm;
    for (int i = 0; i < rank; ++i)
      perm.push_back(i == rank - 1 ? rank - 2 : i == rank - 2 ? rank - 1 : i);
    found.before.back().set("perm", std::move(perm));
    return true;
  }

  // ---- the new node -------------------------------------------------------------------
  // (head, token, dim) as (1, head, token, dim), and back.
  int with_batch(int v, Found &found) {
    if (shape(v).rank == 4)
      return v;
    Shape out{1, shape(v)[0], shape(v)[1], shape(v)[2]};
    return emit(found, "Reshape", {v, shape_constant(out)}, DType::f32, out);
  }
  int shape_constant(const Shape &dims) {
    auto kept = std::make_shared<std::vector<int64_t>>(dims.dims, dims.dims + dims.rank);
    const int v = g_.add_value("shape", {DType::i64, {dims.rank}});
    g_.values[v].data = kept->data();
    g_.values[v].owner = kept;
    return v;
  }

  void rewrite(int n) {
    const Node &softmax = g_.nodes[n];
    const int scores = softmax.inputs[0];
    const int rank = shape(scores).rank;
    const int64_t axis = softmax.integer("axis", -1);
    if (!f32(scores) || (axis != -1 && axis != rank - 1))
      return;
    int weights;
    const int last = find_product(n, weights);
    Found found;
    if (last < 0 || !(shape(weights) == shape(scores)) || !find_scores(scores, found) ||
        found.scale == 0)
      return;
    found.v = g_.nodes[last].inputs[1];
    const int k = ungrouped(found.k), v = ungrouped(found.v);
    if (shape(k).rank == 4 && shape(v).rank == 4 && shape(k)[1] == shape(v)[1]) {
      found.k = k;
      found.v = v;
    }
    if (shape(found.v).rank != rank || shape(found.k).rank != rank || !f32(found.v))
      return;
    // A single column repeats here, and would be a short mask there.
    if (found.mask != kAbsent && shape(found.mask).back() != shape(scores).back())
      return;
    const Shape out = shape(g_.nodes[last].outputs[0]);
    Node node;
    node.op = "Attention";
    node.name = g_.nodes[last].name.empty() ? g_.values[g_.nodes[last].outputs[0]].name
                                            : g_.nodes[last].name;
    node.inputs = {with_batch(found.q, found), with_batch(found.k, found),
                   with_batch(found.v, found)};
    if (found.mask != kAbsent)
      node.inputs.push_back(found.mask);
    node.set(kRecognised, int64_t(1));
    set_number(node, "scale", found.scale);
    set_number(node, "softcap", found.softcap);
    node.outputs = g_.nodes[last].outputs;
    ops::AttentionShape s;
    if (!ops::attention_shape({g_, node}, s).ok() ||
        s.batch * s.heads * s.q_len * s.v_dim != out.elements())
      return;
    if (rank == 3) {
      const int made =
          g_.add_value(node.name + ".heads", {DType::f32, {1, out[0], out[1], out[2]}});
      Node back;
      back.op = "Reshape";
      back.name = node.name + ".back";
      back.inputs = {made, shape_constant(out)};
      back.outputs = node.outputs;
      node.outputs = {made};
      found.before.push_back(std::move(node));
      g_.nodes[last] = std::move(back);
    } else {
      g_.nodes[last] = std::move(node);
    }
    g_.nodes.insert(g_.nodes.begin() + last, std::make_move_iterator(found.before.begin()),
                    std::make_move_iterator(found.before.end()));
  }

  static void set_number(Node &node, const char *name, double value) {
    onnx::Attribute a;
    a.name = name;
    a.kind = onnx::Attribute::Kind::number;
    a.number = static_cast<float>(value);
    node.attributes.push_back(a);
  }

  Graph &g_;
  std::vector<int> uses_;
};

} // namespace

void recognise_attention(Graph &graph) { Recogniser(graph).run(); }

} // namespace attn::graph
