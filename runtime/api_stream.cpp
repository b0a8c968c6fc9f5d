// The C interface to models and streams: handles in and out, a Streamer and the
// thread that makes its blocks inside.
#include "runtime/api_stream.h"

#include "runtime/api_handles.h"

using namespace attn;
using namespace attn::api;

namespace {

attn_frames_t frames_of(const attn_stream &stream, std::span<const float> frames) {
  const stream::Description &d = stream.streamer->description();
  const stream::BlockTimes &times = stream.streamer->times();
  attn_frames_t out = ATTN_INIT(attn_frames_t);
  out.data = frames.data();
  out.frames = static_cast<uint32_t>(d.frames_per_block);
  out.channels = static_cast<uint32_t>(d.sample_shape[0]);
  out.height = static_cast<uint32_t>(d.sample_shape[1]);
  out.width = static_cast<uint32_t>(d.sample_shape[2]);
  out.block = stream.streamer->blocks() - 1;
  out.denoise_ms = times.denoise * 1e3;
  out.clean_ms = times.clean * 1e3;
  out.recache_ms = times.recache * 1e3;
  return out;
}

void note(attn_stream &stream, std::span<const float> frames) {
  stream.frames = frames;
  stream.stats.block(stream.streamer->times(), stream.streamer->description().frames_per_block, 0);
}

Status between_blocks(const attn_stream *stream) {
  ATTN_NEED(stream);
  if (stream->runner->busy())
    return Status::usage("the stream is making a block; call attn_stream_wait first");
  return {};
}

} // namespace

extern "C" {

attn_status_t *attn_model_open(const char *model_path, const attn_bundle_t *kernels,
                               const char *description_path, attn_model_t **out_model) {
  return guard([&]() -> Status {
    ATTN_NEED(model_path);
    ATTN_NEED(out_model);
    std::shared_ptr<const Bundle> bundle;
    if (kernels) // the handle's bundle, kept with the bytes that it reads
      bundle = std::shared_ptr<const Bundle>(kernels->shared, &kernels->shared->bundle);
    ATTN_ASSIGN_OR_RETURN(std::shared_ptr<const stream::Model> model,
                          stream::Model::open(model_path, std::move(bundle),
                                              description_path ? description_path : ""));
    *out_model = new attn_model{std::move(model)};
    return {};
  });
}

attn_status_t *attn_model_open_package(const attn_bundle_t *package, attn_model_t **out_model) {
  return guard([&]() -> Status {
    ATTN_NEED(package);
    ATTN_NEED(out_model);
    ATTN_ASSIGN_OR_RETURN(std::shared_ptr<const stream::Model> model,
                          stream::Model::open(std::shared_ptr<const Bundle>(
                              package->shared, &package->shared->bundle)));
    *out_model = new attn_model{std::move(model)};
    return {};
  });
}

void attn_model_close(attn_model_t *model) { delete model; }

attn_status_t *attn_model_get_info(const attn_model_t *model, attn_model_info_t *out_info) {
  return guard([&]() -> Status {
    ATTN_NEED(model);
    ATTN_NEED(out_info);
    ATTN_RETURN_IF_ERROR(check_struct(*out_info, "attn_model_info_t"));
    const stream::Description &d = model->model->description();
    auto narrow = [](int64_t v) { return static_cast<uint32_t>(v); };
    attn_model_info_t info = ATTN_INIT(attn_model_info_t);
    info.struct_size = out_info->struct_size;
    info.name = d.name.c_str();
    info.default_prompt = d.default_prompt.c_str();
    info.frames_per_block = narrow(d.frames_per_block);
    info.channels = narrow(d.sample_shape[0]);
    info.height = narrow(d.sample_shape[1]);
    info.width = narrow(d.sample_shape[2]);
    info.range_low = d.range_low;
    info.range_high = d.range_high;
    info.fps = d.fps;
    info.sink_frames = narrow(d.sink_frames);
    info.window_frames = narrow(d.window_frames);
    *out_info = info;
    return {};
  });
}

attn_status_t *attn_stream_create(attn_model_t *model, attn_device_t *device,
                                  const attn_stream_options_t *options,
                                  attn_stream_t **out_stream) {
  return guard([&]() -> Status {
    ATTN_NEED(model);
    ATTN_NEED(device);
    ATTN_NEED(out_stream);
    stream::StreamOptions chosen;
    if (options) {
      ATTN_ASSIGN_OR_RETURN(attn_stream_options_t given,
                            read_struct(*options, "attn_stream_options_t"));
      if (given.cache < ATTN_CACHE_AUTO || given.cache > ATTN_CACHE_INT8)
        return Status::usage("unknown cache type ", static_cast<int>(given.cache));
      chosen.seed = given.seed;
      chosen.cache_type = static_cast<stream::CacheType>(given.cache);
      chosen.use_sink = !given.no_sink;
      chosen.bf16 = given.bf16_weights != 0;
      chosen.allow_reference = given.reference_attention != 0;
    }
    auto made = std::make_unique<attn_stream>();
    made->stats.start();
    ATTN_ASSIGN_OR_RETURN(made->streamer,
                          stream::Streamer::create(model->model, device->shared, chosen));
    made->runner = std::make_unique<stream::Runner>(*made->streamer);
    *out_stream = made.release();
    return {};
  });
}

void attn_stream_close(attn_stream_t *stream) { delete stream; }

static Status check_recache(attn_recache_t recache) {
  if (recache < ATTN_RECACHE_FULL || recache > ATTN_FLUSH)
    return Status::usage("unknown recache rule ", static_cast<int>(recache));
  return {};
}

attn_status_t *attn_stream_push_prompt(attn_stream_t *stream, const char *prompt,
                                       attn_recache_t recache, uint64_t at_block) {
  return guard([&]() -> Status {
    ATTN_NEED(stream);
    ATTN_NEED(prompt);
    ATTN_RETURN_IF_ERROR(check_recache(recache));
    return stream->streamer->push_prompt(prompt, static_cast<stream::Recache>(recache), at_block);
  });
}

attn_status_t *attn_stream_push_prompts(attn_stream_t *stream,
                                        const attn_weighted_prompt_t *prompts, size_t count,
                                        attn_recache_t recache, uint64_t at_block) {
  return guard([&]() -> Status {
    ATTN_NEED(stream);
    ATTN_NEED(prompts);
    ATTN_RETURN_IF_ERROR(check_recache(recache));
    if (!count || count > stream::kMostParts)
      return Status::usage("there are ", count, " prompts; 1 to ", stream::kMostParts,
                           " can be mixed");
    std::vector<stream::WeightedPrompt> parts;
    for (size_t i = 0; i < count; ++i) {
      if (!prompts[i].text)
        return Status::usage("the text of prompt ", i, " is NULL");
      parts.push_back({prompts[i].text, prompts[i].weight});
    }
    return stream->streamer->push_prompt(parts, static_cast<stream::Recache>(recache), at_block);
  });
}

attn_status_t *attn_stream_next(attn_stream_t *stream, attn_frames_t *out_frames) {
  return guard([&]() -> Status {
    ATTN_RETURN_IF_ERROR(between_blocks(stream));
    ATTN_NEED(out_frames);
    ATTN_RETURN_IF_ERROR(check_struct(*out_frames, "attn_frames_t"));
    ATTN_ASSIGN_OR_RETURN(std::span<const float> frames, stream->streamer->next_block());
    note(*stream, frames);
    *out_frames = frames_of(*stream, frames);
    return {};
  });
}

attn_status_t *attn_stream_next_async(attn_stream_t *stream, uint64_t blocks, attn_frames_fn done,
                                      void *user) {
  return guard([&]() -> Status {
    ATTN_NEED(stream);
    ATTN_NEED(done);
    return stream->runner->start(
        blocks, [stream, done, user](const Status &status, std::span<const float> frames) {
          if (!status.ok()) {
            attn_status_t *failure = make_status(status);
            done(user, failure, nullptr);
            attn_status_free(failure);
            return;
          }
          note(*stream, frames);
          attn_frames_t out = frames_of(*stream, frames);
          done(user, nullptr, &out);
        });
  });
}

attn_status_t *attn_stream_run_for(attn_stream_t *stream, double budget_ms,
                                   attn_frames_t *out_frames, uint32_t *out_done) {
  return guard([&]() -> Status {
    ATTN_NEED(stream);
    ATTN_NEED(out_frames);
    ATTN_NEED(out_done);
    ATTN_RETURN_IF_ERROR(check_struct(*out_frames, "attn_frames_t"));
    if (!(budget_ms >= 0)) // not a number, too
      return Status::usage("a budget of ", budget_ms, " ms; it must not be negative");
    *out_done = 0;
    auto keep = [stream](const Status &status, std::span<const float> frames) {
      if (status.ok())
        note(*stream, frames);
    };
    ATTN_ASSIGN_OR_RETURN(
        bool done, stream->runner->run_for(std::chrono::duration<double, std::milli>(budget_ms),
                                           std::move(keep)));
    if (done)
      *out_frames = frames_of(*stream, stream->frames);
    *out_done = done;
    return {};
  });
}

attn_status_t *attn_stream_wait(attn_stream_t *stream) {
  return guard([&]() -> Status {
    ATTN_NEED(stream);
    return stream->runner->wait();
  });
}

#define ATTN_GATE(name)                                                                            \
  attn_status_t *attn_stream_##name(attn_stream_t *stream) {                                       \
    return guard([&]() -> Status {                                                                 \
      ATTN_NEED(stream);                                                                           \
      stream->streamer->gate().name();                                                             \
      return {};                                                                                   \
    });                                                                                            \
  }
ATTN_GATE(pause)
ATTN_GATE(resume)
ATTN_GATE(step)
ATTN_GATE(cancel)
#undef ATTN_GATE

attn_status_t *attn_stream_set_seed(attn_stream_t *stream, uint64_t seed) {
  return guard([&]() -> Status {
    ATTN_RETURN_IF_ERROR(between_blocks(stream));
    stream->streamer->set_seed(seed);
    return {};
  });
}

attn_status_t *attn_stream_snapshot(attn_stream_t *stream, attn_blob_t **out_blob) {
  return guard([&]() -> Status {
    ATTN_RETURN_IF_ERROR(between_blocks(stream));
    ATTN_NEED(out_blob);
    *out_blob = new attn_blob{stream->streamer->snapshot()};
    return {};
  });
}
const void *attn_blob_data(const attn_blob_t *blob) { return blob ? blob->bytes.data() : nullptr; }
size_t attn_blob_size(const attn_blob_t *blob) { return blob ? blob->bytes.size() : 0; }
void attn_blob_free(attn_blob_t *blob) { delete blob; }

attn_status_t *attn_stream_restore(attn_stream_t *stream, const void *data, size_t bytes) {
  return guard([&]() -> Status {
    ATTN_RETURN_IF_ERROR(between_blocks(stream));
    ATTN_NEED(data);
    return stream->streamer->restore({static_cast<const std::byte *>(data), bytes});
  });
}

attn_status_t *attn_stream_get_stats(attn_stream_t *stream, attn_stream_stats_t *out_stats) {
  return guard([&]() -> Status {
    ATTN_RETURN_IF_ERROR(between_blocks(stream));
    ATTN_NEED(out_stats);
    ATTN_RETURN_IF_ERROR(check_struct(*out_stats, "attn_stream_stats_t"));
    const stream::StreamStats &from = stream->stats;
    const graph::MemoryUse memory = stream->streamer->session().memory();
    const DeviceStats &device = stream->streamer->device().stats();
    attn_stream_stats_t s = ATTN_INIT(attn_stream_stats_t);
    s.struct_size = out_stats->struct_size;
    s.blocks = from.blocks();
    s.frames = from.frames();
    s.prompt_switches = from.switches();
    s.loop_fps = from.loop_fps();
    s.frame_ms_p50 = from.frame_seconds().percentile(50) * 1e3;
    s.frame_ms_p95 = from.frame_seconds().percentile(95) * 1e3;
    s.frame_ms_p99 = from.frame_seconds().percentile(99) * 1e3;
    s.first_frame_ms = from.first_frame() * 1e3;
    s.switch_stall_ms = from.recache_seconds().largest() * 1e3;
    s.cache_bytes = memory.caches;
    s.state_bytes = memory.persistent - memory.caches;
    s.arena_bytes = memory.arena;
    s.remembered_bytes = memory.memo;
    s.weight_bytes = memory.weights_mapped + memory.weights_copied;
    s.device_uploaded_bytes = device.bytes_uploaded;
    s.device_downloaded_bytes = device.bytes_downloaded;
    *out_stats = s;
    return {};
  });
}

} // extern "C"
