// Keys and values that live between runs: int8 rows with scales, and roped keys
// that follow their cache.
#include "runtime/ops/kv_cache.h"

#include "runtime/ops/rope.h"

namespace attn::ops {

void dequantise(const int8_t *x, float scale, float *y, int64_t n) {
  for (int64_t i = 0; i < n; ++i)
    y[i] = static_cast<float>(x[i]) * scale;
}

// ---- attn::QuantisedScatter ------------------------------------------------------
// TensorScatter of f32 rows into an int8 cache, one scale per (head, token).
// Inputs: cache, update, write index, scales; outputs: cache, scales, in place.

Status infer_quantised_scatter(InferContext &c) {
  c.outputs.assign(2, {});
  c.outputs[0] = c.in(0)->type;
  c.outputs[1] = c.in(3)->type;
  return {};
}

KernelResult make_quantised_scatter(const MakeContext &c) {
  const Shape shape = c.outputs[0].shape; // (1, heads, slots, dim)
  const int64_t rows = c.inputs[1].shape[2], heads = shape[1], dim = shape[3];
  std::string label = c.node.label();
  return make_kernel([=, &table = isa()](const RunArgs &args) {
    const Tensor &update = *args.in[1], &cache = *args.out[0], &scales = *args.out[1];
    const int64_t at = args.in[2]->as<int64_t>()[0];
    if (at < 0 || at + rows > shape[2])
      return Status::invalid_input("writes ", rows, " rows at ", at, " of a cache of ", shape[2])
          .at(label);
    for_rows(args.pool, heads * rows, heads * rows * dim, [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) {
        const int64_t head = r / rows, token = r % rows, slot = head * shape[2] + at + token;
        table.quantise(update.as<float>() + head * update.strides[1] + token * update.strides[2],
                       cache.as<int8_t>() + slot * dim, scales.as<float>() + slot, dim);
      }
    });
    cache.count_writes(at, rows);
    scales.count_writes(at, rows);
    return Status();
  });
}

// ---- attn::RopeCache -------------------------------------------------------------
// RotaryEmbedding of a cache that is updated in place. Its output lives between
// runs; only keys that were written or whose position has changed since are
// rotated again, with the same bits. Inputs: X, cos, sin, positions and, where X is
// int8, its scales; outputs: the roped keys and, where X is int8, their scales.
// Int8 keys are always roped from the cache, never from roped ones, so that
// rounding does not add up.

namespace {

class RopeCache final : public OpKernel {
public:
  RopeCache(const MakeContext &c, const RopeShape &s)
      : s_(s), in_(rope_strides(c.inputs[0], s)), out_(rope_strides(c.outputs[0], s)),
        table_rows_(c.inputs[1].shape[0]), int8_(c.inputs[0].dtype == DType::i8), table_(isa()),
        roped_at_(static_cast<size_t>(s.tokens), -1), roped_write_(static_cast<size_t>(s.tokens)),
        label_(c.node.label()) {
    stale_.reserve(static_cast<size_t>(s.tokens));
  }

  Status run(const RunArgs &args) override {
    const int64_t *positions = args.in[3]->as<int64_t>();
    const uint64_t *writes = args.in[0]->row_writes;
    stale_.clear();
    for (int64_t t = 0; t < s_.tokens; ++t) {
      const size_t i = static_cast<size_t>(t);
      if (positions[t] == roped_at_[i] && writes[t] == roped_write_[i])
        continue;
      ATTN_RETURN_IF_ERROR(check_rope_position(positions[t], table_rows_).at(label_));
      roped_at_[i] = positions[t];
      roped_write_[i] = writes[t];
      stale_.push_back(t);
      for (size_t out = 0; out < (int8_ ? 2u : 1u); ++out)
        args.out[out]->count_writes(t, 1);
    }
    const int64_t count = static_cast<int64_t>(stale_.size()), half = s_.rotated / 2;
    for_rows(
        args.pool, s_.heads * count, s_.heads * count * s_.dim, [&](int64_t begin, int64_t end) {
          for (int64_t r = begin; r < end; ++r) {
            int64_t token = stale_[static_cast<size_t>(r % count)], head = r / count;
            int64_t at = positions[token] * half;
            rope(args, head, token, args.in[1]->as<float>() + at, args.in[2]->as<float>() + at);
          }
        });
    return {};
  }

private:
  void rope(const RunArgs &args, int64_t head, int64_t token, const float *cosine,
            const float *sine) const {
    const int64_t from = head * in_.head + token * in_.token,
                  to = head * out_.head + token * out_.token;
    if (!int8_) {
      rope_row(table_, s_, args.in[0]->as<float>() + from, cosine, sine,
               args.out[0]->as<float>() + to);
      return;
    }
    alignas(64) float raw[kMaxQuantisedDim], roped[kMaxQuantisedDim];
    const int64_t row = head * s_.tokens + token;
    dequantise(args.in[0]->as<int8_t>() + from, args.in[4]->as<float>()[row], raw, s_.dim);
    rope_row(table_, s_, raw, cosine, sine, roped);
    table_.quantise(roped, args.out[0]->as<int8_t>() + to, args.out[1]->as<float>() + row, s_.dim);
  }

  RopeShape s_;
  RopeStrides in_, out_;
  int64_t table_rows_;
  bool int8_;
  const Isa &table_;
  std::vector<int64_t> roped_at_;     // per token: the position that it was rotated to
  std::vector<uint64_t> roped_write_; // and which write of the cache that was
  std::vector<int64_t> stale_;
  std::string label_;
};

} // namespace

KernelResult make_rope_cache(const MakeContext &c) {
  RopeShape s;
  ATTN_RETURN_IF_ERROR(rope_shape(c, s));
  if (s.batch != 1)
    return Status::internal("a cache of one stream is expected");
  return KernelResult(std::make_unique<RopeCache>(c, s));
}

} // namespace attn::ops
