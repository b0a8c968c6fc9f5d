// Checks of tensor descriptors, and the copies of host arrays.
#include "runtime/api_tensors.h"

#include <algorithm>

namespace attn::api {

// Fills everything of `view` but the buffer. `elements`: one past the last.
Status CallTensors::check(const attn_tensor_t &tensor, TensorView &view, int64_t &elements) const {
  ATTN_RETURN_IF_ERROR(check_struct(tensor, "attn_tensor_t"));
  if ((tensor.buffer != nullptr) == (tensor.data != nullptr))
    return Status::usage("exactly one of buffer and data must be set");
  if (tensor.type < ATTN_F32 || tensor.type > ATTN_I64)
    return Status::usage("unknown element type ", static_cast<int>(tensor.type));
  if (tensor.rank < 1 || tensor.rank > 4)
    return Status::usage("rank is ", tensor.rank, "; 1 to 4 is allowed");
  if (tensor.buffer && tensor.buffer->shared != kernel_.shared)
    return Status::usage("the buffer is of another device than the kernel");
  view.type = static_cast<ElementType>(tensor.type);
  view.rank = tensor.rank;
  view.offset = tensor.offset;
  bool contiguous = true;
  for (uint32_t i = 0; i < tensor.rank; ++i)
    contiguous &= tensor.strides[i] == 0;
  int64_t step = 1;
  elements = 1;
  for (int i = static_cast<int>(tensor.rank) - 1; i >= 0; --i) {
    view.shape[i] = tensor.shape[i];
    view.strides[i] = contiguous ? step : tensor.strides[i];
    if (view.shape[i] < 0 || view.strides[i] < 0)
      return Status::invalid_input("axis ", i, " has a negative extent or stride");
    int64_t reach = 0;
    if (__builtin_mul_overflow(step, view.shape[i], &step) ||
        __builtin_mul_overflow(std::max<int64_t>(view.shape[i] - 1, 0), view.strides[i], &reach) ||
        __builtin_add_overflow(elements, reach, &elements) || elements > INT32_MAX)
      return Status::invalid_input("spans more than 2147483647 elements");
  }
  for (uint32_t i = tensor.rank; i < 4; ++i) {
    view.shape[i] = 1;
    view.strides[i] = 1;
  }
  if (step == 0)
    elements = 0;
  return {};
}

// Copies whole spans, strides and all, so that no element order is lost.
Status CallTensors::copy_in(const attn_tensor_t &tensor, bool written, int64_t elements,
                            TensorView &view) {
  size_t bytes = static_cast<size_t>(elements) * element_size(view.type);
  ATTN_ASSIGN_OR_RETURN(std::unique_ptr<Buffer> buffer,
                        device_.allocate(std::max<size_t>(bytes, 16)));
  auto *host = static_cast<std::byte *>(tensor.data) + tensor.offset;
  // Outputs too: bytes between their rows come back as they were.
  ATTN_RETURN_IF_ERROR(device_.upload(*buffer, 0, host, bytes));
  view.buffer = buffer.get();
  view.offset = 0;
  if (written && bytes)
    outputs_.push_back({host, buffer.get(), bytes});
  buffers_.push_back(std::move(buffer));
  return {};
}

Status CallTensors::add(const char *name, const attn_tensor_t *tensor, bool written,
                        TensorView &view) {
  if (!tensor)
    return {};
  int64_t elements = 0;
  Status status = check(*tensor, view, elements);
  if (!status.ok())
    return status.at(name);
  if (tensor->buffer) {
    view.buffer = tensor->buffer->buffer.get();
    return {};
  }
  has_host_ = true;
  if (device_.info().target != TargetKind::cpu)
    return copy_in(*tensor, written, elements, view).at(name);
  size_t bytes = static_cast<size_t>(elements) * element_size(view.type);
  auto *host = static_cast<std::byte *>(tensor->data) + tensor->offset;
  ATTN_ASSIGN_OR_RETURN(std::unique_ptr<Buffer> buffer,
                        device_.wrap(host, std::max<size_t>(bytes, 1)));
  // The buffer starts at the array itself, so alignment is checked here.
  if (reinterpret_cast<uintptr_t>(host) % element_size(view.type))
    return Status::invalid_input("data is not aligned to its element type").at(name);
  view.buffer = buffer.get();
  view.offset = 0;
  buffers_.push_back(std::move(buffer));
  return {};
}

Status CallTensors::finish() {
  for (const Output &output : outputs_)
    ATTN_RETURN_IF_ERROR(device_.download(*output.device, 0, output.host, output.bytes));
  return has_host_ ? device_.synchronise() : Status();
}

Status CallTensors::add_named(const attn_named_tensor_t *given, size_t count,
                              std::vector<NamedTensor> &views) {
  if (count && !given)
    return Status::usage("a list with a count has a NULL pointer");
  views.resize(count);
  for (size_t i = 0; i < count; ++i) {
    if (!given[i].name || !given[i].tensor)
      return Status::usage("tensor ", i, " has no name or no tensor");
    views[i].name = given[i].name;
    ATTN_RETURN_IF_ERROR(add(given[i].name, given[i].tensor, false, views[i].view));
  }
  return {};
}

Status CallTensors::add_parts(const char *name, const attn_tensor_t *parts, size_t count,
                              std::vector<TensorView> &views) {
  if (count && !parts)
    return Status::usage("a list with a count has a NULL pointer");
  views.resize(count);
  std::vector<size_t> bytes(count);
  bool together = true;
  size_t total = 0;
  for (size_t i = 0; i < count; ++i) {
    int64_t elements = 0;
    Status status = check(parts[i], views[i], elements);
    if (!status.ok())
      return status.at(concat("part ", i, " of ", name));
    together &= parts[i].buffer && parts[i].buffer == parts[0].buffer;
    bytes[i] = static_cast<size_t>(elements) * element_size(views[i].type);
    total += (bytes[i] + 63) / 64 * 64;
  }
  if (together) {
    for (size_t i = 0; i < count; ++i)
      views[i].buffer = parts[i].buffer->buffer.get();
    return {};
  }
  ATTN_ASSIGN_OR_RETURN(std::unique_ptr<Buffer> buffer,
                        device_.allocate(std::max<size_t>(total, 16)));
  size_t at = 0;
  std::vector<std::byte> staged;
  for (size_t i = 0; i < count; ++i) {
    const void *host = static_cast<std::byte *>(parts[i].data) + parts[i].offset;
    if (parts[i].buffer) {
      const Buffer &from = *parts[i].buffer->buffer;
      if (views[i].offset > from.size() || bytes[i] > from.size() - views[i].offset)
        return Status::invalid_input("part ", i, " of ", name, " needs ", bytes[i], " bytes at ",
                                     views[i].offset, "; its buffer has ", from.size());
      staged.resize(bytes[i]);
      ATTN_RETURN_IF_ERROR(device_.download(from, views[i].offset, staged.data(), bytes[i]));
      host = staged.data();
    }
    ATTN_RETURN_IF_ERROR(device_.upload(*buffer, at, host, bytes[i]));
    views[i].buffer = buffer.get();
    views[i].offset = at;
    at += (bytes[i] + 63) / 64 * 64;
  }
  has_host_ = true; // the copy lives as long as this call
  buffers_.push_back(std::move(buffer));
  return {};
}

Status named_values(const attn_named_value_t *given, size_t count,
                    std::vector<NamedValue> &values) {
  if (count && !given)
    return Status::usage("a list with a count has a NULL pointer");
  values.resize(count);
  for (size_t i = 0; i < count; ++i) {
    if (!given[i].name)
      return Status::usage("parameter ", i, " has no name");
    values[i] = {given[i].name, given[i].value};
  }
  return {};
}

} // namespace attn::api
