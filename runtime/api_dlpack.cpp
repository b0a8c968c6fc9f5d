// DLPack tensors in and out. The layout is that of dlpack.h up to its version 0.8,
// written down here so that no header is needed.
#include "runtime/api_handles.h"
#include "runtime/api_stream.h"
#include <algorithm>

using namespace attn;
using namespace attn::api;

namespace {

struct Place {
  int32_t type; // 1: host memory, 3: page-locked host memory
  int32_t index;
};
struct DataType {
  uint8_t code; // 0 int, 1 unsigned, 2 float, 4 bfloat, 6 bool
  uint8_t bits;
  uint16_t lanes;
};
struct PlainTensor {
  void *data;
  Place device;
  int32_t rank;
  DataType type;
  int64_t *shape, *strides; // strides null: contiguous
  uint64_t byte_offset;
};

} // namespace

struct DLManagedTensor {
  PlainTensor tensor;
  void *context;
  void (*deleter)(DLManagedTensor *);
};

namespace {

constexpr struct {
  attn_type_t type;
  uint8_t code, bits;
} kTypes[] = {{ATTN_F32, 2, 32}, {ATTN_F16, 2, 16}, {ATTN_BF16, 4, 16}, {ATTN_I8, 0, 8},
              {ATTN_I32, 0, 32}, {ATTN_U8, 1, 8},   {ATTN_I64, 0, 64}};

// A tensor that is handed out, with what keeps its memory.
struct Handed {
  DLManagedTensor managed{};
  std::vector<int64_t> shape, strides;
  std::vector<float> copy;
  std::shared_ptr<SharedDevice> device; // released after the buffer
  std::shared_ptr<Buffer> buffer;

  ~Handed() {
    if (!buffer)
      return;
    std::lock_guard turn(device->turns);
    buffer.reset();
  }
};

Status hand_out(std::unique_ptr<Handed> made, void *data, attn_type_t type,
                DLManagedTensor **out_tensor) {
  int64_t step = 1;
  made->strides.resize(made->shape.size());
  for (size_t i = made->shape.size(); i-- > 0; step *= made->shape[i])
    made->strides[i] = step;
  PlainTensor &t = made->managed.tensor;
  t.data = data;
  t.device = {1, 0};
  t.rank = static_cast<int32_t>(made->shape.size());
  for (const auto &known : kTypes)
    if (known.type == type)
      t.type = {known.code, known.bits, 1};
  t.shape = made->shape.data();
  t.strides = made->strides.data();
  made->managed.context = made.get();
  made->managed.deleter = [](DLManagedTensor *tensor) {
    delete static_cast<Handed *>(tensor->context);
  };
  *out_tensor = &made.release()->managed;
  return {};
}

} // namespace

extern "C" {

attn_status_t *attn_tensor_from_dlpack(const DLManagedTensor *from, attn_tensor_t *out_tensor) {
  return guard([&]() -> Status {
    ATTN_NEED(from);
    ATTN_NEED(out_tensor);
    const PlainTensor &t = from->tensor;
    if (t.device.type != 1 && t.device.type != 3)
      return Status::invalid_input("the DLPack tensor lies on a device of type ", t.device.type,
                                   "; host memory (1 or 3) is taken");
    if (t.rank < 1 || t.rank > 4)
      return Status::invalid_input("the DLPack tensor has ", t.rank, " axes; 1 to 4 are taken");
    attn_tensor_t made = ATTN_INIT(attn_tensor_t);
    bool known = false;
    for (const auto &type : kTypes)
      if (type.code == t.type.code && type.bits == t.type.bits && t.type.lanes == 1) {
        made.type = type.type;
        known = true;
      }
    if (!known)
      return Status::invalid_input("the DLPack tensor has elements of code ", t.type.code, ", ",
                                   t.type.bits, " bits and ", t.type.lanes,
                                   " lanes; f32, f16, bf16, i8, i32, u8 and i64 are taken");
    made.rank = static_cast<uint32_t>(t.rank);
    for (int32_t i = 0; i < t.rank; ++i) {
      made.shape[i] = t.shape[i];
      made.strides[i] = t.strides ? t.strides[i] : 0;
      if (made.shape[i] < 0 || made.strides[i] < 0)
        return Status::invalid_input("the DLPack tensor has a negative extent or stride on axis ",
                                     i, "; copy it into rising order");
    }
    made.data = static_cast<std::byte *>(t.data) + t.byte_offset;
    *out_tensor = made;
    return {};
  });
}

attn_status_t *attn_stream_frames_to_dlpack(attn_stream_t *stream, DLManagedTensor **out_tensor) {
  return guard([&]() -> Status {
    ATTN_NEED(stream);
    ATTN_NEED(out_tensor);
    if (stream->runner->busy())
      return Status::usage("the stream is making a block; call attn_stream_wait first");
    if (stream->frames.empty())
      return Status::usage("the stream has made no block yet");
    const stream::Description &d = stream->streamer->description();
    auto made = std::make_unique<Handed>();
    made->copy.assign(stream->frames.begin(), stream->frames.end());
    made->shape = {d.frames_per_block};
    made->shape.insert(made->shape.end(), d.sample_shape.begin(), d.sample_shape.end());
    void *data = made->copy.data();
    return hand_out(std::move(made), data, ATTN_F32, out_tensor);
  });
}

attn_status_t *attn_buffer_to_dlpack(attn_buffer_t *buffer, attn_type_t type, uint32_t rank,
                                     const int64_t *shape, DLManagedTensor **out_tensor) {
  return guard([&]() -> Status {
    ATTN_NEED(buffer);
    ATTN_NEED(shape);
    ATTN_NEED(out_tensor);
    if (type < ATTN_F32 || type > ATTN_I64)
      return Status::usage("unknown element type ", static_cast<int>(type));
    if (rank < 1 || rank > 4)
      return Status::usage("rank is ", rank, "; 1 to 4 is allowed");
    if (buffer->shared->device->info().target != TargetKind::cpu || !buffer->buffer->host())
      return Status::usage("the buffer is on ", buffer->shared->device->info().id,
                           "; memory of the cpu alone is handed out");
    size_t bytes = element_size(static_cast<ElementType>(type));
    for (uint32_t i = 0; i < rank; ++i)
      if (shape[i] < 0 || __builtin_mul_overflow(bytes, static_cast<size_t>(shape[i]), &bytes))
        return Status::invalid_input("axis ", i, " has an extent of ", shape[i]);
    if (bytes > buffer->buffer->size())
      return Status::invalid_input("the tensor needs ", bytes, " bytes; the buffer has ",
                                   buffer->buffer->size());
    auto made = std::make_unique<Handed>();
    made->shape.assign(shape, shape + rank);
    made->device = buffer->shared;
    made->buffer = buffer->buffer;
    void *data = made->buffer->host();
    return hand_out(std::move(made), data, type, out_tensor);
  });
}

} // extern "C"
