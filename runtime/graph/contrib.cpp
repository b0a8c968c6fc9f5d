// One function per operator; both end in an Attention node over (batch, head,
// token, dim).
#include "runtime/graph/contrib.h"

#include <algorithm>

namespace attn::graph {

bool is_contrib(std::string_view domain, std::string_view op) {
  return domain == "com.microsoft" && (op == "MultiHeadAttention" || op == "GroupQueryAttention");
}

namespace {

class Expander {
public:
  Expander(Graph &graph, const Node &node) : g_(graph), node_(node) {}

  Status multi_head();
  Status group_query(int64_t present_len);
  std::vector<Node> take() { return std::move(made_); }

private:
  bool has(size_t i) const { return node_.input(i) != kAbsent; }
  const Shape &shape(size_t i) const { return g_.values[node_.inputs[i]].type.shape; }
  bool wanted(size_t output) const {
    return output < node_.outputs.size() && node_.outputs[output] != kAbsent;
  }

  // A node with one output: a new value, or `out`.
  int emit(const char *op, std::vector<int> inputs, int out = kAbsent) {
    Node made;
    made.op = op;
    // The attention keeps the name: specs are bound by it.
    made.name =
        made.op == "Attention" ? node_.name : node_.name + "." + std::to_string(made_.size());
    made.inputs = std::move(inputs);
    made.outputs = {out == kAbsent ? g_.add_value(made.name, {}) : out};
    made_.push_back(std::move(made));
    return made_.back().outputs[0];
  }
  template <typename T> void set(const char *attribute, T value) {
    made_.back().set(attribute, std::move(value));
  }

  int integers(std::vector<int64_t> values, bool scalar = false) {
    auto kept = std::make_shared<std::vector<int64_t>>(std::move(values));
    Shape shape{static_cast<int64_t>(kept->size())};
    const int v = g_.add_value(node_.name + ".constant", {DType::i64, scalar ? Shape{} : shape});
    g_.values[v].data = kept->data();
    g_.values[v].owner = kept;
    return v;
  }
  int number(float value) {
    auto kept = std::make_shared<float>(value);
    const int v = g_.add_value(node_.name + ".constant", {DType::f32, {}});
    g_.values[v].data = kept.get();
    g_.values[v].owner = kept;
    return v;
  }

  std::vector<int> split(int x, int64_t axis, const std::vector<int64_t> &sizes) {
    Node made;
    made.op = "Split";
    made.name = node_.name + "." + std::to_string(made_.size());
    made.inputs = {x, integers(sizes)};
    made.set("axis", axis);
    for (size_t i = 0; i < sizes.size(); ++i)
      made.outputs.push_back(g_.add_value(made.name + "." + std::to_string(i), {}));
    made_.push_back(made);
    return made.outputs;
  }
  int transpose(int x, std::vector<int64_t> perm, int out = kAbsent) {
    int y = emit("Transpose", {x}, out);
    set("perm", std::move(perm));
    return y;
  }
  // (batch, token, head * dim) -> (batch, head, token, dim), and back.
  int to_heads(int x, int64_t batch, int64_t tokens, int64_t heads, int64_t dim) {
    return transpose(emit("Reshape", {x, integers({batch, tokens, heads, dim})}), {0, 2, 1, 3});
  }
  void from_heads(int x, int out) {
    emit("Reshape", {transpose(x, {0, 2, 1, 3}), integers({0, 0, -1})}, out);
  }

  // The attributes that both operators share go to the Attention node just made.
  void set_number(const char *attribute, float value) {
    onnx::Attribute a;
    a.name = attribute;
    a.kind = onnx::Attribute::Kind::number;
    a.number = value;
    made_.back().attributes.push_back(a);
  }

  Status padding_mask(int64_t batch, int64_t keys, int &mask);
  Status refuse_inputs_from(size_t first) const {
    for (size_t i = first; i < node_.inputs.size(); ++i)
      if (has(i))
        return Status::invalid_input("has input ", i, ", which is not run");
    return {};
  }

  Graph &g_;
  const Node &node_;
  std::vector<Node> made_;
};

// key_padding_mask (batch, keys): what is 0 gets mask_filter_value added.
Status Expander::padding_mask(int64_t batch, int64_t keys, int &mask) {
  if (!has(4))
    return {};
  if (!(shape(4) == Shape{batch, keys}))
    return Status::invalid_input("has a key_padding_mask of shape ", shape(4).text(),
                                 "; (batch, keys) = ", Shape{batch, keys}.text(), " is run");
  int seen = emit("Cast", {node_.inputs[4]});
  set("to", static_cast<int64_t>(onnx::DataType::boolean));
  int bias = emit("Where", {seen, number(0), number(node_.number("mask_filter_value", -10000.0f))});
  bias = emit("Unsqueeze", {bias, integers({1, 2})});
  mask = mask == kAbsent ? bias : emit("Add", {mask, bias});
  return {};
}

Status Expander::multi_head() {
  ATTN_RETURN_IF_ERROR(refuse_inputs_from(8));
  if (wanted(3))
    return Status::invalid_input("asks for its products, which is not run");
  const int64_t heads = node_.integer("num_heads", 0);
  if (!has(0) || heads <= 0)
    return Status::invalid_input("needs a query and num_heads");
  const Shape q = shape(0);
  int parts[3] = {node_.input(0), node_.input(1), node_.input(2)}; // (batch, head, token, dim)
  int64_t keys = 0;
  if (q.rank == 5 && !has(1) && !has(2)) { // (batch, token, head, 3, dim)
    if (has(3))
      return Status::invalid_input("has a bias for packed Q, K, V, which is not run");
    std::vector<int> packed = split(parts[0], 3, {1, 1, 1});
    for (int i = 0; i < 3; ++i)
      parts[i] = transpose(emit("Squeeze", {packed[i], integers({3})}), {0, 2, 1, 3});
    keys = q[1];
  } else {
    if (q.rank != 3 || q[2] % heads || !has(1))
      return Status::invalid_input("has a query of shape ", q.text(), " for ", heads, " heads");
    const int64_t hidden = q[2];
    const Shape k = shape(1);
    const bool packed = k.rank == 5, separate = k.rank == 3 && has(2) && shape(2).rank == 3;
    const bool whole = k.rank == 4 && has(2) && shape(2).rank == 4; // (batch, head, token, dim)
    if (!packed && !separate && !whole)
      return Status::invalid_input("has K of shape ", k.text(), has(2) ? " and V of shape " : "",
                                   has(2) ? shape(2).text() : std::string());
    keys = whole ? k[2] : k[1];
    if (has(3)) { // one bias for Q, K and V, side by side
      if (!separate || shape(3).rank != 1)
        return Status::invalid_input("has a bias for packed or whole K, V, which is not run");
      std::vector<int> bias = split(node_.inputs[3], 0, {hidden, k[2], shape(2)[2]});
      for (int i = 0; i < 3; ++i)
        parts[i] = emit("Add", {parts[i], bias[i]});
    }
    parts[0] = to_heads(parts[0], q[0], q[1], heads, hidden / heads);
    if (packed) {
      std::vector<int> two = split(parts[1], 3, {1, 1});
      for (int i = 0; i < 2; ++i)
        parts[1 + i] = transpose(emit("Squeeze", {two[i], integers({3})}), {0, 2, 1, 3});
    } else if (separate) {
      for (int i = 1; i < 3; ++i)
        parts[i] = to_heads(parts[i], k[0], keys, heads, shape(static_cast<size_t>(i))[2] / heads);
    }
  }
  const bool past = has(6);
  if (past)
    keys += shape(6).rank == 4 ? shape(6)[2] : 0;
  int mask = node_.input(5);
  ATTN_RETURN_IF_ERROR(padding_mask(q[0], keys, mask));
  int y = emit("Attention", {parts[0], parts[1], parts[2], mask, node_.input(6), node_.input(7)});
  if (wanted(1) || wanted(2)) {
    made_.back().outputs.push_back(wanted(1) ? node_.outputs[1] : kAbsent);
    made_.back().outputs.push_back(wanted(2) ? node_.outputs[2] : kAbsent);
  }
  set("is_causal", node_.integer("unidirectional", 0));
  set_number("scale", node_.number("scale", 0));
  from_heads(y, node_.outputs[0]);
  return {};
}

// seqlens_k is the number of keys less one, of every batch entry; new keys are the
// last of them. A prompt (no past) may be shorter than its row: what is behind is
// padding, which no valid row sees.
Status Expander::group_query(int64_t present_len) {
  if (node_.integer("smooth_softmax", 0) == 1)
    return Status::invalid_input("has smooth_softmax, which is not run");
  if (node_.text("k_quant_type", "NONE") != "NONE" || node_.text("v_quant_type", "NONE") != "NONE")
    return Status::invalid_input("has a quantised cache, which is not run");
  ATTN_RETURN_IF_ERROR(refuse_inputs_from(11));
  if (wanted(3))
    return Status::invalid_input("asks for its products, which is not run");
  const int64_t heads = node_.integer("num_heads", 0), kv_heads = node_.integer("kv_num_heads", 0);
  if (!has(0) || !has(5) || heads <= 0 || kv_heads <= 0 || heads % kv_heads || shape(0).rank != 3)
    return Status::invalid_input("needs a query of rank 3, seqlens_k, num_heads and kv_num_heads "
                                 "that divides them");
  const int64_t batch = shape(0)[0], tokens = shape(0)[1];
  const int64_t row = has(1) ? heads : heads + 2 * kv_heads;
  if (shape(0)[2] % row)
    return Status::invalid_input("has rows of ", shape(0)[2], " for ", row, " heads");
  const int64_t dim = shape(0)[2] / row;
  int q = node_.inputs[0], k = node_.input(1), v = node_.input(2);
  if (!has(1)) {
    std::vector<int> parts = split(q, 2, {heads * dim, kv_heads * dim, kv_heads * dim});
    q = parts[0], k = parts[1], v = parts[2];
  }
  if (shape(5).elements() != batch)
    return Status::invalid_input("has seqlens_k of shape ", shape(5).text(), " for a batch of ",
                                 batch);
  int lengths = emit("Cast", {node_.inputs[5]});
  set("to", static_cast<int64_t>(onnx::DataType::i64));
  lengths = emit("Reshape", {lengths, integers({batch})});
  int first = emit("Add", {lengths, integers({1 - tokens}, true)}); // position of the first new key
  first = emit("Max", {first, integers({0}, true)});

  if (node_.integer("do_rotary", 0)) {
    if (!has(7) || !has(8))
      return Status::invalid_input("has do_rotary without cos_cache and sin_cache");
    int positions = node_.input(9);
    if (positions == kAbsent) {
      std::vector<int64_t> steps;
      for (int64_t i = 0; i < tokens; ++i)
        steps.push_back(i);
      positions = emit("Add", {emit("Unsqueeze", {first, integers({1})}), integers(steps)});
    }
    auto rotate = [&](int x, int64_t count) {
      int y = emit("RotaryEmbedding", {x, node_.inputs[7], node_.inputs[8], positions});
      set("num_heads", count);
      set("interleaved", node_.integer("rotary_interleaved", 0));
      const int64_t rotated = 2 * shape(7).back();
      set("rotary_embedding_dim", rotated == dim ? int64_t(0) : rotated);
      return y;
    };
    q = rotate(q, heads);
    k = rotate(k, kv_heads);
  }
  q = to_heads(q, batch, tokens, heads, dim);
  int fresh[2] = {to_heads(k, batch, tokens, kv_heads, dim),
                  to_heads(v, batch, tokens, kv_heads, dim)};

  const int64_t past_len = has(3) && shape(3).rank == 4 ? shape(3)[2] : 0;
  if (past_len == 0) {
    for (size_t i = 0; i < 2; ++i)
      if (wanted(1 + i))
        fresh[i] = emit("Identity", {fresh[i]}, node_.outputs[1 + i]);
  } else {
    const int64_t slots = std::max(past_len, present_len);
    for (size_t i = 0; i < 2; ++i) {
      int cache = node_.input(3 + i);
      if (slots > past_len)
        cache = emit("Pad", {cache, integers({0, 0, 0, 0, 0, 0, slots - past_len, 0})});
      fresh[i] = emit("TensorScatter", {cache, fresh[i], first},
                      wanted(1 + i) ? node_.outputs[1 + i] : kAbsent);
    }
  }
  int valid = kAbsent;
  if (past_len)
    valid = emit("Add", {first, integers({tokens}, true)});
  int y = emit("Attention", {q, fresh[0], fresh[1], node_.input(10), kAbsent, kAbsent, valid});
  set("is_causal", int64_t(1));
  set_number("scale", node_.number("scale", 0));
  set_number("softcap", node_.number("softcap", 0));
  const int64_t window = node_.integer("local_window_size", -1);
  if (window > 0) // counts the query's own key, left_window_size does not
    set("left_window_size", window - 1);
  from_heads(y, node_.outputs[0]);
  return {};
}

} // namespace

Result<std::vector<Node>> expand_contrib(Graph &graph, const Node &node, int64_t present_len) {
  if (node.outputs.empty() || node.outputs[0] == kAbsent)
    return Status::invalid_input("makes nothing");
  Expander expander(graph, node);
  ATTN_RETURN_IF_ERROR(node.op == "MultiHeadAttention" ? expander.multi_head()
                                                       : expander.group_query(present_len));
  return expander.take();
}

} // namespace attn::graph
