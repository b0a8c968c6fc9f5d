// A graph made ready to run: kernels, memory and schedules. Inputs are written
// into its tensors, outputs are read from them; a run allocates nothing.
#pragma once

#include "runtime/base/aligned_memory.h"
#include "runtime/graph/plan.h"
#include "runtime/graph/quantise_caches.h"
#include <string>
#include <vector>

namespace attn::graph {

struct SessionOptions {
  PlanOptions plan;
  bool fuse = true;
  CacheChoice int8_caches; // of which Attention nodes; empty: of none
  bool bf16 = false;       // products with constant weights in bf16, where the machine is faster so
  AttentionMaker attention; // makes Attention nodes; empty: the reference
};

struct MemoryUse {
  size_t arena = 0, persistent = 0, memo = 0, weights_mapped = 0, weights_copied = 0;
  size_t caches = 0; // part of persistent: keys, values, their scales, roped keys
};

struct NodeTime {
  std::string label;
  uint64_t nanoseconds = 0, runs = 0;
};

class Session {
public:
  static Result<std::unique_ptr<Session>> create(Graph graph, ThreadPool &pool,
                                                 const SessionOptions &options = {});

  // A graph input or output by name; null if there is none. The memory is the
  // session's, zero at first, and stays where it is. A cache that is updated in
  // place is one memory under both its names.
  const Tensor *find(std::string_view name) const;
  const Graph &graph() const { return graph_; }

  // A subset of the outputs to be made; nodes that they do not need are not run.
  // Returns the schedule's number. Schedule 0 makes everything.
  Result<int> add_schedule(const std::vector<std::string> &outputs);
  Status run(int schedule = 0);

  // To be called after memory of inputs was changed other than through small
  // inputs and runs (a cache loaded or cleared).
  void forget();

  MemoryUse memory() const;
  uint64_t memo_hits() const { return memo_hits_; }
  uint64_t memo_misses() const { return memo_misses_; }
  void profile(bool on) { profiling_ = on; }
  const std::vector<NodeTime> &times() const { return times_; }

private:
  struct Step {
    int node = -1;
    std::unique_ptr<OpKernel> kernel;
    std::vector<const Tensor *> in;
    std::vector<Tensor *> out;
  };
  struct MemoEntry {
    AlignedMemory key, block;
    uint64_t last_used = 0; // 0: empty
    uint64_t content = 0;   // a new number for every new content
  };
  struct Group {
    size_t key_bytes = 0;
    std::vector<MemoEntry> entries;
    size_t current = SIZE_MAX;
  };
  struct Schedule {
    std::vector<int> groups;
    std::vector<int> steps; // in order, those of groups left out
  };

  Session(ThreadPool &pool) : pool_(pool) {}
  Status prepare(const SessionOptions &options);
  void count_cache_writes();
  void release_packed_weights();
  Status ensure_group(int index);
  Status run_step(Step &step);

  ThreadPool &pool_;
  Graph graph_;
  Plan plan_;
  AlignedMemory arena_, persistent_;
  std::vector<Tensor> tensors_; // per value
  std::vector<Step> steps_;     // per node; views have no kernel
  std::vector<Group> groups_;
  std::vector<Schedule> schedules_;
  std::vector<NodeTime> times_;
  std::vector<std::vector<uint64_t>> row_writes_; // per cache, by its root
  uint64_t clock_ = 0, memo_hits_ = 0, memo_misses_ = 0;
  bool profiling_ = false;
};

} // namespace attn::graph
