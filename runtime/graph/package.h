// A model's graph on its way into a package and back: what the runtime would otherwise make
// of an ONNX file each time it starts.
#pragma once

#include "runtime/graph/graph.h"

namespace attn::graph {

// Before a graph is written: weights that matrix products alone read are put into panels of
// `columns` (8, 16, 32), the width of the vectors of the processor that will read them; 0: all
// constants stay dense. Products that turn their weight (transB) no longer do.
Status pack_graph(Graph &graph, uint32_t columns);

// After a graph was read: gives every value its type, refusing what an ONNX file would be
// refused for, and makes panels dense again where this machine takes another width.
Status restore_graph(Graph &graph);

} // namespace attn::graph
