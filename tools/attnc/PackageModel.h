// Puts a model beside its kernels, so that one file is all that a program needs.
#pragma once

#include "runtime/base/status.h"
#include "runtime/bundle/bundle_writer.h"
#include "runtime/graph/graph.h"
#include "runtime/stream/description.h"

#include <string>
#include <vector>

namespace attn::tools {

/// Adds `graph` and, for a stream, what `description` (may be null) names.
Status packageModel(graph::Graph graph, const stream::Description *description,
                    const std::vector<std::string> &targets, BundleWriter &package);

} // namespace attn::tools
