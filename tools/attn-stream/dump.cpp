// One folder per block: its clean sample and every cache.
#include "tools/attn-stream/dump.h"

#include "runtime/base/npy.h"
#include "runtime/base/write_file.h"
#include "runtime/ops/kv_cache.h"
#include <cstdio>
#include <filesystem>

namespace attn::tool {

// The folder of the last block, made where it is missing.
static Result<std::string> block_folder(const std::string &folder,
                                        const stream::Streamer &streamer) {
  char number[24];
  std::snprintf(number, sizeof number, "/%05llu/",
                static_cast<unsigned long long>(streamer.blocks() - 1));
  std::string base = folder + number;
  std::error_code error;
  std::filesystem::create_directories(base, error);
  if (error)
    return Status::environment("cannot create the folder: ", error.message()).at(base);
  return base;
}

static std::vector<int64_t> block_shape(const stream::Description &d) {
  std::vector<int64_t> shape = {d.frames_per_block};
  shape.insert(shape.end(), d.sample_shape.begin(), d.sample_shape.end());
  return shape;
}

Status dump_block(const std::string &folder, stream::Streamer &streamer,
                  std::span<const float> block) {
  ATTN_ASSIGN_OR_RETURN(const std::string base, block_folder(folder, streamer));
  const stream::Description &d = streamer.description();
  const std::vector<int64_t> shape = block_shape(d);
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

Status dump_passes(const std::string &folder, const stream::Streamer &streamer) {
  ATTN_ASSIGN_OR_RETURN(const std::string base, block_folder(folder, streamer));
  const std::vector<int64_t> shape = block_shape(streamer.description());
  std::string list;
  char number[8];
  int count = 0;
  for (const stream::PassRecord &pass : streamer.passes()) {
    std::snprintf(number, sizeof number, "_%02d", count++);
    ATTN_RETURN_IF_ERROR(
        write_npy(base + "sample" + number + ".npy", ElementType::f32, shape, pass.sample.data()));
    if (!pass.prediction.empty())
      ATTN_RETURN_IF_ERROR(write_npy(base + "prediction" + number + ".npy", ElementType::f32, shape,
                                     pass.prediction.data()));
    std::string ids;
    for (int64_t id : pass.prompt)
      ids += (ids.empty() ? "" : ", ") + std::to_string(id);
    std::string weights; // said where prompts are mixed
    for (float weight : pass.prompt_weights) {
      char text[32];
      std::snprintf(text, sizeof text, "%.9g", static_cast<double>(weight));
      weights += (weights.empty() ? "" : ", ") + std::string(text);
    }
    if (pass.prompt_weights.size() < 2)
      weights.clear();
    else
      weights = ", \"prompt_weights\": [" + weights + "]";
    char level[32];
    std::snprintf(level, sizeof level, "%.9g", static_cast<double>(pass.timestep));
    list += concat(list.empty() ? "[" : ",\n ", "{\"timestep\": ", std::string(level),
                   ", \"first_frame\": ", pass.first_frame, ", \"write_index\": ", pass.write_index,
                   ", \"kv_length\": ", pass.kv_length, ", \"prompt\": [", ids, "]", weights, "}");
  }
  list += list.empty() ? "[]\n" : "]\n";
  return write_file(base + "passes.json", {std::as_bytes(std::span<const char>(list))});
}

} // namespace attn::tool
