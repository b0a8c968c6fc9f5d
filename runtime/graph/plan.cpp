// Layouts first (views, copies, in-place results), then memo groups, then
// lifetimes and offsets.
#include "runtime/graph/plan.h"

#include "runtime/graph/views.h"
#include <algorithm>
#include <map>

namespace attn::graph {

namespace {

constexpr int64_t kAlign = 64;
// Views are found by running view_of on pointers into an imaginary storage.
char *imaginary(int64_t offset) {
  return reinterpret_cast<char *>((uintptr_t(1) << 40) + static_cast<uintptr_t>(offset));
}

class Planner {
public:
  Planner(Graph &graph, const PlanOptions &options) : g_(graph), options_(options) {}

  Result<Plan> run() {
    ATTN_RETURN_IF_ERROR(lay_out());
    place();
    if (options_.memoise)
      group();
    reuse_inputs();
    allocate();
    return std::move(plan_);
  }

private:
  Tensor seen(int v) const {
    const Location &at = plan_.locations[v];
    return {imaginary(at.offset), g_.values[v].type.dtype, g_.values[v].type.shape, at.strides};
  }
  void set_root(int v) { plan_.locations[v] = {v, 0, dense_strides(g_.values[v].type.shape)}; }

  static bool rows_dense(const Tensor &t) {
    return t.shape.rank == 0 || t.shape.back() <= 1 || t.strides.back() == 1;
  }
  static bool accepts(const OpDef &def, const Node &node, size_t input, const Tensor &t) {
    if (def.flags & (kStrided | kElementwise))
      return true;
    const bool norm = node.op == "LayerNormalization" || node.op == "RMSNormalization";
    if (norm && first_normalised_axis(node, t.shape.rank) < t.shape.rank - 1)
      return is_dense(t.shape, t.strides);
    if ((def.flags & kStridedRows) || (node.domain == "attn" && node.op == "Gemm" && input == 3))
      return rows_dense(t);
    return is_dense(t.shape, t.strides);
  }

  // A dense copy of v, made by a node before the one being laid out.
  int insert_copy(int v, std::vector<Node> &nodes) {
    int copy = g_.add_value(g_.values[v].name + ".dense", g_.values[v].type);
    plan_.locations.resize(g_.values.size());
    set_root(copy);
    Node node;
    node.name = g_.values[copy].name;
    node.op = "Copy";
    node.domain = "attn";
    node.inputs = {v};
    node.outputs = {copy};
    nodes.push_back(std::move(node));
    return copy;
  }

  Status lay_out() {
    uses_ = g_.use_counts();
    plan_.locations.resize(g_.values.size());
    std::vector<int> transposed_by(g_.values.size(), -1);
    for (size_t n = 0; n < g_.nodes.size(); ++n)
      if (g_.nodes[n].op == "Transpose" && g_.nodes[n].domain.empty())
        transposed_by[g_.nodes[n].inputs[0]] = static_cast<int>(n);
    for (size_t v = 0; v < g_.values.size(); ++v)
      if (g_.values[v].is_input || g_.values[v].is_constant())
        set_root(static_cast<int>(v));

    std::vector<Node> source = std::move(g_.nodes), nodes;
    for (Node &node : source) {
      const OpDef *def = find_op(node.domain, node.op);
      if (def->flags & kView) {
        lay_out_view(node, nodes);
        nodes.push_back(std::move(node));
        continue;
      }
      for (size_t i = 0; i < node.inputs.size(); ++i)
        if (node.inputs[i] != kAbsent && !accepts(*def, node, i, seen(node.inputs[i])))
          node.inputs[i] = insert_copy(node.inputs[i], nodes);
      for (int out : node.outputs) {
        if (out == kAbsent)
          continue;
        set_root(out);
        int t = out < static_cast<int>(transposed_by.size()) ? transposed_by[out] : -1;
        if ((def->flags & kStridedOut) && uses_[out] == 1 && t >= 0 && !g_.values[out].is_output)
          lay_out_for_transpose(out, source[static_cast<size_t>(t)]);
      }
      // A cache that comes in and goes out is written where it is.
      if (node.op == "TensorScatter" && node.domain.empty())
        write_in_place(node.inputs[0], node.outputs[0]);
      if (node.op == "QuantisedScatter" && node.domain == "attn") {
        write_in_place(node.inputs[0], node.outputs[0]);
        write_in_place(node.inputs[3], node.outputs[1]);
      }
      nodes.push_back(std::move(node));
    }
    // Results are handed out dense and by themselves.
    for (int &out : g_.outputs) {
      const Location &at = plan_.locations[out];
      bool own = at.root == out ||
                 (g_.values[at.root].is_input && at.offset == 0 && g_.values[out].producer >= 0);
      bool view_of_result = !own && !g_.values[at.root].is_input &&
                            !g_.values[at.root].is_constant() && at.offset == 0;
      if ((own || view_of_result) && is_dense(g_.values[out].type.shape, at.strides) &&
          !g_.values[out].is_constant())
        continue;
      int copy = insert_copy(out, nodes);
      std::string name = g_.values[out].name;
      g_.values[out].name += ".inner";
      g_.values[out].is_output = false;
      g_.values[copy].name = name;
      g_.values[copy].is_output = true;
      out = copy;
    }
    g_.nodes = std::move(nodes);
    g_.renumber_producers();
    return {};
  }

  void write_in_place(int in, int out) {
    if (g_.values[in].is_input && g_.values[out].is_output && uses_[in] == 1)
      plan_.locations[out].root = in;
  }

  void lay_out_view(Node &node, std::vector<Node> &nodes) {
    for (int pass = 0; pass < 2; ++pass) {
      bool fits = true;
      Tensor in = seen(node.inputs[0]);
      for (size_t i = 0; fits && i < node.outputs.size(); ++i) {
        if (node.outputs[i] == kAbsent)
          continue;
        Tensor out;
        fits = view_of({g_, node}, in, i, out);
        if (fits)
          plan_.locations[node.outputs[i]] = {plan_.locations[node.inputs[0]].root,
                                              static_cast<char *>(out.data) - imaginary(0),
                                              out.strides};
      }
      if (fits)
        return;
      node.inputs[0] = insert_copy(node.inputs[0], nodes);
    }
  }

  // Lays `out` down so that its transpose, its only reader, is dense.
  void lay_out_for_transpose(int out, const Node &transpose) {
    const Shape &shape = g_.values[out].type.shape;
    auto perm = transpose.integers("perm");
    if (static_cast<int>(perm.size()) != shape.rank || shape.rank == 0 ||
        perm[perm.size() - 1] != shape.rank - 1)
      return;
    int64_t step = 1;
    for (int i = shape.rank - 1; i >= 0; --i) {
      int axis = static_cast<int>(perm[static_cast<size_t>(i)]);
      plan_.locations[out].strides[axis] = step;
      step *= shape[axis];
    }
  }

  // ---- where roots live -----------------------------------------------------------
  void place() {
    std::vector<Place> roots(g_.values.size(), Place::arena);
    for (size_t v = 0; v < g_.values.size(); ++v) {
      const Value &value = g_.values[v];
      int root = plan_.locations[v].root;
      if (root < 0)
        continue;
      if (value.is_constant())
        roots[static_cast<size_t>(root)] = Place::constant;
      else if (value.is_input || value.is_output)
        roots[static_cast<size_t>(root)] = Place::persistent;
    }
    for (const Node &node : g_.nodes)
      if (node.op == "RopeCache" && node.domain == "attn")
        for (int out : node.outputs)
          roots[static_cast<size_t>(out)] = Place::persistent;
    roots_ = std::move(roots);
    spread();
  }
  void spread() {
    plan_.places.assign(g_.values.size(), Place::none);
    for (size_t v = 0; v < g_.values.size(); ++v)
      if (plan_.locations[v].root >= 0)
        plan_.places[v] = roots_[static_cast<size_t>(plan_.locations[v].root)];
  }

  // ---- memo groups -------------------------------------------------------------------
  static constexpr uint64_t kBig = uint64_t(1) << 63;

  void group() {
    std::vector<uint64_t> mask(g_.values.size());
    std::vector<int> small;
    for (int in : g_.inputs) {
      const Value &value = g_.values[in];
      const bool named = std::find(options_.key_inputs.begin(), options_.key_inputs.end(),
                                   value.name) != options_.key_inputs.end();
      const bool keyed =
          (named || value.type.bytes() <= options_.small_input_bytes) && small.size() < 63;
      mask[in] = keyed ? uint64_t(1) << small.size() : kBig;
      if (keyed)
        small.push_back(in);
    }
    std::vector<uint64_t> node_mask(g_.nodes.size());
    std::map<uint64_t, std::vector<int>> members;
    for (size_t n = 0; n < g_.nodes.size(); ++n) {
      const Node &node = g_.nodes[n];
      uint64_t m = 0;
      for (int in : node.inputs)
        if (in != kAbsent)
          m |= mask[in];
      // Results that are handed out or kept cannot move between memo entries;
      // views of an input stay where the input is.
      bool view = find_op(node.domain, node.op)->flags & kView;
      for (int out : node.outputs)
        if (out != kAbsent && plan_.places[out] == Place::persistent &&
            !(view && g_.values[plan_.locations[out].root].is_input && !g_.values[out].is_output))
          m |= kBig;
      for (int out : node.outputs)
        if (out != kAbsent)
          mask[out] = m;
      if (m && !(m & kBig))
        members[m].push_back(static_cast<int>(n));
    }
    plan_.group_of_node.assign(g_.nodes.size(), -1);
    std::vector<std::pair<uint64_t, std::vector<int>>> ordered(members.begin(), members.end());
    // A group may read another's results: fewer inputs first.
    std::sort(ordered.begin(), ordered.end(), [](const auto &a, const auto &b) {
      int x = __builtin_popcountll(a.first), y = __builtin_popcountll(b.first);
      return x != y ? x < y : a.first < b.first;
    });
    for (auto &[m, nodes] : ordered) {
      bool computes = false;
      for (int n : nodes)
        computes |= !(find_op(g_.nodes[n].domain, g_.nodes[n].op)->flags & kView);
      if (!computes) // views of an input: as good outside
        continue;
      MemoGroup group;
      for (size_t i = 0; i < small.size(); ++i)
        if (m >> i & 1)
          group.inputs.push_back(small[i]);
      group.nodes = nodes;
      for (int n : nodes) {
        plan_.group_of_node[static_cast<size_t>(n)] = static_cast<int>(plan_.groups.size());
        for (int out : g_.nodes[n].outputs) {
          if (out == kAbsent || plan_.places[out] != Place::arena)
            continue;
          group.values.push_back(out);
          if (plan_.locations[out].root == out) {
            group.roots.push_back(out);
            group.root_offset.push_back(static_cast<int64_t>(group.bytes));
            group.bytes += (g_.values[out].type.bytes() + kAlign - 1) / kAlign * kAlign;
          }
        }
      }
      for (int root : group.roots)
        roots_[static_cast<size_t>(root)] = Place::memo;
      plan_.groups.push_back(std::move(group));
    }
    spread();
  }

  // ---- results that overwrite an input --------------------------------------------------
  void reuse_inputs() {
    std::vector<int> last_use = last_uses();
    for (size_t n = 0; n < g_.nodes.size(); ++n) {
      const Node &node = g_.nodes[n];
      bool gemm = node.domain == "attn" && node.op == "Gemm";
      if (!gemm && !(find_op(node.domain, node.op)->flags & kElementwise))
        continue;
      int out = node.outputs[0];
      if (plan_.locations[out].root != out || plan_.places[out] != Place::arena)
        continue;
      for (size_t i = gemm ? 4 : 0; i < node.inputs.size(); ++i) {
        int in = node.inputs[i];
        if (in == kAbsent || plan_.places[in] != Place::arena)
          continue;
        const Location &at = plan_.locations[in];
        bool same = g_.values[in].type.dtype == g_.values[out].type.dtype &&
                    g_.values[in].type.shape == g_.values[out].type.shape && at.offset == 0 &&
                    is_dense(g_.values[in].type.shape, at.strides) &&
                    g_.values[at.root].type.bytes() == g_.values[out].type.bytes();
        // Every other operand must lie elsewhere: it is read after the write begins.
        for (size_t j = 0; same && j < node.inputs.size(); ++j)
          if (j != i && node.inputs[j] != kAbsent &&
              plan_.locations[node.inputs[j]].root == at.root)
            same = false;
        if (!same || last_use[at.root] != static_cast<int>(n))
          continue;
        int root = at.root;
        for (Location &l : plan_.locations)
          if (l.root == out)
            l.root = root;
        last_use = last_uses();
        break;
      }
    }
  }

  std::vector<int> last_uses() const {
    std::vector<int> last(g_.values.size(), -1);
    for (size_t n = 0; n < g_.nodes.size(); ++n) {
      for (int in : g_.nodes[n].inputs)
        if (in != kAbsent && plan_.locations[in].root >= 0)
          last[plan_.locations[in].root] = static_cast<int>(n);
      for (int out : g_.nodes[n].outputs)
        if (out != kAbsent)
          last[plan_.locations[out].root] =
              std::max(last[plan_.locations[out].root], static_cast<int>(n));
    }
    return last;
  }

  // ---- offsets ------------------------------------------------------------------------------
  void allocate() {
    plan_.root_offset.assign(g_.values.size(), -1);
    std::vector<int> first(g_.values.size(), -1), last = last_uses();
    for (size_t n = g_.nodes.size(); n-- > 0;)
      for (int out : g_.nodes[n].outputs)
        if (out != kAbsent)
          first[plan_.locations[out].root] = static_cast<int>(n);
    struct Block {
      int64_t begin, end;
      int last;
    };
    std::vector<int> roots;
    for (size_t v = 0; v < g_.values.size(); ++v) {
      if (plan_.locations[v].root != static_cast<int>(v))
        continue;
      int64_t bytes = aligned(static_cast<int>(v));
      if (plan_.places[v] == Place::persistent) {
        plan_.root_offset[v] = static_cast<int64_t>(plan_.persistent_bytes);
        plan_.persistent_bytes += static_cast<size_t>(bytes);
      } else if (plan_.places[v] == Place::arena && first[v] >= 0) {
        roots.push_back(static_cast<int>(v));
      }
    }
    std::sort(roots.begin(), roots.end(),
              [&](int a, int b) { return first[a] != first[b] ? first[a] < first[b] : a < b; });
    std::vector<Block> live; // sorted by begin
    for (int v : roots) {
      std::erase_if(live, [&](const Block &b) { return b.last < first[v]; });
      int64_t bytes = aligned(v), at = 0;
      size_t place = 0;
      for (; place < live.size() && live[place].begin - at < bytes; ++place)
        at = live[place].end;
      live.insert(live.begin() + static_cast<long>(place), {at, at + bytes, last[v]});
      plan_.root_offset[v] = at;
      plan_.arena_bytes = std::max(plan_.arena_bytes, static_cast<size_t>(at + bytes));
    }
  }
  int64_t aligned(int v) const {
    int64_t bytes = static_cast<int64_t>(g_.values[v].type.bytes());
    return (bytes + kAlign - 1) / kAlign * kAlign;
  }

  Graph &g_;
  const PlanOptions &options_;
  Plan plan_;
  std::vector<Place> roots_;
  std::vector<int> uses_;
};

} // namespace

Result<Plan> plan_graph(Graph &graph, const PlanOptions &options) {
  return Planner(graph, options).run();
}

} // namespace attn::graph
