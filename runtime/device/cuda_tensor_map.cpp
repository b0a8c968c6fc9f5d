// Derives the extents and strides of a launch's tensors and has the driver encode them.
#include "runtime/device/cuda_tensor_map.h"

#include "runtime/bundle/kernel_abi.h"

#include <cstring>

namespace attn {

Status CudaTensorMaps::check(const CudaApi &api, const KernelInfo &kernel) {
  for (const BindingInfo &binding : kernel.bindings)
    if (binding.map_bytes && !api.tensor_map)
      return Status::environment("it copies ", binding.name,
                                 " in bulk; the NVIDIA driver is too old for that: it lacks "
                                 "cuTensorMapEncodeTiled");
  return {};
}

Status CudaTensorMaps::update(const CudaApi &api, const KernelInfo &kernel,
                              std::span<const uint32_t> words, std::span<const BufferRange> buffers,
                              std::span<const CuPointer> pointers) {
  size_t next = 0;
  for (size_t i = 0; i < kernel.bindings.size(); ++i) {
    const BindingInfo &binding = kernel.bindings[i];
    if (!binding.map_bytes)
      continue;
    size_t size = buffers[i].size ? buffers[i].size : buffers[i].buffer->size() - buffers[i].offset;
    bool of_queries = binding.role == BindingRole::q || binding.role == BindingRole::input;
    Key key{pointers[i],
            size,
            {},
            words[of_queries ? ATTN_W_HEADS : ATTN_W_KV_HEADS],
            words[ATTN_W_BATCH]};
    std::memcpy(key.words, &words[ATTN_W_BINDINGS + ATTN_BINDING_WORDS * i], sizeof key.words);
    if (next == maps_.size()) {
      maps_.emplace_back();
      keys_.emplace_back();
    }
    if (!(keys_[next] == key)) {
      keys_[next] = {};
      ATTN_RETURN_IF_ERROR(encode(api, kernel, binding, key, maps_[next]).at(binding.name));
      keys_[next] = key;
    }
    ++next;
  }
  return {};
}

// The map covers as many tokens as its allocation has room for behind the last head
// of the last batch entry, so that no copy leaves it. Tokens behind those of a call
// belong to others or to nobody: kernels never use what they hold.
Status CudaTensorMaps::encode(const CudaApi &api, const KernelInfo &kernel,
                              const BindingInfo &binding, const Key &key, CuTensorMap &map) {
  uint64_t element = element_size(binding.type);
  uint64_t dim = binding.role == BindingRole::q || binding.role == BindingRole::k ? kernel.qk_dim
                                                                                  : kernel.v_dim;
  uint64_t batch_stride = key.words[0], head_stride = key.words[1], token_stride = key.words[2];
  uint64_t last =
      key.words[3] + (key.batch - 1) * batch_stride + (key.heads - 1) * head_stride + dim;
  if (key.batch == 0 || key.heads == 0 || last > key.bytes / element)
    return Status::usage("the tensor of ", key.batch, " batch entries and ", key.heads,
                         " heads leaves its buffer of ", key.bytes, " bytes");
  uint64_t tokens = token_stride ? (key.bytes / element - last) / token_stride + 1 : 1;
  uint64_t extents[4] = {dim, std::min<uint64_t>(tokens, INT32_MAX), key.heads, key.batch};
  uint64_t strides[3] = {token_stride * element, head_stride * element, batch_stride * element};
  for (int d = 0; d < 3; ++d)
    if (extents[d + 1] == 1) // of an extent of 1 any stride is as good
      strides[d] = (dim * element + 15) / 16 * 16;
  uint64_t address = key.address + key.words[3] * element;
  if ((address | strides[0] | strides[1] | strides[2]) % 16)
    return Status::usage("rows are not aligned to 16 bytes, as bulk copies need them (address ",
                         address % 16, " mod 16, strides ", strides[0], ", ", strides[1], ", ",
                         strides[2], " bytes)");
  uint32_t box[4] = {static_cast<uint32_t>(binding.map_bytes / element), binding.map_rows, 1, 1};
  uint32_t steps[4] = {1, 1, 1, 1};
  int type = binding.type == ElementType::bf16  ? kCuTensorBfloat16
             : binding.type == ElementType::f16 ? kCuTensorFloat16
             : binding.type == ElementType::f32 ? kCuTensorFloat32
                                                : kCuTensorUint8;
  int swizzle = binding.map_bytes == 128 ? 3 : binding.map_bytes == 64 ? 2 : 1;
  return api.check(api.tensor_map(&map, type, 4, reinterpret_cast<void *>(address), extents,
                                  strides, box, steps, /*interleave=*/0, swizzle,
                                  kCuTensorPromoteTo256Bytes, /*fill=*/0),
                   "make a tensor map");
}

} // namespace attn
