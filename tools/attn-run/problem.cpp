// A checked spec and a shape enter; arrays, segments, parameters and tables
// for the kernel and the same for the oracle leave.
#include "tools/attn-run/problem.h"

#include "compiler/spec/Check.h"
#include <algorithm>
#include <charconv>
#include <cmath>
#include <set>

namespace attn {

Result<KernelSpec> KernelSpec::load(const Bundle &bundle, const KernelInfo &kernel) {
  const Bundle::Spec &source = bundle.specs()[kernel.spec];
  spec::Diagnostics diagnostics;
  std::optional<spec::CheckedSpec> checked =
      spec::parseAndCheck(source.source, source.name, diagnostics);
  std::string place = concat("the bundle's spec ", source.name);
  if (!checked)
    return Status::invalid_input("does not pass the check of this version:\n", diagnostics.render())
        .at(place);
  KernelSpec result;
  if (const spec::AttentionSpec *attention = checked->find(kernel.name)) {
    result.attention_ = std::make_shared<const spec::AttentionSpec>(*attention);
    return result;
  }
  constexpr std::string_view merging = "_merge";
  if (kernel.name.ends_with(merging))
    if (const spec::AttentionSpec *base =
            checked->find(kernel.name.substr(0, kernel.name.size() - merging.size()));
        base && base->partial) {
      result.attention_ = std::make_shared<const spec::AttentionSpec>(*base);
      return result;
    }
  // "NAME_recache": the same attention under the mask that its recache states.
  constexpr std::string_view suffix = "_recache";
  if (kernel.name.ends_with(suffix)) {
    const spec::AttentionSpec *base =
        checked->find(kernel.name.substr(0, kernel.name.size() - suffix.size()));
    if (base && base->recache) {
      spec::AttentionSpec changed = *base;
      changed.mask = base->recache->mask;
      result.attention_ = std::make_shared<const spec::AttentionSpec>(std::move(changed));
      return result;
    }
  }
  return Status::invalid_input("has no attention ", kernel.name).at(place);
}

bool has_int8_keys(const KernelInfo &kernel) {
  for (const BindingInfo &binding : kernel.bindings)
    if (binding.role == BindingRole::k)
      return binding.type == ElementType::i8;
  return false;
}

double exact_bound(const KernelInfo &kernel) {
  if (!has_int8_keys(kernel))
    return kernel.error_bound;
  for (const BindingInfo &binding : kernel.bindings)
    if (binding.role < BindingRole::table &&
        (binding.type == ElementType::bf16 || binding.type == ElementType::f16))
      return 1e-2;
  return 1e-5;
}

static ElementType type_of(const KernelInfo &kernel, BindingRole role) {
  for (const BindingInfo &binding : kernel.bindings)
    if (binding.role == role)
      return binding.type;
  return ElementType::f32;
}

std::vector<Shape> verify_shapes(const KernelInfo &kernel) {
  int32_t bq = static_cast<int32_t>(std::min(kernel.block_q, 128u));
  int32_t bk = static_cast<int32_t>(std::min(kernel.block_k, 128u));
  struct Size {
    int32_t batch, rows, slots;
    uint32_t segments;
    int32_t group;
  };
  const Size sizes[] = {{1, 1, 1, 1, 1},
                        {1, bq, bk, 1, 1},
                        {1, bq + 1, bk + 1, 1, 2},
                        {2, 2 * bq - 1, 2 * bk + 5, 1, 3},
                        {1, 3, 3 * bk - 1, 4, 1},
                        {1, bq + 3, 2 * bk + 9, 6, 2},
                        {2, bq - 1, 4 * bk + 1, 9, 1},
                        // Few rows take another form of CPU kernels, whose rows are
                        // heads as well, and which cuts long lists of keys.
                        {1, 1, 2500, 1, 4},
                        {2, 5, bk + 7, 3, 3}};
  std::vector<Shape> shapes;
  for (const Size &size : sizes) {
    Shape shape;
    int32_t kv = kernel.kv_heads ? static_cast<int32_t>(kernel.kv_heads) : kernel.heads ? 1 : 2;
    shape.heads = kernel.heads ? static_cast<int32_t>(kernel.heads) : kv * size.group;
    shape.kv_heads = kernel.kv_heads || !kernel.heads ? kv : shape.heads;
    shape.batch = size.batch;
    shape.rows = std::max(size.rows, 1);
    shape.slots = size.slots;
    shape.segments = size.segments;
    shapes.push_back(shape);
  }
  return shapes;
}

namespace {

// Distances between positions at which some coordinate of the mask changes.
void collect_units(const spec::Expr &expr, int64_t divisor, std::set<int64_t> &units) {
  auto add = [&](int64_t unit) {
    if (unit > 1 && unit < (1 << 24))
      units.insert(unit);
  };
  if (expr.op == spec::Op::Coordinate) {
    const spec::Decode &decode = expr.coordinate().decode;
    if (decode.divisor.isStatic()) {
      add(decode.divisor.value * divisor);
      if (decode.modulus.isStatic())
        add(decode.divisor.value * decode.modulus.value);
    }
    if (decode.base.isStatic())
      add(decode.base.value);
  }
  int64_t inner = 1;
  if (expr.op == spec::Op::FloorDiv)
    if (std::optional<int64_t> by = spec::constantInt(expr.operands[1]); by && *by > 1)
      inner = *by;
  for (const spec::ExprPtr &operand : expr.operands)
    collect_units(*operand, inner > 1 ? inner : divisor, units);
}

// One past the last position of a side, if it has an end that is known now.
int64_t position_limit(const spec::TokensInfo &tokens) {
  const spec::TokenGroup &last = tokens.groups.back();
  if (!last.base.isStatic() || !last.length || !last.length->isStatic())
    return std::numeric_limits<int32_t>::max() / 2;
  return last.base.value + last.length->value;
}

class ProblemMaker {
public:
  ProblemMaker(const spec::AttentionSpec &spec, const KernelInfo &kernel, const Shape &shape,
               std::mt19937_64 &random)
      : spec_(spec), kernel_(kernel), shape_(shape), random_(random) {}

  VerifyProblem make() {
    problem_.shape = shape_;
    place();
    params();
    tables();
    if (shape_.contents)
      inputs();
    tensor(problem_.args.q, shape_.heads, shape_.rows, spec_.qkDim, BindingRole::q);
    tensor(problem_.args.k, shape_.kv_heads, shape_.slots, spec_.qkDim, BindingRole::k);
    tensor(problem_.args.v, shape_.kv_heads, shape_.slots, spec_.vDim, BindingRole::v);
    problem_.call.batch = shape_.batch;
    problem_.call.heads = shape_.heads;
    problem_.call.kvHeads = shape_.kv_heads;
    problem_.call.queryLength = shape_.rows;
    problem_.call.slots = shape_.slots;
    problem_.call.queryPosition = problem_.args.q_position;
    problem_.call.segments.resize(1);
    for (const Segment &s : problem_.args.segments)
      problem_.call.segments[0].push_back({s.first_slot, s.length, s.first_position});
    if (spec_.scale)
      problem_.args.scale = static_cast<float>(*spec_.scale);
    problem_.call.bindings.heads = shape_.heads;
    problem_.call.bindings.kvHeads = shape_.kv_heads;
    problem_.call.bindings.layer = problem_.args.layer;
    tame();
    problem_.description =
        concat("batch ", shape_.batch, ", heads ", shape_.heads, "/", shape_.kv_heads, ", rows ",
               shape_.rows, " from position ", problem_.args.q_position, ", slots ", shape_.slots,
               " in ", problem_.args.segments.size(), " segments");
    return std::move(problem_);
  }

private:
  int64_t uniform(int64_t low, int64_t high) { // portable, unlike std's distributions
    return low + static_cast<int64_t>(random_() % static_cast<uint64_t>(high - low + 1));
  }
  float normal() {
    double u = (static_cast<double>(random_() >> 11) + 0.5) * 0x1p-53;
    double w = static_cast<double>(random_() >> 11) * 0x1p-53;
    return static_cast<float>(std::sqrt(-2 * std::log(u)) * std::cos(6.283185307179586 * w));
  }

  // Segments and the query's position.
  void place() {
    HostArgs &args = problem_.args;
    int64_t q_limit = position_limit(spec_.query), k_limit = position_limit(spec_.keys);
    if (shape_.segments <= 1) {
      shape_.slots = static_cast<int32_t>(std::min<int64_t>(shape_.slots, k_limit));
      shape_.rows = static_cast<int32_t>(std::min<int64_t>(shape_.rows, q_limit));
      problem_.shape = shape_;
      int64_t last = std::max<int64_t>(std::min<int64_t>(shape_.slots, q_limit) - shape_.rows, 0);
      args.q_position = static_cast<int32_t>(last);
      args.segments = {{0, shape_.slots, 0}};
      return;
    }
    std::set<int64_t> units;
    collect_units(*spec_.mask, 1, units);
    if (spec_.score)
      collect_units(*spec_.score, 1, units);
    if (units.empty())
      units.insert(shape_.slots);
    std::vector<int64_t> list(units.begin(), units.end());
    int64_t unit = list[static_cast<size_t>(uniform(0, int64_t(list.size()) - 1))];
    int64_t q = std::clamp<int64_t>(unit * uniform(1, 8) + uniform(-3, 3), 0,
                                    std::max<int64_t>(q_limit - shape_.rows, 0));
    args.q_position = static_cast<int32_t>(q);

    // Runs at coordinate borders before, at and after the query, in disjoint
    // positions; the first is the start of the stream.
    std::vector<std::pair<int64_t, int64_t>> taken;                       // [begin, end)
    int64_t left = shape_.slots - uniform(0, shape_.slots / 8), slot = 0; // the rest: unwritten
    for (uint32_t i = 0; i < shape_.segments; ++i) {
      int64_t length =
          i + 1 == shape_.segments ? left : uniform(0, 2 * left / (shape_.segments - i));
      length = std::min(length, left);
      int64_t start = 0;
      bool free = false;
      for (int attempt = 0; attempt < 200 && !free; ++attempt) {
        int64_t step = list[static_cast<size_t>(uniform(0, int64_t(list.size()) - 1))];
        start = i == 0 ? 0
                : attempt < 100
                    ? (q / step - uniform(-1, 6)) * step + uniform(-length, 3)
                    : uniform(0, std::min<int64_t>(q + shape_.rows + 4 * attempt, k_limit));
        start = std::clamp<int64_t>(start, 0, std::max<int64_t>(k_limit - length, 0));
        free = true;
        for (auto [begin, end] : taken)
          free &= start >= end || start + length <= begin;
      }
      if (!free)
        continue; // its slots stay unused, as in a ring that is filling
      taken.emplace_back(start, start + length);
      args.segments.push_back(
          {static_cast<int32_t>(slot), static_cast<int32_t>(length), static_cast<int32_t>(start)});
      slot += length;
      left -= length;
    }
    // Rotate: physical order differs from the order of positions.
    std::rotate(args.segments.begin(),
                args.segments.begin() + uniform(0, int64_t(args.segments.size()) - 1),
                args.segments.end());
  }

  int64_t last_key() const {
    int64_t last = 1;
    for (const Segment &s : problem_.args.segments)
      last = std::max<int64_t>(last, int64_t(s.first_position) + s.length);
    return std::max<int64_t>(last, int64_t(problem_.args.q_position) + shape_.rows);
  }

  void params() {
    for (const spec::ParamInfo &param : spec_.params) {
      double value;
      double low = param.minimum, high = std::min(param.maximum, std::max(low, 0.0) + 40);
      if (param.implicit) // a ragged length: everything there is
        value = std::clamp(static_cast<double>(last_key()), param.minimum, param.maximum);
      else if (param.type == spec::Type::Float)
        value = static_cast<float>(low + (high - low) * static_cast<double>(uniform(0, 16)) / 16);
      else
        value = static_cast<double>(uniform(static_cast<int64_t>(low), static_cast<int64_t>(high)));
      problem_.call.bindings.params.push_back(value);
      for (const ParamInfo &known : kernel_.params) // unused ones are no kernel's business
        if (known.name == param.name)
          problem_.args.params.emplace_back(param.name, value);
    }
  }

  int64_t table_extent(const std::string &dim) const {
    int64_t number = 0;
    auto [end, error] = std::from_chars(dim.data(), dim.data() + dim.size(), number);
    if (error == std::errc() && end == dim.data() + dim.size())
      return number;
    for (const spec::ConstInfo &constant : spec_.consts)
      if (constant.name == dim && std::holds_alternative<int64_t>(constant.value))
        return std::get<int64_t>(constant.value);
    if (dim == "head" || dim == "heads")
      return shape_.heads;
    if (dim == "kv_head" || dim == "kv_heads")
      return shape_.kv_heads;
    if (dim == "batch")
      return shape_.batch;
    return std::min<int64_t>(last_key(), 4096);
  }

  // A table may be smaller than what is asked of it: its last elements repeat.
  // Returns how many elements it has.
  static int64_t shrink(std::vector<int64_t> &extents) {
    constexpr int64_t most = 1 << 24;
    for (;;) {
      int64_t count = 1;
      for (int64_t extent : extents)
        count *= extent;
      if (count <= most)
        return count;
      auto longest = std::max_element(extents.begin(), extents.end());
      *longest = (*longest + 1) / 2;
    }
  }

  static double rounded(float value, spec::Element element) {
    std::vector<float> one = {value};
    round_to_type(one, element == spec::Element::BF16  ? ElementType::bf16
                       : element == spec::Element::F16 ? ElementType::f16
                                                       : ElementType::f32);
    return one[0];
  }

  void tables() {
    for (const spec::TableInfo &info : spec_.tables) {
      oracle::TableData table;
      for (const std::string &dim : info.dims)
        table.extents.push_back(
            std::max<int64_t>(info.implicit ? last_key() : table_extent(dim), 1));
      int64_t count = shrink(table.extents);
      bool whole = info.element == spec::Element::Int32 || info.element == spec::Element::UInt8;
      int64_t document = 0, start = 0;
      for (int64_t i = 0; i < count; ++i) {
        if (info.implicit) { // documents of a packed batch, or where each starts
          bool starts = info.name.size() > 6 && info.name.ends_with("_start");
          if (!starts && i > 0 && i % 37 == 0)
            ++document;
          start = starts ? i * 37 : document;
          table.values.push_back(static_cast<double>(start));
        } else if (whole) {
          table.values.push_back(static_cast<double>(uniform(0, 7)));
        } else {
          table.values.push_back(rounded(normal() / 2, info.element));
        }
      }
      for (const BindingInfo &binding : kernel_.bindings)
        if (binding.role == BindingRole::table && binding.name == info.name)
          problem_.args.tensors.push_back({info.name, {table.extents, table.values}});
      problem_.call.bindings.tables.push_back(std::move(table));
    }
  }

  // Whether scores stay within what f32 tells apart in an exponent.
  bool is_tame() {
    const oracle::Bindings &bindings = problem_.call.bindings;
    for (int i = 0; i < 200; ++i) {
      auto head = static_cast<int32_t>(uniform(0, shape_.heads - 1));
      auto q = static_cast<int32_t>(problem_.args.q_position + uniform(0, shape_.rows - 1));
      auto k = static_cast<int32_t>(uniform(0, last_key() - 1));
      auto batch = static_cast<int32_t>(uniform(0, shape_.batch - 1));
      if (oracle::maskAt(spec_, bindings, batch, head, q, k) &&
          !(std::abs(oracle::scoreAt(spec_, bindings, batch, head, q, k, 3.0)) < 200))
        return false;
    }
    return true;
  }

  // Tables of numbers that a score divides by or raises may be made for positive ones
  // that are not small: a length, a temperature.
  void tame() {
    if (!spec_.score || is_tame())
      return;
    for (size_t i = 0; i < spec_.tables.size(); ++i) {
      spec::Element element = spec_.tables[i].element;
      if (element == spec::Element::Int32 || element == spec::Element::UInt8)
        continue;
      std::vector<double> &values = problem_.call.bindings.tables[i].values;
      for (double &value : values)
        value = rounded(static_cast<float>(0.5 + std::min(std::abs(value), 1.0)), element);
      for (auto &tensor : problem_.args.tensors)
        if (tensor.name == spec_.tables[i].name)
          tensor.array.values = problem_.call.bindings.tables[i].values;
    }
  }

  void inputs() {
    for (const spec::InputInfo &info : spec_.inputs) {
      auto has = [&](const char *dim) {
        return std::find(info.dims.begin(), info.dims.end(), dim) != info.dims.end();
      };
      oracle::InputData input;
      input.batch = shape_.batch;
      input.rows = has("q") ? shape_.rows : 1;
      input.heads = has("head") ? shape_.heads : 1;
      input.dims = has("dim") ? spec_.vDim : 1;
      HostArray host{{input.batch, input.heads, input.rows, input.dims}, {}};
      host.values.resize(static_cast<size_t>(host.count()));
      input.values.resize(host.values.size());
      for (int64_t b = 0; b < input.batch; ++b)
        for (int64_t r = 0; r < input.rows; ++r)
          for (int64_t h = 0; h < input.heads; ++h)
            for (int64_t d = 0; d < input.dims; ++d) {
              // Positive, so that the output's support stays the mask's; bf16.
              double value = static_cast<double>(uniform(64, 191)) / 128;
              input.values[((b * input.rows + r) * input.heads + h) * input.dims + d] = value;
              host.values[((b * input.heads + h) * input.rows + r) * input.dims + d] = value;
            }
      for (const BindingInfo &binding : kernel_.bindings)
        if (binding.role == BindingRole::input && binding.name == info.name)
          problem_.args.tensors.push_back({info.name, host});
      problem_.call.bindings.inputs.push_back(std::move(input));
    }
  }

  void tensor(HostTensor &out, int64_t heads, int64_t tokens, int64_t dim, BindingRole role) {
    const int64_t shape[4] = {shape_.batch, heads, tokens, dim};
    std::copy_n(shape, 4, out.shape);
    if (!shape_.contents)
      return;
    out.values.resize(static_cast<size_t>(out.count()));
    for (float &value : out.values)
      value = normal();
    round_to_type(out.values, type_of(kernel_, role));
  }

  const spec::AttentionSpec &spec_;
  const KernelInfo &kernel_;
  Shape shape_;
  std::mt19937_64 &random_;
  VerifyProblem problem_;
};

} // namespace

VerifyProblem make_problem(const spec::AttentionSpec &spec, const KernelInfo &kernel,
                           const Shape &shape, std::mt19937_64 &random) {
  return ProblemMaker(spec, kernel, shape, random).make();
}

Result<oracle::Result> run_oracle(const spec::AttentionSpec &spec, const KernelInfo &kernel,
                                  const VerifyProblem &problem, bool quantised) {
  std::vector<double> q = oracle::widen(problem.args.q.values),
                      k = oracle::widen(problem.args.k.values),
                      v = oracle::widen(problem.args.v.values);
  oracle::Options options;
  options.partial = spec.partial;
  if (quantised) {
    options.quantizeQ = options.quantizeK = has_int8_keys(kernel);
    options.quantizeV = type_of(kernel, BindingRole::v) == ElementType::i8;
  }
  oracle::Result result = oracle::attentionReference(spec, problem.call, {q, k, v}, options);
  if (!result.ok())
    return Status::internal("the oracle refuses the problem (", problem.description,
                            "): ", result.error);
  return result;
}

} // namespace attn
