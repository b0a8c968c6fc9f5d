// attnc mask, attnc score: what the float64 oracle says of every pair, as a
// NumPy array, to be compared with a definition that was written by hand.
#include "tools/attnc/Commands.h"
#include "tools/attnc/SpecCall.h"

#include <charconv>
#include <cmath>
#include <iostream>
#include <memory>

namespace attn::tools {

namespace {

constexpr int64_t maxPairs = int64_t(1) << 32;

struct Options {
  std::string spec, name, output, s = "0";
  CallOptions call;
  int64_t head = -1, batch = -1; // -1: all of them
  bool recache = false;
};

// Which heads and batch entries are asked for, and the array's shape.
struct Extent {
  int64_t firstBatch, batches, firstHead, heads;
  std::vector<int64_t> shape;
};

int extentOf(const Options &options, const SpecCall &call, Extent &extent) {
  for (auto [what, index, count] : {std::tuple("head", options.head, call.heads),
                                    std::tuple("batch entry", options.batch, call.batch)})
    if (index >= count) {
      std::cerr << "attnc: error: " << what << " " << index << " is asked for; there are " << count
                << ", give 0 to " << count - 1 << "\n";
      return kUsage;
    }
  extent.firstBatch = std::max<int64_t>(options.batch, 0);
  extent.batches = options.batch < 0 ? call.batch : 1;
  extent.firstHead = std::max<int64_t>(options.head, 0);
  extent.heads = options.head < 0 ? call.heads : 1;
  if (options.batch < 0 && call.batched)
    extent.shape.push_back(call.batch);
  if (options.head < 0)
    extent.shape.push_back(call.heads);
  extent.shape.push_back(call.queries);
  extent.shape.push_back(call.keys);
  double pairs =
      double(extent.batches) * double(extent.heads) * double(call.queries) * double(call.keys);
  if (pairs > double(maxPairs)) {
    std::cerr << "attnc: error: the array would have " << concat(pairs) << " elements; at most "
              << maxPairs << " are written; give --head, --batch or a smaller --shape\n";
    return kUsage;
  }
  return kDone;
}

int64_t product(const std::vector<int64_t> &shape) {
  int64_t count = 1;
  for (int64_t extent : shape)
    count *= extent;
  return count;
}

// Every pair in C order.
template <typename Function>
void forEachPair(const Extent &extent, const SpecCall &call, Function function) {
  size_t at = 0;
  for (int64_t b = 0; b < extent.batches; ++b)
    for (int64_t h = 0; h < extent.heads; ++h)
      for (int64_t q = 0; q < call.queries; ++q)
        for (int64_t k = 0; k < call.keys; ++k)
          function(at++, static_cast<int32_t>(extent.firstBatch + b),
                   static_cast<int32_t>(extent.firstHead + h), call.queryAt(q), call.keyAt(k));
}

int write(const Options &options, std::string_view descr, size_t elementBytes, const Extent &extent,
          const void *data) {
  Status status = write_npy_as(options.output, descr, elementBytes, extent.shape, data);
  return status.ok() ? kDone : fail(status);
}

struct Loaded {
  std::optional<spec::CheckedSpec> checked;
  spec::AttentionSpec attention;
  SpecCall call;
  Extent extent{};
};

int load(const Options &options, Loaded &loaded) {
  int exitCode = kDone;
  loaded.checked = loadSpec(options.spec, exitCode);
  if (!loaded.checked)
    return exitCode;
  const spec::AttentionSpec *attention = pickAttention(*loaded.checked, options.name);
  if (!attention)
    return kUsage;
  loaded.attention = *attention;
  if (options.recache && !attention->recache) {
    std::cerr << "attnc: error: " << attention->name << " has no recache clause\n";
    return kUsage;
  }
  if (options.recache)
    loaded.attention.mask = attention->recache->mask;
  if (int code = readCall(loaded.attention, options.call, loaded.call); code != kDone)
    return code;
  noteAssumptions(loaded.call);
  return extentOf(options, loaded.call, loaded.extent);
}

int writeMask(const Options &options) {
  Loaded l;
  if (int code = load(options, l); code != kDone)
    return code;
  if (!haveTables(l.attention, *l.attention.mask, l.call))
    return kUsage;
  std::vector<uint8_t> mask(static_cast<size_t>(product(l.extent.shape)));
  forEachPair(l.extent, l.call, [&](size_t at, int32_t batch, int32_t head, int32_t q, int32_t k) {
    mask[at] = oracle::maskAt(l.attention, l.call.bindings, batch, head, q, k);
  });
  return write(options, "|b1", 1, l.extent, mask.data());
}

// --s: one number for every pair, or an array that broadcasts to the scores.
class Logits {
public:
  int read(const std::string &text, const Extent &extent) {
    const char *end = text.data() + text.size();
    if (std::from_chars(text.data(), end, constant).ptr == end) {
      if (!std::isfinite(constant))
        return fail(Status::usage("--s is ", text, "; a finite number or FILE.npy is needed"));
      return kDone;
    }
    Result<NpyArray> array = read_npy(text);
    if (!array.ok())
      return fail(array.status());
    if (array->shape.size() > extent.shape.size())
      return mismatch(text);
    size_t missing = extent.shape.size() - array->shape.size();
    int64_t step = 1;
    steps.assign(extent.shape.size(), 0);
    for (size_t i = array->shape.size(); i-- > 0;) {
      if (array->shape[i] != 1 && array->shape[i] != extent.shape[missing + i])
        return mismatch(text);
      steps[missing + i] = array->shape[i] == 1 ? 0 : step;
      step *= array->shape[i];
    }
    values = std::move(*array);
    shape = extent.shape;
    return kDone;
  }
  double at(size_t index) const {
    if (!values)
      return constant;
    int64_t offset = 0;
    for (size_t i = shape.size(); i-- > 0;) {
      offset += static_cast<int64_t>(index) % shape[i] * steps[i];
      index /= static_cast<size_t>(shape[i]);
    }
    return values->number(static_cast<size_t>(offset));
  }

private:
  static int mismatch(const std::string &path) {
    return fail(Status::invalid_input("shape does not broadcast to the scores'").at(path));
  }
  double constant = 0;
  std::optional<NpyArray> values;
  std::vector<int64_t> shape, steps;
};

int writeScore(const Options &options) {
  Loaded l;
  if (int code = load(options, l); code != kDone)
    return code;
  if (l.attention.score && !haveTables(l.attention, *l.attention.score, l.call))
    return kUsage;
  Logits logits;
  if (int code = logits.read(options.s, l.extent); code != kDone)
    return code;
  std::vector<double> scores(static_cast<size_t>(product(l.extent.shape)));
  forEachPair(l.extent, l.call, [&](size_t at, int32_t batch, int32_t head, int32_t q, int32_t k) {
    scores[at] = oracle::scoreAt(l.attention, l.call.bindings, batch, head, q, k, logits.at(at));
  });
  return write(options, "<f8", 8, l.extent, scores.data());
}

std::shared_ptr<Options> addCommon(CLI::App &command) {
  auto options = std::make_shared<Options>();
  command.add_option("SPEC", options->spec, "Spec file (.attn)")->required();
  command.add_option("--name", options->name, "Which attention of the file; default: the first");
  options->call.add(command);
  command.add_option("--head", options->head, "One head only; the array has no head axis")
      ->check(tool::whole_number(0, INT32_MAX));
  command
      .add_option("--batch", options->batch, "One batch entry only; the array has no batch axis")
      ->check(tool::whole_number(0, INT32_MAX));
  command.add_option("-o,--output", options->output, "The array to write (.npy)")->required();
  return options;
}

} // namespace

void addMaskCommands(CLI::App &app, int &exitCode) {
  CLI::App *mask =
      app.add_subcommand("mask", "Write the mask, pair by pair, as a boolean NumPy array");
  auto options = addCommon(*mask);
  mask->add_flag("--recache", options->recache, "The recache's mask instead");
  mask->footer("The array has the axes (head, query, key), before them batch if --shape gives it.\n"
               "Example:\n  attnc mask specs/causal.attn --shape i=64 --head 0 -o mask.npy");
  mask->callback([options, &exitCode] { exitCode = writeMask(*options); });

  CLI::App *score = app.add_subcommand(
      "score", "Write the score function's value, pair by pair, as a float64 NumPy array");
  auto scoreOptions = addCommon(*score);
  score
      ->add_option("--s", scoreOptions->s,
                   "The scaled dot products: a number, or FILE.npy that broadcasts")
      ->capture_default_str();
  score->footer("Axes as in attnc mask; the mask is not applied.\n"
                "Example:\n  attnc score specs/alibi.attn --shape i=64 --s 0.5 -o score.npy");
  score->callback([scoreOptions, &exitCode] { exitCode = writeScore(*scoreOptions); });
}

} // namespace attn::tools
