// Compiles in process, validates with spirv-val, launches, and compares.
#include "tests/target/spirv/kernel_case.h"

#include "dialects/tile/TileDialect.h"
#include "runtime/base/half.h"

#include "mlir/IR/MLIRContext.h"
#include "mlir/Parser/Parser.h"
#include <cmath>
#include <cstring>
#include <ctime>
#include <fstream>
#include <gtest/gtest.h>
#include <random>
#include <unistd.h>

using attn::ElementType;

namespace {

bool validates(const std::string &image) {
  std::string path = testing::TempDir() + "attn_" + std::to_string(getpid()) + ".spv";
  std::ofstream(path, std::ios::binary).write(image.data(), image.size());
  int code = std::system(("spirv-val --target-env vulkan1.1 " + path).c_str());
  std::remove(path.c_str());
  return code == 0;
}

// A 4-D tensor as numbers and as the bytes of its element type.
struct Tensor {
  int batch, heads, tokens, dim;
  std::vector<double> values;
  std::vector<std::byte> bytes;
  double &at(int b, int h, int t, int d) {
    return values[((size_t(b) * heads + h) * tokens + t) * dim + d];
  }
};

// Fills values with noise and rounds them to `type`, so that the reference
// sees what the kernel sees.
Tensor make_tensor(int batch, int heads, int tokens, int dim, ElementType type, unsigned seed) {
  Tensor t{batch, heads, tokens, dim, std::vector<double>(size_t(batch) * heads * tokens * dim),
           {}};
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  for (double &v : t.values) {
    float x = normal(random);
    if (type == ElementType::bf16)
      x = attn::bf16_to_f32(attn::f32_to_bf16(x));
    if (type == ElementType::f16)
      x = attn::f16_to_f32(attn::f32_to_f16(x));
    v = x;
  }
  return t;
}

void encode(Tensor &t, ElementType type) {
  size_t size = element_size(type);
  t.bytes.resize(t.values.size() * size);
  for (size_t i = 0; i < t.values.size(); ++i) {
    float x = t.values[i];
    uint16_t half = type == ElementType::bf16 ? attn::f32_to_bf16(x) : attn::f32_to_f16(x);
    int8_t byte = std::isnan(x) ? 0 : int8_t(std::lrintf(x));
    const void *from = size == 4   ? static_cast<const void *>(&x)
                       : size == 2 ? static_cast<const void *>(&half)
                                   : static_cast<const void *>(&byte);
    std::memcpy(&t.bytes[i * size], from, size);
  }
}

// Quantises rows to int8 with one scale each.
Tensor quantise(const Tensor &t, Tensor &scales) {
  Tensor q = t;
  scales = Tensor{t.batch, t.heads, t.tokens, 1, {}, {}};
  for (size_t row = 0; row < t.values.size() / t.dim; ++row) {
    float largest = 0;
    for (int d = 0; d < t.dim; ++d)
      largest = std::max(largest, std::fabs(float(t.values[row * t.dim + d])));
    float scale = largest / 127;
    scales.values.push_back(scale);
    for (int d = 0; d < t.dim; ++d)
      q.values[row * t.dim + d] =
          scale > 0 ? std::nearbyintf(float(t.values[row * t.dim + d]) / scale) : 0;
  }
  return q;
}

std::vector<float> decode(const std::vector<std::byte> &bytes, ElementType type) {
  size_t size = element_size(type);
  std::vector<float> out(bytes.size() / size);
  for (size_t i = 0; i < out.size(); ++i) {
    uint16_t half = 0;
    if (size == 4)
      std::memcpy(&out[i], &bytes[i * 4], 4);
    else {
      std::memcpy(&half, &bytes[i * 2], 2);
      out[i] = type == ElementType::bf16 ? attn::bf16_to_f32(half) : attn::f16_to_f32(half);
    }
  }
  return out;
}

struct Inputs {
  Tensor q, k, v, k_scale, v_scale;
};

struct Outputs {
  std::vector<float> o, lse;
};

int slots_of(const KernelCase &c) {
  int slots = c.slots;
  for (const Segment &s : c.segments)
    slots = std::max(slots, s.slot + s.length);
  return slots;
}

bool in_segment(const KernelCase &c, int slot) {
  for (const Segment &s : c.segments)
    if (slot >= s.slot && slot < s.slot + s.length)
      return true;
  return false;
}

ElementType type_of(const std::string &name) {
  return name == "bf16" ? ElementType::bf16 : name == "f16" ? ElementType::f16 : ElementType::f32;
}

Inputs make_inputs(const KernelCase &c) {
  ElementType type = type_of(c.kernel.type);
  int slots = slots_of(c);
  Inputs in;
  in.q = make_tensor(c.batch, c.heads, c.q_len, c.kernel.qk_dim, type, 1);
  in.k = make_tensor(c.batch, c.kv_heads, slots, c.kernel.qk_dim, type, 2);
  in.v = make_tensor(c.batch, c.kv_heads, slots, c.kernel.v_dim, type, 3);
  return in;
}

void poison(const KernelCase &c, Tensor &t) {
  for (int b = 0; b < t.batch; ++b)
    for (int h = 0; h < t.heads; ++h)
      for (int slot = 0; slot < t.tokens; ++slot)
        if (!in_segment(c, slot))
          for (int d = 0; d < t.dim; ++d)
            t.at(b, h, slot, d) = NAN;
}

std::vector<uint32_t> make_words(const KernelCase &c, const attn::KernelInfo &info) {
  uint32_t bindings = info.bindings.size();
  std::vector<uint32_t> words(ATTN_W_BINDINGS + ATTN_BINDING_WORDS * bindings, 0);
  words[ATTN_W_Q_LEN] = c.q_len;
  words[ATTN_W_BATCH] = c.batch;
  words[ATTN_W_HEADS] = c.heads;
  words[ATTN_W_KV_HEADS] = c.kv_heads;
  words[ATTN_W_Q_POSITION] = c.q_position;
  words[ATTN_W_LAYER] = c.layer;
  float scale = 1 / std::sqrt(float(c.kernel.qk_dim));
  std::memcpy(&words[ATTN_W_SCALE], &scale, 4);
  for (uint32_t i = 0; i < bindings; ++i) {
    const attn::BindingInfo &b = info.bindings[i];
    uint32_t *w = &words[ATTN_W_BINDINGS + ATTN_BINDING_WORDS * i];
    using attn::BindingRole;
    if (b.role == BindingRole::table) {
      const auto &extents = c.extents.at(b.name);
      std::copy(extents.begin(), extents.end(), w);
      continue;
    }
    bool keys = b.role == BindingRole::k || b.role == BindingRole::v ||
                b.role == BindingRole::k_scale || b.role == BindingRole::v_scale;
    uint32_t dim = b.rank < 4                                             ? 1
                   : b.role == BindingRole::v || b.role == BindingRole::o ? c.kernel.v_dim
                                                                          : c.kernel.qk_dim;
    w[2] = dim;
    w[1] = dim * (keys ? slots_of(c) : c.q_len);
    w[0] = w[1] * (keys ? c.kv_heads : c.heads);
  }
  words[ATTN_W_PARAMS] = words.size();
  words.insert(words.end(), c.params.begin(), c.params.end());
  words[ATTN_W_SEGMENT_BASE] = words.size();
  words[ATTN_W_SEGMENTS] = c.segments.size();
  for (const Segment &s : c.segments) {
    words.insert(words.end(), {uint32_t(s.slot), uint32_t(s.length), uint32_t(s.position), 0});
    words[ATTN_W_KV_LEN] += s.length;
  }
  return words;
}

#define MUST(expr)                                                                                 \
  if (attn::Status status_ = (expr); !status_.ok()) {                                              \
    ADD_FAILURE() << status_.to_string();                                                          \
    return out;                                                                                    \
  }

Outputs launch(const KernelCase &c, const Compiled &kernel, Inputs in) {
  Outputs out;
  ElementType type = type_of(c.kernel.type);
  encode(in.q, type);
  encode(in.k, c.kernel.int8 ? ElementType::i8 : type);
  encode(in.v, c.kernel.int8 ? ElementType::i8 : type);
  encode(in.k_scale, ElementType::f32);
  encode(in.v_scale, ElementType::f32);
  size_t o_bytes = size_t(c.batch) * c.heads * c.q_len * c.kernel.v_dim * element_size(type);
  size_t lse_bytes = size_t(c.batch) * c.heads * c.q_len * 4;
  attn::Device &gpu = device();
  auto loaded = gpu.load(kernel.info, std::as_bytes(std::span(kernel.image)));
  MUST(loaded.status());
  std::vector<std::unique_ptr<attn::Buffer>> owned;
  std::vector<attn::BufferRange> ranges;
  attn::Buffer *o = nullptr, *lse = nullptr;
  for (const attn::BindingInfo &b : kernel.info.bindings) {
    std::vector<std::byte> bytes;
    switch (b.role) {
    case attn::BindingRole::q:
      bytes = in.q.bytes;
      break;
    case attn::BindingRole::k:
      bytes = in.k.bytes;
      break;
    case attn::BindingRole::v:
      bytes = in.v.bytes;
      break;
    case attn::BindingRole::k_scale:
      bytes = in.k_scale.bytes;
      break;
    case attn::BindingRole::v_scale:
      bytes = in.v_scale.bytes;
      break;
    case attn::BindingRole::o:
      bytes.resize(o_bytes, std::byte(0x7f));
      break;
    case attn::BindingRole::lse:
      bytes.resize(lse_bytes, std::byte(0x7f));
      break;
    default: {
      auto words = std::as_bytes(std::span(c.tables.at(b.name)));
      bytes.assign(words.begin(), words.end());
    }
    }
    bytes.resize((bytes.size() + 3) / 4 * 4);
    auto buffer = gpu.allocate(bytes.size());
    MUST(buffer.status());
    MUST(gpu.upload(**buffer, 0, bytes.data(), bytes.size()));
    if (b.role == attn::BindingRole::o)
      o = buffer->get();
    if (b.role == attn::BindingRole::lse)
      lse = buffer->get();
    ranges.push_back({buffer->get()});
    owned.push_back(std::move(*buffer));
  }
  attn::Grid grid{(c.q_len + kernel.info.block_q - 1) / kernel.info.block_q, uint32_t(c.heads),
                  uint32_t(c.batch)};
  MUST(gpu.launch(**loaded, make_words(c, kernel.info), ranges, grid));
  std::vector<std::byte> bytes(o_bytes);
  MUST(gpu.download(*o, 0, bytes.data(), o_bytes));
  out.o = decode(bytes, type);
  if (lse) {
    bytes.resize(lse_bytes);
    MUST(gpu.download(*lse, 0, bytes.data(), lse_bytes));
    out.lse = decode(bytes, ElementType::f32);
  }
  return out;
}

// O and LSE of one row by definition.
std::pair<std::vector<double>, double> reference_row(const KernelCase &c, Inputs &in, int b, int h,
                                                     int row) {
  int kv_head = h / (c.heads / c.kv_heads), q_position = c.q_position + row;
  std::vector<std::pair<double, int>> scores; // of admitted keys, with their slots
  for (const Segment &segment : c.segments)
    for (int i = 0; i < segment.length; ++i) {
      int k_position = segment.position + i, slot = segment.slot + i;
      if (!c.admitted(q_position, k_position, h))
        continue;
      double s = 0;
      for (int d = 0; d < c.kernel.qk_dim; ++d)
        s += in.q.at(b, h, row, d) * in.k.at(b, kv_head, slot, d);
      s /= std::sqrt(double(c.kernel.qk_dim));
      scores.push_back({c.score ? c.score(s, q_position, k_position, h) : s, slot});
    }
  double largest = c.sink ? c.sink(h) : -INFINITY;
  for (auto &[s, slot] : scores)
    largest = std::max(largest, s);
  std::vector<double> o(c.kernel.v_dim, 0.0);
  if (!std::isfinite(largest))
    return {o, -INFINITY};
  double sum = c.sink ? std::exp(c.sink(h) - largest) : 0;
  for (auto &[s, slot] : scores) {
    double p = std::exp(s - largest);
    sum += p;
    for (int d = 0; d < c.kernel.v_dim; ++d)
      o[d] += p * in.v.at(b, kv_head, slot, d);
  }
  for (double &x : o)
    x /= sum;
  return {o, largest + std::log(sum)};
}

} // namespace

Compiled compile(const std::string &text, const std::string &arch) {
  Compiled result;
  mlir::MLIRContext context;
  context.disableMultithreading();
  context.loadDialect<mlir::tile::TileDialect>();
  auto module = mlir::parseSourceString<mlir::ModuleOp>(text, &context);
  EXPECT_TRUE(module) << text;
  if (!module)
    return result;
  std::clock_t start = std::clock();
  auto output = mlir::attn::compileSpirv(*module, arch, mlir::attn::Stage::image);
  result.cpu_milliseconds = 1e3 * double(std::clock() - start) / CLOCKS_PER_SEC;
  EXPECT_TRUE(mlir::succeeded(output)) << text;
  if (mlir::failed(output) || output->images.size() != 1)
    return result;
  result.info = output->kernels.front();
  result.image = output->images.front();
  result.ok = validates(result.image);
  EXPECT_TRUE(result.ok) << "spirv-val refuses " << arch << "\n" << text;
  return result;
}

attn::Device &device() {
  static std::unique_ptr<attn::Device> opened = [] {
    attn::DeviceOptions options;
    options.validation = true;
    auto result = attn::open_device("vulkan", options);
    if (!result.ok()) {
      std::fprintf(stderr, "%s\n", result.status().to_string().c_str());
      std::exit(3);
    }
    return std::move(*result);
  }();
  return *opened;
}

std::vector<std::string> tiers(const KernelText &kernel) {
  std::vector<std::string> all{"t0", "t1-subgroup8"};
  if (kernel.int8 || kernel.type != "f32")
    all.push_back("t1");
  return all;
}

static double worse(double x, double y) { return x <= y ? y : x; } // NaN stays

Errors run(const KernelCase &c) {
  Errors worst;
  for (const std::string &arch : tiers(c.kernel)) {
    Errors e = run(c, compile(c.kernel.str(), arch));
    if (!(e.worst_row <= worst.worst_row && e.lse <= worst.lse)) // NaN counts
      worst.tier = arch;
    worst.frobenius = worse(e.frobenius, worst.frobenius);
    worst.worst_row = worse(e.worst_row, worst.worst_row);
    worst.lse = worse(e.lse, worst.lse);
  }
  return worst;
}

Errors run(const KernelCase &c, const Compiled &kernel) {
  Errors errors{INFINITY, INFINITY, INFINITY};
  if (!kernel.ok)
    return errors;
  Inputs in = make_inputs(c), sent = in;
  if (c.kernel.int8) {
    // The reference sees what int8 can say.
    sent.k = quantise(in.k, sent.k_scale);
    sent.v = quantise(in.v, sent.v_scale);
    auto real = [](Tensor &t, const Tensor &q, const Tensor &scale) {
      for (size_t i = 0; i < t.values.size(); ++i)
        t.values[i] = q.values[i] * scale.values[i / t.dim];
    };
    real(in.k, sent.k, sent.k_scale);
    real(in.v, sent.v, sent.v_scale);
    Tensor q_scale;
    Tensor q8 = quantise(in.q, q_scale);
    real(in.q, q8, q_scale);
    if (c.poison_unused)
      poison(c, sent.k_scale), poison(c, sent.v_scale);
  } else if (c.poison_unused) {
    poison(c, sent.k), poison(c, sent.v);
  }
  Outputs out = launch(c, kernel, sent);
  if (out.o.empty())
    return errors;
  errors = {};
  double squared = 0, norm = 0;
  for (int b = 0; b < c.batch; ++b)
    for (int h = 0; h < c.heads; ++h)
      for (int row = 0; row < c.q_len; ++row) {
        auto [o, lse] = reference_row(c, in, b, h, row);
        size_t index = (size_t(b) * c.heads + h) * c.q_len + row;
        double row_error = 0, row_norm = 0;
        for (int d = 0; d < c.kernel.v_dim; ++d) {
          double difference = o[d] - out.o[index * c.kernel.v_dim + d];
          row_error += difference * difference;
          row_norm += o[d] * o[d];
        }
        squared += row_error, norm += row_norm;
        double relative = std::sqrt(row_error / (row_norm + 1e-12));
        if (!(relative <= errors.worst_row)) // NaN counts
          errors.worst_row = relative;
        if (out.lse.empty())
          continue;
        double difference = std::isfinite(lse)             ? std::fabs(lse - out.lse[index])
                            : out.lse[index] == float(lse) ? 0
                                                           : INFINITY;
        if (!(difference <= errors.lse))
          errors.lse = difference;
      }
  errors.frobenius = norm > 0 ? std::sqrt(squared / norm) : std::sqrt(squared);
  return errors;
}

static int mask_mismatches(KernelCase c, const std::string &arch) {
  int slots = slots_of(c);
  EXPECT_LE(slots, c.kernel.v_dim);
  Inputs in = make_inputs(c);
  std::fill(in.q.values.begin(), in.q.values.end(), 0.0);
  for (int b = 0; b < c.batch; ++b)
    for (int h = 0; h < c.kv_heads; ++h)
      for (int slot = 0; slot < slots; ++slot)
        for (int d = 0; d < c.kernel.v_dim; ++d)
          in.v.at(b, h, slot, d) = d == slot;
  Compiled kernel = compile(c.kernel.str(), arch);
  if (!kernel.ok)
    return -1;
  Outputs out = launch(c, kernel, in);
  if (out.o.empty())
    return -1;
  int mismatches = 0;
  for (int b = 0; b < c.batch; ++b)
    for (int h = 0; h < c.heads; ++h)
      for (int row = 0; row < c.q_len; ++row) {
        std::vector<bool> admitted(c.kernel.v_dim, false);
        for (const Segment &s : c.segments)
          for (int i = 0; i < s.length; ++i)
            admitted[s.slot + i] = c.admitted(c.q_position + row, s.position + i, h);
        size_t index = (size_t(b) * c.heads + h) * c.q_len + row;
        for (int slot = 0; slot < c.kernel.v_dim; ++slot) {
          bool seen = out.o[index * c.kernel.v_dim + slot] != 0;
          if (seen == admitted[slot])
            continue;
          if (mismatches++ == 0)
            ADD_FAILURE() << "first wrong pair on " << arch << ": batch " << b << " head " << h << " row " << row
                          << " slot " << slot << (seen ? " seen" : " not seen");
        }
      }
  return mismatches;
}

Errors recover_mask(KernelCase c) {
  Errors errors;
  for (const std::string &arch : tiers(c.kernel))
    if (int mismatches = mask_mismatches(c, arch))
      errors.mask_mismatches = mismatches;
  return errors;
}
