// Coordinate descent over schedules; every comparison alternates two kernels.
#include "tools/attnc/CpuTuner.h"

#include "runtime/device/device.h"
#include "tools/attn-run/problem.h"

#include "llvm/Support/raw_ostream.h"

#include <algorithm>
#include <ctime>
#include <memory>
#include <numeric>
#include <set>
#include <tuple>

namespace attn::tools {

using mlir::attn::CpuArch;
using mlir::attn::CpuSchedule;

namespace {

double threadSeconds() {
  timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return double(t.tv_sec) + 1e-9 * double(t.tv_nsec);
}

/// A compiled schedule with a call that is ready to run.
struct Candidate {
  CpuSchedule schedule;
  std::unique_ptr<Kernel> kernel;
  std::unique_ptr<HostCall> call;

  Result<double> seconds() const {
    double start = threadSeconds();
    ATTN_RETURN_IF_ERROR(call->launch());
    return threadSeconds() - start;
  }
};

class Tuner {
public:
  Tuner(const spec::CheckedSpec &spec, const TuneRequest &request,
        const std::function<void(const std::string &)> &progress)
      : spec(spec), request(request), progress(progress),
        arch(*mlir::attn::findCpuArch(request.arch)) {}

  Result<TuneResult> run();

private:
  Result<Candidate> compile(const mlir::attn::CpuScheduleTable *table);
  /// How much faster `b` is than `a`.
  Result<double> speedup(const Candidate &a, const Candidate &b);
  std::vector<CpuSchedule> neighbours(const CpuSchedule &from) const;
  bool outOfTime() const { return threadSeconds() - begun > request.seconds; }

  const spec::CheckedSpec &spec;
  const TuneRequest &request;
  const std::function<void(const std::string &)> &progress;
  const CpuArch &arch;
  std::unique_ptr<Device> device;
  double begun = threadSeconds();
};

Result<Candidate> Tuner::compile(const mlir::attn::CpuScheduleTable *table) {
  mlir::attn::CompileOptions options;
  options.targets = {"cpu:" + request.arch};
  options.variants = {request.variant};
  options.floatType = request.floatType;
  options.attention = request.attention;
  options.cpuSchedules = table;
  mlir::attn::CompileResult compiled;
  std::string errors;
  llvm::raw_string_ostream stream(errors);
  if (!mlir::attn::compileSpec(spec, options, compiled, stream))
    return Status::invalid_input(errors);
  const KernelInfo &info = compiled.kernels.front();
  const std::string &image = compiled.images[info.image].bytes;
  Candidate candidate;
  ATTN_ASSIGN_OR_RETURN(candidate.kernel,
                        device->load(info, std::as_bytes(std::span(image.data(), image.size()))));
  // Equal seeds: every candidate runs the same call.
  std::mt19937_64 random(1);
  Shape shape;
  shape.rows = request.rows;
  shape.slots = request.slots;
  shape.kv_heads = info.kv_heads ? int32_t(info.kv_heads) : 1;
  shape.heads = info.heads ? int32_t(info.heads) : shape.kv_heads;
  const spec::AttentionSpec &attention = *spec.find(request.attention);
  VerifyProblem problem = make_problem(attention, info, shape, random);
  ATTN_ASSIGN_OR_RETURN(HostCall call, HostCall::create(*device, *candidate.kernel, problem.args));
  candidate.call = std::make_unique<HostCall>(std::move(call));
  ATTN_RETURN_IF_ERROR(candidate.call->launch()); // touches the memory
  return candidate;
}

// The median of ratios of neighbouring runs: a change of the machine's speed meets both.
Result<double> Tuner::speedup(const Candidate &a, const Candidate &b) {
  std::vector<double> ratios;
  for (int i = 0; i < 5; ++i) {
    ATTN_ASSIGN_OR_RETURN(double first, a.seconds());
    ATTN_ASSIGN_OR_RETURN(double second, b.seconds());
    ratios.push_back(first / second);
    // What is clearly slower need not be measured well.
    if (i == 1 && std::max(ratios[0], ratios[1]) < 0.93)
      break;
  }
  std::sort(ratios.begin(), ratios.end());
  return ratios[ratios.size() / 2];
}

// Schedules that differ in one number, or in the shape of the register tile.
std::vector<CpuSchedule> Tuner::neighbours(const CpuSchedule &from) const {
  std::vector<CpuSchedule> found;
  auto offer = [&](CpuSchedule s) {
    int64_t unit = std::lcm<int64_t>(s.rows, std::max<int64_t>(8, 2 * s.unroll));
    s.blockK = std::max(s.blockK / unit, int64_t(1)) * unit;
    if (mlir::attn::checkCpuSchedule(arch, s).empty())
      found.push_back(s);
  };
  static constexpr std::pair<int64_t, int64_t> kTiles[] = {{8, 3}, {12, 2}, {6, 4}, {4, 6},
                                                           {4, 3}, {6, 2},  {3, 4}, {4, 2}};
  auto with = [&](auto member, int64_t value) {
    CpuSchedule s = from;
    s.*member = value;
    offer(s);
  };
  for (int64_t blockK : {48, 64, 96, 128, 192})
    with(&CpuSchedule::blockK, blockK);
  for (int64_t subTiles : {1, 2, 3, 4, 6, 8})
    with(&CpuSchedule::subTiles, subTiles);
  for (int64_t unroll : {2, 4, 8})
    with(&CpuSchedule::unroll, unroll);
  for (auto [rows, vectors] : kTiles) {
    CpuSchedule s = from;
    // The query tile keeps its size as nearly as it can.
    s.subTiles = std::max<int64_t>(1, from.subTiles * from.vectors / vectors);
    s.rows = rows, s.vectors = vectors;
    offer(s);
  }
  return found;
}

Result<TuneResult> Tuner::run() {
  DeviceOptions options;
  options.threads = 1;
  ATTN_ASSIGN_OR_RETURN(device, open_device("cpu", options));
  ATTN_ASSIGN_OR_RETURN(Candidate best, compile(nullptr));
  const KernelInfo &info = best.kernel->info();
  ElementType keys = ElementType::f32;
  for (const BindingInfo &binding : info.bindings)
    if (binding.role == BindingRole::k)
      keys = binding.type;
  mlir::attn::KernelShape shape{int64_t(info.qk_dim), int64_t(info.v_dim), keys, keys, keys};
  best.schedule = mlir::attn::findCpuSchedule(arch, shape);

  TuneResult result;
  result.row = {request.arch, mlir::attn::cpuScheduleKeys(keys).str(),
                std::max(shape.qkDim, shape.vDim), best.schedule};
  auto key = [](const CpuSchedule &s) {
    return std::tuple(s.rows, s.vectors, s.unroll, s.subTiles, s.blockK);
  };
  std::set<std::tuple<int64_t, int64_t, int64_t, int64_t, int64_t>> seen{key(best.schedule)};
  for (bool improved = true; improved;) {
    improved = false;
    for (const CpuSchedule &schedule : neighbours(best.schedule)) {
      if (outOfTime())
        return result;
      if (!seen.insert(key(schedule)).second)
        continue;
      mlir::attn::CpuScheduleTable table;
      table.add({request.arch, "*", 0, schedule});
      ATTN_ASSIGN_OR_RETURN(Candidate candidate, compile(&table));
      candidate.schedule = schedule;
      ATTN_ASSIGN_OR_RETURN(double gain, speedup(best, candidate));
      ++result.candidates;
      if (gain < 1.01) // less cannot be told from noise
        continue;
      result.speedup *= gain;
      result.row.schedule = schedule;
      progress(mlir::attn::printCpuScheduleRow(result.row));
      best = std::move(candidate);
      improved = true;
      break;
    }
  }
  result.finished = true;
  return result;
}

} // namespace

Result<TuneResult> tuneCpu(const spec::CheckedSpec &spec, const TuneRequest &request,
                           const std::function<void(const std::string &)> &progress) {
  return Tuner(spec, request, progress).run();
}

} // namespace attn::tools
