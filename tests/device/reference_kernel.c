/* A scalar f32 attention kernel that follows kernel_abi.h to the letter. Built
 * as a shared object and put into a bundle, it stands in for compiled kernels
 * in the tests of devices and tools; it is no example of speed. */
#include "runtime/bundle/kernel_abi.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

enum { BLOCK_Q = 4 };
enum { Q = 0, K = 1, V = 2, O = 3, LSE = 4 };

struct Row {
  const uint32_t *words;
  uint32_t batch, head, row;
};

static size_t element(const uint32_t *words, int binding, uint32_t batch, uint32_t head,
                      uint32_t token) {
  const uint32_t *w = words + ATTN_W_BINDINGS + ATTN_BINDING_WORDS * binding;
  return (size_t)w[3] + (size_t)batch * w[0] + (size_t)head * w[1] + (size_t)token * w[2];
}

typedef int (*Mask)(const struct Row *at, int32_t q_position, int32_t k_position);

static int mask_dense(const struct Row *at, int32_t q, int32_t k) { return 1; }
static int mask_causal(const struct Row *at, int32_t q, int32_t k) { return k <= q; }
/* window: a runtime parameter, the query's own position included */
static int mask_window(const struct Row *at, int32_t q, int32_t k) {
  int32_t window = (int32_t)at->words[at->words[ATTN_W_PARAMS]];
  return k <= q && q - k < window;
}

static float score(const float *q, const float *k, uint32_t dim, float scale) {
  float sum = 0;
  for (uint32_t d = 0; d < dim; ++d)
    sum += q[d] * k[d];
  return sum * scale;
}

static void attend_row(const struct Row *at, void *const *buffers, Mask mask, uint32_t dim) {
  const uint32_t *words = at->words;
  uint32_t kv_head = at->head / (words[ATTN_W_HEADS] / words[ATTN_W_KV_HEADS]);
  int32_t position = (int32_t)(words[ATTN_W_Q_POSITION] + at->row);
  float scale;
  memcpy(&scale, &words[ATTN_W_SCALE], sizeof scale);
  const float *q = (const float *)buffers[Q] + element(words, Q, at->batch, at->head, at->row);
  float *o = (float *)buffers[O] + element(words, O, at->batch, at->head, at->row);
  for (uint32_t d = 0; d < dim; ++d)
    o[d] = 0;
  float maximum = -1e30f, sum = 0;
  const uint32_t *segment =
      words + words[ATTN_W_SEGMENT_BASE] + (size_t)at->batch * words[ATTN_W_SEGMENT_STRIDE];
  for (uint32_t s = 0; s < words[ATTN_W_SEGMENTS]; ++s, segment += ATTN_SEG_WORDS)
    for (uint32_t i = 0; i < segment[ATTN_SEG_LENGTH]; ++i) {
      if (!mask(at, position, (int32_t)(segment[ATTN_SEG_FIRST_POSITION] + i)))
        continue;
      uint32_t slot = segment[ATTN_SEG_FIRST_SLOT] + i;
      const float *k = (const float *)buffers[K] + element(words, K, at->batch, kv_head, slot);
      const float *v = (const float *)buffers[V] + element(words, V, at->batch, kv_head, slot);
      float x = score(q, k, dim, scale);
      float next = x > maximum ? x : maximum;
      float shrink = expf(maximum - next), p = expf(x - next);
      sum = sum * shrink + p;
      for (uint32_t d = 0; d < dim; ++d)
        o[d] = o[d] * shrink + p * v[d];
      maximum = next;
    }
  for (uint32_t d = 0; d < dim && sum != 0; ++d)
    o[d] /= sum;
  float *lse = (float *)buffers[LSE] + element(words, LSE, at->batch, at->head, at->row);
  *lse = sum != 0 ? maximum + logf(sum) : -INFINITY;
}

static void attend(const uint32_t *words, void *const *buffers, void *arena, uint32_t begin,
                   uint32_t end, Mask mask, uint32_t dim) {
  uint32_t rows = words[ATTN_W_Q_LEN], tiles = (rows + BLOCK_Q - 1) / BLOCK_Q;
  uint32_t heads = words[ATTN_W_HEADS];
  memset(arena, 0xff, 64); /* the arena is the kernel's to spoil */
  for (uint32_t item = begin; item < end; ++item) {
    struct Row at = {words, item / tiles / heads, item / tiles % heads, item % tiles * BLOCK_Q};
    for (int i = 0; i < BLOCK_Q && at.row < rows; ++i, ++at.row)
      attend_row(&at, buffers, mask, dim);
  }
}

/* Every segment in full, partial throughout: right for any mask. */
static uint32_t all_ranges(const uint32_t *words, uint32_t batch, uint32_t *out,
                           uint32_t capacity) {
  uint32_t count = 0;
  const uint32_t *segment =
      words + words[ATTN_W_SEGMENT_BASE] + (size_t)batch * words[ATTN_W_SEGMENT_STRIDE];
  for (uint32_t s = 0; s < words[ATTN_W_SEGMENTS]; ++s, segment += ATTN_SEG_WORDS) {
    if (segment[ATTN_SEG_LENGTH] == 0)
      continue;
    if (count < capacity) {
      uint32_t range[4] = {s, 0, segment[ATTN_SEG_LENGTH], ATTN_TILE_PARTIAL};
      memcpy(out + 4 * count, range, sizeof range);
    }
    ++count;
  }
  return count;
}

#define KERNEL(name, mask, dim)                                                                    \
  void name(const uint32_t *words, void *const *buffers, void *arena, uint32_t begin,              \
            uint32_t end) {                                                                        \
    attend(words, buffers, arena, begin, end, mask, dim);                                          \
  }                                                                                                \
  uint32_t name##_ranges(const uint32_t *words, void *const *buffers, uint32_t batch,              \
                         uint32_t head, uint32_t q_tile, uint32_t *out, uint32_t capacity) {       \
    return all_ranges(words, batch, out, capacity);                                                \
  }

KERNEL(reference_dense, mask_dense, 16)
KERNEL(reference_causal, mask_causal, 16)
KERNEL(reference_window, mask_window, 16)
/* Wrong on purpose: one key too many. `verify` must notice. */
static int mask_off_by_one(const struct Row *at, int32_t q, int32_t k) { return k <= q + 1; }
KERNEL(reference_off_by_one, mask_off_by_one, 16)
