// A host tensor of the graph as a device sees it: in place on the CPU, a mirror
// elsewhere that follows what changed.
#pragma once

#include "runtime/call/attention_call.h"
#include "runtime/device/device.h"
#include "runtime/graph/types.h"
#include <memory>
#include <vector>

namespace attn::stream {

// Rows of a (batch, head, token, dim) tensor whatever its rank in the graph.
struct RowShape {
  int64_t batch = 1, heads = 1, tokens = 1, dim = 1;
};

class DeviceTensor {
public:
  // The tensor with its present contents. A mirror of a cache gets the rows that
  // were written since the last call, in a layout in which a token's heads are
  // neighbours; one of remembered results gets them when they are others; any other
  // gets all.
  Result<TensorView> read(Device &device, const graph::Tensor &t, const RowShape &rows);
  // Room for results, and where they go once the device has made them.
  Result<TensorView> write(Device &device, const graph::Tensor &t, const RowShape &rows);
  Status fetch(Device &device, const graph::Tensor &t);

private:
  Status place(Device &device, void *data, size_t bytes);
  Status upload_rows(Device &device, const graph::Tensor &t, const RowShape &rows,
                     const TensorView &host);

  Buffer *buffer_ = nullptr; // what stands for the tensor now
  // The mirror, or one buffer in place for every address that the tensor had:
  // remembered results have a few.
  std::vector<std::unique_ptr<Buffer>> buffers_;
  size_t bytes_ = 0;           // of the last results
  std::vector<uint64_t> seen_; // per row: which write of it the mirror holds
  uint64_t content_ = 0;       // which remembered result it holds
  std::vector<std::byte> staging_;
};

} // namespace attn::stream
