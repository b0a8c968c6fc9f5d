// Host arrays enter, packed device tensors and a launch follow, f32 results
// leave.
#include "tools/attn-run/host_call.h"

#include "runtime/base/half.h"
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstring>

namespace attn {

int64_t HostArray::count() const {
  int64_t n = 1;
  for (int64_t extent : shape)
    n *= extent;
  return n;
}

void round_to_type(std::vector<float> &values, ElementType type) {
  for (float &value : values)
    if (type == ElementType::bf16)
      value = bf16_to_f32(f32_to_bf16(value));
    else if (type == ElementType::f16)
      value = f16_to_f32(f32_to_f16(value));
}

void quantise_rows(const std::vector<float> &values, int64_t dim, std::vector<int8_t> &quantised,
                   std::vector<float> &scales) {
  quantised.resize(values.size());
  scales.resize(values.size() / static_cast<size_t>(dim));
  for (size_t row = 0; row < scales.size(); ++row) {
    const float *from = &values[row * dim];
    uint32_t largest = 0; // as bits, whose order puts NaN above all numbers
    for (int64_t d = 0; d < dim; ++d)
      largest = std::max(largest, std::bit_cast<uint32_t>(std::abs(from[d])));
    float scale = std::bit_cast<float>(largest) / 127.0f;
    scales[row] = scale;
    for (int64_t d = 0; d < dim; ++d)
      quantised[row * dim + d] =
          scale > 0 && std::isfinite(scale) ? static_cast<int8_t>(std::nearbyint(from[d] / scale)) : int8_t(0);
  }
}

// One value as the bytes of an element type.
static Status put_element(std::byte *at, double value, ElementType type) {
  auto put = [&](auto element) { std::memcpy(at, &element, sizeof element); };
  auto integer = [&](double low, double high) {
    return value == std::floor(value) && value >= low && value <= high;
  };
  bool fits = true;
  switch (type) {
  case ElementType::f32:
    put(static_cast<float>(value));
    break;
  case ElementType::f16:
    put(f32_to_f16(static_cast<float>(value)));
    break;
  case ElementType::bf16:
    put(f32_to_bf16(static_cast<float>(value)));
    break;
  case ElementType::i8:
    fits = integer(-128, 127);
    break;
  case ElementType::u8:
    fits = integer(0, 255);
    break;
  case ElementType::i32:
    fits = integer(-2147483648.0, 2147483647.0);
    break;
  case ElementType::i64:
    fits = integer(-9e15, 9e15);
    break;
  }
  if (!fits)
    return Status::invalid_input("value ", value, " does not fit ", element_type_name(type));
  if (type == ElementType::i8)
    put(static_cast<int8_t>(value));
  else if (type == ElementType::u8)
    put(static_cast<uint8_t>(value));
  else if (type == ElementType::i32)
    put(static_cast<int32_t>(value));
  else if (type == ElementType::i64)
    put(static_cast<int64_t>(value));
  return {};
}

static float get_element(const std::byte *at, ElementType type) {
  uint16_t half = 0;
  float value = 0;
  if (type == ElementType::f32)
    std::memcpy(&value, at, 4);
  else
    std::memcpy(&half, at, 2);
  return type == ElementType::f32    ? value
         : type == ElementType::bf16 ? bf16_to_f32(half)
                                     : f16_to_f32(half);
}

// Elements from one row to the next: rows start at multiples of 16 bytes.
static int64_t padded(int64_t dim, ElementType type) {
  int64_t step = 16 / element_size(type);
  return (dim + step - 1) / step * step;
}

Result<Buffer *> HostCall::new_buffer(size_t bytes) {
  ATTN_ASSIGN_OR_RETURN(std::unique_ptr<Buffer> buffer,
                        device_->allocate(std::max<size_t>(bytes, 16)));
  buffers_.push_back(std::move(buffer));
  return buffers_.back().get();
}

// `bytes` hold rows of `row` elements.
Result<TensorView> HostCall::upload_bytes(const std::vector<std::byte> &bytes, ElementType type,
                                          const int64_t (&shape)[4], int64_t row) {
  ATTN_ASSIGN_OR_RETURN(Buffer * buffer, new_buffer(bytes.size()));
  ATTN_RETURN_IF_ERROR(device_->upload(*buffer, 0, bytes.data(), bytes.size()));
  TensorView view = contiguous_view(*buffer, type, shape[0], shape[1], shape[2], row);
  view.shape[3] = shape[3];
  return view;
}

// A view of `shape` without a buffer, and how many elements it spans.
static TensorView place(const int64_t (&shape)[4], ElementType type, HostLayout layout, int64_t row,
                        int64_t &span) {
  TensorView view;
  view.type = type;
  std::copy_n(shape, 4, view.shape);
  int64_t heads = shape[1], tokens = shape[2];
  int64_t gap = layout == HostLayout::padded ? 16 / element_size(type) : 0;
  if (layout == HostLayout::tokens_first) {
    view.strides[1] = row;
    view.strides[2] = row * heads;
    view.strides[0] = view.strides[2] * tokens;
  } else {
    view.strides[2] = row + gap;
    view.strides[1] = view.strides[2] * tokens + gap;
    view.strides[0] = view.strides[1] * heads + 2 * gap;
  }
  span = view.strides[0] * shape[0];
  return view;
}

Result<TensorView> HostCall::upload_rows(const HostTensor &rows) {
  std::vector<std::byte> bytes(rows.values.size() * 4);
  if (!bytes.empty())
    std::memcpy(bytes.data(), rows.values.data(), bytes.size());
  return upload_bytes(bytes, ElementType::f32, rows.shape, 1);
}

// Where row `r` of a tensor, counted through its shape, begins.
static int64_t row_offset(const TensorView &view, int64_t r) {
  int64_t token = r % view.shape[2], head = r / view.shape[2] % view.shape[1],
          batch = r / view.shape[2] / view.shape[1];
  return batch * view.strides[0] + head * view.strides[1] + token * view.strides[2];
}

// What lies between the rows is NaN.
Result<TensorView> HostCall::upload(const HostTensor &tensor, ElementType type, HostLayout layout) {
  int64_t dim = tensor.shape[3], span = 0;
  size_t size = element_size(type);
  TensorView view = place(tensor.shape, type, layout, padded(dim, type), span);
  std::vector<std::byte> bytes(static_cast<size_t>(span) * size, std::byte(0xff));
  int64_t rows = dim ? tensor.count() / dim : 0;
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t d = 0; d < dim; ++d)
      ATTN_RETURN_IF_ERROR(put_element(&bytes[static_cast<size_t>(row_offset(view, r) + d) * size],
                                       tensor.values[r * dim + d], type));
  ATTN_ASSIGN_OR_RETURN(view.buffer, new_buffer(bytes.size()));
  ATTN_RETURN_IF_ERROR(device_->upload(*view.buffer, 0, bytes.data(), bytes.size()));
  return view;
}

Result<TensorView> HostCall::make_output(const int64_t (&shape)[4], ElementType type, bool has_dim,
                                         HostLayout layout) {
  int64_t span = 0;
  TensorView view = place(shape, type, layout, has_dim ? padded(shape[3], type) : 1, span);
  size_t bytes = static_cast<size_t>(span) * element_size(type);
  ATTN_ASSIGN_OR_RETURN(view.buffer, new_buffer((bytes + 3) & ~size_t(3)));
  // All ones is a NaN in every float type.
  ATTN_RETURN_IF_ERROR(
      device_->fill(*view.buffer, 0, view.buffer->size() & ~size_t(3), 0xffffffffu));
  return view;
}

Result<TensorView> HostCall::upload_table(const HostArray &array, const BindingInfo &binding) {
  if (array.shape.size() != binding.rank)
    return Status::invalid_input("table ", binding.name, " has ", array.shape.size(),
                                 " axes, the spec declares ", uint32_t(binding.rank));
  size_t size = element_size(binding.type);
  std::vector<std::byte> bytes(array.values.size() * size);
  for (size_t i = 0; i < array.values.size(); ++i)
    ATTN_RETURN_IF_ERROR(put_element(&bytes[i * size], array.values[i], binding.type)
                             .at(concat("table ", binding.name)));
  ATTN_ASSIGN_OR_RETURN(Buffer * buffer, new_buffer(bytes.size()));
  ATTN_RETURN_IF_ERROR(device_->upload(*buffer, 0, bytes.data(), bytes.size()));
  TensorView view;
  view.buffer = buffer;
  view.type = binding.type;
  view.rank = binding.rank;
  for (size_t i = 0; i < array.shape.size(); ++i)
    view.shape[i] = array.shape[i];
  return view;
}

Status HostCall::upload_named(const std::vector<NamedArray> &all, const int64_t (&rows)[4],
                              std::vector<NamedTensor> &tensors) {
  const KernelInfo &info = kernel_->info();
  for (const BindingInfo &binding : info.bindings) {
    bool table = binding.role == BindingRole::table;
    if (!table && binding.role != BindingRole::input)
      continue;
    const HostArray *array = nullptr;
    for (const NamedArray &given : all)
      if (given.name == binding.name)
        array = &given.array;
    if (!array)
      return Status::usage("kernel ", info.name, " needs the ", table ? "table " : "input ",
                           binding.name, "; give it with ", table ? "--table " : "--input ",
                           binding.name, "=FILE.npy");
    NamedTensor tensor;
    tensor.name = binding.name;
    if (table) {
      ATTN_ASSIGN_OR_RETURN(tensor.view, upload_table(*array, binding));
    } else {
      if (array->shape.size() != 4)
        return Status::invalid_input("input ", binding.name, " has ", array->shape.size(),
                                     " axes; (batch, heads, tokens, dim) is needed, 1 repeats");
      HostTensor values;
      std::copy_n(array->shape.begin(), 4, values.shape);
      values.values.assign(array->values.begin(), array->values.end());
      ATTN_ASSIGN_OR_RETURN(tensor.view, upload(values, binding.type));
      for (int axis = 0; axis < 3; ++axis) // an extent of 1 is repeated
        if (values.shape[axis] == 1) {
          tensor.view.shape[axis] = rows[axis];
          tensor.view.strides[axis] = 0;
        }
    }
    tensors.push_back(tensor);
  }
  for (const NamedArray &given : all) {
    bool known = false;
    for (const BindingInfo &binding : info.bindings)
      known |= (binding.role == BindingRole::table || binding.role == BindingRole::input) &&
               binding.name == given.name;
    if (!known)
      return Status::usage("kernel ", info.name, " has no table or input ", given.name);
  }
  return {};
}

Status HostCall::prepare(const HostArgs &args) {
  AttentionArgs call;
  const KernelInfo &info = kernel_->info();
  const int64_t rows[4] = {args.q.shape[0], args.q.shape[1], args.q.shape[2], info.v_dim};
  const int64_t row_shape[4] = {rows[0], rows[1], rows[2], 1};
  std::vector<NamedTensor> tensors;
  for (const BindingInfo &binding : info.bindings) {
    bool keys = binding.role == BindingRole::k;
    switch (binding.role) {
    case BindingRole::q: {
      ATTN_ASSIGN_OR_RETURN(call.q, upload(args.q, binding.type, args.layout));
      break;
    }
    case BindingRole::k:
    case BindingRole::v: {
      const HostTensor &tensor = keys ? args.k : args.v;
      TensorView &view = keys ? call.k : call.v;
      if (binding.type != ElementType::i8) {
        ATTN_ASSIGN_OR_RETURN(view, upload(tensor, binding.type, args.layout));
        break;
      }
      std::vector<int8_t> quantised;
      std::vector<float> scales;
      quantise_rows(tensor.values, std::max<int64_t>(tensor.shape[3], 1), quantised, scales);
      HostTensor whole = tensor;
      whole.values.assign(quantised.begin(), quantised.end());
      ATTN_ASSIGN_OR_RETURN(view, upload(whole, ElementType::i8, args.layout));
      HostTensor rows{{tensor.shape[0], tensor.shape[1], tensor.shape[2], 1}, std::move(scales)};
      ATTN_ASSIGN_OR_RETURN((keys ? call.k_scale : call.v_scale), upload_rows(rows));
      break;
    }
    case BindingRole::o: {
      ATTN_ASSIGN_OR_RETURN(o_, make_output(rows, binding.type, true, args.layout));
      call.o = o_;
      break;
    }
    case BindingRole::lse: {
      ATTN_ASSIGN_OR_RETURN(lse_, make_output(row_shape, ElementType::f32, false,
                                              HostLayout::heads_first));
      call.lse = lse_;
      break;
    }
    case BindingRole::k_scale:
    case BindingRole::v_scale:
      break; // made with k and v
    case BindingRole::table:
    case BindingRole::input:
    case BindingRole::part_o:
    case BindingRole::part_lse:
      break; // by name below, or of merges
    }
  }
  ATTN_RETURN_IF_ERROR(upload_named(args.tensors, rows, tensors));
  std::vector<NamedValue> params;
  for (const auto &[name, value] : args.params)
    params.push_back({name, value});
  call.tensors = tensors;
  call.params = params;
  call.segments = args.segments;
  call.segments_per_batch = args.segments_per_batch;
  call.q_position = args.q_position;
  call.layer = args.layer;
  call.scale = args.scale;
  return call_.prepare(*kernel_, *device_, call);
}

Result<HostCall> HostCall::create(Device &device, Kernel &kernel, const HostArgs &args) {
  HostCall call(device, kernel);
  ATTN_RETURN_IF_ERROR(call.prepare(args));
  return call;
}

Status HostCall::launch() { return call_.launch(*device_, *kernel_); }

uint32_t HostCall::ranges(uint32_t batch, uint32_t head, uint32_t q_tile,
                          std::span<uint32_t> out) const {
  attn_cpu_ranges_fn function = kernel_->ranges();
  if (!function)
    return 0;
  std::vector<void *> pointers;
  for (const BufferRange &range : call_.buffers())
    pointers.push_back(static_cast<std::byte *>(range.buffer->host()) + range.offset);
  uint32_t capacity = static_cast<uint32_t>(out.size() / 4);
  uint32_t count =
      function(call_.words().data(), pointers.data(), batch, head, q_tile, out.data(), capacity);
  return std::min(count, capacity);
}

Result<HostResult> HostCall::read() {
  HostResult result;
  std::copy_n(o_.shape, 4, result.o.shape);
  size_t size = element_size(o_.type);
  std::vector<std::byte> bytes(o_.buffer->size());
  ATTN_RETURN_IF_ERROR(device_->download(*o_.buffer, 0, bytes.data(), bytes.size()));
  int64_t dim = o_.shape[3];
  result.o.values.resize(static_cast<size_t>(result.o.count()));
  std::vector<bool> owned(bytes.size());
  for (size_t i = 0; i < result.o.values.size(); ++i) {
    int64_t at = row_offset(o_, static_cast<int64_t>(i) / dim) + static_cast<int64_t>(i) % dim;
    size_t byte = static_cast<size_t>(at) * size;
    result.o.values[i] = get_element(&bytes[byte], o_.type);
    std::fill_n(owned.begin() + static_cast<std::ptrdiff_t>(byte), size, true);
  }
  for (size_t i = 0; i < bytes.size(); ++i)
    result.strayed |= !owned[i] && bytes[i] != std::byte(0xff);
  if (lse_.buffer) {
    result.lse.resize(static_cast<size_t>(lse_.shape[0] * lse_.shape[1] * lse_.shape[2]));
    ATTN_RETURN_IF_ERROR(
        device_->download(*lse_.buffer, 0, result.lse.data(), result.lse.size() * 4));
  }
  return result;
}

Result<HostResult> run_on_device(Device &device, Kernel &kernel, const HostArgs &args) {
  ATTN_ASSIGN_OR_RETURN(HostCall call, HostCall::create(device, kernel, args));
  ATTN_RETURN_IF_ERROR(call.launch());
  return call.read();
}

} // namespace attn
