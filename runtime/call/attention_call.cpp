// AttentionArgs enter; launch words and buffer ranges leave, or the rule that
// the arguments break.
#include "runtime/call/attention_call.h"

#include <algorithm>
#include <bit>

namespace attn {

namespace {

constexpr int64_t kMaxI32 = std::numeric_limits<int32_t>::max();

const char *role_name(BindingRole role) {
  static constexpr const char *names[] = {
      "q", "k", "v", "o", "lse", "k_scale", "v_scale", "table", "input", "part_o", "part_lse"};
  return names[static_cast<size_t>(role)];
}

// The view that the arguments give for a binding, or null.
const TensorView *find_view(const BindingInfo &binding, const AttentionArgs &args) {
  auto present = [](const TensorView &view) { return view.buffer ? &view : nullptr; };
  switch (binding.role) {
  case BindingRole::q:
    return present(args.q);
  case BindingRole::k:
    return present(args.k);
  case BindingRole::v:
    return present(args.v);
  case BindingRole::o:
    return present(args.o);
  case BindingRole::lse:
    return present(args.lse);
  case BindingRole::k_scale:
    return present(args.k_scale);
  case BindingRole::v_scale:
    return present(args.v_scale);
  case BindingRole::table:
  case BindingRole::input:
    for (const NamedTensor &tensor : args.tensors)
      if (tensor.name == binding.name)
        return present(tensor.view);
    return nullptr;
  case BindingRole::part_o:
  case BindingRole::part_lse:
    return nullptr; // a list, see MergeArgs
  }
  return nullptr;
}

Status check_extent(const char *tensor, const char *axis, int64_t have, int64_t want,
                    const char *whose) {
  if (have == want)
    return {};
  return Status::invalid_input(tensor, " has ", axis, " ", have, ", ", whose, " needs ", want);
}

// Rows of an output must not share memory, or the result depends on timing.
bool rows_overlap(const TensorView &view) {
  struct Axis {
    int64_t extent, stride;
  } axes[4];
  size_t count = 0;
  for (int i = 0; i < 4; ++i)
    if (view.shape[i] > 1)
      axes[count++] = {view.shape[i], view.strides[i]};
  std::sort(axes, axes + count, [](Axis a, Axis b) { return a.stride < b.stride; });
  int64_t reach = 1;
  for (size_t i = 0; i < count; ++i) {
    if (axes[i].stride < reach)
      return true;
    reach = (axes[i].extent - 1) * axes[i].stride + reach;
  }
  return false;
}

// One past the last element, or failure when kernels' 32-bit arithmetic or
// the buffer would be left.
Status span_of(const char *name, const TensorView &view, int64_t &elements) {
  elements = 1;
  for (int i = 0; i < 4; ++i) {
    if (view.shape[i] < 0 || view.strides[i] < 0)
      return Status::invalid_input(name, " has a negative extent or stride");
    if (view.shape[i] == 0) {
      elements = 0;
      return {};
    }
    int64_t reach;
    if (__builtin_mul_overflow(view.shape[i] - 1, view.strides[i], &reach) ||
        __builtin_add_overflow(elements, reach, &elements) || elements > kMaxI32)
      return Status::invalid_input(name, " spans more than ", kMaxI32,
                                   " elements; split it over several calls");
  }
  return {};
}

} // namespace

TensorView contiguous_view(Buffer &buffer, ElementType type, int64_t batch, int64_t heads,
                           int64_t tokens, int64_t dim) {
  TensorView view;
  view.buffer = &buffer;
  view.type = type;
  const int64_t shape[4] = {batch, heads, tokens, dim};
  const int64_t strides[4] = {heads * tokens * dim, tokens * dim, dim, 1};
  std::copy_n(shape, 4, view.shape);
  std::copy_n(strides, 4, view.strides);
  return view;
}

Status AttentionCall::check_shapes(const KernelInfo &info, const AttentionArgs &args) {
  for (auto [view, name] :
       {std::pair(&args.q, "q"), {&args.k, "k"}, {&args.v, "v"}, {&args.o, "o"}}) {
    if (!view->buffer)
      return Status::usage("the call has no ", name);
    for (int64_t extent : view->shape)
      if (extent < 0 || extent > kMaxI32)
        return Status::invalid_input(name, " has an extent of ", extent);
  }
  int64_t batch = args.q.shape[0], heads = args.q.shape[1], rows = args.q.shape[2];
  int64_t kv_heads = args.k.shape[1];
  ATTN_RETURN_IF_ERROR(check_extent("q", "head dim", args.q.shape[3], info.qk_dim, "the kernel"));
  ATTN_RETURN_IF_ERROR(check_extent("k", "head dim", args.k.shape[3], info.qk_dim, "the kernel"));
  ATTN_RETURN_IF_ERROR(check_extent("v", "head dim", args.v.shape[3], info.v_dim, "the kernel"));
  ATTN_RETURN_IF_ERROR(check_extent("o", "head dim", args.o.shape[3], info.v_dim, "the kernel"));
  ATTN_RETURN_IF_ERROR(place_rows(info, batch, heads, rows, args.q_position));
  if (info.kv_heads)
    ATTN_RETURN_IF_ERROR(check_extent("k", "heads", kv_heads, info.kv_heads, "the kernel"));
  if (heads == 0 || kv_heads == 0 || heads % kv_heads)
    return Status::invalid_input("q has ", heads, " heads, no multiple of the ", kv_heads,
                                 " heads of k");
  ATTN_RETURN_IF_ERROR(check_extent("v", "heads", args.v.shape[1], kv_heads, "k"));
  ATTN_RETURN_IF_ERROR(check_extent("k", "batch", args.k.shape[0], batch, "q"));
  ATTN_RETURN_IF_ERROR(check_extent("v", "batch", args.v.shape[0], batch, "q"));
  ATTN_RETURN_IF_ERROR(check_extent("v", "tokens", args.v.shape[2], args.k.shape[2], "k"));
  ATTN_RETURN_IF_ERROR(check_extent("o", "batch", args.o.shape[0], batch, "q"));
  ATTN_RETURN_IF_ERROR(check_extent("o", "heads", args.o.shape[1], heads, "q"));
  ATTN_RETURN_IF_ERROR(check_extent("o", "tokens", args.o.shape[2], rows, "q"));
  return {};
}

Status AttentionCall::place_rows(const KernelInfo &info, int64_t batch, int64_t heads, int64_t rows,
                                 int64_t q_position) {
  const char *whose = merges_parts(info) ? "o" : "q";
  if (info.heads)
    ATTN_RETURN_IF_ERROR(check_extent(whose, "heads", heads, info.heads, "the kernel"));
  if (heads > 65535 || batch > 65535)
    return Status::invalid_input(whose, " has batch ", batch, " and ", heads,
                                 " heads; at most 65535 of each are allowed");
  if (q_position < 0 || rows < 0 || q_position > ATTN_POSITION_LIMIT - rows)
    return Status::invalid_input("q position ", q_position, " with ", rows,
                                 " rows leaves the range 0 to ", ATTN_POSITION_LIMIT - 1);
  grid_ = {static_cast<uint32_t>((rows + info.block_q - 1) / info.block_q),
           static_cast<uint32_t>(heads), static_cast<uint32_t>(batch)};
  return {};
}

void AttentionCall::start_words(const KernelInfo &info, int64_t rows, int64_t kv_heads,
                                int32_t q_position, int32_t layer) {
  words_.assign(ATTN_W_BINDINGS + ATTN_BINDING_WORDS * info.bindings.size(), 0);
  buffers_.assign(info.bindings.size(), {});
  words_[ATTN_W_Q_LEN] = static_cast<uint32_t>(rows);
  words_[ATTN_W_BATCH] = grid_.batch;
  words_[ATTN_W_HEADS] = grid_.heads;
  words_[ATTN_W_KV_HEADS] = static_cast<uint32_t>(kv_heads);
  words_[ATTN_W_Q_POSITION] = static_cast<uint32_t>(q_position);
  words_[ATTN_W_LAYER] = static_cast<uint32_t>(layer);
}

Status AttentionCall::put_segments(const AttentionArgs &args, int64_t slots) {
  Segment all = {0, static_cast<int32_t>(slots), 0};
  std::span<const Segment> segments = args.segments;
  uint32_t per_batch = args.segments_per_batch;
  if (segments.empty() && per_batch == 0)
    segments = {&all, 1};
  if (per_batch && segments.size() != uint64_t(per_batch) * grid_.batch)
    return Status::usage("the call has ", segments.size(), " segments; ", per_batch,
                         " for each of ", grid_.batch, " batch entries are needed");
  uint32_t per_entry = per_batch ? per_batch : static_cast<uint32_t>(segments.size());
  words_[ATTN_W_SEGMENTS] = per_entry;
  words_[ATTN_W_SEGMENT_BASE] = static_cast<uint32_t>(words_.size());
  words_[ATTN_W_SEGMENT_STRIDE] = per_batch * ATTN_SEG_WORDS;
  int64_t total = 0, longest = 0, first_total = 0;
  for (size_t i = 0; i < segments.size(); ++i) {
    const Segment &s = segments[i];
    if (s.first_slot < 0 || s.length < 0 || int64_t(s.first_slot) + s.length > slots)
      return Status::invalid_input("segment ", i, " has slots ", s.first_slot, " + ", s.length,
                                   "; k has ", slots);
    if (s.first_position < 0 || s.first_position > ATTN_POSITION_LIMIT - s.length)
      return Status::invalid_input("segment ", i, " has positions ", s.first_position, " + ",
                                   s.length, ", which leave the range 0 to ", ATTN_POSITION_LIMIT - 1);
    if (i % per_entry == 0)
      total = 0;
    total += s.length;
    if (total > kMaxI32)
      return Status::invalid_input("the segments hold more than ", kMaxI32, " keys");
    longest = std::max(longest, total);
    if (i < per_entry)
      first_total = total;
    words_.insert(words_.end(),
                  {static_cast<uint32_t>(s.first_slot), static_cast<uint32_t>(s.length),
                   static_cast<uint32_t>(s.first_position), 0u});
  }
  words_[ATTN_W_KV_LEN] = static_cast<uint32_t>(first_total);
  work_ = static_cast<double>(longest);
  return {};
}

Status AttentionCall::put_params(const KernelInfo &info, std::span<const NamedValue> params) {
  words_[ATTN_W_PARAMS] = static_cast<uint32_t>(words_.size());
  for (const NamedValue &given : params) {
    bool known = false;
    for (const ParamInfo &param : info.params)
      known |= given.name == param.name;
    if (!known)
      return Status::usage("kernel ", info.name, " has no parameter ", given.name);
  }
  for (const ParamInfo &param : info.params) {
    const NamedValue *found = nullptr;
    for (const NamedValue &given : params)
      if (given.name == param.name)
        found = &given;
    if (!found)
      return Status::usage("parameter ", param.name, " of kernel ", info.name,
                           " has no value; give one between ", param.minimum, " and ",
                           param.maximum);
    double value = found->value;
    if (!(value >= param.minimum && value <= param.maximum))
      return Status::invalid_input("parameter ", param.name, " is ", value, "; ", param.minimum,
                                   " to ", param.maximum, " is allowed");
    if (param.type == ElementType::f32) {
      words_.push_back(std::bit_cast<uint32_t>(static_cast<float>(value)));
      continue;
    }
    if (value != std::floor(value) || std::abs(value) > static_cast<double>(kMaxI32))
      return Status::invalid_input("parameter ", param.name, " is ", value,
                                   "; a 32-bit integer is needed");
    words_.push_back(static_cast<uint32_t>(static_cast<int32_t>(value)));
  }
  return {};
}

// Checks the view of one binding and writes its four words and its range.
Status AttentionCall::put_binding(const Device &device, const KernelInfo &info, size_t index,
                                  const TensorView &view) {
  const BindingInfo &binding = info.bindings[index];
  const char *name =
      binding.role < BindingRole::table ? role_name(binding.role) : binding.name.c_str();
  if (view.type != binding.type)
    return Status::invalid_input(name, " is ", element_type_name(view.type), ", kernel ", info.name,
                                 " ", info.variant, " takes ", element_type_name(binding.type));
  uint32_t *words = &words_[ATTN_W_BINDINGS + ATTN_BINDING_WORDS * index];
  const TensorView *placed = &view;
  TensorView flat; // a table as one run of elements
  if (binding.role == BindingRole::table) {
    if (view.rank != binding.rank)
      return Status::invalid_input("table ", name, " has ", view.rank, " axes, the spec declares ",
                                   uint32_t(binding.rank));
    flat = view;
    std::fill_n(flat.shape, 4, 1);
    for (uint32_t i = 0; i < view.rank; ++i) {
      if (view.shape[i] <= 0 || view.shape[i] > kMaxI32)
        return Status::invalid_input("table ", name, " has extent ", view.shape[i], " on axis ", i);
      if (__builtin_mul_overflow(flat.shape[3], view.shape[i], &flat.shape[3]))
        return Status::invalid_input("table ", name, " has too many elements");
    }
    flat.strides[3] = 1;
    placed = &flat;
    for (uint32_t i = 0; i < view.rank; ++i)
      words[i] = static_cast<uint32_t>(view.shape[i]);
  } else {
    bool is_input = binding.role == BindingRole::input;
    bool is_part = binding.role == BindingRole::part_o;
    bool has_dim = binding.role <= BindingRole::o || is_part || (is_input && binding.rank == 4);
    if (is_input || is_part || (binding.role == BindingRole::o && merges_parts(info)))
      ATTN_RETURN_IF_ERROR(
          check_extent(name, "head dim", view.shape[3], has_dim ? info.v_dim : 1, "the kernel"));
    if (!has_dim && view.shape[3] != 1)
      return Status::invalid_input(name, " has ", view.shape[3],
                                   " values per token; it has shape (batch, heads, tokens)");
    if (has_dim && view.shape[3] > 1 && view.strides[3] != 1)
      return Status::invalid_input(name, " has stride ", view.strides[3],
                                   " between neighbouring dims; it must be 1");
    if (binding.role >= BindingRole::lse) {
      bool of_keys = binding.role == BindingRole::k_scale || binding.role == BindingRole::v_scale;
      ATTN_RETURN_IF_ERROR(check_extent(name, "batch", view.shape[0], grid_.batch, "q"));
      ATTN_RETURN_IF_ERROR(check_extent(name, "heads", view.shape[1],
                                        of_keys ? words_[ATTN_W_KV_HEADS] : grid_.heads,
                                        of_keys ? "k" : "q"));
      if (!of_keys)
        ATTN_RETURN_IF_ERROR(check_extent(name, "tokens", view.shape[2],
                                          static_cast<int32_t>(words_[ATTN_W_Q_LEN]), "q"));
    }
    if (binding.written && rows_overlap(view))
      return Status::invalid_input("rows of ", name, " overlap in memory");
  }
  int64_t elements = 0;
  ATTN_RETURN_IF_ERROR(span_of(name, *placed, elements));
  size_t element = element_size(view.type);
  size_t bytes = static_cast<size_t>(elements) * element;
  if (view.offset > view.buffer->size() || bytes > view.buffer->size() - view.offset)
    return Status::invalid_input(name, " needs ", bytes, " bytes at ", view.offset,
                                 "; its buffer has ", view.buffer->size());
  bool has_rows = binding.role <= BindingRole::o || binding.role == BindingRole::part_o ||
                  (binding.role == BindingRole::input && binding.rank == 4);
  bool rows_of_vectors = has_rows && info.target != TargetKind::cpu;
  size_t alignment = rows_of_vectors ? 16 : element;
  auto misaligned = [&](int64_t stride) {
    return rows_of_vectors && static_cast<size_t>(stride) * element % 16 != 0;
  };
  if (view.offset % alignment || misaligned(view.strides[0] * (view.shape[0] > 1)) ||
      misaligned(view.strides[1] * (view.shape[1] > 1)) ||
      misaligned(view.strides[2] * (view.shape[2] > 1)))
    return Status::invalid_input(name,
                                 " is not aligned: its offset and its rows must start at "
                                 "multiples of ",
                                 alignment, " bytes; pack it");
  // The range starts where the device lets it; the rest is the offset word.
  size_t step = device.info().buffer_offset_alignment;
  size_t begin = std::min(view.offset, view.buffer->size() - 1) / step * step;
  while (begin > 0 && (view.offset - begin) % element)
    begin -= step; // element and step are powers of two: at most once
  if (binding.role != BindingRole::table)
    for (int i = 0; i < 3; ++i)
      words[i] = static_cast<uint32_t>(view.strides[i]);
  // The four words of a table of rank 4 are its extents.
  if (binding.role != BindingRole::table || view.rank < 4)
    words[3] = static_cast<uint32_t>((view.offset - begin) / element);
  else if (begin != view.offset)
    return Status::invalid_input("table ", name, " starts at byte ", view.offset,
                                 " of its buffer; on this device a table of 4 axes must start at a "
                                 "multiple of ",
                                 step);
  size_t size = std::max<size_t>(view.offset - begin + bytes, 1);
  buffers_[index] = {view.buffer, begin, std::min(size, view.buffer->size() - begin)};
  return {};
}

Status AttentionCall::prepare(const Kernel &kernel, const Device &device,
                              const AttentionArgs &args) {
  const KernelInfo &info = kernel.info();
  if (merges_parts(info))
    return Status::usage("kernel ", info.name,
                         " merges partial results; give it those instead of q, k and v");
  ATTN_RETURN_IF_ERROR(check_shapes(info, args));
  start_words(info, args.q.shape[2], args.k.shape[1], args.q_position, args.layer);
  float scale = args.scale;
  if (std::isnan(scale))
    scale = info.scale != 0 ? info.scale : 1 / std::sqrt(static_cast<float>(info.qk_dim));
  if (!std::isfinite(scale))
    return Status::invalid_input("scale is ", scale, "; a finite number is needed");
  words_[ATTN_W_SCALE] = std::bit_cast<uint32_t>(scale);

  for (size_t i = 0; i < info.bindings.size(); ++i)
    ATTN_RETURN_IF_ERROR(put_named(device, info, i, args));
  ATTN_RETURN_IF_ERROR(check_names(info, args.tensors));
  ATTN_RETURN_IF_ERROR(put_params(info, args.params));
  ATTN_RETURN_IF_ERROR(put_segments(args, args.k.shape[2]));
  work_ *=
      static_cast<double>(args.q.shape[2]) * grid_.heads * grid_.batch * (info.qk_dim + info.v_dim);
  return {};
}

Status AttentionCall::put_named(const Device &device, const KernelInfo &info, size_t index,
                                const AttentionArgs &args) {
  const BindingInfo &binding = info.bindings[index];
  const TensorView *view = find_view(binding, args);
  if (!view)
    return Status::usage("kernel ", info.name, " ", info.variant, " needs ",
                         role_name(binding.role), " ", binding.name, ", which the call lacks");
  ATTN_RETURN_IF_ERROR(put_binding(device, info, index, *view));
  bool of_keys = binding.role == BindingRole::k_scale || binding.role == BindingRole::v_scale;
  if (of_keys && view->shape[2] < args.k.shape[2])
    return Status::invalid_input(role_name(binding.role), " has ", view->shape[2], " slots, k has ",
                                 args.k.shape[2]);
  return {};
}

Status AttentionCall::check_names(const KernelInfo &info, std::span<const NamedTensor> tensors) {
  for (const NamedTensor &tensor : tensors) {
    bool known = false;
    for (const BindingInfo &binding : info.bindings)
      known |= (binding.role == BindingRole::table || binding.role == BindingRole::input) &&
               tensor.name == binding.name;
    if (!known)
      return Status::usage("kernel ", info.name, " has no table or input ", tensor.name);
  }
  return {};
}

Status AttentionCall::launch(Device &device, Kernel &kernel) const {
  if (grid_.q_tiles == 0 || grid_.batch == 0)
    return {};
  return device.launch(kernel, words_, buffers_, grid_, work_);
}

} // namespace attn
