// Straightforward attention: per row, scores of all admitted keys, a softmax
// with the maximum taken out, and a weighted sum.
#include "compiler/oracle/attention_reference.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace attn::oracle {

using spec::AttentionSpec;

namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

std::string wrongSize(const char *what, size_t found, size_t expected) {
  return std::string(what) + " has " + std::to_string(found) + " elements; " +
         std::to_string(expected) + " are expected";
}

// Empty if everything fits.
std::string checkBindings(const AttentionSpec &spec, const Call &call) {
  const Bindings &b = call.bindings;
  if (b.params.size() != spec.params.size())
    return "spec has " + std::to_string(spec.params.size()) + " params; " +
           std::to_string(b.params.size()) + " are given";
  for (size_t i = 0; i < b.params.size(); ++i) {
    const spec::ParamInfo &param = spec.params[i];
    if (!(b.params[i] >= param.minimum && b.params[i] <= param.maximum))
      return "param `" + param.name + "` is " + std::to_string(b.params[i]) + "; " +
             std::to_string(param.minimum) + ".." + std::to_string(param.maximum) + " is allowed";
  }
  if (b.tables.size() != spec.tables.size())
    return "spec has " + std::to_string(spec.tables.size()) + " tables; " +
           std::to_string(b.tables.size()) + " are given";
  for (size_t i = 0; i < b.tables.size(); ++i) {
    const TableData &table = b.tables[i];
    int64_t count = 1;
    for (int64_t extent : table.extents)
      count *= extent;
    if (table.extents.size() != spec.tables[i].dims.size() || count < 1 ||
        static_cast<size_t>(count) != table.values.size())
      return "table `" + spec.tables[i].name + "` does not have the declared shape";
  }
  if (spec.output && b.inputs.size() != spec.inputs.size())
    return "spec has " + std::to_string(spec.inputs.size()) + " inputs; " +
           std::to_string(b.inputs.size()) + " are given";
  for (size_t i = 0; i < b.inputs.size(); ++i) {
    const InputData &input = b.inputs[i];
    auto fits = [](int64_t size, int64_t wanted) { return size == 1 || size == wanted; };
    int64_t count = input.batch * input.rows * input.heads * input.dims;
    if (!fits(input.batch, call.batch) || !fits(input.rows, call.queryLength) ||
        !fits(input.heads, call.heads) || !fits(input.dims, spec.vDim) ||
        static_cast<size_t>(count) != input.values.size())
      return "input `" + spec.inputs[i].name + "` does not fit the call's shape";
  }
  return "";
}

std::string checkCall(const AttentionSpec &spec, const Call &call, const Arrays &arrays) {
  if (call.batch < 1 || call.heads < 1 || call.kvHeads < 1 || call.queryLength < 0 ||
      call.slots < 0)
    return "a call needs at least one batch entry, head and KV head";
  if (call.heads % call.kvHeads != 0)
    return std::to_string(call.heads) + " heads cannot share " + std::to_string(call.kvHeads) +
           " KV heads";
  auto product = [](int64_t a, int64_t b, int64_t c, int64_t d) {
    return static_cast<size_t>(a * b * c * d);
  };
  size_t q = product(call.batch, call.heads, call.queryLength, spec.qkDim);
  size_t k = product(call.batch, call.kvHeads, call.slots, spec.qkDim);
  size_t v = product(call.batch, call.kvHeads, call.slots, spec.vDim);
  if (arrays.q.size() != q)
    return wrongSize("q", arrays.q.size(), q);
  if (arrays.k.size() != k)
    return wrongSize("k", arrays.k.size(), k);
  if (arrays.v.size() != v)
    return wrongSize("v", arrays.v.size(), v);
  if (call.segments.size() != 1 && call.segments.size() != static_cast<size_t>(call.batch))
    return "segments must be one list, or one for each batch entry";
  for (const auto &list : call.segments)
    for (const Segment &segment : list)
      if (segment.firstSlot < 0 || segment.length < 0 ||
          int64_t(segment.firstSlot) + segment.length > call.slots)
        return "a segment lies outside the " + std::to_string(call.slots) + " slots";
  return checkBindings(spec, call);
}

// The output expression on one row. It sees a finite log-sum-exp.
void applyOutput(const AttentionSpec &spec, const Evaluator &evaluator, Point point, double lse,
                 double *o) {
  point.logSumExp = std::max(lse, -1e30);
  for (point.dim = 0; point.dim < spec.vDim; ++point.dim) {
    point.output = o[point.dim];
    o[point.dim] = evaluator.value(*spec.output, point);
  }
}

struct Key {
  int64_t slot;
  int32_t position;
  double score;
};

class Reference {
public:
  Reference(const AttentionSpec &spec, const Call &call, const Arrays &arrays,
            const Options &options, const Bindings &bindings)
      : spec(spec), call(call), arrays(arrays), options(options), evaluator(bindings),
        scale(call.scale.value_or(
            spec.scale.value_or(1 / std::sqrt(static_cast<double>(spec.qkDim))))),
        mask(options.recacheMask && spec.recache ? *spec.recache->mask : *spec.mask) {}

  void run(Result &result) {
    result.o.assign(size_t(call.batch) * call.heads * call.queryLength * spec.vDim, 0);
    result.lse.assign(size_t(call.batch) * call.heads * call.queryLength, -infinity);
    for (int32_t batch = 0; batch < call.batch; ++batch)
      for (int32_t head = 0; head < call.heads; ++head)
        for (int32_t row = 0; row < call.queryLength; ++row)
          oneRow(batch, head, row, result);
  }

private:
  void oneRow(int32_t batch, int32_t head, int32_t row, Result &result) {
    Point point;
    point.batch = batch;
    point.head = head;
    point.row = row;
    point.queryPosition = call.queryPosition + row;
    int64_t kvHead = head / (call.heads / call.kvHeads);
    int64_t firstSlot = (batch * int64_t(call.kvHeads) + kvHead) * call.slots;
    size_t at = (size_t(batch) * call.heads + head) * call.queryLength + row;
    const double *q = arrays.q.data() + at * spec.qkDim;

    std::vector<Key> keys = admitted(batch, point, q, firstSlot);
    bool sink = spec.sinkLogit && !options.partial;
    double logit = sink ? evaluator.value(*spec.sinkLogit, point) : -infinity;
    double largest = logit;
    bool nan = false;
    for (const Key &key : keys) {
      largest = std::max(largest, key.score);
      nan |= std::isnan(key.score);
    }
    double *o = result.o.data() + at * spec.vDim;
    // A score of -inf weighs nothing, so a row of such scores attends nothing.
    if (largest != -infinity || nan) {
      double denominator = sink ? std::exp(logit - largest) : 0;
      for (const Key &key : keys) {
        double weight = std::exp(key.score - largest);
        denominator += weight;
        const double *v = arrays.v.data() + (firstSlot + key.slot) * spec.vDim;
        if (weight != 0)
          for (int64_t dim = 0; dim < spec.vDim; ++dim)
            o[dim] += weight * v[dim];
      }
      for (int64_t dim = 0; dim < spec.vDim; ++dim)
        o[dim] /= denominator;
      result.lse[at] = largest + std::log(denominator);
    }
    if (spec.output && !options.partial)
      applyOutput(spec, evaluator, point, result.lse[at], o);
  }

  // Keys that the mask admits, with their final scores.
  std::vector<Key> admitted(int32_t batch, Point point, const double *q, int64_t firstSlot) {
    std::vector<Key> keys;
    const auto &list = call.segments[call.segments.size() == 1 ? 0 : size_t(batch)];
    for (const Segment &segment : list)
      for (int32_t i = 0; i < segment.length; ++i) {
        point.keyPosition = segment.firstPosition + i;
        if (!evaluator.truth(mask, point))
          continue;
        int64_t slot = segment.firstSlot + i;
        const double *k = arrays.k.data() + (firstSlot + slot) * spec.qkDim;
        double dot = 0;
        for (int64_t dim = 0; dim < spec.qkDim; ++dim)
          dot += q[dim] * k[dim];
        point.score = scale * dot;
        double score = spec.score ? evaluator.value(*spec.score, point) : point.score;
        keys.push_back({slot, point.keyPosition, score});
      }
    return keys;
  }

  const AttentionSpec &spec;
  const Call &call;
  const Arrays &arrays;
  const Options &options;
  Evaluator evaluator;
  double scale;
  const spec::Expr &mask;
};

} // namespace

Result attentionReference(const AttentionSpec &spec, const Call &call, const Arrays &arrays,
                          const Options &options) {
  Result result;
  result.error = checkCall(spec, call, arrays);
  if (!result.ok())
    return result;
  Bindings bindings = call.bindings;
  bindings.heads = call.heads;
  bindings.kvHeads = call.kvHeads;
  std::vector<double> q, k, v;
  Arrays used = arrays;
  auto quantized = [](std::span<const double> from, std::vector<double> &to, int64_t width) {
    to.assign(from.begin(), from.end());
    roundToInt8(to, static_cast<size_t>(width));
    return std::span<const double>(to);
  };
  if (options.quantizeQ)
    used.q = quantized(arrays.q, q, spec.qkDim);
  if (options.quantizeK)
    used.k = quantized(arrays.k, k, spec.qkDim);
  if (options.quantizeV)
    used.v = quantized(arrays.v, v, spec.vDim);
  Reference(spec, call, used, options, bindings).run(result);
  return result;
}

bool maskAt(const AttentionSpec &spec, const Bindings &bindings, int32_t batch, int32_t head,
            int32_t queryPosition, int32_t keyPosition) {
  Point point;
  point.batch = batch;
  point.head = head;
  point.queryPosition = queryPosition;
  point.keyPosition = keyPosition;
  return Evaluator(bindings).truth(*spec.mask, point);
}

double scoreAt(const AttentionSpec &spec, const Bindings &bindings, int32_t batch, int32_t head,
               int32_t queryPosition, int32_t keyPosition, double s) {
  Point point;
  point.batch = batch;
  point.head = head;
  point.queryPosition = queryPosition;
  point.keyPosition = keyPosition;
  point.score = s;
  return spec.score ? Evaluator(bindings).value(*spec.score, point) : s;
}

Partial mergePartials(const std::vector<Partial> &parts, size_t dim,
                      const std::vector<double> *sinkLogits) {
  size_t rows = parts.empty() ? 0 : parts[0].lse.size();
  Partial merged;
  merged.o.assign(rows * dim, 0);
  merged.lse.assign(rows, -infinity);
  for (size_t row = 0; row < rows; ++row) {
    double largest = sinkLogits ? (*sinkLogits)[row] : -infinity;
    bool nan = false;
    for (const Partial &part : parts) {
      largest = std::max(largest, part.lse[row]);
      nan |= std::isnan(part.lse[row]);
    }
    if (largest == -infinity && !nan)
      continue;
    double total = sinkLogits ? std::exp((*sinkLogits)[row] - largest) : 0;
    for (const Partial &part : parts)
      total += std::exp(part.lse[row] - largest);
    for (const Partial &part : parts) {
      double weight = std::exp(part.lse[row] - largest) / total;
      if (weight != 0)
        for (size_t i = 0; i < dim; ++i)
          merged.o[row * dim + i] += weight * part.o[row * dim + i];
    }
    merged.lse[row] = largest + std::log(total);
  }
  return merged;
}

Result mergeReference(const AttentionSpec &spec, const Call &call,
                      const std::vector<Partial> &parts) {
  Result result;
  result.error = checkBindings(spec, call);
  size_t rows = size_t(call.batch) * call.heads * call.queryLength, dim = spec.vDim;
  for (const Partial &part : parts)
    if (result.ok() && (part.lse.size() != rows || part.o.size() != rows * dim))
      result.error = wrongSize("a part", part.o.size(), rows * dim);
  if (!result.ok())
    return result;
  Bindings bindings = call.bindings;
  bindings.heads = call.heads;
  bindings.kvHeads = call.kvHeads;
  Evaluator evaluator(bindings);
  auto pointOf = [&](size_t at) {
    Point point;
    point.row = at % call.queryLength;
    point.queryPosition = call.queryPosition + static_cast<int32_t>(point.row);
    point.head = at / call.queryLength % call.heads;
    point.batch = at / call.queryLength / call.heads;
    return point;
  };
  std::vector<double> logits;
  for (size_t at = 0; spec.sinkLogit && at < rows; ++at)
    logits.push_back(evaluator.value(*spec.sinkLogit, pointOf(at)));
  Partial merged = mergePartials(parts, dim, spec.sinkLogit ? &logits : nullptr);
  result.o = std::move(merged.o);
  result.lse = std::move(merged.lse);
  for (size_t at = 0; spec.output && at < rows; ++at)
    applyOutput(spec, evaluator, pointOf(at), result.lse[at], &result.o[at * dim]);
  return result;
}

// The kernels' arithmetic, in f32, so that no value rounds the other way.
void roundToInt8(std::vector<double> &values, size_t width) {
  for (size_t row = 0; row + width <= values.size() && width != 0; row += width) {
    float amax = 0;
    for (size_t i = 0; i < width; ++i)
      amax = std::max(amax, std::fabs(static_cast<float>(values[row + i])));
    float scale = amax / 127.0f;
    bool finite = std::all_of(values.begin() + row, values.begin() + row + width,
                              [](double x) { return std::isfinite(x); });
    for (size_t i = 0; i < width; ++i) {
      if (!finite) { // the scale becomes NaN or infinite, and with it the whole row
        values[row + i] = std::numeric_limits<double>::quiet_NaN();
        continue;
      }
      float x = static_cast<float>(values[row + i]);
      float level = scale > 0 ? std::nearbyintf(x / scale) : 0.0f;
      values[row + i] = double(std::clamp(level, -127.0f, 127.0f)) * double(scale);
    }
  }
}

std::vector<double> widen(std::span<const float> values) {
  return std::vector<double>(values.begin(), values.end());
}

} // namespace attn::oracle
