// Tensor descriptors of the C interface enter, checked views leave: host arrays are
// wrapped in place or copied for the length of a call.
#pragma once

#include "runtime/api_handles.h"
#include "runtime/call/attention_call.h"

namespace attn::api {

// Tensors of one call. Copies of host arrays live as long as this.
class CallTensors {
public:
  CallTensors(attn_kernel &kernel) : kernel_(kernel), device_(*kernel.shared->device) {}

  Status add(const char *name, const attn_tensor_t *tensor, bool written, TensorView &view);
  Status add_named(const attn_named_tensor_t *given, size_t count, std::vector<NamedTensor> &views);
  // Tensors that a kernel reads from one buffer. They stay where they are if all
  // are in one; others are copied into a buffer of their own.
  Status add_parts(const char *name, const attn_tensor_t *parts, size_t count,
                   std::vector<TensorView> &views);
  // Brings outputs back into host arrays.
  Status finish();

private:
  struct Output {
    void *host;
    Buffer *device;
    size_t bytes;
  };
  Status check(const attn_tensor_t &tensor, TensorView &view, int64_t &elements) const;
  Status copy_in(const attn_tensor_t &tensor, bool written, int64_t elements, TensorView &view);

  attn_kernel &kernel_;
  Device &device_;
  std::vector<std::unique_ptr<Buffer>> buffers_;
  std::vector<Output> outputs_;
  bool has_host_ = false;
};

Status named_values(const attn_named_value_t *given, size_t count, std::vector<NamedValue> &values);

} // namespace attn::api
