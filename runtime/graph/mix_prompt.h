// Lets a model that reads one prompt read several, mixed where they are embedded.
#pragma once

#include "runtime/graph/graph.h"
#include <string>

namespace attn::graph {

// Before -> after, where nothing but Gather nodes reads the input `prompt` [1, words]:
//   Gather(table, prompt)  -> attn::MixedGather(table, prompt, weights)
// `prompt` becomes [parts, words]; its new neighbour `weights`, a graph input of that name,
// is f32 [parts]. One part of weight 1 gives the bits that the Gather gave. False, with the
// graph as it was, if the model reads its prompt in any other way.
bool mix_prompt(Graph &graph, const std::string &prompt, const std::string &weights, int64_t parts);

} // namespace attn::graph
