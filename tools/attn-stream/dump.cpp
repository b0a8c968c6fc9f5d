// One folder per block: its clean sample and every cache.
#include "tools/attn-stream/dump.h"

#include "runtime/base/npy.h"
#include "runtime/ops/kv_cache.h"
#include <cstdio>
#include <filesystem>

namespace attn::tool {

Status dump_block(const std::string &folder, stream::Streamer &streamer,
                  std::span<const float> block) {
  char number[24];
  std::snprintf(number, sizeof number, "/%05llu/",
                static_cast<unsigned long long>(streamer.blocks() - 1));
  std::string base = folder + number;
  std::error_code error;
  std::filesystem::create_directories(base, error);
  if (error)
    return Status::environment("cannot create the folder: ", error.message()).at(base);
  const stream::Description &d = streamer.description();
  std::vector<int64_t> shape = {d.frames_per_block};
  shape.insert(shape.end(), d.sample_shape.begin(), d.sample_shape.end());
  ATTN_RETURN_IF_ERROR(write_npy(base + "x0.npy", ElementType::f32, shape, block.data()));
  for (size_t layer = 0; layer < d.k_in.size(); ++layer)
    for (int which = 0; which < 2; ++which) {
      const auto [rows, scales] = streamer.cache(layer, which);
      std::span<const int64_t> dims(rows->shape.dims, static_cast<size_t>(rows->shape.rank));
      const std::string &name = which ? d.v_in[layer] : d.k_in[layer];
      const int64_t dim = rows->shape[3];
      std::vector<float> wide(static_cast<size_t>(scales ? rows->elements() : 0));
      for (int64_t row = 0; scales && row < scales->elements(); ++row)
        ops::dequantise(rows->as<int8_t>() + row * dim, scales->as<float>()[row],
                        wide.data() + row * dim, dim);
      ATTN_RETURN_IF_ERROR(write_npy(base + name + ".npy", ElementType::f32, dims,
                                     scales ? wide.data() : rows->data));
    }
  return {};
}

} // namespace attn::tool
