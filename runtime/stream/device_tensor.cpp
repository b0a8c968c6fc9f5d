// Compares counters of writes with what the mirror holds and uploads the rest.
#include "runtime/stream/device_tensor.h"

#include "runtime/ops/attention.h"
#include <cstring>

namespace attn::stream {

static ElementType element_type(graph::DType dtype) {
  return dtype == graph::DType::i8 ? ElementType::i8 : ElementType::f32;
}

// The view of host memory; its buffer is still to be set.
static TensorView host_view(const graph::Tensor &t, const RowShape &rows, size_t &bytes) {
  const ops::HeadStrides strides = ops::head_strides(t, rows.heads);
  TensorView view;
  view.type = element_type(t.dtype);
  const int64_t shape[4] = {rows.batch, rows.heads, rows.tokens, rows.dim};
  const int64_t steps[4] = {strides.batch, strides.head, strides.token, 1};
  int64_t last = 0;
  for (int i = 0; i < 4; ++i) {
    view.shape[i] = shape[i];
    view.strides[i] = shape[i] == 1 && i < 3 ? rows.dim : steps[i];
    last += (shape[i] - 1) * (shape[i] == 1 ? 0 : steps[i]);
  }
  bytes = static_cast<size_t>(last + 1) * element_size(view.type);
  return view;
}

static bool in_place(const Device &device) { return device.info().target == TargetKind::cpu; }

Status DeviceTensor::place(Device &device, void *data, size_t bytes) {
  buffer_ = nullptr;
  for (const std::unique_ptr<Buffer> &have : buffers_)
    if (have->size() >= bytes && (!in_place(device) || have->host() == data))
      buffer_ = have.get();
  if (buffer_)
    return {};
  auto made = in_place(device) ? device.wrap(data, bytes) : device.allocate((bytes + 15) / 16 * 16);
  if (!made.ok())
    return made.status();
  buffers_.push_back(std::move(*made));
  buffer_ = buffers_.back().get();
  return {};
}

Result<TensorView> DeviceTensor::read(Device &device, const graph::Tensor &t,
                                      const RowShape &rows) {
  size_t bytes = 0;
  TensorView view = host_view(t, rows, bytes);
  const bool by_rows = t.row_writes && !in_place(device);
  if (by_rows)
    bytes = static_cast<size_t>(rows.heads * rows.tokens * rows.dim) * element_size(view.type);
  ATTN_RETURN_IF_ERROR(place(device, t.data, bytes));
  view.buffer = buffer_;
  if (in_place(device))
    return view;
  if (by_rows) {
    ATTN_RETURN_IF_ERROR(upload_rows(device, t, rows, view));
    view.strides[0] = rows.tokens * rows.heads * rows.dim;
    view.strides[1] = rows.dim;
    view.strides[2] = rows.heads * rows.dim;
    return view;
  }
  if (t.content == 0 || t.content != content_)
    ATTN_RETURN_IF_ERROR(device.upload(*buffer_, 0, t.data, bytes));
  content_ = t.content;
  return view;
}

// Gathers runs of changed tokens, all heads, and uploads each at once.
Status DeviceTensor::upload_rows(Device &device, const graph::Tensor &t, const RowShape &rows,
                                 const TensorView &host) {
  const size_t size = element_size(host.type), row = static_cast<size_t>(rows.dim) * size;
  const size_t token_bytes = static_cast<size_t>(rows.heads) * row;
  if (seen_.empty()) {
    seen_.assign(static_cast<size_t>(rows.tokens), 0);
    staging_.resize(static_cast<size_t>(rows.tokens) * token_bytes);
  }
  for (int64_t first = 0; first < rows.tokens;) {
    size_t filled = 0;
    int64_t token = first;
    for (; token < rows.tokens; ++token) {
      uint64_t &seen = seen_[static_cast<size_t>(token)];
      if (seen == t.row_writes[token])
        break;
      seen = t.row_writes[token];
      for (int64_t head = 0; head < rows.heads; ++head, filled += row)
        std::memcpy(staging_.data() + filled,
                    t.as<std::byte>() +
                        static_cast<size_t>(head * host.strides[1] + token * host.strides[2]) *
                            size,
                    row);
    }
    if (filled)
      ATTN_RETURN_IF_ERROR(device.upload(*buffer_, static_cast<size_t>(first) * token_bytes,
                                         staging_.data(), filled));
    first = token + 1;
  }
  return {};
}

Result<TensorView> DeviceTensor::write(Device &device, const graph::Tensor &t,
                                       const RowShape &rows) {
  TensorView view = host_view(t, rows, bytes_);
  ATTN_RETURN_IF_ERROR(place(device, t.data, bytes_));
  view.buffer = buffer_;
  return view;
}

Status DeviceTensor::fetch(Device &device, const graph::Tensor &t) {
  return in_place(device) ? device.synchronise() : device.download(*buffer_, 0, t.data, bytes_);
}

} // namespace attn::stream
