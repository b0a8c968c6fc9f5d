// Binds a model's Attention nodes to compiled kernels: nodes, bindings and a
// bundle go in, graph kernels come out that launch them on a device.
#pragma once

#include "runtime/bundle/bundle_reader.h"
#include "runtime/call/attention_call.h"
#include "runtime/call/select_kernel.h"
#include "runtime/device/device.h"
#include "runtime/graph/op.h"
#include "runtime/ops/attention.h"
#include "runtime/stream/description.h"
#include <memory>
#include <string>
#include <vector>

namespace attn::stream {

// Which cached keys the next pass sees. The streamer writes it before each run;
// all self-attention kernels read it.
struct CacheView {
  std::vector<Segment> segments; // in slot order
  int32_t q_position = 0;
};

struct DispatchStats {
  uint64_t launches = 0, nanoseconds = 0;
  uint64_t merged_keys = 0;        // equal keys that one stood for, over all launches
  std::vector<std::string> chosen; // "layers.0.self_attn: demo_self f32 cpu avx512"
  std::vector<std::string> plain;  // nodes without a kernel: "NODE: why"
};

// How keys and values are kept; automatic: f32, or int8 where the bundle has kernels
// for that alone.
enum class CacheType : uint8_t { automatic, f32, int8 };

// How `attnc model` is called for the bundle; for messages.
struct BundleCommand {
  std::string model = "MODEL.onnx", output = "model.attnb";
  bool package = false;
};

class AttentionDispatch {
public:
  // `bundle` may be null: nodes then fall back to the reference if that was asked
  // for, else they are errors that name the command which makes a bundle.
  AttentionDispatch(const Description &description, const Bundle *bundle, Device &device,
                    bool allow_reference, const CacheView &view, std::string variant = {},
                    CacheType cache_type = CacheType::automatic, BundleCommand made_by = {},
                    bool merge_tails = true);

  // The maker that a graph session calls for every Attention node. The dispatch
  // must outlive the session.
  graph::AttentionMaker maker();
  // Whether a node's cache is kept as int8; to be asked before the session is made.
  bool caches_int8(const graph::NodeView &node) const;
  const DispatchStats &stats() const { return stats_; }

private:
  friend class BoundAttention;
  Result<std::unique_ptr<graph::OpKernel>> make(const graph::MakeContext &c);
  Result<std::unique_ptr<graph::OpKernel>> make_plain(const graph::MakeContext &c,
                                                      const std::string &why);
  const AttentionBinding *find_binding(const std::string &node) const; // or null
  // What the node's kernel must fulfil where keys and values are stored so.
  KernelQuery query_for(const ops::AttentionShape &s, const std::string &spec,
                        ElementType stored) const;
  // An error if the variant that was asked for takes keys of another type than the node has.
  Status check_variant(const std::string &spec, bool int8_keys) const;
  std::string compile_command() const; // what makes the bundle that is missing

  const Description &description_;
  const Bundle *bundle_;
  Device &device_;
  bool allow_reference_;
  const CacheView &view_;
  std::string variant_;
  CacheType cache_type_;
  BundleCommand made_by_;
  bool merge_tails_; // equal keys at the end are given once where the spec says so
  DispatchStats stats_;
};

} // namespace attn::stream
