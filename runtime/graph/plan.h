// Decides where every value lives: which are views of which, which overwrite
// their input, which are kept between runs, and where the others lie in one
// shared arena.
#pragma once

#include "runtime/graph/graph.h"
#include "runtime/graph/op.h"
#include <vector>

namespace attn::graph {

enum class Place : uint8_t {
  none, // never made (an absent output)
  constant,
  persistent, // graph inputs and outputs, caches, what kernels keep between runs
  memo,       // results that depend on few small inputs; kept per input value
  arena       // everything else
};

// Where one value's elements are: at `offset` bytes of the storage of `root`.
struct Location {
  int root = -1;
  int64_t offset = 0;
  Shape strides;
};

// Nodes that depend on the same few small graph inputs and nothing else. They
// run once per distinct content of those inputs.
struct MemoGroup {
  std::vector<int> inputs; // graph inputs, value indices
  std::vector<int> nodes;
  std::vector<int> values;          // all values they make, views included
  std::vector<int64_t> root_offset; // per entry of `roots`, in a memo entry's block
  std::vector<int> roots;
  size_t bytes = 0;
};

struct Plan {
  std::vector<Location> locations;  // per value
  std::vector<Place> places;        // per value, that of its root
  std::vector<int64_t> root_offset; // per root: in the arena or the persistent block
  std::vector<int> group_of_node;   // memo group, or -1
  std::vector<MemoGroup> groups;    // in the order in which they run
  size_t arena_bytes = 0, persistent_bytes = 0;
};

struct PlanOptions {
  size_t small_input_bytes = 4096; // inputs up to this size may key memo groups
  std::vector<std::string> key_inputs; // may, too, whatever their size: few contents come again
  bool memoise = true;
};

// May insert attn::Copy nodes into the graph where a kernel needs dense input.
Result<Plan> plan_graph(Graph &graph, const PlanOptions &options = {});

} // namespace attn::graph
