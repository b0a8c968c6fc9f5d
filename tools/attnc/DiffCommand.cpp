// attnc diff: two masks pair by pair, each of a spec or of a NumPy array; of
// two specs also their scores. Says where they first differ, and why.
#include "compiler/oracle/Places.h"
#include "compiler/oracle/Witness.h"
#include "tools/attnc/Commands.h"
#include "tools/attnc/SpecCall.h"

#include <cmath>
#include <iostream>
#include <memory>

namespace attn::tools {

namespace {

struct Options {
  std::string a, b, nameA, nameB;
  CallOptions call;
  int64_t head = -1;
};

struct Pair {
  int64_t batch, head, query, key; // indices within the call
};

// One of the two masks: a spec under the call's shape, or an array.
class Side {
public:
  std::string path;
  std::optional<spec::CheckedSpec> checked; // absent: an array
  const spec::AttentionSpec *attention = nullptr;
  SpecCall call;
  std::optional<NpyArray> array;

  int load(const std::string &from, const std::string &name, const CallOptions &options,
           std::set<std::string> &used) {
    path = from;
    if (path.ends_with(".npy"))
      return loadArray();
    int exitCode = kDone;
    checked = loadSpec(path, exitCode);
    if (!checked)
      return exitCode;
    attention = pickAttention(*checked, name);
    if (!attention)
      return kUsage;
    if (int code = readCall(*attention, options, call, used); code != kDone)
      return code;
    return haveTables(*attention, *attention->mask, call) ? kDone : kUsage;
  }

  bool admits(const Pair &pair) const {
    if (attention)
      return oracle::maskAt(*attention, call.bindings, int32_t(pair.batch), int32_t(pair.head),
                            call.queryAt(pair.query), call.keyAt(pair.key));
    int64_t at = 0;
    const int64_t index[4] = {pair.batch, pair.head, pair.query, pair.key};
    for (size_t i = 0; i < 4; ++i)
      at = at * shape[i] + (shape[i] == 1 ? 0 : index[i]);
    return array->number(size_t(at)) != 0;
  }

  // "admits it: causal(i)" and where that stands.
  std::string reason(const Pair &pair) const {
    std::string verdict = admits(pair) ? "admits it" : "excludes it";
    if (!attention)
      return verdict;
    oracle::Point point{int32_t(pair.batch),
                        int32_t(pair.head),
                        call.queryAt(pair.query),
                        call.keyAt(pair.key),
                        0,
                        0,
                        0,
                        0};
    oracle::Witness why = oracle::witness(*attention->mask, call.bindings, point);
    verdict += ": " + oracle::explainClauses(*checked, why);
    if (!why.clauses.empty())
      verdict += "   (" + oracle::sourcePlace(*checked, why.clauses.front()) + ")";
    return verdict;
  }

  std::string describe(const Pair &pair) const {
    oracle::Places places(*attention, call.bindings);
    return concat("query ", call.queryAt(pair.query), " (",
                  places.describe(spec::Side::Query, call.queryAt(pair.query)), "), key ",
                  call.keyAt(pair.key), " (",
                  places.describe(spec::Side::Key, call.keyAt(pair.key)), ")");
  }

  int64_t shape[4] = {1, 1, 0, 0}; // batch, heads, queries, keys; 1 broadcasts

private:
  int loadArray() {
    Result<NpyArray> read = read_npy(path);
    if (!read.ok())
      return fail(read.status());
    if (read->shape.size() < 2 || read->shape.size() > 4)
      return fail(Status::invalid_input("array has ", read->shape.size(),
                                        " axes; (query, key), (head, query, key) or (batch, head, "
                                        "query, key) are compared")
                      .at(path));
    for (size_t i = 0; i < read->shape.size(); ++i)
      shape[4 - read->shape.size() + i] = read->shape[i];
    array = std::move(*read);
    return kDone;
  }
};

class Comparison {
public:
  explicit Comparison(const Options &options) : options(options) {}

  int run() {
    std::set<std::string> used;
    for (auto [side, path, name] :
         {std::tuple(&a, &options.a, &options.nameA), std::tuple(&b, &options.b, &options.nameB)})
      if (int code = side->load(*path, *name, options.call, used); code != kDone)
        return code;
    std::vector<const spec::AttentionSpec *> specs;
    for (const Side *side : {&a, &b})
      if (side->attention) {
        if (specs.empty())
          noteAssumptions(side->call);
        specs.push_back(side->attention);
      }
    if (int code = refuseUnused(options.call, used, specs); code != kDone)
      return code;
    if (!agree())
      return kRejected;
    int64_t onlyA = 0, onlyB = 0, both = 0;
    Pair first{};
    forEachPair([&](const Pair &pair) {
      bool inA = a.admits(pair), inB = b.admits(pair);
      both += inA && inB;
      if (inA != inB && onlyA + onlyB == 0)
        first = pair;
      onlyA += inA && !inB;
      onlyB += inB && !inA;
      return true;
    });
    if (onlyA + onlyB != 0) {
      std::cout << "different: " << describe(first) << "\n  " << a.path << " " << a.reason(first)
                << "\n  " << b.path << " " << b.reason(first) << "\n"
                << onlyA + onlyB << " of " << concat(pairs()) << " pairs differ: " << onlyA
                << " only in " << a.path << ", " << onlyB << " only in " << b.path << "\n";
      return kRejected;
    }
    std::string scores;
    if (int code = compareScores(scores); code != kDone)
      return code;
    std::cout << "equal: " << concat(pairs()) << " pairs, " << both << " admitted" << scores
              << "\n";
    return kDone;
  }

private:
  // One size for both; arrays take the specs' and may broadcast.
  bool agree() {
    static const char *const names[] = {"batch entries", "heads", "queries", "keys"};
    for (Side *side : {&a, &b})
      if (side->attention) {
        int64_t own[4] = {side->call.batch, side->call.heads, side->call.queries, side->call.keys};
        std::copy(own, own + 4, side->shape);
        if (options.head >= 0)
          side->shape[1] = 1;
        if (options.head >= own[1]) {
          std::cerr << "attnc: error: head " << options.head << " is asked for; " << side->path
                    << " has " << own[1] << "\n";
          return false;
        }
      }
    for (size_t i = 0; i < 4; ++i) {
      size[i] = std::max(a.shape[i], b.shape[i]);
      for (const Side *side : {&a, &b}) {
        bool broadcasts = !side->attention && i < 2 && side->shape[i] == 1;
        if (side->shape[i] == size[i] || broadcasts)
          continue;
        std::cerr << "attnc: error: " << a.path << " has " << a.shape[i] << " " << names[i] << ", "
                  << b.path << " has " << b.shape[i]
                  << (i == 1 ? "; give --head, or heads in --shape\n"
                             : "; give both one size with --shape\n");
        return false;
      }
    }
    return true;
  }

  double pairs() const { return double(size[0]) * size[1] * size[2] * size[3]; }

  template <typename Function> void forEachPair(Function function) const {
    Pair pair{};
    for (pair.batch = 0; pair.batch < size[0]; ++pair.batch)
      for (int64_t h = 0; h < size[1]; ++h)
        for (pair.query = 0; pair.query < size[2]; ++pair.query)
          for (pair.key = 0; pair.key < size[3]; ++pair.key) {
            pair.head = options.head >= 0 ? options.head : h;
            if (!function(pair))
              return;
          }
  }

  std::string describe(const Pair &pair) const {
    std::string where = concat("batch ", pair.batch, ", head ", pair.head, ", ");
    for (const Side *side : {&a, &b})
      if (side->attention)
        return where + side->describe(pair);
    return where + concat("query ", pair.query, ", key ", pair.key);
  }

  // Where the mask admits, at a few values of s.
  int compareScores(std::string &said) const {
    if (!a.attention || !b.attention || (!a.attention->score && !b.attention->score))
      return kDone;
    for (const Side *side : {&a, &b})
      if (side->attention->score &&
          !haveTables(*side->attention, *side->attention->score, side->call))
        return kRejected;
    int result = kDone;
    forEachPair([&](const Pair &pair) {
      if (!a.admits(pair))
        return true;
      for (double s : {-1.25, 0.0, 0.5, 3.0}) {
        double values[2];
        for (int i = 0; i < 2; ++i) {
          const Side &side = i ? b : a;
          values[i] = oracle::scoreAt(*side.attention, side.call.bindings, int32_t(pair.batch),
                                      int32_t(pair.head), side.call.queryAt(pair.query),
                                      side.call.keyAt(pair.key), s);
        }
        bool same = values[0] == values[1] || (std::isnan(values[0]) && std::isnan(values[1])) ||
                    std::fabs(values[0] - values[1]) <=
                        1e-9 * std::max({1.0, std::fabs(values[0]), std::fabs(values[1])});
        if (same)
          continue;
        std::cout << "equal masks, different scores: " << describe(pair) << ", s = " << s << "\n  "
                  << a.path << " gives " << values[0] << "\n  " << b.path << " gives " << values[1]
                  << "\n";
        result = kRejected;
        return false;
      }
      return true;
    });
    said = "; scores equal at s = -1.25, 0, 0.5, 3";
    return result;
  }

  const Options &options;
  Side a, b;
  int64_t size[4] = {1, 1, 1, 1};
};

} // namespace

void addDiffCommand(CLI::App &app, int &exitCode) {
  auto options = std::make_shared<Options>();
  CLI::App *command =
      app.add_subcommand("diff", "Compare two masks pair by pair: specs, or NumPy arrays");
  command->add_option("A", options->a, "A spec (.attn) or a mask (.npy)")->required();
  command->add_option("B", options->b, "The other one")->required();
  command->add_option("--name-a", options->nameA, "Which attention of A; default: the first");
  command->add_option("--name-b", options->nameB, "Which attention of B; default: the first");
  options->call.add(*command);
  command->add_option("--head", options->head, "Compare one head only")
      ->check(tool::whole_number(0, INT32_MAX));
  command->footer("Exit code 0: equal; 1: different, or an input is rejected. Masks of arrays are "
                  "true where not 0.\nExample:\n  attnc diff specs/causal.attn mask.npy --shape "
                  "i=64");
  command->callback([options, &exitCode] { exitCode = Comparison(*options).run(); });
}

} // namespace attn::tools
