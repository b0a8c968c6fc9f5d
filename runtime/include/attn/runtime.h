/* The C interface of the attn runtime: open a device, open a bundle, load a
 * kernel, run attention; open a model and stream frames from it.
 *
 * Conventions
 *   Failure   Functions that can fail return attn_status_t *: NULL is success,
 *             anything else is owned by the caller (attn_status_free). No
 *             function aborts, throws or prints.
 *   Results   Results are written through `out_` parameters, and only on
 *             success.
 *   Ownership What an `out_` parameter receives is owned by the caller and
 *             released by the function named in its comment; NULL may be
 *             released. Handles keep alive what they were made from, so that
 *             the order of release does not matter. Strings belong to the
 *             handle that returned them.
 *   Threads   Any function may be called from any thread. Calls on one device,
 *             and on its buffers, kernels and streams, take turns in the order
 *             in which they ask; a handle must not be released while another
 *             call uses it. Bundles and models are read-only.
 *   Structs   Set struct_size to sizeof the struct (ATTN_INIT does) and leave
 *             what you do not use zero: later versions append fields. A
 *             program that was built with an earlier header runs on; one that
 *             uses fields that this library does not know is refused.
 */
#ifndef ATTN_RUNTIME_H
#define ATTN_RUNTIME_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define ATTN_API_VERSION 1u
#if defined(__GNUC__)
#define ATTN_API __attribute__((visibility("default")))
#else
#define ATTN_API
#endif

/* The version that the library was built with. A library of the same version
 * or a later one serves a program built against this header. */
ATTN_API uint32_t attn_api_version(void);

/* ---- status ------------------------------------------------------------- */

typedef struct attn_status attn_status_t;

typedef enum attn_code {
  ATTN_OK = 0,
  ATTN_INVALID_INPUT = 1, /* a file, tensor or value that cannot be accepted */
  ATTN_USAGE = 2,         /* a rule of this interface was broken */
  ATTN_ENVIRONMENT = 3,   /* device, driver, memory, file system */
  ATTN_INTERNAL = 4,      /* a bug in the library */
  ATTN_CANCELLED = 5      /* stopped by attn_stream_cancel */
} attn_code_t;

/* All three take NULL: ATTN_OK and empty strings. */
ATTN_API attn_code_t attn_status_code(const attn_status_t *status);
ATTN_API const char *attn_status_message(const attn_status_t *status);
ATTN_API const char *attn_status_place(const attn_status_t *status);
ATTN_API void attn_status_free(attn_status_t *status);

/* ---- devices ------------------------------------------------------------ */

typedef struct attn_device attn_device_t;
typedef struct attn_device_list attn_device_list_t;

/* Threads of the program, for the loops of a cpu device and for the work of the host
 * beside another one. `run` calls task(context, i) once for each i below `tasks`, on any
 * threads, beside each other or one after another, and returns when all have returned;
 * it must not throw. Results do not depend on how it goes about it. */
typedef struct attn_executor {
  size_t struct_size;
  uint32_t threads; /* how many work on a loop at most; at least 1 */
  void (*run)(void *user, uint32_t tasks, void (*task)(void *context, uint32_t i), void *context);
  void *user;
} attn_executor_t;

typedef struct attn_device_options {
  size_t struct_size;
  uint32_t threads;    /* cpu; 0: one per usable core */
  uint32_t validation; /* vulkan: 1 loads the validation layer */
  /* Copied; NULL: the device has threads of its own. */
  const attn_executor_t *executor;
} attn_device_options_t;

/* `id` is "cpu", "vulkan[:INDEX]" or "cuda[:INDEX]"; never is another device
 * opened instead. `options` may be NULL. Released by attn_device_close. */
ATTN_API attn_status_t *attn_device_open(const char *id, const attn_device_options_t *options,
                                         attn_device_t **out_device);
ATTN_API void attn_device_close(attn_device_t *device);
ATTN_API const char *attn_device_id(const attn_device_t *device);
ATTN_API const char *attn_device_name(const attn_device_t *device);
/* Waits for all work. Late failures of earlier calls are reported here. */
ATTN_API attn_status_t *attn_device_synchronise(attn_device_t *device);

/* Every device of this machine, usable or not. Released by
 * attn_device_list_free. Indices out of range give empty strings. */
ATTN_API attn_status_t *attn_device_list_create(attn_device_list_t **out_list);
ATTN_API void attn_device_list_free(attn_device_list_t *list);
ATTN_API size_t attn_device_list_count(const attn_device_list_t *list);
ATTN_API const char *attn_device_list_id(const attn_device_list_t *list, size_t index);
ATTN_API const char *attn_device_list_name(const attn_device_list_t *list, size_t index);
/* Why the device cannot be used; empty if it can. */
ATTN_API const char *attn_device_list_reason(const attn_device_list_t *list, size_t index);

/* ---- buffers ------------------------------------------------------------ */

typedef struct attn_buffer attn_buffer_t;

/* Zero-filled device memory. Released by attn_buffer_free. */
ATTN_API attn_status_t *attn_buffer_create(attn_device_t *device, size_t bytes,
                                           attn_buffer_t **out_buffer);
ATTN_API void attn_buffer_free(attn_buffer_t *buffer);
ATTN_API size_t attn_buffer_size(const attn_buffer_t *buffer);
/* `data` may be reused when the call returns. */
ATTN_API attn_status_t *attn_buffer_write(attn_buffer_t *buffer, size_t offset, const void *data,
                                          size_t bytes);
/* Waits for the work before it. */
ATTN_API attn_status_t *attn_buffer_read(attn_buffer_t *buffer, size_t offset, void *data,
                                         size_t bytes);

/* ---- bundles and kernels ------------------------------------------------ */

typedef struct attn_bundle attn_bundle_t;
typedef struct attn_kernel attn_kernel_t;

/* Maps the file. Released by attn_bundle_close. */
ATTN_API attn_status_t *attn_bundle_open(const char *path, attn_bundle_t **out_bundle);
/* Copies the bytes, which may be released when the call returns. */
ATTN_API attn_status_t *attn_bundle_open_memory(const void *data, size_t bytes,
                                                attn_bundle_t **out_bundle);
/* Kernels that are linked into the program: `attnc compile --emit obj` makes an
 * object with the constant attn_kernels_NAME of this type.
 *   ATTN_LINKED_KERNELS(NAME);                            at file scope
 *   attn_bundle_open_linked(&attn_kernels_NAME, &bundle); */
typedef struct attn_linked_kernels {
  uint32_t version, count;
  const char *name;
  const void *bundle;
  size_t bundle_bytes;
  const struct attn_linked_kernel *kernels;
} attn_linked_kernels_t;
#ifdef __cplusplus
#define ATTN_LINKED_KERNELS(name) extern "C" const attn_linked_kernels_t attn_kernels_##name
#else
#define ATTN_LINKED_KERNELS(name) extern const attn_linked_kernels_t attn_kernels_##name
#endif
ATTN_API attn_status_t *attn_bundle_open_linked(const attn_linked_kernels_t *kernels,
                                                attn_bundle_t **out_bundle);
ATTN_API void attn_bundle_close(attn_bundle_t *bundle);
ATTN_API size_t attn_bundle_kernel_count(const attn_bundle_t *bundle);
/* Empty strings for an index out of range. */
ATTN_API const char *attn_bundle_kernel_name(const attn_bundle_t *bundle, size_t index);
ATTN_API const char *attn_bundle_kernel_variant(const attn_bundle_t *bundle, size_t index);

/* Loads the best entry of that name for the device. `name` may be NULL if the
 * bundle has one kernel, `variant` ("f32", "bf16", "int8") to take the best.
 * A failure lists why each entry was refused. Released by attn_kernel_free. */
ATTN_API attn_status_t *attn_kernel_load(attn_bundle_t *bundle, attn_device_t *device,
                                         const char *name, const char *variant,
                                         attn_kernel_t **out_kernel);
ATTN_API void attn_kernel_free(attn_kernel_t *kernel);
ATTN_API const char *attn_kernel_name(const attn_kernel_t *kernel);
ATTN_API const char *attn_kernel_variant(const attn_kernel_t *kernel);
ATTN_API uint32_t attn_kernel_qk_dim(const attn_kernel_t *kernel);
ATTN_API uint32_t attn_kernel_v_dim(const attn_kernel_t *kernel);

/* ---- attention ---------------------------------------------------------- */

typedef enum attn_type {
  ATTN_F32 = 0,
  ATTN_F16 = 1,
  ATTN_BF16 = 2,
  ATTN_I8 = 3,
  ATTN_I32 = 4,
  ATTN_U8 = 5,
  ATTN_I64 = 6
} attn_type_t;

/* An array in device memory (`buffer`, `offset` in bytes) or in the host's
 * (`data`); exactly one of the two is set. Host arrays are used in place on the
 * cpu and copied, for the length of the call, on other devices.
 * Q, K, V, O and inputs have 4 axes (batch, heads, tokens, dim), LSE and scales
 * 3, tables 1 to 4. Strides count elements; all zero means contiguous. An axis
 * that the spec's declaration of an input leaves out has stride 0 (dim: extent 1). */
typedef struct attn_tensor {
  size_t struct_size;
  attn_buffer_t *buffer;
  size_t offset;
  void *data;
  attn_type_t type;
  uint32_t rank;
  int64_t shape[4];
  int64_t strides[4];
} attn_tensor_t;

/* Slots first_slot... of K and V hold the keys at positions first_position... */
typedef struct attn_segment {
  int32_t first_slot, length, first_position;
} attn_segment_t;

typedef struct attn_named_tensor {
  const char *name;
  const attn_tensor_t *tensor;
} attn_named_tensor_t;

typedef struct attn_named_value {
  const char *name;
  double value;
} attn_named_value_t;

typedef struct attn_attention_args {
  size_t struct_size;
  const attn_tensor_t *q, *k, *v, *o;
  const attn_tensor_t *lse;               /* if the kernel writes one */
  const attn_tensor_t *k_scale, *v_scale; /* of int8 keys and values */
  const attn_named_tensor_t *tensors;     /* tables and inputs of the spec */
  size_t tensor_count;
  const attn_named_value_t *params; /* parameters of the spec */
  size_t param_count;
  const attn_segment_t *segments; /* NULL: all slots, from position 0 */
  size_t segment_count;
  uint32_t segments_per_batch; /* 0: all batch entries share the list */
  int32_t q_position;          /* position of the first query row */
  int32_t layer;
  float scale; /* 0: the kernel's own */
} attn_attention_args_t;

/* Runs one attention call. With device tensors alone it is enqueued and may
 * still run when the call returns; with a host tensor it is done. */
ATTN_API attn_status_t *attn_attention_run(attn_kernel_t *kernel,
                                           const attn_attention_args_t *args);

typedef struct attn_merge_args {
  size_t struct_size;
  const attn_tensor_t *o_parts, *lse_parts; /* part_count tensors each */
  size_t part_count;
  const attn_tensor_t *o, *lse;       /* merged */
  const attn_named_tensor_t *tensors; /* tables and inputs of the spec */
  size_t tensor_count;
  const attn_named_value_t *params; /* parameters of the spec */
  size_t param_count;
  int32_t q_position; /* position of the first row */
  int32_t layer;
} attn_merge_args_t;

/* Merges partial results over disjoint keys with a kernel NAME_merge, which a
 * spec that says `emit partial` has. The parts agree in type, shape and strides;
 * device tensors of one buffer are read in place, others are copied first. Waits
 * and host tensors as in attn_attention_run. */
ATTN_API attn_status_t *attn_merge_run(attn_kernel_t *kernel, const attn_merge_args_t *args);

/* ---- models and streams -------------------------------------------------- */

typedef struct attn_model attn_model_t;
typedef struct attn_stream attn_stream_t;

/* `model_path` is a package (`attnc model --package`), of which `kernels` and
 * `description_path` must be NULL; or an ONNX file with a stream.toml beside it (or at
 * `description_path`, if that is not NULL), with its compiled attention kernels, or NULL
 * to run without any. Weights are mapped, not read. Released by attn_model_close. */
ATTN_API attn_status_t *attn_model_open(const char *model_path, const attn_bundle_t *kernels,
                                        const char *description_path, attn_model_t **out_model);
/* The model of a package that was opened as a bundle: from a file, or from memory. */
ATTN_API attn_status_t *attn_model_open_package(const attn_bundle_t *package,
                                                attn_model_t **out_model);
ATTN_API void attn_model_close(attn_model_t *model);

typedef struct attn_model_info {
  size_t struct_size;
  const char *name, *default_prompt;   /* the model's */
  uint32_t frames_per_block;           /* what one call makes */
  uint32_t channels, height, width;    /* of a frame */
  float range_low, range_high;         /* of its values: black and white */
  double fps;                          /* at which it is to be shown */
  uint32_t sink_frames, window_frames; /* of its cache */
} attn_model_info_t;
/* Fills *out_info, whose struct_size is set. */
ATTN_API attn_status_t *attn_model_get_info(const attn_model_t *model, attn_model_info_t *out_info);

/* What a new prompt does to the cache. */
typedef enum attn_recache {
  ATTN_RECACHE_FULL = 0,   /* re-run the kept frames, and the sinks if the model says so */
  ATTN_RECACHE_WINDOW = 1, /* re-run the kept frames but the sinks */
  ATTN_KEEP = 2,           /* keep keys and values of the old prompt */
  ATTN_FLUSH = 3           /* forget all frames */
} attn_recache_t;

typedef enum attn_cache_type {
  ATTN_CACHE_AUTO = 0, /* f32, or int8 if the bundle's kernels take that alone */
  ATTN_CACHE_F32 = 1,
  ATTN_CACHE_INT8 = 2
} attn_cache_type_t;

typedef struct attn_stream_options {
  size_t struct_size;
  uint64_t seed;
  attn_cache_type_t cache;
  uint32_t no_sink;             /* 1: keep no first frames beyond the window */
  uint32_t bf16_weights;        /* 1: matrix products in bf16; needs AVX512-BF16 or AMX */
  uint32_t reference_attention; /* 1: run without compiled kernels, slowly */
} attn_stream_options_t;

/* A stream of its own: cache, prompt, seed. Any number of them share a model and a
 * device, on which they take turns, pass by pass; none sees another's failures.
 * `options` may be NULL. Released by attn_stream_close, which cancels what is being
 * made and waits for it. */
ATTN_API attn_status_t *attn_stream_create(attn_model_t *model, attn_device_t *device,
                                           const attn_stream_options_t *options,
                                           attn_stream_t **out_stream);
ATTN_API void attn_stream_close(attn_stream_t *stream);

/* A new prompt from block `at_block` on, or from the next block if that one is past
 * (0: now). The text may mix several prompts by weight, as in
 * "red circle left:0.7 | blue square right:0.3". Words that the model does not know are
 * refused at once. May be called
 * while a block is being made, as may pause, resume, step and cancel. Of several
 * changes that are due together the last one pushed is taken. */
ATTN_API attn_status_t *attn_stream_push_prompt(attn_stream_t *stream, const char *prompt,
                                                attn_recache_t recache, uint64_t at_block);

typedef struct attn_weighted_prompt {
  const char *text;
  double weight; /* 0 to 1000, relative to the others'; one at least above 0 */
} attn_weighted_prompt_t;
/* The same with 1 to 8 prompts that are mixed where the model embeds their words: its
 * text embedding is the sum of theirs by weight. Refused, if more than one has a weight,
 * by a model that reads its prompt otherwise. */
ATTN_API attn_status_t *attn_stream_push_prompts(attn_stream_t *stream,
                                                 const attn_weighted_prompt_t *prompts,
                                                 size_t count, attn_recache_t recache,
                                                 uint64_t at_block);

/* The frames of a block: f32 (frame, channel, height, width), contiguous. `data`
 * belongs to the stream and is valid until its next block is begun. */
typedef struct attn_frames {
  size_t struct_size;
  const float *data;
  uint32_t frames, channels, height, width;
  uint64_t block;                          /* its number, from 0 */
  double denoise_ms, clean_ms, recache_ms; /* where its time went */
} attn_frames_t;

/* Makes the next block. A call that fails has begun nothing: the next one makes the
 * same block. ATTN_USAGE while the stream is making one asynchronously. */
ATTN_API attn_status_t *attn_stream_next(attn_stream_t *stream, attn_frames_t *out_frames);

/* Called on the stream's own thread after every block; `status` (NULL: success) and
 * `frames` (NULL if it failed) are valid during the call. It may push prompts, pause
 * and cancel; it must not make blocks or release the stream. */
typedef void (*attn_frames_fn)(void *user, const attn_status_t *status,
                               const attn_frames_t *frames);

/* Begins to make `blocks` blocks (0: until cancelled) and returns at once. */
ATTN_API attn_status_t *attn_stream_next_async(attn_stream_t *stream, uint64_t blocks,
                                               attn_frames_fn done, void *user);
/* Waits until they are made, or have failed: what ended them. */
ATTN_API attn_status_t *attn_stream_wait(attn_stream_t *stream);

/* Works on the next block for `budget_ms` at most, then to the end of the pass it is
 * in (a pass is made even if there is no time), on the stream's own thread. *out_done:
 * 1 with the block's frames in *out_frames, or 0; then nothing runs until the next
 * call, which goes on. Until the block is made the stream counts as making one;
 * attn_stream_wait makes the rest of it at once. */
ATTN_API attn_status_t *attn_stream_run_for(attn_stream_t *stream, double budget_ms,
                                            attn_frames_t *out_frames, uint32_t *out_done);

/* Between two passes: hold, go on, make one more block and hold again; end the block
 * in the making, or the next one, with ATTN_CANCELLED. */
ATTN_API attn_status_t *attn_stream_pause(attn_stream_t *stream);
ATTN_API attn_status_t *attn_stream_resume(attn_stream_t *stream);
ATTN_API attn_status_t *attn_stream_step(attn_stream_t *stream);
ATTN_API attn_status_t *attn_stream_cancel(attn_stream_t *stream);

/* The calls below are for between two blocks: ATTN_USAGE while one is being made. */

/* The noise of the blocks from the next one on. */
ATTN_API attn_status_t *attn_stream_set_seed(attn_stream_t *stream, uint64_t seed);

/* The stream's whole state; what is made after restoring it, in this stream or in
 * another of the same model, kernels and options, has the same bits. `out_blob` is
 * released by attn_blob_free. A snapshot that does not fit changes nothing. */
typedef struct attn_blob attn_blob_t;
ATTN_API attn_status_t *attn_stream_snapshot(attn_stream_t *stream, attn_blob_t **out_blob);
ATTN_API const void *attn_blob_data(const attn_blob_t *blob);
ATTN_API size_t attn_blob_size(const attn_blob_t *blob);
ATTN_API void attn_blob_free(attn_blob_t *blob);
ATTN_API attn_status_t *attn_stream_restore(attn_stream_t *stream, const void *data, size_t bytes);

typedef struct attn_stream_stats {
  size_t struct_size;
  uint64_t blocks, frames, prompt_switches;
  double loop_fps; /* frames over time in denoising, clean passes and recaches */
  double frame_ms_p50, frame_ms_p95, frame_ms_p99;
  double first_frame_ms, switch_stall_ms; /* the longest recache */
  uint64_t cache_bytes, state_bytes, arena_bytes, remembered_bytes, weight_bytes;
  uint64_t device_uploaded_bytes, device_downloaded_bytes; /* the device's, of all its users */
} attn_stream_stats_t;
ATTN_API attn_status_t *attn_stream_get_stats(attn_stream_t *stream,
                                              attn_stream_stats_t *out_stats);

/* ---- DLPack -------------------------------------------------------------- */

/* As in dlpack.h, which this header does not need. */
struct DLManagedTensor;

/* Borrows: `out_tensor` points to memory of `from`, which must outlive its use and
 * stays the caller's to delete. Host memory alone; types and ranks of attn_tensor_t. */
ATTN_API attn_status_t *attn_tensor_from_dlpack(const struct DLManagedTensor *from,
                                                attn_tensor_t *out_tensor);
/* A copy of the last block's frames; the caller calls its deleter. */
ATTN_API attn_status_t *attn_stream_frames_to_dlpack(attn_stream_t *stream,
                                                     struct DLManagedTensor **out_tensor);
/* The memory of a cpu buffer, contiguous from its begin, without a copy. The caller
 * calls its deleter; until then the memory stays, whoever is released first. */
ATTN_API attn_status_t *attn_buffer_to_dlpack(attn_buffer_t *buffer, attn_type_t type,
                                              uint32_t rank, const int64_t *shape,
                                              struct DLManagedTensor **out_tensor);

/* attn_tensor_t t = ATTN_INIT(attn_tensor_t);  all zero but struct_size */
/* clang-format off */
#ifdef __cplusplus
#define ATTN_INIT(type) ([] { type made{}; made.struct_size = sizeof(type); return made; }())
#else
#define ATTN_INIT(type) {.struct_size = sizeof(type)}
#endif
/* clang-format on */

#ifdef __cplusplus
}
#endif

#endif
