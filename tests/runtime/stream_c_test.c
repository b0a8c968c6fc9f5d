/* Streams from plain C: models, prompts, frames, snapshots, DLPack. Returns the
 * number of the check that failed, or 0. */
#include <attn/runtime.h>

#include <stdlib.h>
#include <string.h>

#define CHECK(condition)                                                                           \
  do {                                                                                             \
    if (!(condition))                                                                              \
      return __LINE__;                                                                             \
  } while (0)

/* dlpack.h, as its users have it. */
typedef struct {
  int32_t device_type, device_id;
} DLDevice;
typedef struct {
  uint8_t code, bits;
  uint16_t lanes;
} DLDataType;
typedef struct {
  void *data;
  DLDevice device;
  int32_t ndim;
  DLDataType dtype;
  int64_t *shape, *strides;
  uint64_t byte_offset;
} DLTensor;
struct DLManagedTensor {
  DLTensor dl_tensor;
  void *manager_ctx;
  void (*deleter)(struct DLManagedTensor *);
};

static int code_of(attn_status_t *status) {
  int code = attn_status_code(status);
  attn_status_free(status);
  return code;
}

static int dlpack_from_c(attn_device_t *device, attn_stream_t *stream, const float *frames) {
  struct DLManagedTensor *t = NULL;
  CHECK(attn_stream_frames_to_dlpack(stream, &t) == NULL);
  CHECK(t->dl_tensor.device.device_type == 1 && t->dl_tensor.ndim == 4);
  CHECK(t->dl_tensor.dtype.code == 2 && t->dl_tensor.dtype.bits == 32);
  CHECK(t->dl_tensor.shape[1] == 3 && t->dl_tensor.strides[0] == 12);
  CHECK(memcmp(t->dl_tensor.data, frames, 12 * sizeof(float)) == 0);

  attn_tensor_t view;
  CHECK(attn_tensor_from_dlpack(t, &view) == NULL);
  CHECK(view.data == t->dl_tensor.data && view.rank == 4 && view.type == ATTN_F32);
  CHECK(view.shape[2] == 2 && view.strides[1] == 4);
  t->dl_tensor.byte_offset = 8;
  CHECK(attn_tensor_from_dlpack(t, &view) == NULL);
  CHECK((char *)view.data == (char *)t->dl_tensor.data + 8);
  t->dl_tensor.device.device_type = 2;
  CHECK(code_of(attn_tensor_from_dlpack(t, &view)) == ATTN_INVALID_INPUT);
  t->dl_tensor.device.device_type = 1;
  t->dl_tensor.dtype.lanes = 4;
  CHECK(code_of(attn_tensor_from_dlpack(t, &view)) == ATTN_INVALID_INPUT);
  t->dl_tensor.dtype.lanes = 1;
  t->dl_tensor.strides[2] = -1;
  CHECK(code_of(attn_tensor_from_dlpack(t, &view)) == ATTN_INVALID_INPUT);
  t->dl_tensor.ndim = 5;
  CHECK(code_of(attn_tensor_from_dlpack(t, &view)) == ATTN_INVALID_INPUT);
  t->deleter(t);

  /* A buffer's memory stays while a tensor of it does. */
  attn_buffer_t *buffer = NULL;
  const int64_t shape[2] = {2, 8}, large[2] = {3, 8};
  CHECK(attn_buffer_create(device, 64, &buffer) == NULL);
  CHECK(code_of(attn_buffer_to_dlpack(buffer, ATTN_F32, 2, large, &t)) == ATTN_INVALID_INPUT);
  CHECK(attn_buffer_to_dlpack(buffer, ATTN_F32, 2, shape, &t) == NULL);
  CHECK(attn_buffer_write(buffer, 0, frames, 48) == NULL);
  attn_buffer_free(buffer);
  CHECK(memcmp(t->dl_tensor.data, frames, 48) == 0);
  t->deleter(t);
  return 0;
}

int stream_from_c(const char *model_path) {
  attn_device_t *device = NULL;
  attn_model_t *model = NULL;
  attn_stream_t *stream = NULL;
  CHECK(attn_device_open("cpu", NULL, &device) == NULL);
  CHECK(code_of(attn_model_open("/nonexistent/m.onnx", NULL, NULL, &model)) == ATTN_ENVIRONMENT);
  CHECK(attn_model_open(model_path, NULL, NULL, &model) == NULL);
  attn_model_info_t info = ATTN_INIT(attn_model_info_t);
  CHECK(attn_model_get_info(model, &info) == NULL);
  CHECK(strcmp(info.name, "tiny") == 0 && strcmp(info.default_prompt, "north") == 0);
  CHECK(info.channels == 3 && info.height == 2 && info.width == 2 && info.frames_per_block == 1);

  attn_stream_options_t options = ATTN_INIT(attn_stream_options_t);
  attn_status_t *status = attn_stream_create(model, device, &options, &stream);
  CHECK(attn_status_code(status) == ATTN_INVALID_INPUT); /* no kernels: the command is named */
  CHECK(strstr(attn_status_message(status), "attnc model ") != NULL);
  attn_status_free(status);
  options.reference_attention = 1;
  options.seed = 7;
  options.cache = (attn_cache_type_t)9;
  CHECK(code_of(attn_stream_create(model, device, &options, &stream)) == ATTN_USAGE);
  options.cache = ATTN_CACHE_INT8;
  CHECK(attn_stream_create(model, device, &options, &stream) == NULL);

  CHECK(code_of(attn_stream_push_prompt(stream, "upwards", ATTN_RECACHE_FULL, 0)) ==
        ATTN_INVALID_INPUT);
  CHECK(code_of(attn_stream_push_prompt(stream, "east", (attn_recache_t)4, 0)) == ATTN_USAGE);
  CHECK(attn_stream_push_prompt(stream, "east", ATTN_RECACHE_FULL, 0) == NULL);
  const attn_weighted_prompt_t mixed[2] = {{"east", 1}, {"west", 3}}, none[1] = {{NULL, 1}},
                               bad[2] = {{"east", 1}, {"west", -0.5}};
  CHECK(code_of(attn_stream_push_prompts(stream, mixed, 0, ATTN_RECACHE_FULL, 3)) == ATTN_USAGE);
  CHECK(code_of(attn_stream_push_prompts(stream, mixed, 9, ATTN_RECACHE_FULL, 3)) == ATTN_USAGE);
  CHECK(code_of(attn_stream_push_prompts(stream, none, 1, ATTN_RECACHE_FULL, 3)) == ATTN_USAGE);
  CHECK(code_of(attn_stream_push_prompts(stream, bad, 2, ATTN_RECACHE_FULL, 3)) ==
        ATTN_INVALID_INPUT);
  CHECK(attn_stream_push_prompts(stream, mixed, 2, ATTN_RECACHE_WINDOW, 3) == NULL);
  attn_frames_t frames = ATTN_INIT(attn_frames_t);
  for (int i = 0; i < 5; ++i) {
    CHECK(attn_stream_next(stream, &frames) == NULL);
    CHECK(frames.frames == 1 && frames.channels == 3 && frames.block == (uint64_t)i);
    CHECK((frames.recache_ms > 0) == (i == 3));
  }
  if (dlpack_from_c(device, stream, frames.data))
    return dlpack_from_c(device, stream, frames.data);

  /* What follows a snapshot is what followed it. */
  attn_blob_t *blob = NULL;
  float after[12];
  CHECK(attn_stream_snapshot(stream, &blob) == NULL);
  CHECK(attn_stream_next(stream, &frames) == NULL);
  memcpy(after, frames.data, sizeof after);
  CHECK(attn_stream_set_seed(stream, 8) == NULL);
  CHECK(attn_stream_next(stream, &frames) == NULL);
  CHECK(attn_stream_restore(stream, attn_blob_data(blob), attn_blob_size(blob)) == NULL);
  CHECK(attn_stream_next(stream, &frames) == NULL);
  CHECK(frames.block == 5 && memcmp(after, frames.data, sizeof after) == 0);
  CHECK(code_of(attn_stream_restore(stream, "no snapshot", 11)) == ATTN_INVALID_INPUT);
  attn_blob_free(blob);

  attn_stream_stats_t stats = ATTN_INIT(attn_stream_stats_t);
  CHECK(attn_stream_get_stats(stream, &stats) == NULL);
  CHECK(stats.frames == 8 && stats.prompt_switches == 1 && stats.frame_ms_p50 > 0);
  CHECK(stats.cache_bytes == 3 * 16 * (16 + 4));
  stats.struct_size = 4;
  CHECK(code_of(attn_stream_get_stats(stream, &stats)) == ATTN_USAGE);
  frames.struct_size = 4;
  CHECK(code_of(attn_stream_next(stream, &frames)) == ATTN_USAGE);

  CHECK(attn_stream_cancel(stream) == NULL);
  frames.struct_size = sizeof frames;
  CHECK(code_of(attn_stream_next(stream, &frames)) == ATTN_CANCELLED);
  CHECK(attn_stream_next(stream, &frames) == NULL && frames.block == 6);

  /* Handles keep alive what they were made from. */
  attn_model_close(model);
  attn_device_close(device);
  CHECK(attn_stream_next(stream, &frames) == NULL);
  attn_stream_close(stream);
  attn_stream_close(NULL);
  attn_model_close(NULL);
  attn_blob_free(NULL);
  CHECK(code_of(attn_stream_next(NULL, &frames)) == ATTN_USAGE);
  CHECK(code_of(attn_stream_pause(NULL)) == ATTN_USAGE);
  return 0;
}
