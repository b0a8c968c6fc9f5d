/* The C interface used from plain C: everything from listing devices to an
 * attention call. Returns the number of the check that failed, or 0. */
#include <attn/runtime.h>

#include <math.h>
#include <string.h>

#define CHECK(condition)                                                                           \
  do {                                                                                             \
    if (!(condition))                                                                              \
      return __LINE__;                                                                             \
  } while (0)

static int code_of(attn_status_t *status) {
  int code = attn_status_code(status);
  attn_status_free(status);
  return code;
}

static attn_tensor_t tensor(void *data, int64_t heads, int64_t tokens, int64_t dim) {
  attn_tensor_t t = ATTN_INIT(attn_tensor_t);
  t.data = data;
  t.type = ATTN_F32;
  t.rank = 4;
  t.shape[0] = 1;
  t.shape[1] = heads;
  t.shape[2] = tokens;
  t.shape[3] = dim;
  return t;
}

int api_from_c(const char *bundle_path) {
  CHECK(attn_api_version() == ATTN_API_VERSION);
  CHECK(attn_status_code(NULL) == ATTN_OK && attn_status_message(NULL)[0] == 0);
  attn_status_free(NULL);

  attn_device_list_t *list = NULL;
  CHECK(attn_device_list_create(&list) == NULL);
  CHECK(attn_device_list_count(list) >= 3);
  CHECK(strcmp(attn_device_list_id(list, 0), "cpu") == 0);
  CHECK(attn_device_list_reason(list, 0)[0] == 0);
  CHECK(attn_device_list_id(list, 1000)[0] == 0);
  attn_device_list_free(list);

  attn_device_t *device = NULL;
  attn_status_t *status = attn_device_open("warp", NULL, &device);
  CHECK(attn_status_code(status) == ATTN_USAGE && device == NULL);
  CHECK(strstr(attn_status_message(status), "'warp'") != NULL);
  attn_status_free(status);
  CHECK(code_of(attn_device_open(NULL, NULL, &device)) == ATTN_USAGE);
  CHECK(attn_device_open("cpu", NULL, &device) == NULL);
  CHECK(strcmp(attn_device_id(device), "cpu") == 0);

  attn_bundle_t *bundle = NULL;
  CHECK(code_of(attn_bundle_open("/nonexistent.attnb", &bundle)) == ATTN_ENVIRONMENT);
  CHECK(code_of(attn_bundle_open_memory("no bundle", 9, &bundle)) == ATTN_INVALID_INPUT);
  CHECK(attn_bundle_open(bundle_path, &bundle) == NULL);
  CHECK(attn_bundle_kernel_count(bundle) == 4);
  CHECK(strcmp(attn_bundle_kernel_name(bundle, 1), "causal") == 0);

  attn_kernel_t *kernel = NULL;
  CHECK(code_of(attn_kernel_load(bundle, device, "nope", NULL, &kernel)) == ATTN_USAGE);
  CHECK(attn_kernel_load(bundle, device, "causal", "f32", &kernel) == NULL);
  CHECK(attn_kernel_qk_dim(kernel) == 16 && attn_kernel_v_dim(kernel) == 16);
  /* Handles keep alive what they were made from. */
  attn_bundle_close(bundle);

  float q[2 * 3 * 16], k[2 * 3 * 16], v[2 * 3 * 16], o[2 * 3 * 16], lse[2 * 3];
  for (int i = 0; i < 96; ++i) {
    q[i] = (float)(i % 7) - 3;
    k[i] = (float)(i % 5) - 2;
    v[i] = (float)i;
    o[i] = NAN;
  }
  attn_tensor_t tq = tensor(q, 2, 3, 16), tk = tensor(k, 2, 3, 16), tv = tensor(v, 2, 3, 16);
  attn_tensor_t to = tensor(o, 2, 3, 16), tl = tensor(lse, 2, 3, 1);
  tl.rank = 3;
  attn_attention_args_t args = ATTN_INIT(attn_attention_args_t);
  args.q = &tq;
  args.k = &tk;
  args.v = &tv;
  args.o = &to;
  CHECK(code_of(attn_attention_run(kernel, &args)) == ATTN_USAGE); /* no lse */
  args.lse = &tl;
  CHECK(attn_attention_run(kernel, &args) == NULL);
  for (int d = 0; d < 16; ++d) { /* the first row sees the first key alone */
    CHECK(o[d] == v[d]);
    CHECK(o[48 + d] == v[48 + d]);
  }
  for (int i = 0; i < 96; ++i)
    CHECK(!isnan(o[i]));

  tq.struct_size = 8;
  CHECK(code_of(attn_attention_run(kernel, &args)) == ATTN_USAGE);
  tq.struct_size = sizeof tq;
  tq.data = NULL;
  CHECK(code_of(attn_attention_run(kernel, &args)) == ATTN_USAGE);
  tq.data = q;
  tq.shape[3] = INT64_MAX;
  CHECK(code_of(attn_attention_run(kernel, &args)) == ATTN_INVALID_INPUT);
  tq.shape[3] = 16;
  tq.strides[2] = -1;
  CHECK(code_of(attn_attention_run(kernel, &args)) == ATTN_INVALID_INPUT);
  tq.strides[2] = 0;

  /* Device memory. */
  attn_buffer_t *buffer = NULL;
  CHECK(code_of(attn_buffer_create(device, 0, &buffer)) == ATTN_USAGE);
  CHECK(attn_buffer_create(device, sizeof q, &buffer) == NULL);
  CHECK(attn_buffer_size(buffer) == sizeof q);
  CHECK(attn_buffer_write(buffer, 0, q, sizeof q) == NULL);
  CHECK(code_of(attn_buffer_write(buffer, 1, q, sizeof q)) == ATTN_USAGE);
  tq.data = NULL;
  tq.buffer = buffer;
  float before[96];
  memcpy(before, o, sizeof o);
  CHECK(attn_attention_run(kernel, &args) == NULL);
  CHECK(attn_device_synchronise(device) == NULL);
  CHECK(memcmp(before, o, sizeof o) == 0);

  attn_device_close(device); /* before what was made on it */
  attn_buffer_free(buffer);
  CHECK(code_of(attn_attention_run(NULL, &args)) == ATTN_USAGE);
  attn_kernel_free(kernel);
  attn_kernel_free(NULL);
  return 0;
}
