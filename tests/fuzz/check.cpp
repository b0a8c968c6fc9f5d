// Compiles, runs and compares.
#include "tests/fuzz/check.h"

#include "compiler/pipeline/Pipeline.h"
#include "compiler/spec/Print.h"
#include "tools/attn-run/compare.h"
#include "tools/attn-run/mask_recovery.h"
#include "tools/attn-run/poison.h"
#include "tools/attn-run/problem.h"

#include <algorithm>
#include <cmath>

namespace attn::fuzz {

void TileCounts::add(const TileCounts &other) {
  tiles += other.tiles;
  empty += other.empty;
  visited_for_nothing += other.visited_for_nothing;
  full += other.full;
  masked_for_nothing += other.masked_for_nothing;
}

namespace {

struct Failure {
  std::string stage, message;
};

class SpecChecker {
public:
  SpecChecker(const Draft &draft, const std::string &text, Device &device, const Setting &setting)
      : draft_(draft), text_(text), device_(device), setting_(setting), random_(setting.seed) {}

  Outcome run() {
    spec::Diagnostics diagnostics;
    checked_ = spec::parseAndCheck(text_, "fuzzed.attn", diagnostics);
    if (!checked_)
      return end(Verdict::rejected, "check", diagnostics.render());
    if (std::string why = print_differs(); !why.empty())
      return end(Verdict::failed, "print", why);
    mlir::attn::CompileResult compiled;
    std::string errors;
    llvm::raw_string_ostream stream(errors);
    mlir::attn::CompileOptions options = compile_options();
    if (!mlir::attn::compileSpec(*checked_, options, compiled, stream))
      return end(errors.find("error: ") == std::string::npos ? Verdict::failed : Verdict::refused,
                 "compile", errors);
    const KernelInfo &info = compiled.kernels[0];
    const std::string &image = compiled.images[info.image].bytes;
    auto kernel = device_.load(info, {reinterpret_cast<const std::byte *>(image.data()), image.size()});
    if (!kernel.ok())
      return end(Verdict::failed, "load", kernel.status().message());
    kernel_ = std::move(*kernel);
    return call();
  }

private:
  Outcome end(Verdict verdict, std::string stage = "", std::string message = "") {
    outcome_.verdict = verdict;
    outcome_.stage = std::move(stage);
    outcome_.message = std::move(message);
    return outcome_;
  }
  const spec::AttentionSpec &attention() const { return checked_->attentions[0]; }

  mlir::attn::CompileOptions compile_options() {
    static const std::vector<std::string> variants = {"f32", "f32", "f32", "bf16", "f16", "int8"};
    mlir::attn::CompileOptions options;
    variant_ = setting_.simple ? "f32" : random_.pick(variants);
    options.variants = {variant_};
    if (variant_ == "int8")
      options.floatType = random_.pick(std::vector<std::string>{"f32", "bf16", "f16"});
    bool cpu = device_.info().target == TargetKind::cpu;
    std::vector<std::string> archs = {"avx2"};
    if (device_.info().features & kFeatureAvx512)
      archs.push_back("avx512");
    if (variant_ == "bf16" && (device_.info().features & kFeatureAvx512Bf16))
      archs.push_back("avx512-bf16");
    if (variant_ == "int8" && (device_.info().features & kFeatureAvx512Vnni))
      archs.push_back("avx512-vnni");
    std::string arch = random_.pick(archs);
    options.targets = {cpu ? "cpu:" + arch : "spirv"};
    options.quick = !setting_.tuned;
    if (cpu && !setting_.tuned)
      options.cpuSchedules = small_schedule(arch);
    outcome_.setting = options.targets[0] + " " + variant_ + (setting_.tuned ? " tuned" : "");
    return options;
  }

  // A register tile, and blocks of keys and queries, of a few elements.
  const mlir::attn::CpuScheduleTable *small_schedule(const std::string &arch) {
    std::string row = arch + " * *";
    for (int64_t number : {random_.pick({1, 2, 4}), random_.between(1, 2), random_.between(1, 2),
                           random_.between(1, 3), 8 * random_.between(1, 3)})
      row += " " + std::to_string(number);
    std::string error;
    schedules_ = mlir::attn::CpuScheduleTable::parse(row, error);
    return schedules_ ? &*schedules_ : nullptr;
  }

  // As many pairs as tell something, and no more.
  Shape shape() {
    const KernelInfo &info = kernel_->info();
    Shape shape;
    int32_t kv = info.kv_heads ? int32_t(info.kv_heads) : 1;
    shape.heads = info.heads ? int32_t(info.heads) : kv * int32_t(random_.between(1, 3));
    shape.kv_heads = info.kv_heads || !info.heads ? kv : shape.heads;
    shape.batch = setting_.simple || random_.one_in(2) ? 1 : 2;
    int64_t pairs = (setting_.simple ? 1500 : 9000) / shape.batch;
    int32_t bq = int32_t(info.block_q), bk = int32_t(info.block_k);
    shape.rows = int32_t(random_.pick({1, 3, bq - 1, bq, bq + 1, random_.between(1, 2 * bq + 5)}));
    shape.slots = int32_t(random_.pick({1, bk, bk + 1, 3 * bk - 1, random_.between(1, 6 * bk + 9)}));
    // Few keys with many heads would leave most of the mask unseen.
    while (shape.rows > 5 && int64_t(shape.rows) * shape.slots * shape.heads > pairs)
      shape.rows -= shape.rows / 4;
    while (shape.slots > 20 && int64_t(shape.rows) * shape.slots * shape.heads > pairs)
      shape.slots -= shape.slots / 4;
    if (attention().score || attention().sinkLogit)
      shape.slots = std::min<int32_t>(shape.slots, 3 * info.v_dim); // mask recovery's passes
    shape.segments = uint32_t(random_.pick({1, 1, 3, 5, 9}));
    return shape;
  }

  // Moves everything far from position 0 where no length bounds the positions.
  void move_far(VerifyProblem &problem) {
    auto unbounded = [](const spec::TokensInfo &tokens) { return !tokens.groups.back().length; };
    for (const spec::TableInfo &table : attention().tables)
      if (table.implicit)
        return;
    for (const spec::SpaceInfo &space : attention().spaces)
      if (space.axes.front().kind == spec::AxisKind::Ragged)
        return;
    if (!unbounded(attention().query) || !unbounded(attention().keys) || !random_.one_in(4))
      return;
    int32_t far = int32_t(random_.pick({random_.between(1, 100000), (1 << 30) - 4000}));
    int64_t last = 0;
    for (const Segment &segment : problem.args.segments)
      last = std::max<int64_t>(last, int64_t(segment.first_position) + segment.length);
    last = std::max<int64_t>(last, int64_t(problem.args.q_position) + problem.shape.rows);
    if (far + last >= ATTN_POSITION_LIMIT)
      return;
    bool keep_first = random_.one_in(2); // sinks stay where they are
    problem.args.q_position += far;
    problem.call.queryPosition += far;
    for (size_t i = 0; i < problem.args.segments.size(); ++i) {
      if (keep_first && problem.args.segments[i].first_position == 0)
        continue;
      problem.args.segments[i].first_position += far;
      problem.call.segments[0][i].firstPosition += far;
    }
    problem.description += " moved by " + std::to_string(far);
  }

  Outcome call() {
    std::mt19937_64 contents(setting_.seed);
    VerifyProblem problem = make_problem(attention(), kernel_->info(), shape(), contents);
    move_far(problem);
    outcome_.setting += ", blocks " + std::to_string(kernel_->info().block_q) + "x" +
                        std::to_string(kernel_->info().block_k) + ", " + problem.description;
    poison_excluded(attention(), kernel_->info(), problem);
    if (!setting_.simple)
      problem.args.layout = HostLayout(random_.below(3));
    auto got = run_on_device(device_, *kernel_, problem.args);
    if (!got.ok())
      return end(Verdict::failed, "run", got.status().message());
    auto want = run_oracle(attention(), kernel_->info(), problem, true);
    if (!want.ok())
      return end(Verdict::failed, "oracle", want.status().message());
    Comparison comparison =
        compare(*got, *want, exact_bound(kernel_->info()) + 2 * draft_.score_error);
    if (!comparison.failure.empty())
      return end(Verdict::failed, "values", comparison.failure);
    auto mask = recover_mask(device_, *kernel_, attention(), problem);
    if (!mask.ok())
      return end(Verdict::failed, "mask", mask.status().message());
    if (mask->wrong)
      return end(Verdict::failed, "mask", mask->first_wrong);
    if (std::string why = tiles_wrong(problem); !why.empty())
      return end(Verdict::failed, "tiles", why);
    return outcome_;
  }

  // The kernel's own ranges against the mask, tile by tile.
  std::string tiles_wrong(const VerifyProblem &problem) {
    if (!kernel_->ranges())
      return "";
    auto call = HostCall::create(device_, *kernel_, problem.args);
    if (!call.ok())
      return call.status().message();
    const KernelInfo &info = kernel_->info();
    int32_t bq = int32_t(info.block_q), bk = int32_t(info.block_k);
    std::vector<uint32_t> ranges(4 * 1024);
    for (int32_t batch = 0; batch < problem.shape.batch; ++batch)
      for (int32_t head = 0; head < problem.shape.heads; ++head)
        for (int32_t first = 0; first < problem.shape.rows; first += bq) {
          uint32_t count =
              call->ranges(uint32_t(batch), uint32_t(head), uint32_t(first / bq), ranges);
          int32_t last = std::min(first + bq, problem.shape.rows);
          for (size_t s = 0; s < problem.args.segments.size(); ++s)
            for (int32_t key = 0; key < problem.args.segments[s].length; key += bk) {
              uint32_t found = ATTN_TILE_EMPTY;
              for (uint32_t i = 0; i < count; ++i)
                if (ranges[4 * i] == s && int32_t(ranges[4 * i + 1]) <= key &&
                    key < int32_t(ranges[4 * i + 2]))
                  found = ranges[4 * i + 3];
              std::string why = tile_wrong(problem, batch, head, first, last, s, key, found);
              if (!why.empty())
                return why;
            }
        }
    return "";
  }

  std::string tile_wrong(const VerifyProblem &problem, int32_t batch, int32_t head, int32_t first,
                         int32_t last, size_t segment, int32_t key, uint32_t found) {
    const Segment &s = problem.args.segments[segment];
    int32_t end = std::min(key + int32_t(kernel_->info().block_k), s.length);
    bool any = false, all = true;
    for (int32_t row = first; row < last && (!any || all); ++row)
      for (int32_t i = key; i < end; ++i) {
        bool admitted = oracle::maskAt(attention(), problem.call.bindings, batch, head,
                                       problem.args.q_position + row, s.first_position + i);
        any |= admitted;
        all &= admitted;
      }
    bool short_tile = end - key < int32_t(kernel_->info().block_k); // is masked in any case
    outcome_.tiles.add({1, !any, !any && found != ATTN_TILE_EMPTY, all && !short_tile,
                        all && !short_tile && found != ATTN_TILE_FULL});
    std::string place = "batch " + std::to_string(batch) + ", head " + std::to_string(head) +
                        ", rows " + std::to_string(first) + ".., segment " +
                        std::to_string(segment) + ", keys " + std::to_string(key) + "..: ";
    if (any && found == ATTN_TILE_EMPTY)
      return place + "an admitted pair is skipped";
    if (!all && found == ATTN_TILE_FULL)
      return place + "an excluded pair is not masked";
    return "";
  }

  // The mask as it is printed, called by name or written out, means the same.
  std::string print_differs() {
    const Clause *mask = draft_.find("mask");
    if (!mask)
      return "";
    for (bool expand : {false, true}) {
      std::string printed = spec::toString(attention(), *attention().mask, expand);
      std::string text = text_, original = mask->text();
      size_t at = text.find(original);
      text.replace(at, original.size(), "mask " + with_extents(printed));
      spec::Diagnostics diagnostics;
      auto again = spec::parseAndCheck(text, "printed.attn", diagnostics);
      if (!again)
        return "the printed mask is rejected: " + diagnostics.render();
      if (std::string why = masks_differ(again->attentions[0]); !why.empty())
        return why + (expand ? " (written out): " : ": ") + printed;
    }
    return "";
  }

  // The run-time length of a space is printed under its param's name, which a
  // spec cannot use.
  std::string with_extents(std::string text) const {
    for (const spec::SpaceInfo &space : attention().spaces)
      for (const spec::SpaceAxis &axis : space.axes)
        if (axis.kind == spec::AxisKind::Ragged)
          for (size_t at; (at = text.find("len_" + space.name)) != std::string::npos;)
            text.replace(at, 4 + space.name.size(), "extent(" + axis.name + ")");
    return text;
  }

  std::string masks_differ(const spec::AttentionSpec &other) {
    oracle::Bindings bindings;
    bindings.heads = attention().heads ? int32_t(attention().heads) : 4;
    bindings.kvHeads = attention().kvHeads ? int32_t(attention().kvHeads) : bindings.heads;
    for (const spec::ParamInfo &param : attention().params)
      bindings.params.push_back(std::clamp<double>(double(random_.between(-2, 9)), param.minimum, param.maximum));
    for (const spec::TableInfo &info : attention().tables) {
      oracle::TableData table{std::vector<int64_t>(info.dims.size(), 3), {}};
      for (int64_t i = int64_t(std::pow(3, double(info.dims.size()))); i > 0; --i)
        table.values.push_back(double(random_.below(8)));
      bindings.tables.push_back(std::move(table));
    }
    for (int pair = 0; pair < 50; ++pair) {
      int32_t q = int32_t(random_.below(200)), k = int32_t(random_.below(200));
      int32_t head = int32_t(random_.below(bindings.heads));
      if (oracle::maskAt(attention(), bindings, 0, head, q, k) !=
          oracle::maskAt(other, bindings, 0, head, q, k))
        return "the printed mask differs at q " + std::to_string(q) + ", k " + std::to_string(k);
    }
    return "";
  }

  const Draft &draft_;
  const std::string &text_;
  Device &device_;
  Setting setting_;
  Random random_;
  std::string variant_;
  std::optional<spec::CheckedSpec> checked_;
  std::optional<mlir::attn::CpuScheduleTable> schedules_;
  std::unique_ptr<Kernel> kernel_;
  Outcome outcome_;
};

} // namespace

Outcome check(const Draft &draft, const std::string &text, Device &device, const Setting &setting) {
  return SpecChecker(draft, text, device, setting).run();
}

} // namespace attn::fuzz
