// Gives every value its memory, makes the kernels, and runs schedules.
#include "runtime/graph/session.h"

#include "runtime/graph/fuse.h"
#include "runtime/graph/recognise_attention.h"
#include "runtime/ops/isa.h"
#include <chrono>
#include <cstring>

namespace attn::graph {

// Distinct contents of a memo group's inputs that are remembered: the timesteps
// of a schedule, or the prompts that a viewer goes back and forth between.
static constexpr size_t kMemoEntries = 8;

Result<std::unique_ptr<Session>> Session::create(Graph graph, ThreadPool &pool,
                                                 const SessionOptions &options) {
  ATTN_RETURN_IF_ERROR(ops::check_isa());
  std::unique_ptr<Session> session(new Session(pool));
  session->graph_ = std::move(graph);
  ATTN_RETURN_IF_ERROR(session->prepare(options));
  return session;
}

Status Session::prepare(const SessionOptions &options) {
  if (options.attention)
    recognise_attention(graph_);
  if (options.fuse)
    fuse_graph(graph_);
  if (options.int8_caches)
    quantise_caches(graph_, options.int8_caches);
  ATTN_ASSIGN_OR_RETURN(plan_, plan_graph(graph_, options.plan));
  auto room = [](size_t bytes) { return AlignedMemory(std::max<size_t>(bytes, 64)); };
  arena_ = room(plan_.arena_bytes);
  persistent_ = room(plan_.persistent_bytes);
  if (!arena_.data() || !persistent_.data())
    return Status::environment("no memory for the model: it needs ",
                               (plan_.arena_bytes + plan_.persistent_bytes) >> 20, " MiB");
  tensors_.resize(graph_.values.size());
  for (size_t v = 0; v < graph_.values.size(); ++v) {
    const Value &value = graph_.values[v];
    const Location &at = plan_.locations[v];
    if (at.root < 0)
      continue;
    Tensor &t = tensors_[v];
    t = {nullptr, value.type.dtype, value.type.shape, at.strides};
    char *base = nullptr;
    if (plan_.places[v] == Place::constant)
      base = static_cast<char *>(const_cast<void *>(graph_.values[at.root].data));
    else if (plan_.places[v] == Place::persistent)
      base = static_cast<char *>(persistent_.data()) + plan_.root_offset[at.root];
    else if (plan_.places[v] == Place::arena)
      base = static_cast<char *>(arena_.data()) + plan_.root_offset[at.root];
    t.data = base ? base + at.offset : nullptr; // memo values move between entries
  }
  count_cache_writes();
  for (const MemoGroup &planned : plan_.groups) {
    Group group;
    for (int in : planned.inputs)
      group.key_bytes += graph_.values[in].type.bytes();
    group.entries.resize(kMemoEntries);
    groups_.push_back(std::move(group));
  }
  if (plan_.group_of_node.empty())
    plan_.group_of_node.assign(graph_.nodes.size(), -1);

  times_.resize(graph_.nodes.size());
  for (size_t n = 0; n < graph_.nodes.size(); ++n) {
    const Node &node = graph_.nodes[n];
    const OpDef *def = find_op(node.domain, node.op);
    times_[n].label = node.domain.empty() ? node.op : node.domain + "::" + node.op;
    times_[n].label += " " + node.name;
    Step step;
    step.node = static_cast<int>(n);
    if (!(def->flags & kView)) {
      MakeContext context{{graph_, node}, {}, {}};
      context.bf16 = options.bf16;
      context.attention = options.attention ? &options.attention : nullptr;
      for (int in : node.inputs) {
        Tensor t = in == kAbsent ? Tensor() : tensors_[in];
        if (in != kAbsent && !graph_.values[in].is_constant())
          t.data = nullptr;
        context.inputs.push_back(t);
        step.in.push_back(in == kAbsent ? nullptr : &tensors_[in]);
      }
      for (int out : node.outputs) {
        context.outputs.push_back(out == kAbsent ? Tensor() : tensors_[out]);
        context.outputs.back().data = nullptr;
        step.out.push_back(out == kAbsent ? nullptr : &tensors_[out]);
      }
      auto kernel = def->make(context);
      if (!kernel.ok())
        return kernel.status().at(node.label());
      step.kernel = std::move(*kernel);
    }
    steps_.push_back(std::move(step));
  }
  release_packed_weights();
  std::vector<std::string> all;
  for (int out : graph_.outputs)
    all.push_back(graph_.values[out].name);
  return add_schedule(all).status();
}

// Gives every cache, under all its names, its counters of writes.
void Session::count_cache_writes() {
  row_writes_.resize(graph_.values.size());
  for (const Node &node : graph_.nodes) {
    if (!(find_op(node.domain, node.op)->flags & kWritesRows))
      continue;
    for (int out : node.outputs) {
      const int root = plan_.locations[out].root;
      const Shape &shape = graph_.values[root].type.shape;
      const int64_t axis = node.integer("axis", -2);
      if (plan_.places[out] == Place::persistent && shape.rank == 4 && shape[0] == 1 &&
          (axis == 2 || axis == -2))
        row_writes_[static_cast<size_t>(root)].assign(static_cast<size_t>(shape[2]), 1);
    }
  }
  for (size_t v = 0; v < tensors_.size(); ++v) {
    const Location &at = plan_.locations[v];
    if (at.root < 0 || row_writes_[static_cast<size_t>(at.root)].empty())
      continue;
    const Value &root = graph_.values[at.root];
    if (at.offset == 0 && graph_.values[v].type.shape == root.type.shape &&
        is_dense(root.type.shape, at.strides))
      tensors_[v].row_writes = row_writes_[static_cast<size_t>(at.root)].data();
  }
}

// Copies of constants that only kernels with packed weights of their own read.
void Session::release_packed_weights() {
  std::vector<char> read(graph_.values.size());
  for (int out : graph_.outputs)
    read[static_cast<size_t>(out)] = 1;
  for (const Node &node : graph_.nodes) {
    bool packs = node.domain == "attn" && (node.op == "Gemm" || node.op == "GemmGroup");
    for (size_t i = 0; i < node.inputs.size(); ++i) {
      bool packed = packs && i > 0 && (node.op == "GemmGroup" || i < 3);
      if (node.inputs[i] != kAbsent && !packed)
        read[static_cast<size_t>(node.inputs[i])] = 1;
    }
  }
  for (size_t v = 0; v < graph_.values.size(); ++v)
    if (graph_.values[v].owner && !read[v]) {
      graph_.values[v].owner.reset();
      graph_.values[v].data = nullptr;
      tensors_[v].data = nullptr;
    }
}

const Tensor *Session::find(std::string_view name) const {
  for (int v : graph_.inputs)
    if (graph_.values[v].name == name)
      return &tensors_[v];
  for (int v : graph_.outputs)
    if (graph_.values[v].name == name)
      return &tensors_[v];
  return nullptr;
}

Result<int> Session::add_schedule(const std::vector<std::string> &outputs) {
  std::vector<char> live(graph_.values.size()), needed(graph_.nodes.size());
  for (const std::string &name : outputs) {
    int found = -1;
    for (int v : graph_.outputs)
      if (graph_.values[v].name == name)
        found = v;
    if (found < 0)
      return Status::invalid_input("the model has no output '", name, "'");
    live[found] = 1;
  }
  for (size_t n = graph_.nodes.size(); n-- > 0;) {
    const Node &node = graph_.nodes[n];
    for (int out : node.outputs)
      needed[n] |= out != kAbsent && live[out];
    if (needed[n])
      for (int in : node.inputs)
        if (in != kAbsent)
          live[in] = 1;
  }
  Schedule schedule;
  std::vector<char> uses_group(groups_.size());
  for (size_t n = 0; n < graph_.nodes.size(); ++n) {
    if (!needed[n])
      continue;
    int group = plan_.group_of_node[n];
    if (group >= 0)
      uses_group[static_cast<size_t>(group)] = 1;
    else if (steps_[n].kernel)
      schedule.steps.push_back(static_cast<int>(n));
  }
  for (size_t g = 0; g < groups_.size(); ++g)
    if (uses_group[g])
      schedule.groups.push_back(static_cast<int>(g));
  schedules_.push_back(std::move(schedule));
  return static_cast<int>(schedules_.size()) - 1;
}

Status Session::run_step(Step &step) {
  RunArgs args{step.in.data(), step.out.data(), pool_};
  if (!profiling_)
    return step.kernel->run(args);
  auto start = std::chrono::steady_clock::now();
  Status status = step.kernel->run(args);
  NodeTime &time = times_[static_cast<size_t>(step.node)];
  time.nanoseconds += static_cast<uint64_t>(
      std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now() - start)
          .count());
  ++time.runs;
  return status;
}

Status Session::ensure_group(int index) {
  Group &group = groups_[static_cast<size_t>(index)];
  const MemoGroup &planned = plan_.groups[static_cast<size_t>(index)];
  auto matches = [&](const MemoEntry &entry) {
    const char *key = static_cast<const char *>(entry.key.data());
    for (int in : planned.inputs) {
      size_t bytes = graph_.values[in].type.bytes();
      if (std::memcmp(key, tensors_[in].data, bytes))
        return false;
      key += bytes;
    }
    return true;
  };
  size_t chosen = 0;
  bool hit = false;
  for (size_t i = 0; i < group.entries.size() && !hit; ++i) {
    if (group.entries[i].last_used && matches(group.entries[i])) {
      chosen = i;
      hit = true;
    } else if (group.entries[i].last_used < group.entries[chosen].last_used) {
      chosen = i;
    }
  }
  MemoEntry &entry = group.entries[chosen];
  ++(hit ? memo_hits_ : memo_misses_);
  if (!entry.block.data()) {
    entry.key = AlignedMemory(std::max<size_t>(group.key_bytes, 64));
    entry.block = AlignedMemory(std::max<size_t>(planned.bytes, 64));
    if (!entry.key.data() || !entry.block.data()) {
      entry = MemoEntry();
      return Status::environment("no memory for ", planned.bytes, " bytes of remembered results");
    }
  }
  if (group.current != chosen) {
    char *block = static_cast<char *>(entry.block.data());
    for (int v : planned.values) {
      int root = plan_.locations[v].root;
      for (size_t i = 0; i < planned.roots.size(); ++i)
        if (planned.roots[i] == root)
          tensors_[v].data = block + planned.root_offset[i] + plan_.locations[v].offset;
    }
    group.current = chosen;
  }
  entry.last_used = ++clock_;
  if (!hit)
    entry.content = clock_;
  for (int v : planned.values)
    tensors_[v].content = entry.content;
  if (hit)
    return {};
  entry.last_used = 0; // not valid until all of it has run
  for (int n : planned.nodes)
    if (steps_[static_cast<size_t>(n)].kernel)
      ATTN_RETURN_IF_ERROR(run_step(steps_[static_cast<size_t>(n)]));
  char *key = static_cast<char *>(entry.key.data());
  for (int in : planned.inputs) {
    size_t bytes = graph_.values[in].type.bytes();
    std::memcpy(key, tensors_[in].data, bytes);
    key += bytes;
  }
  entry.last_used = clock_;
  return {};
}

Status Session::run(int schedule) {
  const Schedule &s = schedules_[static_cast<size_t>(schedule)];
  for (int group : s.groups)
    ATTN_RETURN_IF_ERROR(ensure_group(group));
  for (int n : s.steps)
    ATTN_RETURN_IF_ERROR(run_step(steps_[static_cast<size_t>(n)]));
  return {};
}

void Session::forget() {
  for (std::vector<uint64_t> &rows : row_writes_)
    for (uint64_t &count : rows)
      ++count;
}

MemoryUse Session::memory() const {
  MemoryUse use;
  use.arena = arena_.size();
  use.persistent = persistent_.size();
  for (size_t v = 0; v < row_writes_.size(); ++v)
    if (!row_writes_[v].empty())
      use.caches += graph_.values[v].type.bytes();
  for (const Group &group : groups_)
    for (const MemoEntry &entry : group.entries)
      use.memo += entry.block.size() + entry.key.size();
  for (const Value &v : graph_.values)
    if (v.is_constant())
      (v.owner ? use.weights_copied : use.weights_mapped) += v.type.bytes();
  return use;
}

} // namespace attn::graph
