// `attn-run bench`: timings of a kernel's variants as JSON.
#include "runtime/call/select_kernel.h"
#include "tools/attn-run/commands.h"
#include "tools/attn-run/json.h"
#include "tools/attn-run/problem.h"

#include <algorithm>
#include <chrono>
#include <cstdio>

namespace attn {

namespace {

struct BenchOptions {
  std::string bundle, kernel, variant;
  int32_t batch = 1, heads = 0, kv_heads = 0, rows = 512, slots = 512, q_position = -1;
  uint32_t repeats = 9;
  double min_seconds = 0.02;
  DeviceChoice device;
};

struct Contender {
  const KernelInfo *info;
  std::unique_ptr<Kernel> kernel;
  std::unique_ptr<HostCall> call;
  std::vector<double> seconds;
  uint32_t launches = 1; // per measurement
};

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

Result<double> time_launches(Device &device, Contender &contender) {
  double begin = now();
  for (uint32_t i = 0; i < contender.launches; ++i)
    ATTN_RETURN_IF_ERROR(contender.call->launch());
  ATTN_RETURN_IF_ERROR(device.synchronise());
  return (now() - begin) / contender.launches;
}

// Admitted (query, key) pairs of one head, counted on at most 64 rows.
double admitted_pairs(const spec::AttentionSpec &spec, const VerifyProblem &problem) {
  int32_t step = std::max(1, problem.shape.rows / 64), rows = 0;
  double admitted = 0;
  for (int32_t r = 0; r < problem.shape.rows; r += step, ++rows)
    for (const Segment &s : problem.args.segments)
      for (int32_t i = 0; i < s.length; ++i)
        admitted += oracle::maskAt(spec, problem.call.bindings, 0, 0, problem.args.q_position + r,
                                   s.first_position + i);
  return admitted / rows * problem.shape.rows;
}

// What the call would be refused for, before memory is taken for it.
Status check_sizes(const Shape &shape, const KernelInfo &info, const DeviceInfo &device) {
  if (shape.heads % shape.kv_heads)
    return Status::usage("--heads is ", shape.heads, ", no multiple of the ", shape.kv_heads,
                         " KV heads; give both with --heads and --kv-heads");
  for (auto [option, given, declared] : {std::tuple("--heads", shape.heads, info.heads),
                                         {"--kv-heads", shape.kv_heads, info.kv_heads}})
    if (declared && given != static_cast<int32_t>(declared))
      return Status::usage(option, " is ", given, "; the spec of ", info.name, " has ", declared,
                           "; leave it out");
  struct Tensor {
    const char *name;
    int64_t heads, tokens, dim;
  };
  double bytes = 0;
  for (const Tensor &t : {Tensor{"q", shape.heads, shape.rows, info.qk_dim},
                          {"o", shape.heads, shape.rows, info.v_dim},
                          {"k", shape.kv_heads, shape.slots, info.qk_dim},
                          {"v", shape.kv_heads, shape.slots, info.v_dim}}) {
    double elements = double(shape.batch) * double(t.heads) * double(t.tokens) * double(t.dim);
    if (elements > INT32_MAX)
      return Status::usage(t.name, " would have ", elements, " elements; at most ", INT32_MAX,
                           " are possible; give a smaller --batch, --heads, --q-len or "
                           "--kv-len");
    bytes += elements * 8; // in f32 here, and converted for the device
  }
  constexpr uint64_t mega = 1000000;
  if (device.memory_bytes && bytes > double(device.memory_bytes))
    return Status::environment("the call needs ", uint64_t(bytes) / mega, " MB; ", device.id,
                               " has ", device.memory_bytes / mega,
                               "; give a smaller --batch, --heads, --q-len or --kv-len");
  return {};
}

Status bench(const BenchOptions &options) {
  ATTN_ASSIGN_OR_RETURN(Bundle bundle, Bundle::open(options.bundle));
  ATTN_ASSIGN_OR_RETURN(std::unique_ptr<Device> device,
                        open_device(options.device.id, options.device.options));
  KernelQuery query;
  query.name = options.kernel;
  query.variant = options.variant;
  // Names the kernel, and fails with the reasons if nothing fits.
  ATTN_ASSIGN_OR_RETURN(KernelChoice choice, select_kernel(bundle, *device, query));
  const KernelInfo &first = bundle.kernels()[choice.index];
  ATTN_ASSIGN_OR_RETURN(KernelSpec spec, KernelSpec::load(bundle, first));

  Shape shape;
  shape.batch = options.batch;
  shape.heads = options.heads ? options.heads : first.heads ? static_cast<int32_t>(first.heads) : 8;
  shape.kv_heads = options.kv_heads ? options.kv_heads
                   : first.kv_heads ? static_cast<int32_t>(first.kv_heads)
                                    : shape.heads;
  shape.rows = options.rows;
  shape.slots = options.slots;
  ATTN_RETURN_IF_ERROR(check_sizes(shape, first, device->info()));
  std::mt19937_64 random(1);
  std::vector<Contender> contenders;
  double pairs = 0;
  for (const KernelInfo &info : bundle.kernels()) {
    if (info.name != first.name || (!options.variant.empty() && info.variant != options.variant) ||
        !device->accepts(info, bundle.images()[info.image].bytes).ok())
      continue;
    Contender contender;
    contender.info = &info;
    ATTN_ASSIGN_OR_RETURN(contender.kernel, device->load(info, bundle.images()[info.image].bytes));
    VerifyProblem problem = make_problem(*spec, info, shape, random);
    shape = problem.shape;
    if (options.q_position >= 0)
      problem.args.q_position = problem.call.queryPosition = options.q_position;
    if (contenders.empty())
      pairs = admitted_pairs(*spec, problem);
    ATTN_ASSIGN_OR_RETURN(HostCall call,
                          HostCall::create(*device, *contender.kernel, problem.args));
    contender.call = std::make_unique<HostCall>(std::move(call));
    // Warm up, then choose how many launches make one measurement.
    ATTN_RETURN_IF_ERROR(time_launches(*device, contender).status());
    ATTN_ASSIGN_OR_RETURN(double once, time_launches(*device, contender));
    contender.launches =
        static_cast<uint32_t>(std::clamp(options.min_seconds / std::max(once, 1e-9), 1.0, 1e5));
    contenders.push_back(std::move(contender));
  }
  // Interleaved, so that a change of the machine's speed meets all alike.
  for (uint32_t i = 0; i < options.repeats; ++i)
    for (Contender &contender : contenders) {
      ATTN_ASSIGN_OR_RETURN(double seconds, time_launches(*device, contender));
      contender.seconds.push_back(seconds);
    }

  double per_pair = 2.0 * (first.qk_dim + first.v_dim) * shape.heads * shape.batch;
  double masked_flops = per_pair * pairs;
  double dense_flops = per_pair * shape.rows * shape.slots;
  Json out;
  out.begin_object().field("kernel", first.name).field("device", device->info().name);
  out.field("units", device->info().units).field("batch", int64_t(shape.batch));
  out.field("heads", int64_t(shape.heads)).field("kv_heads", int64_t(shape.kv_heads));
  out.field("q_len", int64_t(shape.rows)).field("kv_len", int64_t(shape.slots));
  out.field("qk_dim", first.qk_dim).field("v_dim", first.v_dim);
  out.field("density", pairs / (double(shape.rows) * shape.slots));
  out.field("repeats", options.repeats).key("results").begin_array();
  for (Contender &contender : contenders) {
    std::vector<double> &s = contender.seconds;
    std::sort(s.begin(), s.end());
    double median = s[s.size() / 2];
    out.begin_object().field("variant", contender.info->variant);
    out.field("arch", contender.info->arch).field("median_ms", median * 1e3);
    out.field("best_ms", s.front() * 1e3).field("worst_ms", s.back() * 1e3);
    out.field("gflops_masked", masked_flops / median / 1e9);
    out.field("gflops_dense", dense_flops / median / 1e9);
    out.field("launches_per_repeat", contender.launches).end_object();
  }
  out.end_array().end_object();
  std::printf("%s\n", out.text().c_str());
  return {};
}

} // namespace

void add_bench_command(CLI::App &program, Action &action) {
  CLI::App *command = program.add_subcommand("bench", "Time a kernel's variants; prints JSON");
  command->footer("Example:\n  attn-run bench causal.attnb --kernel causal --q-len 1024 --kv-len "
                  "1024 --heads 8\n"
                  "gflops_masked counts the pairs that the mask admits, gflops_dense all pairs.");
  auto options = std::make_shared<BenchOptions>();
  command->add_option("bundle", options->bundle, "bundle (.attnb)")->required();
  command->add_option("--kernel", options->kernel, "name of the spec; not needed if there is one");
  command->add_option("--variant", options->variant, "only this variant");
  CLI::Validator positive = tool::whole_number(1, 1 << 24);
  command->add_option("--batch", options->batch, "batch entries")->check(positive);
  command->add_option("--heads", options->heads, "query heads (default: the spec's, else 8)")
      ->check(positive);
  command->add_option("--kv-heads", options->kv_heads, "KV heads (default: the spec's, else heads)")
      ->check(positive);
  command->add_option("--q-len", options->rows, "query rows")
      ->check(positive)
      ->capture_default_str();
  command->add_option("--kv-len", options->slots, "keys")->check(positive)->capture_default_str();
  command
      ->add_option("--q-position", options->q_position,
                   "position of the first row (default: the last row sees the last key)")
      ->check(tool::whole_number(0, INT32_MAX));
  command->add_option("--repeats", options->repeats, "measurements, of which the median counts")
      ->check(tool::whole_number(1, 10000))
      ->capture_default_str();
  options->device.add_to(*command);
  command->callback([=, &action] { action = [=] { return report(bench(*options)); }; });
}

} // namespace attn
