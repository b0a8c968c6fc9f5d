// Attention in double precision over plain arrays, for the conformance tests:
// written from the definition, one row at a time.
#pragma once

#include "runtime/call/attention_call.h"
#include <cmath>
#include <functional>
#include <vector>

namespace attn {

struct Problem {
  int64_t batch = 1, heads = 1, kv_heads = 1, rows = 1, slots = 1, dim = 16;
  std::vector<float> q, k, v; // contiguous
  std::vector<Segment> segments;
  uint32_t segments_per_batch = 0;
  int32_t q_position = 0;
};

struct Expected {
  std::vector<double> o, lse;
};

using MaskFunction = std::function<bool(int64_t q_position, int64_t k_position)>;

inline Expected expected_attention(const Problem &p, const MaskFunction &mask) {
  Expected result;
  result.o.assign(p.batch * p.heads * p.rows * p.dim, 0);
  result.lse.assign(p.batch * p.heads * p.rows, -INFINITY);
  std::vector<Segment> shared = p.segments;
  if (shared.empty())
    shared = {{0, static_cast<int32_t>(p.slots), 0}};
  for (int64_t b = 0; b < p.batch; ++b)
    for (int64_t h = 0; h < p.heads; ++h)
      for (int64_t r = 0; r < p.rows; ++r) {
        int64_t kv = b * p.kv_heads + h / (p.heads / p.kv_heads);
        int64_t row = (b * p.heads + h) * p.rows + r;
        std::vector<std::pair<double, int64_t>> scores; // score, slot
        size_t first = p.segments_per_batch * b;
        size_t count = p.segments_per_batch ? p.segments_per_batch : shared.size();
        for (size_t s = first; s < first + count; ++s)
          for (int64_t i = 0; i < shared[s].length; ++i) {
            if (!mask(p.q_position + r, shared[s].first_position + i))
              continue;
            int64_t slot = shared[s].first_slot + i;
            double dot = 0;
            for (int64_t d = 0; d < p.dim; ++d)
              dot += double(p.q[row * p.dim + d]) * p.k[(kv * p.slots + slot) * p.dim + d];
            scores.emplace_back(dot / std::sqrt(double(p.dim)), slot);
          }
        if (scores.empty())
          continue;
        double maximum = -INFINITY, sum = 0;
        for (auto [score, slot] : scores)
          maximum = std::max(maximum, score);
        for (auto [score, slot] : scores) {
          double weight = std::exp(score - maximum);
          sum += weight;
          for (int64_t d = 0; d < p.dim; ++d)
            result.o[row * p.dim + d] += weight * p.v[(kv * p.slots + slot) * p.dim + d];
        }
        for (int64_t d = 0; d < p.dim; ++d)
          result.o[row * p.dim + d] /= sum;
        result.lse[row] = maximum + std::log(sum);
      }
  return result;
}

} // namespace attn
