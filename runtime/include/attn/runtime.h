/* The C interface of the attn runtime: open a device, open a bundle, load a
 * kernel, run attention.
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
 *             and on its buffers and kernels, take turns; a handle must not be
 *             released while another call uses it. Bundles are read-only.
 *   Structs   Set struct_size to sizeof the struct (ATTN_INIT does) and leave
 *             what you do not use zero: later versions append fields.
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
  ATTN_INTERNAL = 4       /* a bug in the library */
} attn_code_t;

/* All three take NULL: ATTN_OK and empty strings. */
ATTN_API attn_code_t attn_status_code(const attn_status_t *status);
ATTN_API const char *attn_status_message(const attn_status_t *status);
ATTN_API const char *attn_status_place(const attn_status_t *status);
ATTN_API void attn_status_free(attn_status_t *status);

/* ---- devices ------------------------------------------------------------ */

typedef struct attn_device attn_device_t;
typedef struct attn_device_list attn_device_list_t;

typedef struct attn_device_options {
  size_t struct_size;
  uint32_t threads;    /* cpu; 0: one per usable core */
  uint32_t validation; /* vulkan: 1 loads the validation layer */
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
 * 3, tables 1 to 4. Strides count elements; all zero means contiguous. */
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
