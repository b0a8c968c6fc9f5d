// Elementwise operators. f32 nodes and fused chains run as small programs over
// chunks that stay in the L1 cache; other types take a plain strided loop.
#include "runtime/ops/elementwise.h"

#include "runtime/ops/ops.h"
#include <cmath>
#include <cstring>

namespace attn::ops {

static constexpr int kChunk = 512;

struct NamedUnary {
  const char *op;
  Unary code;
};
static const NamedUnary unary_ops[] = {
    {"Neg", Unary::neg},           {"Abs", Unary::abs},
    {"Sqrt", Unary::sqrt},         {"Exp", Unary::exp},
    {"Log", Unary::log},           {"Sin", Unary::sin},
    {"Cos", Unary::cos},           {"Tanh", Unary::tanh},
    {"Sigmoid", Unary::sigmoid},   {"Relu", Unary::relu},
    {"Erf", Unary::erf},           {"Floor", Unary::floor},
    {"Ceil", Unary::ceil},         {"Round", Unary::round},
    {"Softplus", Unary::softplus}, {"Reciprocal", Unary::reciprocal}};
struct NamedBinary {
  const char *op;
  Binary code;
};
static const NamedBinary binary_ops[] = {
    {"Add", Binary::add}, {"Sub", Binary::sub}, {"Mul", Binary::mul}, {"Div", Binary::div},
    {"Min", Binary::min}, {"Max", Binary::max}, {"Pow", Binary::pow}};

bool instruction_of(const graph::Node &node, Instruction &out) {
  if (!node.domain.empty())
    return false;
  for (const NamedUnary &u : unary_ops)
    if (node.op == u.op) {
      out = {false, static_cast<int>(u.code), 0, 0};
      return node.inputs.size() == 1;
    }
  for (const NamedBinary &b : binary_ops)
    if (node.op == b.op) {
      out = {true, static_cast<int>(b.code), 0, 1};
      return node.inputs.size() == 2;
    }
  if (node.op == "Gelu") {
    bool tanh = node.text("approximate", "none") == "tanh";
    out = {false, static_cast<int>(tanh ? Unary::gelu_tanh : Unary::gelu_erf), 0, 0};
    return true;
  }
  if (node.op == "Swish") {
    out = {false, static_cast<int>(Unary::silu), 0, 0};
    return node.number("alpha", 1.0f) == 1.0f;
  }
  return false;
}

std::vector<int64_t> encode_program(const std::vector<Instruction> &program) {
  std::vector<int64_t> code;
  for (const Instruction &i : program)
    code.insert(code.end(), {i.binary, i.code, i.a, i.b});
  return code;
}

std::vector<Instruction> decode_program(std::span<const int64_t> code) {
  std::vector<Instruction> program;
  for (size_t i = 0; i + 4 <= code.size(); i += 4)
    program.push_back({code[i] != 0, static_cast<int>(code[i + 1]), static_cast<int>(code[i + 2]),
                       static_cast<int>(code[i + 3])});
  return program;
}

Status infer_elementwise(InferContext &c) {
  ATTN_RETURN_IF_ERROR(c.require(0, "the input"));
  Shape shape = c.shape(0);
  for (size_t i = 1; i < c.input_count(); ++i) {
    ATTN_RETURN_IF_ERROR(c.require(i, "an operand"));
    if (c.dtype(i) != c.dtype(0) && c.node.op != "Pow")
      return Status::invalid_input("mixes ", dtype_name(c.dtype(0)), " and ",
                                   dtype_name(c.dtype(i)));
    Shape wide;
    if (!graph::broadcast_shapes(shape, c.shape(i), wide))
      return Status::invalid_input("cannot combine shapes ", shape.text(), " and ",
                                   c.shape(i).text());
    shape = wide;
  }
  c.set({c.dtype(0), shape});
  return {};
}

namespace {

class Program final : public OpKernel {
public:
  Program(const MakeContext &c, std::vector<Instruction> program)
      : program_(std::move(program)), inputs_(c.inputs.size()), isa_(isa()) {
    const Shape &shape = c.outputs[0].shape;
    Shape strides[kMaxOperands + 1];
    for (size_t i = 0; i < inputs_; ++i)
      strides[i] = graph::broadcast_strides(shape, c.inputs[i]);
    strides[inputs_] = c.outputs[0].strides;
    // Dims that step alike in every operand are walked as one.
    for (int d = 0; d < shape.rank; ++d) {
      if (shape[d] == 1)
        continue;
      int last = size_.rank - 1;
      bool merge = last >= 0;
      for (size_t i = 0; merge && i <= inputs_; ++i)
        merge = stride_[i][last] == strides[i][d] * shape[d];
      if (merge)
        size_[last] *= shape[d];
      else
        size_.push(shape[d]);
      for (size_t i = 0; i <= inputs_; ++i) {
        if (merge)
          stride_[i][last] = strides[i][d];
        else
          stride_[i].push(strides[i][d]);
      }
    }
    if (size_.rank == 0) {
      size_.push(1);
      for (size_t i = 0; i <= inputs_; ++i)
        stride_[i].push(1);
    }
    inner_ = size_.back();
    chunks_ = (inner_ + kChunk - 1) / kChunk;
    outer_ = inner_ ? size_.elements() / inner_ : 0;
  }

  Status run(const RunArgs &args) override {
    for_rows(args.pool, outer_ * chunks_, size_.elements(),
             [&](int64_t begin, int64_t end) { run_units(args, begin, end); });
    return {};
  }

private:
  void run_units(const RunArgs &args, int64_t begin, int64_t end) {
    alignas(64) float scratch[kMaxOperands + kMaxInstructions][kChunk];
    const float *reg[kMaxOperands + kMaxInstructions];
    const float *splatted[kMaxOperands] = {}; // repeated scalar already in its scratch
    const int last = size_.rank - 1;
    for (int64_t unit = begin; unit < end; ++unit) {
      int64_t rest = unit / chunks_, first = unit % chunks_ * kChunk;
      int64_t n = std::min<int64_t>(kChunk, inner_ - first);
      int64_t offset[kMaxOperands + 1];
      for (size_t i = 0; i <= inputs_; ++i)
        offset[i] = first * stride_[i][last];
      for (int d = last - 1; d >= 0; --d) {
        int64_t at = rest % size_[d];
        rest /= size_[d];
        for (size_t i = 0; i <= inputs_; ++i)
          offset[i] += at * stride_[i][d];
      }
      for (size_t i = 0; i < inputs_; ++i) {
        const float *p = args.in[i]->as<float>() + offset[i];
        int64_t step = stride_[i][last];
        reg[i] = p;
        if (step == 1)
          continue;
        reg[i] = scratch[i];
        if (step == 0 && splatted[i] == p)
          continue;
        splatted[i] = step == 0 ? p : nullptr;
        int64_t fill = step == 0 ? kChunk : n;
        for (int64_t k = 0; k < fill; ++k)
          scratch[i][k] = p[k * step];
      }
      float *target = args.out[0]->as<float>() + offset[inputs_];
      int64_t step = stride_[inputs_][last];
      for (size_t k = 0; k < program_.size(); ++k) {
        const Instruction &op = program_[k];
        bool final = k + 1 == program_.size() && step == 1;
        float *y = final ? target : scratch[inputs_ + k];
        if (op.binary)
          isa_.binary[op.code](reg[op.a], reg[op.b], y, n);
        else
          isa_.unary[op.code](reg[op.a], y, n);
        reg[inputs_ + k] = y;
      }
      if (step != 1)
        for (int64_t k = 0; k < n; ++k)
          target[k * step] = reg[inputs_ + program_.size() - 1][k];
    }
  }

  std::vector<Instruction> program_;
  size_t inputs_;
  const Isa &isa_;
  Shape size_, stride_[kMaxOperands + 1];
  int64_t inner_, chunks_, outer_;
};

template <typename T> struct Wrapping { using type = std::make_unsigned_t<T>; };
template <> struct Wrapping<double> { using type = double; };

template <typename T> T apply(const std::string &op, T a, T b) {
  // Integers wrap: the unsigned type says so without undefined behaviour.
  using U = typename Wrapping<T>::type;
  if (op == "Add")
    return static_cast<T>(static_cast<U>(a) + static_cast<U>(b));
  if (op == "Sub")
    return static_cast<T>(static_cast<U>(a) - static_cast<U>(b));
  if (op == "Mul")
    return static_cast<T>(static_cast<U>(a) * static_cast<U>(b));
  if (op == "Min")
    return a < b ? a : b;
  if (op == "Max")
    return a > b ? a : b;
  if constexpr (std::is_integral_v<T>) {
    if (op == "Mod") { // of the divisor's sign
      if (b == 0 || b == T(-1))
        return 0;
      T rest = a % b;
      return rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest;
    }
    if (op == "Div")
      return b == 0       ? T(0)
             : b == T(-1) ? static_cast<T>(U(0) - static_cast<U>(a))
                          : static_cast<T>(a / b);
  } else if (op == "Div") {
    return a / b;
  }
  return static_cast<T>(std::pow(static_cast<double>(a), static_cast<double>(b)));
}

template <typename T> T apply(const std::string &op, T a) {
  using U = typename Wrapping<T>::type;
  if (op == "Neg" || (op == "Abs" && a < T(0)))
    return static_cast<T>(U(0) - static_cast<U>(a));
  if (op == "Abs")
    return a;
  double x = static_cast<double>(a);
  if (op == "Sqrt")
    x = std::sqrt(x);
  if (op == "Exp")
    x = std::exp(x);
  if (op == "Log")
    x = std::log(x);
  if (op == "Sin")
    x = std::sin(x);
  if (op == "Cos")
    x = std::cos(x);
  if (op == "Floor")
    x = std::floor(x);
  if (op == "Ceil")
    x = std::ceil(x);
  if (op == "Reciprocal")
    x = 1 / x;
  return static_cast<T>(x);
}

template <typename T> KernelResult make_plain(const MakeContext &c) {
  std::string op = c.node.op;
  bool binary = c.inputs.size() > 1;
  Shape shape = c.outputs[0].shape;
  Shape a = graph::broadcast_strides(shape, c.inputs[0]);
  Shape b = binary ? graph::broadcast_strides(shape, c.inputs[1]) : a;
  return make_kernel([=, out = c.outputs[0].strides](const RunArgs &args) {
    const T *x = args.in[0]->as<T>(), *y = binary ? args.in[1]->as<T>() : x;
    T *z = args.out[0]->as<T>();
    for_each_element<3>(shape, {a, b, out}, [&](const int64_t *at) {
      z[at[2]] = binary ? apply<T>(op, x[at[0]], y[at[1]]) : apply<T>(op, x[at[0]]);
    });
    return Status();
  });
}

} // namespace

KernelResult make_elementwise(const MakeContext &c) {
  for (const Tensor &t : c.inputs)
    if (t.dtype != c.inputs[0].dtype)
      return Status::invalid_input("mixes element types");
  if (c.inputs[0].dtype == DType::f32) {
    if (c.inputs.size() > kMaxOperands)
      return Status::invalid_input("has ", c.inputs.size(), " operands; at most ", kMaxOperands);
    if (c.node.domain == "attn")
      return KernelResult(std::make_unique<Program>(c, decode_program(c.node.integers("program"))));
    Instruction single;
    if (instruction_of(c.node, single))
      return KernelResult(std::make_unique<Program>(c, std::vector<Instruction>{single}));
    // Min and Max of one operand, or of many, are chains.
    if (c.node.op == "Min" || c.node.op == "Max") {
      std::vector<Instruction> program;
      int inputs = static_cast<int>(c.inputs.size());
      int code = static_cast<int>(c.node.op == "Min" ? Binary::min : Binary::max);
      if (inputs == 1)
        program.push_back({false, static_cast<int>(Unary::copy), 0, 0});
      for (int i = 1; i < inputs; ++i)
        program.push_back({true, code, i == 1 ? 0 : inputs + i - 2, i});
      return KernelResult(std::make_unique<Program>(c, std::move(program)));
    }
    return Status::invalid_input(c.node.op == "Mod"
                                     ? "is run on int32 and int64 only, and this is float32"
                                     : "has attributes that this runtime does not run");
  }
  if (c.node.op == "Mod" && (c.node.integer("fmod", 0) || c.inputs[0].dtype == DType::f64))
    return Status::invalid_input("has fmod = 1 or floats; the modulus of integers is run");
  static const char *const floats_only[] = {"Tanh", "Sigmoid", "Relu",     "Gelu",
                                            "Erf",  "Swish",   "Softplus", "Round"};
  for (const char *op : floats_only)
    if (c.node.op == op)
      return Status::invalid_input("is run on float32 only, and this is ",
                                   dtype_name(c.inputs[0].dtype));
  if (c.inputs.size() > 2)
    return Status::invalid_input("has more than two operands of ", dtype_name(c.inputs[0].dtype));
  switch (c.inputs[0].dtype) {
  case DType::i64:
    return make_plain<int64_t>(c);
  case DType::i32:
    return make_plain<int32_t>(c);
  case DType::f64:
    return make_plain<double>(c);
  default:
    return Status::invalid_input("is not run on ", dtype_name(c.inputs[0].dtype),
                                 "; float32, float64, int32 and int64 are");
  }
}

} // namespace attn::ops
