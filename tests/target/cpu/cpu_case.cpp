// Lays tensors out as asked, with NaN wherever the kernel must not look, runs the
// kernel once per work item order, and evaluates the definition.
#include "tests/target/cpu/cpu_case.h"

#include "runtime/base/half.h"
#include "tests/target/cpu/guarded_buffer.h"

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <random>

using attn::BindingRole;
using attn::ElementType;

namespace {

// A 4-D tensor in guarded memory; rank 3 has dim 1.
struct Tensor {
  int batch = 0, heads = 0, tokens = 0, dim = 0;
  ElementType type = ElementType::f32;
  uint32_t stride_batch = 0, stride_head = 0, stride_token = 0;
  GuardedBuffer memory;

  size_t offset(int b, int h, int t, int d) const {
    return size_t(b) * stride_batch + size_t(h) * stride_head + size_t(t) * stride_token + d;
  }
  void set(int b, int h, int t, int d, float x) {
    char *at = memory.data() + offset(b, h, t, d) * element_size(type);
    uint16_t half = type == ElementType::bf16 ? attn::f32_to_bf16(x) : attn::f32_to_f16(x);
    int8_t byte = type == ElementType::i8 ? int8_t(std::lrintf(x)) : int8_t(0);
    const void *from = element_size(type) == 4   ? static_cast<const void *>(&x)
                       : element_size(type) == 2 ? static_cast<const void *>(&half)
                                                 : static_cast<const void *>(&byte);
    std::memcpy(at, from, element_size(type));
  }
  float get(int b, int h, int t, int d) const {
    const char *at = memory.data() + offset(b, h, t, d) * element_size(type);
    float x = 0;
    uint16_t half = 0;
    switch (type) {
    case ElementType::bf16:
    case ElementType::f16:
      std::memcpy(&half, at, 2);
      return type == ElementType::bf16 ? attn::bf16_to_f32(half) : attn::f16_to_f32(half);
    case ElementType::i8:
      return *reinterpret_cast<const int8_t *>(at);
    default:
      std::memcpy(&x, at, 4);
      return x;
    }
  }
};

Tensor make_tensor(const CpuCase &c, int heads, int tokens, int dim, ElementType type) {
  Tensor t;
  t.batch = c.batch, t.heads = heads, t.tokens = tokens, t.dim = dim, t.type = type;
  size_t count = 0;
  switch (c.layout) {
  case Layout::heads_first:
    t.stride_token = dim, t.stride_head = dim * tokens, t.stride_batch = t.stride_head * heads;
    break;
  case Layout::tokens_first:
    t.stride_head = dim, t.stride_token = dim * heads, t.stride_batch = t.stride_token * tokens;
    break;
  case Layout::padded:
    t.stride_token = dim + 3, t.stride_head = t.stride_token * tokens + 5;
    t.stride_batch = t.stride_head * heads + 7;
    break;
  }
  if (tokens > 0)
    count = t.offset(c.batch - 1, heads - 1, tokens - 1, dim - 1) + 1;
  t.memory = GuardedBuffer(count * element_size(type));
  return t;
}

ElementType type_of(const std::string &name) {
  return name == "bf16" ? ElementType::bf16 : name == "f16" ? ElementType::f16 : ElementType::f32;
}

int slots_of(const CpuCase &c) {
  int slots = c.slots;
  for (const CpuSegment &s : c.segments)
    slots = std::max(slots, s.slot + s.length);
  return slots;
}

bool in_segment(const CpuCase &c, int slot) {
  for (const CpuSegment &s : c.segments)
    if (slot >= s.slot && slot < s.slot + s.length)
      return true;
  return false;
}

struct Tensors {
  Tensor q, k, v, k_scale, v_scale, o, lse;
  // What the kernel's arithmetic is to be compared with: dequantised values.
  std::function<double(int b, int h, int t, int d)> q_value, k_value, v_value;
};

using Fill = std::function<float(int b, int h, int t, int d)>;

// Quantises `x` to int8 as the contract says; returns the scale.
float quantise(std::vector<float> &x) {
  float largest = 0;
  for (float v : x)
    largest = std::max(largest, std::fabs(v));
  float scale = largest / 127;
  for (float &v : x)
    v = scale > 0 ? std::nearbyintf(v / scale) : 0;
  return scale;
}

void fill_keys(const CpuCase &c, Tensor &t, Tensor *scales, const Fill &fill) {
  for (int b = 0; b < t.batch; ++b)
    for (int h = 0; h < t.heads; ++h)
      for (int s = 0; s < t.tokens; ++s) {
        if (!in_segment(c, s))
          continue; // stays NaN
        std::vector<float> row(t.dim);
        for (int d = 0; d < t.dim; ++d)
          row[d] = fill(b, h, s, d);
        if (scales)
          scales->set(b, h, s, 0, quantise(row));
        for (int d = 0; d < t.dim; ++d)
          t.set(b, h, s, d, row[d]);
      }
}

Tensors make_tensors(const CpuCase &c, const Fill &q, const Fill &k, const Fill &v) {
  ElementType type = type_of(c.kernel.type), kv = c.kernel.int8 ? ElementType::i8 : type;
  int slots = slots_of(c);
  Tensors t;
  t.q = make_tensor(c, c.heads, c.q_len, c.kernel.qk_dim, type);
  t.k = make_tensor(c, c.kv_heads, slots, c.kernel.qk_dim, kv);
  t.v = make_tensor(c, c.kv_heads, slots, c.kernel.v_dim, kv);
  t.o = make_tensor(c, c.heads, c.q_len, c.kernel.v_dim, type);
  t.lse = make_tensor(c, c.heads, c.q_len, 1, ElementType::f32);
  if (c.kernel.int8) {
    t.k_scale = make_tensor(c, c.kv_heads, slots, 1, ElementType::f32);
    t.v_scale = make_tensor(c, c.kv_heads, slots, 1, ElementType::f32);
  }
  for (int b = 0; b < c.batch; ++b)
    for (int h = 0; h < c.heads; ++h)
      for (int s = 0; s < c.q_len; ++s)
        for (int d = 0; d < c.kernel.qk_dim; ++d)
          t.q.set(b, h, s, d, q(b, h, s, d));
  fill_keys(c, t.k, c.kernel.int8 ? &t.k_scale : nullptr, k);
  fill_keys(c, t.v, c.kernel.int8 ? &t.v_scale : nullptr, v);
  return t;
}

std::function<float()> noise(unsigned seed) {
  auto random = std::make_shared<std::mt19937>(seed);
  auto normal = std::make_shared<std::normal_distribution<float>>();
  return [=] { return (*normal)(*random); };
}

void launch(const CpuCase &c, const CpuKernel &kernel, Form form, Tensors &t,
            uint32_t grain = 0) {
  std::vector<uint32_t> words = call_words(c, kernel.info);
  std::vector<KernelBuffer> buffers;
  size_t index = 0;
  for (const attn::BindingInfo &binding : kernel.info.bindings) {
    Tensor *tensor = nullptr;
    switch (binding.role) {
    case BindingRole::q:
      tensor = &t.q;
      break;
    case BindingRole::k:
      tensor = &t.k;
      break;
    case BindingRole::v:
      tensor = &t.v;
      break;
    case BindingRole::o:
      tensor = &t.o;
      break;
    case BindingRole::lse:
      tensor = &t.lse;
      break;
    case BindingRole::k_scale:
      tensor = &t.k_scale;
      break;
    case BindingRole::v_scale:
      tensor = &t.v_scale;
      break;
    default:
      break;
    }
    uint32_t *w = &words[ATTN_W_BINDINGS + ATTN_BINDING_WORDS * index++];
    if (!tensor) {
      const std::vector<uint32_t> &table = c.tables.at(binding.name);
      buffers.push_back({const_cast<uint32_t *>(table.data()), 4 * table.size()});
      continue;
    }
    w[0] = tensor->stride_batch, w[1] = tensor->stride_head, w[2] = tensor->stride_token;
    buffers.push_back({tensor->memory.data(), tensor->memory.size()});
  }
  if (form == Form::few_rows) {
    std::string problem = call_decode(kernel, words, buffers, grain);
    if (!problem.empty())
      std::fprintf(stderr, "%s\n", problem.c_str());
    return;
  }
  uint32_t q_tiles = (c.q_len + kernel.info.block_q - 1) / kernel.info.block_q;
  uint32_t items = q_tiles * c.heads * c.batch;
  // Two halves, the second first: work items are independent.
  std::string problem = call_kernel(kernel, words, buffers, items / 2, items);
  problem += call_kernel(kernel, words, buffers, 0, items / 2);
  if (!problem.empty())
    std::fprintf(stderr, "%s\n", problem.c_str()); // the outputs are still NaN
}

struct Row {
  std::vector<double> o;
  double lse;
};

// O and LSE of one row by definition, from the values in memory.
Row reference_row(const CpuCase &c, const Tensors &t, int b, int h, int row) {
  int kv_head = h / (c.heads / c.kv_heads), q_position = c.q_position + row;
  float scale = c.scale > 0 ? c.scale : 1 / std::sqrt(float(c.kernel.qk_dim));
  std::vector<float> q(c.kernel.qk_dim);
  for (int d = 0; d < c.kernel.qk_dim; ++d)
    q[d] = t.q.get(b, h, row, d);
  double q_scale = c.kernel.int8 ? quantise(q) : 1;
  std::vector<std::pair<double, int>> scores; // of admitted keys, with their slots
  for (const CpuSegment &segment : c.segments)
    for (int i = 0; i < segment.length; ++i) {
      int k_position = segment.position + i, slot = segment.slot + i;
      if (!c.admitted(q_position, k_position, h))
        continue;
      double s = 0;
      for (int d = 0; d < c.kernel.qk_dim; ++d)
        s += double(q[d]) * t.k.get(b, kv_head, slot, d);
      s *= double(scale) * q_scale * (c.kernel.int8 ? t.k_scale.get(b, kv_head, slot, 0) : 1.0);
      scores.push_back({c.score ? c.score(s, q_position, k_position, h) : s, slot});
    }
  double largest = c.sink ? c.sink(h) : -INFINITY;
  for (auto &[s, slot] : scores)
    largest = std::max(largest, s);
  Row result{std::vector<double>(c.kernel.v_dim, 0.0), -INFINITY};
  if (!std::isfinite(largest))
    return result;
  double sum = c.sink ? std::exp(c.sink(h) - largest) : 0;
  for (auto &[s, slot] : scores) {
    double p = std::exp(s - largest);
    double v_scale = c.kernel.int8 ? t.v_scale.get(b, kv_head, slot, 0) : 1.0;
    sum += p;
    for (int d = 0; d < c.kernel.v_dim; ++d)
      result.o[d] += p * v_scale * t.v.get(b, kv_head, slot, d);
  }
  for (double &x : result.o)
    x /= sum;
  result.lse = largest + std::log(sum);
  return result;
}

// Bytes of `t` that belong to no element still hold 0xff.
bool strayed(const Tensor &t) {
  std::vector<bool> owned(t.memory.size(), false);
  for (int b = 0; b < t.batch; ++b)
    for (int h = 0; h < t.heads; ++h)
      for (int s = 0; s < t.tokens; ++s)
        for (size_t i = 0; i < t.dim * element_size(t.type); ++i)
          owned[t.offset(b, h, s, 0) * element_size(t.type) + i] = true;
  for (size_t i = 0; i < owned.size(); ++i)
    if (!owned[i] && uint8_t(t.memory.data()[i]) != 0xff)
      return true;
  return false;
}

} // namespace

std::vector<uint32_t> call_words(const CpuCase &c, const attn::KernelInfo &info) {
  uint32_t bindings = info.bindings.size();
  std::vector<uint32_t> words(ATTN_W_BINDINGS + ATTN_BINDING_WORDS * bindings, 0);
  words[ATTN_W_Q_LEN] = c.q_len;
  words[ATTN_W_BATCH] = c.batch;
  words[ATTN_W_HEADS] = c.heads;
  words[ATTN_W_KV_HEADS] = c.kv_heads;
  words[ATTN_W_Q_POSITION] = c.q_position;
  float scale = c.scale > 0 ? c.scale : 1 / std::sqrt(float(c.kernel.qk_dim));
  std::memcpy(&words[ATTN_W_SCALE], &scale, 4);
  for (uint32_t i = 0; i < bindings; ++i)
    if (info.bindings[i].role == BindingRole::table) {
      const auto &extents = c.extents.at(info.bindings[i].name);
      std::copy(extents.begin(), extents.end(), &words[ATTN_W_BINDINGS + ATTN_BINDING_WORDS * i]);
    }
  words[ATTN_W_PARAMS] = words.size();
  words.insert(words.end(), c.params.begin(), c.params.end());
  words[ATTN_W_SEGMENT_BASE] = words.size();
  words[ATTN_W_SEGMENTS] = c.segments.size();
  for (const CpuSegment &s : c.segments) {
    words.insert(words.end(), {uint32_t(s.slot), uint32_t(s.length), uint32_t(s.position), 0});
    words[ATTN_W_KV_LEN] += s.length;
  }
  return words;
}

CpuErrors run_cpu(const CpuCase &c, const CpuKernel &kernel, Form form) {
  auto normal = noise(7);
  Fill fill = [&](int, int, int, int) { return normal(); };
  Tensors t = make_tensors(c, fill, fill, fill);
  launch(c, kernel, form, t);
  CpuErrors e;
  e.strayed = strayed(t.o) || (c.kernel.lse && strayed(t.lse));
  double error = 0, norm = 0;
  for (int b = 0; b < c.batch; ++b)
    for (int h = 0; h < c.heads; ++h)
      for (int s = 0; s < c.q_len; ++s) {
        Row row = reference_row(c, t, b, h, s);
        double row_error = 0, row_norm = 0;
        for (int d = 0; d < c.kernel.v_dim; ++d) {
          double x = t.o.get(b, h, s, d);
          row_error += (x - row.o[d]) * (x - row.o[d]);
          row_norm += row.o[d] * row.o[d];
        }
        if (!std::isfinite(row_error))
          e.frobenius = INFINITY;
        error += row_error, norm += row_norm;
        if (row_norm == 0)
          e.worst_row = std::max(e.worst_row, row_error == 0 ? 0.0 : INFINITY);
        else
          e.worst_row = std::max(e.worst_row, std::sqrt(row_error / row_norm));
        if (!c.kernel.lse)
          continue;
        double lse = t.lse.get(b, h, s, 0);
        if (std::isinf(row.lse) || !std::isfinite(lse))
          e.lse = lse == row.lse ? e.lse : INFINITY;
        else
          e.lse = std::max(e.lse, std::fabs(lse - row.lse));
      }
  if (norm > 0)
    e.frobenius = std::max(e.frobenius, std::sqrt(error / norm));
  return e;
}

std::vector<char> decoded_bytes(const CpuCase &c, const CpuKernel &kernel, uint32_t grain) {
  auto normal = noise(7);
  Fill fill = [&](int, int, int, int) { return normal(); };
  Tensors t = make_tensors(c, fill, fill, fill);
  launch(c, kernel, Form::few_rows, t, grain);
  std::vector<char> bytes(t.o.memory.data(), t.o.memory.data() + t.o.memory.size());
  bytes.insert(bytes.end(), t.lse.memory.data(), t.lse.memory.data() + t.lse.memory.size());
  return bytes;
}

int mask_mismatches(const CpuCase &c, const CpuKernel &kernel, Form form) {
  Tensors t = make_tensors(
      c, [](int, int, int, int) { return 0.0f; }, [](int, int, int, int) { return 1.0f; },
      [](int, int, int s, int d) { return s == d ? 1.0f : 0.0f; });
  launch(c, kernel, form, t);
  int mismatches = 0;
  for (int b = 0; b < c.batch; ++b)
    for (int h = 0; h < c.heads; ++h)
      for (int row = 0; row < c.q_len; ++row)
        for (const CpuSegment &segment : c.segments)
          for (int i = 0; i < segment.length; ++i) {
            bool expected = c.admitted(c.q_position + row, segment.position + i, h);
            bool found = t.o.get(b, h, row, segment.slot + i) != 0;
            mismatches += expected != found;
          }
  return mismatches;
}
