// Makes inputs, runs kernels in the emulator, compares; see EmulatedCall.h.
#include "tests/target/ptx/EmulatedCall.h"

#include "runtime/base/half.h"
#include "runtime/bundle/kernel_abi.h"
#include "tests/ptxemu/machine.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <random>

namespace attn::test {
namespace {

const BindingInfo *bindingOf(const KernelInfo &kernel, BindingRole role) {
  for (const BindingInfo &binding : kernel.bindings)
    if (binding.role == role)
      return &binding;
  return nullptr;
}

int slotsOf(const Call &call) {
  int slots = call.slots;
  for (const Segment &s : call.segments)
    slots = std::max(slots, s.slot + s.length);
  return slots;
}

float rounded(float value, ElementType type) {
  switch (type) {
  case ElementType::bf16:
    return bf16_to_f32(f32_to_bf16(value));
  case ElementType::f16:
    return f16_to_f32(f32_to_f16(value));
  case ElementType::i8:
    return std::clamp(std::nearbyint(value), -127.f, 127.f);
  default:
    return value;
  }
}

void encode(float value, ElementType type, uint8_t *at) {
  if (type == ElementType::f32) {
    std::memcpy(at, &value, 4);
  } else if (type == ElementType::i8) {
    *at = static_cast<uint8_t>(static_cast<int8_t>(std::isnan(value) ? 0 : value));
  } else {
    uint16_t bits = type == ElementType::bf16 ? f32_to_bf16(value) : f32_to_f16(value);
    std::memcpy(at, &bits, 2);
  }
}

double decode(const uint8_t *at, ElementType type) {
  float value;
  uint16_t bits;
  if (type == ElementType::f32) {
    std::memcpy(&value, at, 4);
    return value;
  }
  std::memcpy(&bits, at, 2);
  return type == ElementType::bf16 ? bf16_to_f32(bits) : f16_to_f32(bits);
}

// A tensor (batch, head, token[, dim]) in memory, with its four words.
struct Stored {
  std::vector<uint8_t> bytes;
  uint32_t words[4] = {};
  int heads, tokens, dim, size;
  size_t at(int b, int h, int t, int d) const {
    return (words[3] + size_t(b) * words[0] + size_t(h) * words[1] + size_t(t) * words[2] + d) *
           size;
  }
};

Stored layOut(int batch, int heads, int tokens, int dim, ElementType type, bool misaligned) {
  Stored stored;
  stored.heads = heads, stored.tokens = tokens, stored.dim = dim;
  stored.size = element_size(type);
  uint32_t row = dim + (misaligned && dim > 1 ? 3 : 0);
  stored.words[2] = row;
  stored.words[1] = row * tokens;
  stored.words[0] = row * tokens * heads;
  stored.words[3] = misaligned ? 1 : 0;
  // Not one byte behind the last element: reads past it must be found.
  size_t last = stored.at(batch - 1, heads - 1, tokens - 1, dim - 1);
  stored.bytes.assign(last + stored.size, 0xff);
  return stored;
}

Stored store(const std::vector<float> &values, int batch, int heads, int tokens, int dim,
             ElementType type, bool misaligned) {
  Stored stored = layOut(batch, heads, tokens, dim, type, misaligned);
  size_t i = 0;
  for (int b = 0; b < batch; ++b)
    for (int h = 0; h < heads; ++h)
      for (int t = 0; t < tokens; ++t)
        for (int d = 0; d < dim; ++d)
          encode(values[i++], type, &stored.bytes[stored.at(b, h, t, d)]);
  return stored;
}

// An axis that an input does not have is a stride of 0.
Stored storeInput(const Call::Input &input, const Call &call, int dim, ElementType type) {
  int heads = input.head ? call.heads : 1, rows = input.query ? call.queries : 1;
  int dims = input.dim ? dim : 1;
  std::vector<float> values;
  for (int b = 0; b < call.batch; ++b)
    for (int h = 0; h < heads; ++h)
      for (int r = 0; r < rows; ++r)
        for (int d = 0; d < dims; ++d)
          values.push_back(
              static_cast<float>(input.values[((b * rows + r) * heads + h) * dims + d]));
  Stored stored = store(values, call.batch, heads, rows, dims, type, call.misaligned);
  stored.words[1] *= input.head;
  stored.words[2] *= input.query;
  return stored;
}

// A table's words are its extents from the outermost.
Stored storeTable(const Call::Table &table, ElementType type) {
  Stored stored;
  stored.dim = table.values.size(), stored.size = element_size(type);
  for (size_t d = 0; d < table.extents.size(); ++d)
    stored.words[d] = table.extents[d];
  stored.bytes.resize(table.values.size() * stored.size);
  for (size_t i = 0; i < table.values.size(); ++i)
    if (type == ElementType::i32) {
      int32_t value = static_cast<int32_t>(table.values[i]);
      std::memcpy(&stored.bytes[i * 4], &value, 4);
    } else if (type == ElementType::u8) {
      stored.bytes[i] = static_cast<uint8_t>(table.values[i]);
    } else {
      encode(static_cast<float>(table.values[i]), type, &stored.bytes[i * stored.size]);
    }
  return stored;
}

} // namespace

Tensors makeTensors(const KernelInfo &kernel, const Call &call) {
  std::mt19937 random(static_cast<uint32_t>(call.seed) + 17);
  std::normal_distribution<float> normal;
  ElementType qType = bindingOf(kernel, BindingRole::q)->type;
  ElementType kType = bindingOf(kernel, BindingRole::k)->type;
  int slots = slotsOf(call);
  std::vector<bool> live(slots);
  for (const Segment &s : call.segments)
    for (int i = 0; i < s.length; ++i)
      live[s.slot + i] = true;
  Tensors t;
  t.q.resize(size_t(call.batch) * call.heads * call.queries * kernel.qk_dim);
  for (float &x : t.q)
    x = rounded(normal(random), qType);
  size_t groups = size_t(call.batch) * call.kvHeads;
  for (auto [tensor, dim] : {std::pair{&t.k, kernel.qk_dim}, {&t.v, kernel.v_dim}}) {
    tensor->resize(groups * slots * dim);
    for (size_t i = 0; i < tensor->size(); ++i)
      (*tensor)[i] = live[i / dim % slots]
                         ? rounded(normal(random) * (kType == ElementType::i8 ? 40 : 1), kType)
                         : NAN;
  }
  if (kType == ElementType::i8)
    for (auto *scale : {&t.kScale, &t.vScale}) {
      scale->resize(groups * slots);
      for (size_t i = 0; i < scale->size(); ++i)
        (*scale)[i] = live[i % slots] ? 0.01f + 0.03f * std::fabs(normal(random)) : NAN;
    }
  return t;
}

Attention reference(const KernelInfo &kernel, const Call &call, const Tensors &tensors) {
  int dq = kernel.qk_dim, dv = kernel.v_dim, slots = slotsOf(call);
  bool int8 = !tensors.kScale.empty();
  double scale = static_cast<float>(1 / std::sqrt(double(dq)));
  Attention result;
  for (int b = 0; b < call.batch; ++b)
    for (int h = 0; h < call.heads; ++h)
      for (int r = 0; r < call.queries; ++r) {
        const float *q = &tensors.q[((size_t(b) * call.heads + h) * call.queries + r) * dq];
        std::vector<double> row(q, q + dq);
        if (int8) {
          float largest = 0;
          for (double x : row)
            largest = std::max(largest, std::fabs(static_cast<float>(x)));
          float rowScale = largest / 127;
          for (double &x : row)
            x = rowScale == 0
                    ? 0
                    : std::clamp(std::nearbyint(static_cast<float>(x) / rowScale), -127.f, 127.f) *
                          double(rowScale);
        }
        size_t group = size_t(b) * call.kvHeads + h / (call.heads / call.kvHeads);
        std::vector<std::pair<double, size_t>> scores;
        for (const Segment &s : call.segments)
          for (int i = 0; i < s.length; ++i) {
            int qPosition = call.queryPosition + r, kPosition = s.position + i;
            if (!call.mask(qPosition, kPosition, h))
              continue;
            size_t slot = group * slots + s.slot + i;
            double dot = 0;
            for (int d = 0; d < dq; ++d)
              dot += row[d] * tensors.k[slot * dq + d];
            if (int8)
              dot *= tensors.kScale[slot];
            dot *= scale;
            scores.emplace_back(call.score ? call.score(dot, qPosition, kPosition, h) : dot, slot);
          }
        double largest = call.logits.empty() ? -INFINITY : call.logits[h], sum = 0;
        for (auto &[s, slot] : scores)
          largest = std::max(largest, s);
        if (!call.logits.empty())
          sum += std::exp(call.logits[h] - largest);
        std::vector<double> out(dv);
        for (auto &[s, slot] : scores) {
          double p = std::exp(s - largest);
          sum += p;
          for (int d = 0; d < dv; ++d)
            out[d] += p * tensors.v[slot * dv + d] * (int8 ? tensors.vScale[slot] : 1);
        }
        for (double x : out)
          result.out.push_back(sum > 0 ? x / sum : 0);
        result.lse.push_back(sum > 0 ? largest + std::log(sum) : -INFINITY);
      }
  return result;
}

// The map that the runtime would make of a stored tensor.
static ptxemu::TensorMap mapOf(const BindingInfo &binding, const Stored &stored, uint64_t address,
                               int batch) {
  ptxemu::TensorMap map;
  map.address = address + uint64_t(stored.words[3]) * stored.size;
  map.element_bytes = stored.size;
  map.swizzle_bytes = binding.map_bytes;
  map.dims = {uint64_t(stored.dim), uint64_t(stored.tokens), uint64_t(stored.heads),
              uint64_t(batch)};
  map.strides = {uint64_t(stored.size)};
  for (int d : {2, 1, 0})
    map.strides.push_back(uint64_t(stored.words[d]) * stored.size);
  map.box = {uint32_t(binding.map_bytes / stored.size), binding.map_rows, 1, 1};
  return map;
}

Attention emulate(const std::string &ptx, const KernelInfo &kernel, const Call &call,
                  const Tensors &tensors) {
  int slots = slotsOf(call);
  std::vector<Stored> buffers;
  size_t nextTable = 0, nextInput = 0;
  uint32_t partElements[2] = {};
  for (const BindingInfo &binding : kernel.bindings) {
    auto keys = [&](const std::vector<float> &values, int dim) {
      return store(values, call.batch, call.kvHeads, slots, dim, binding.type, call.misaligned);
    };
    switch (binding.role) {
    case BindingRole::q:
      buffers.push_back(store(tensors.q, call.batch, call.heads, call.queries, kernel.qk_dim,
                              binding.type, call.misaligned));
      break;
    case BindingRole::k:
      buffers.push_back(keys(tensors.k, kernel.qk_dim));
      break;
    case BindingRole::v:
      buffers.push_back(keys(tensors.v, kernel.v_dim));
      break;
    case BindingRole::k_scale:
      buffers.push_back(keys(tensors.kScale, 1));
      break;
    case BindingRole::v_scale:
      buffers.push_back(keys(tensors.vScale, 1));
      break;
    case BindingRole::o:
      buffers.push_back(layOut(call.batch, call.heads, call.queries, kernel.v_dim, binding.type,
                               call.misaligned));
      break;
    case BindingRole::lse:
      buffers.push_back(
          layOut(call.batch, call.heads, call.queries, 1, binding.type, call.misaligned));
      break;
    case BindingRole::part_o:
    case BindingRole::part_lse: { // one after another, as if they were batch entries
      bool outputs = binding.role == BindingRole::part_o;
      std::vector<float> values;
      for (const Call::Part &part : call.parts)
        values.insert(values.end(), (outputs ? part.out : part.lse).begin(),
                      (outputs ? part.out : part.lse).end());
      buffers.push_back(store(values, call.batch * int(call.parts.size()), call.heads, call.queries,
                              outputs ? kernel.v_dim : 1, binding.type, call.misaligned));
      partElements[outputs ? ATTN_PART_O : ATTN_PART_LSE] = buffers.back().words[0] * call.batch;
      break;
    }
    case BindingRole::input:
      buffers.push_back(storeInput(call.inputs[nextInput++], call, kernel.v_dim, binding.type));
      break;
    default:
      buffers.push_back(storeTable(nextTable < call.tables.size()
                                       ? call.tables[nextTable++]
                                       : Call::Table{{int64_t(call.logits.size())},
                                                     {call.logits.begin(), call.logits.end()}},
                                   binding.type));
    }
  }
  uint32_t bindings = kernel.bindings.size();
  std::vector<uint32_t> words(ATTN_W_BINDINGS + ATTN_BINDING_WORDS * bindings);
  for (uint32_t i = 0; i < bindings; ++i)
    std::memcpy(&words[ATTN_W_BINDINGS + ATTN_BINDING_WORDS * i], buffers[i].words, 16);
  words[ATTN_W_Q_LEN] = call.queries;
  words[ATTN_W_BATCH] = call.batch;
  words[ATTN_W_HEADS] = call.heads;
  words[ATTN_W_KV_HEADS] = call.kvHeads;
  words[ATTN_W_Q_POSITION] = call.queryPosition;
  words[ATTN_W_SEGMENTS] = call.segments.size();
  double scale = call.scale ? call.scale : 1 / std::sqrt(double(kernel.qk_dim));
  words[ATTN_W_SCALE] = std::bit_cast<uint32_t>(static_cast<float>(scale));
  words[ATTN_W_SEGMENT_BASE] = words.size();
  for (const Segment &s : call.segments)
    for (int word : {s.slot, s.length, s.position, 0})
      words.push_back(word);
  if (!call.parts.empty())
    words[ATTN_W_SEGMENTS] = call.parts.size();
  for (uint32_t i = 0; i < call.parts.size(); ++i)
    words.insert(words.end(), {i * partElements[0], i * partElements[1], 0u, 0u});
  words[ATTN_W_PARAMS] = words.size();
  for (size_t i = 0; i < call.params.size(); ++i)
    words.push_back(kernel.params[i].type == ElementType::f32
                        ? std::bit_cast<uint32_t>(static_cast<float>(call.params[i]))
                        : static_cast<uint32_t>(static_cast<int32_t>(call.params[i])));

  ptxemu::Module module = ptxemu::parse_module(ptx);
  ptxemu::GlobalMemory global;
  ptxemu::Launch launch;
  launch.seed = call.seed;
  launch.shared_bytes = kernel.shared_bytes;
  launch.grid[0] = (call.queries + kernel.block_q - 1) / kernel.block_q;
  launch.grid[1] = call.heads;
  launch.grid[2] = call.batch;
  launch.params.push_back(global.add(words.data(), words.size() * 4, false));
  for (uint32_t i = 0; i < bindings; ++i)
    launch.params.push_back(
        global.add(buffers[i].bytes.data(), buffers[i].bytes.size(), kernel.bindings[i].written));
  for (uint32_t i = 0; i < bindings; ++i)
    if (kernel.bindings[i].map_bytes) {
      launch.maps[launch.params.size()] =
          mapOf(kernel.bindings[i], buffers[i], launch.params[i + 1], call.batch);
      launch.params.push_back(0);
    }
  ptxemu::launch(module, kernel.symbol, launch, global);

  Attention result;
  for (uint32_t i = 0; i < bindings; ++i) {
    const BindingInfo &binding = kernel.bindings[i];
    if (!binding.written)
      continue;
    std::vector<double> &values = binding.role == BindingRole::o ? result.out : result.lse;
    for (int b = 0; b < call.batch; ++b)
      for (int h = 0; h < call.heads; ++h)
        for (int t = 0; t < call.queries; ++t)
          for (int d = 0; d < buffers[i].dim; ++d)
            values.push_back(decode(&buffers[i].bytes[buffers[i].at(b, h, t, d)], binding.type));
  }
  return result;
}

double outputError(const KernelInfo &kernel, const Attention &got, const Attention &expected) {
  double difference = 0, norm = 0, worstRow = 0;
  size_t dim = kernel.v_dim;
  for (size_t row = 0; row < expected.out.size() / dim; ++row) {
    double d = 0, n = 0;
    for (size_t i = row * dim; i < (row + 1) * dim; ++i) {
      double delta = got.out[i] - expected.out[i];
      d += std::isnan(delta) ? INFINITY : delta * delta;
      n += expected.out[i] * expected.out[i];
    }
    difference += d;
    norm += n;
    // The floor keeps rows that are almost zero from counting relative to nothing.
    worstRow =
        std::max(worstRow, std::sqrt(d) / (std::sqrt(n) + 1e-2 * std::sqrt(double(dim))) / 4);
  }
  return std::max(norm > 0 ? std::sqrt(difference / norm) : std::sqrt(difference), worstRow);
}

double lseError(const Attention &got, const Attention &expected) {
  double worst = 0;
  for (size_t i = 0; i < expected.lse.size(); ++i) {
    if (std::isinf(expected.lse[i]) && got.lse[i] == expected.lse[i])
      continue;
    double d = std::fabs(got.lse[i] - expected.lse[i]);
    worst = std::isnan(d) ? INFINITY : std::max(worst, d);
  }
  return worst;
}

std::string checkMask(const std::string &ptx, const KernelInfo &kernel, Call call) {
  Tensors tensors = makeTensors(kernel, call);
  int dv = kernel.v_dim, slots = slotsOf(call);
  std::fill(tensors.q.begin(), tensors.q.end(), 0.f);
  for (int first = 0; first < slots; first += dv) { // as many keys at a time as V has columns
    for (size_t i = 0; i < tensors.v.size(); ++i)
      if (!std::isnan(tensors.v[i]))
        tensors.v[i] = static_cast<int>(i / dv % slots) - first == static_cast<int>(i % dv) ? 1 : 0;
    Attention got = emulate(ptx, kernel, call, tensors);
    for (int b = 0; b < call.batch; ++b)
      for (int h = 0; h < call.heads; ++h)
        for (int r = 0; r < call.queries; ++r)
          for (const Segment &s : call.segments)
            for (int i = 0; i < s.length; ++i) {
              int column = s.slot + i - first;
              if (column < 0 || column >= dv)
                continue;
              double o = got.out[((size_t(b) * call.heads + h) * call.queries + r) * dv + column];
              bool admitted = call.mask(call.queryPosition + r, s.position + i, h);
              if ((o != 0) != admitted)
                return "batch " + std::to_string(b) + " head " + std::to_string(h) + " query " +
                       std::to_string(call.queryPosition + r) + " key " +
                       std::to_string(s.position + i) + (admitted ? " is missing" : " leaks");
            }
  }
  return "";
}

std::string checkNan(const std::string &ptx, const KernelInfo &kernel, const Call &call, int row,
                     int key) {
  Tensors tensors = makeTensors(kernel, call), poisoned = tensors;
  poisoned.q[static_cast<size_t>(row) * kernel.qk_dim + 3] = NAN;
  if (poisoned.kScale.empty())
    poisoned.k[static_cast<size_t>(key) * kernel.qk_dim + 7] = NAN;
  else
    poisoned.kScale[static_cast<size_t>(key)] = NAN;
  Attention clean = emulate(ptx, kernel, call, tensors), got = emulate(ptx, kernel, call, poisoned);
  for (int r = 0; r < call.queries; ++r) {
    bool nan = r == row || call.mask(call.queryPosition + r, key, 0);
    auto fits = [&](double value, double before) {
      return nan ? std::isnan(value) : value == before;
    };
    const size_t at = static_cast<size_t>(r);
    if (!got.lse.empty() && !fits(got.lse[at], clean.lse[at]))
      return "lse of row " + std::to_string(r) + ": " + std::to_string(got.lse[at]);
    for (size_t i = at * kernel.v_dim; i < (at + 1) * kernel.v_dim; ++i)
      if (!fits(got.out[i], clean.out[i]))
        return "row " + std::to_string(r) + ": " + std::to_string(got.out[i]);
  }
  return "";
}

} // namespace attn::test
