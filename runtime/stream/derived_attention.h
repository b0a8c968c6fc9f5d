// Runs Attention nodes on kernels whose specs were derived from the nodes
// themselves (graph/derive_spec.h): no stream description, no spec by hand.
#pragma once

#include "runtime/bundle/bundle_reader.h"
#include "runtime/device/device.h"
#include "runtime/graph/op.h"
#include <memory>
#include <string>
#include <vector>

namespace attn::stream {

// The node on its kernel. Fails, saying why, where no spec can be derived, or where
// the bundle has no kernel of it that the device runs. `chosen` gets one line.
Result<std::unique_ptr<graph::OpKernel>> make_derived_attention(const graph::MakeContext &node,
                                                                const Bundle &bundle,
                                                                Device &device,
                                                                std::string &chosen);

// On what a node runs: a kernel, or the plain operator because of `reason`.
struct NodeBinding {
  std::string node, kernel, reason;
  bool plain() const { return !reason.empty(); }
  std::string text() const {
    return node + ": " + (plain() ? "plain operator, " + reason : kernel);
  }
};

// For a whole graph: nodes without a kernel run as the plain operator. `bound` gets an
// entry for each node. All must outlive the session.
graph::AttentionMaker derived_attention(const Bundle &bundle, Device &device,
                                        std::vector<NodeBinding> &bound);

} // namespace attn::stream
