/* Attention with kernels that are part of this program: no file is opened. */
#include <attn/runtime.h>

#include <stdio.h>

ATTN_LINKED_KERNELS(embedded);

static int fail(attn_status_t *status) {
  fprintf(stderr, "%s: %s\n", attn_status_place(status), attn_status_message(status));
  attn_status_free(status);
  return 1;
}

static attn_tensor_t tensor(float *data, int64_t heads, int64_t tokens, int64_t dim) {
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

enum { kHeads = 16, kTokens = 5, kMostDim = 128 };
static float q[kHeads * kTokens * kMostDim], k[kHeads * kTokens * kMostDim],
    v[kHeads * kTokens * kMostDim], o[kHeads * kTokens * kMostDim], lse[kHeads * kTokens];

int main(void) {
  attn_device_t *device = NULL;
  attn_bundle_t *bundle = NULL;
  attn_kernel_t *kernel = NULL;
  attn_status_t *status;
  if ((status = attn_device_open("cpu", NULL, &device)) ||
      (status = attn_bundle_open_linked(&attn_kernels_embedded, &bundle)) ||
      (status = attn_kernel_load(bundle, device, "causal", "f32", &kernel)))
    return fail(status);
  const int64_t dim = attn_kernel_qk_dim(kernel);
  for (int64_t i = 0; i < kHeads * kTokens * dim; ++i) {
    q[i] = (float)(i % 5);
    k[i] = (float)(i % 3);
    v[i] = (float)(i % 11);
  }
  attn_tensor_t tq = tensor(q, kHeads, kTokens, dim), tk = tensor(k, kHeads, kTokens, dim),
                tv = tensor(v, kHeads, kTokens, dim), to = tensor(o, kHeads, kTokens, dim);
  attn_tensor_t tl = tensor(lse, kHeads, kTokens, 1);
  tl.rank = 3;
  attn_attention_args_t args = ATTN_INIT(attn_attention_args_t);
  args.q = &tq;
  args.k = &tk;
  args.v = &tv;
  args.o = &to;
  args.lse = &tl; /* the spec emits it */
  if ((status = attn_attention_run(kernel, &args)))
    return fail(status);
  /* The first query of a head sees the first key alone. */
  for (int head = 0; head < kHeads; ++head)
    for (int64_t d = 0; d < dim; ++d) {
      const int64_t at = head * kTokens * dim + d;
      if (!(o[at] - v[at] < 1e-4f && v[at] - o[at] < 1e-4f)) {
        fprintf(stderr, "head %d, dim %d: %g instead of %g\n", head, (int)d, o[at], v[at]);
        return 1;
      }
    }
  attn_kernel_free(kernel);
  attn_bundle_close(bundle);
  attn_device_close(device);
  puts("embedded kernels run");
  return 0;
}
