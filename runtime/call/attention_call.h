// Turns tensors, segments and parameters into the words and buffers of one
// kernel call, after checking everything that the kernel itself takes on trust.
#pragma once

#include "runtime/base/status.h"
#include "runtime/device/device.h"
#include <cmath>
#include <cstdint>
#include <limits>
#include <span>
#include <string_view>
#include <vector>

namespace attn {

// Elements of a buffer as an array. Q, K, V, O and inputs: (batch, heads,
// tokens, dim), dim contiguous. LSE and scales: (batch, heads, tokens, 1).
// Tables: `rank` extents from the outermost, contiguous.
struct TensorView {
  Buffer *buffer = nullptr;
  size_t offset = 0; // bytes
  ElementType type = ElementType::f32;
  uint32_t rank = 4;
  int64_t shape[4] = {1, 1, 1, 1};
  int64_t strides[4] = {0, 0, 0, 1}; // elements; 0 repeats
};

// A C-contiguous view of (batch, heads, tokens, dim).
TensorView contiguous_view(Buffer &buffer, ElementType type, int64_t batch, int64_t heads,
                           int64_t tokens, int64_t dim);

// Slots first_slot... of K and V hold the keys at positions first_position...
struct Segment {
  int32_t first_slot = 0;
  int32_t length = 0;
  int32_t first_position = 0;
};

struct NamedTensor {
  std::string_view name;
  TensorView view;
};

struct NamedValue {
  std::string_view name;
  double value;
};

// Everything that one call needs. Views without a buffer are absent.
struct AttentionArgs {
  TensorView q, k, v, o;
  TensorView lse;                       // where the kernel writes one
  TensorView k_scale, v_scale;          // of int8 keys and values
  std::span<const NamedTensor> tensors; // tables and inputs of the spec, by name
  std::span<const NamedValue> params;   // every parameter of the kernel, by name
  // No segments: all of K's slots, from position 0. `segments_per_batch` 0:
  // all batch entries share the list; otherwise each has that many in turn.
  std::span<const Segment> segments;
  uint32_t segments_per_batch = 0;
  int32_t q_position = 0;
  int32_t layer = 0;
  float scale = std::numeric_limits<float>::quiet_NaN(); // NaN: the kernel's own
};

// What a merge kernel needs: partial results over disjoint keys, each part's o and
// lse alike in shape and strides, all of the o (and all of the lse) in one buffer.
struct MergeArgs {
  std::span<const TensorView> o_parts, lse_parts;
  TensorView o, lse; // merged
  std::span<const NamedTensor> tensors;
  std::span<const NamedValue> params;
  int32_t q_position = 0; // of the rows, for what the output expression reads
  int32_t layer = 0;
};

// Whether a kernel takes MergeArgs.
bool merges_parts(const KernelInfo &info);

// A prepared call. Preparing again reuses its memory, so that a stream that
// prepares calls of one shape allocates nothing after the first.
class AttentionCall {
public:
  // Checks and encodes. The buffers must live until the launch is done, the
  // spans may be reused at once.
  Status prepare(const Kernel &kernel, const Device &device, const AttentionArgs &args);
  Status prepare(const Kernel &kernel, const Device &device, const MergeArgs &args);
  // Enqueues the prepared call; a call without query rows does nothing.
  Status launch(Device &device, Kernel &kernel) const;

  std::span<const uint32_t> words() const { return words_; }
  std::span<const BufferRange> buffers() const { return buffers_; }
  Grid grid() const { return grid_; }
  double work() const { return work_; }

private:
  Status check_shapes(const KernelInfo &info, const AttentionArgs &args);
  Status put_segments(const AttentionArgs &args, int64_t slots);
  // Checks how many rows there are and where they lie; sets the grid.
  Status place_rows(const KernelInfo &info, int64_t batch, int64_t heads, int64_t rows,
                    int64_t q_position);
  // Every word before the bindings that does not depend on keys.
  void start_words(const KernelInfo &info, int64_t rows, int64_t kv_heads, int32_t q_position,
                   int32_t layer);
  Status put_params(const KernelInfo &info, std::span<const NamedValue> params);
  // The binding `index` from whatever the arguments give for it.
  Status put_named(const Device &device, const KernelInfo &info, size_t index,
                   const AttentionArgs &args);
  // Every named tensor is one that the kernel has.
  static Status check_names(const KernelInfo &info, std::span<const NamedTensor> tensors);
  Status put_binding(const Device &device, const KernelInfo &info, size_t index,
                     const TensorView &view);

  std::vector<uint32_t> words_;
  std::vector<BufferRange> buffers_;
  Grid grid_;
  double work_ = 0;
};

} // namespace attn
