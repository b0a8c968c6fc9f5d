// Attention-23 to 25 by the definition (ONNX 1.23's reading), row by row: the
// reference that runs where no compiled kernel is asked for.
#include "runtime/ops/attention.h"

#include "runtime/graph/quantise_caches.h"
#include "runtime/ops/kv_cache.h"
#include "runtime/ops/ops.h"
#include <cmath>
#include <limits>

namespace attn::ops {

namespace {

constexpr float kMasked = -std::numeric_limits<float>::infinity();

class ReferenceAttention final : public OpKernel {
public:
  ReferenceAttention(const MakeContext &c, const AttentionShape &s)
      : s_(s), q_(head_strides(c.inputs[0], s.heads)), o_(head_strides(c.outputs[0], s.heads)),
        keys_{1, 4, graph::kKeyScales, s.qk_dim, head_strides(c.inputs[1], s.kv_heads), {}},
        values_{2, 5, graph::kValueScales, s.v_dim, head_strides(c.inputs[2], s.kv_heads), {}} {
    if (c.has(4)) {
      keys_.past_strides = head_strides(c.inputs[4], s.kv_heads);
      values_.past_strides = head_strides(c.inputs[5], s.kv_heads);
    }
    if (s.mask_columns) {
      boolean_mask_ = c.inputs[3].dtype == DType::boolean;
      mask_ = graph::broadcast_strides({s.batch, s.heads, s.q_len, s.mask_columns}, c.inputs[3]);
    }
    if (s.products != Products::none)
      products_ = c.outputs[3].strides;
    output_count_ = c.outputs.size();
  }

  Status run(const RunArgs &args) override {
    const size_t row_bytes =
        static_cast<size_t>(s_.kv_len + 16 + std::max(s_.qk_dim, s_.v_dim)) * sizeof(float);
    if (!args.pool.reserve_arenas(row_bytes))
      return Status::environment("no memory for a row of ", s_.kv_len, " scores");
    args.pool.parallel_for(
        static_cast<uint32_t>(s_.batch * s_.heads * s_.q_len), 4,
        [&](uint32_t begin, uint32_t end, uint32_t thread) {
          auto *room = static_cast<float *>(args.pool.arena(thread, row_bytes));
          for (uint32_t r = begin; r < end; ++r)
            attend({r / s_.q_len / s_.heads, r / s_.q_len % s_.heads, r % s_.q_len}, args, room);
        });
    for (const Rows *rows : {&keys_, &values_}) {
      const Tensor *present = rows->input < output_count_ ? args.out[rows->input] : nullptr;
      if (present && present->data)
        join_past(s_.past_len ? args.in[rows->past] : nullptr, *args.in[rows->input], *present);
    }
    return {};
  }

private:
  // Keys or values: those of this call, and those before it.
  struct Rows {
    size_t input, past, scales;
    int64_t dim;
    HeadStrides strides, past_strides;
  };
  struct Query {
    int64_t batch, head, token;
  };

  // Row j of one head; a row of an int8 cache as f32, in `room`.
  const float *row(const Rows &rows, const RunArgs &args, int64_t b, int64_t head, int64_t j,
                   float *room) const {
    if (s_.int8_cache) {
      dequantise(args.in[rows.input]->as<int8_t>() + head * rows.strides.head +
                     j * rows.strides.token,
                 args.in[rows.scales]->as<float>()[head * s_.kv_len + j], room, rows.dim);
      return room;
    }
    const bool past = j < s_.past_len;
    const HeadStrides &at = past ? rows.past_strides : rows.strides;
    return args.in[past ? rows.past : rows.input]->as<float>() + b * at.batch + head * at.head +
           (past ? j : j - s_.past_len) * at.token;
  }

  float masked(float score, const RunArgs &args, const Query &at, int64_t j) const {
    const int64_t offset =
        at.batch * mask_[0] + at.head * mask_[1] + at.token * mask_[2] + j * mask_[3];
    if (boolean_mask_)
      return args.in[3]->as<uint8_t>()[offset] ? score : kMasked;
    const float bias = args.in[3]->as<float>()[offset];
    return bias == kMasked ? kMasked : score + bias; // selected: an excluded NaN cannot leak
  }

  void attend(const Query &at, const RunArgs &args, float *room) const {
    const Isa &table = isa();
    float *score = room + std::max(s_.qk_dim, s_.v_dim);
    const int64_t kv_head = at.head / (s_.heads / s_.kv_heads);
    int64_t begin = 0, end = s_.kv_len, own = at.token + s_.past_len; // the query's own position
    if (s_.has_lengths) {
      end = std::clamp<int64_t>(args.in[6]->as<int64_t>()[at.batch], 0, s_.kv_len);
      own = at.token + end - s_.q_len;
    }
    if (s_.causal)
      end = std::min(end, own + 1);
    if (s_.right_window >= 0)
      end = std::min(end, own + s_.right_window + 1);
    if (s_.left_window >= 0)
      begin = std::max<int64_t>(own - s_.left_window, 0);
    if (s_.mask_columns)
      end = std::min(end, s_.mask_columns);
    end = std::max<int64_t>(end, 0);
    begin = std::min(begin, end);

    // Products are shown of all keys, attended or not.
    const bool all = s_.products != Products::none;
    const int64_t first = all ? 0 : begin, last = all ? s_.kv_len : end;
    auto show = [&](Products what, int64_t j, float value) {
      if (s_.products == what)
        args.out[3]->as<float>()[at.batch * products_[0] + at.head * products_[1] +
                                 at.token * products_[2] + j * products_[3]] = value;
    };
    const float *query =
        args.in[0]->as<float>() + at.batch * q_.batch + at.head * q_.head + at.token * q_.token;
    for (int64_t j = first; j < last; ++j) {
      float x =
          s_.scale * table.dot(query, row(keys_, args, at.batch, kv_head, j, room), s_.qk_dim);
      show(Products::raw, j, x);
      if (s_.softcap > 0)
        x = s_.softcap * std::tanh(x / s_.softcap);
      show(Products::softcapped, j, x);
      if (j < begin || j >= end)
        x = kMasked;
      else if (s_.mask_columns)
        x = masked(x, args, at, j);
      show(Products::masked, j, x);
      score[j] = x;
    }
    if (s_.softmax_f64) // both give zeros where all is masked
      softmax_f64(score + first, score + first, last - first);
    else
      table.softmax(score + first, score + first, last - first);
    float *out =
        args.out[0]->as<float>() + at.batch * o_.batch + at.head * o_.head + at.token * o_.token;
    std::fill(out, out + s_.v_dim, 0.0f);
    for (int64_t j = first; j < last; ++j) {
      show(Products::probabilities, j, score[j]);
      if (score[j] != 0)
        table.axpy(score[j], row(values_, args, at.batch, kv_head, j, room), out, s_.v_dim);
    }
  }

  AttentionShape s_;
  HeadStrides q_, o_;
  Rows keys_, values_;
  Shape mask_, products_;
  bool boolean_mask_ = false;
  size_t output_count_ = 0;
};

} // namespace

KernelResult make_reference_attention(const MakeContext &c) {
  AttentionShape s;
  ATTN_RETURN_IF_ERROR(attention_shape(c, s));
  return KernelResult(std::make_unique<ReferenceAttention>(c, s));
}

KernelResult make_attention(const MakeContext &c) {
  return c.attention ? (*c.attention)(c) : make_reference_attention(c);
}

} // namespace attn::ops
