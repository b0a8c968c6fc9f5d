// `attn-run run`: one kernel on NumPy arrays.
#include "runtime/base/npy.h"
#include "runtime/call/select_kernel.h"
#include "tools/attn-run/commands.h"
#include "tools/attn-run/numpy_arguments.h"

#include <charconv>
#include <cstdio>

namespace attn {

namespace {

struct RunOptions {
  std::string bundle, kernel, variant, q, k, v, out, lse, segments;
  std::vector<std::string> tables, params;
  int32_t q_position = 0, layer = 0;
  float scale = std::numeric_limits<float>::quiet_NaN();
  DeviceChoice device;
};

// "slot:length:position,..."
Status parse_segments(const std::string &text, std::vector<Segment> &segments) {
  const char *at = text.data(), *end = at + text.size();
  while (at != end) {
    int32_t numbers[3];
    for (int i = 0; i < 3; ++i) {
      auto [next, error] = std::from_chars(at, end, numbers[i]);
      bool last = i == 2;
      if (error != std::errc() || (!last && (next == end || *next != ':')) ||
          (last && next != end && *next != ','))
        return Status::usage("'", text,
                             "' after --segments is not SLOT:LENGTH:POSITION,... (integers)");
      at = next + (next != end);
    }
    segments.push_back({numbers[0], numbers[1], numbers[2]});
  }
  return {};
}

Status read_arguments(const RunOptions &options, HostArgs &args, ElementType &type) {
  ElementType others;
  ATTN_RETURN_IF_ERROR(read_tensor(options.q, args.q, type));
  for (auto [path, tensor] : {std::pair(&options.k, &args.k), {&options.v, &args.v}}) {
    ATTN_RETURN_IF_ERROR(read_tensor(*path, *tensor, others));
    if (others != type)
      return Status::invalid_input("array is ", element_type_name(others), ", q is ",
                                   element_type_name(type), "; give all three one type")
          .at(*path);
  }
  ATTN_RETURN_IF_ERROR(read_named(options.tables, args.tensors));
  ATTN_RETURN_IF_ERROR(read_params(options.params, args.params));
  ATTN_RETURN_IF_ERROR(parse_segments(options.segments, args.segments));
  args.q_position = options.q_position;
  args.layer = options.layer;
  args.scale = options.scale;
  return {};
}

Status run(const RunOptions &options) {
  ATTN_ASSIGN_OR_RETURN(Bundle bundle, Bundle::open(options.bundle));
  HostArgs args;
  ElementType type = ElementType::f32;
  ATTN_RETURN_IF_ERROR(read_arguments(options, args, type));
  ATTN_ASSIGN_OR_RETURN(std::unique_ptr<Device> device,
                        open_device(options.device.id, options.device.options));
  KernelQuery query;
  query.name = options.kernel;
  query.variant = options.variant;
  if (options.variant.empty()) // a forced variant converts instead
    query.types = {{BindingRole::q, type}};
  ATTN_ASSIGN_OR_RETURN(std::unique_ptr<Kernel> kernel, load_kernel(bundle, *device, query));
  if (!options.lse.empty()) {
    bool has_lse = false;
    for (const BindingInfo &binding : kernel->info().bindings)
      has_lse |= binding.role == BindingRole::lse;
    if (!has_lse)
      return Status::usage("kernel ", kernel->info().name,
                           " writes no LSE; add `emit lse` to its spec or drop --lse");
  }
  ATTN_ASSIGN_OR_RETURN(HostResult result, run_on_device(*device, *kernel, args));
  ATTN_RETURN_IF_ERROR(write_tensor(options.out, result.o, type));
  if (!options.lse.empty())
    ATTN_RETURN_IF_ERROR(write_npy(options.lse, ElementType::f32,
                                   std::span(result.o.shape).first(3), result.lse.data()));
  const KernelInfo &info = kernel->info();
  std::fprintf(stderr, "%s %s (%s %s) on %s\n", info.name.c_str(), info.variant.c_str(),
               target_name(info.target), info.arch.c_str(), device->info().name.c_str());
  return {};
}

} // namespace

void add_run_command(CLI::App &program, Action &action) {
  CLI::App *command = program.add_subcommand("run", "Run one kernel on NumPy arrays");
  command->footer("Example:\n"
                  "  attn-run run causal.attnb --kernel causal --q q.npy --k k.npy --v v.npy "
                  "--out o.npy --lse lse.npy\n"
                  "Arrays have shape (batch, heads, tokens, head_dim) and type f4, f2, or u2 "
                  "holding bf16.");
  auto options = std::make_shared<RunOptions>();
  command->add_option("bundle", options->bundle, "bundle (.attnb)")->required();
  command->add_option("--kernel", options->kernel, "name of the spec; not needed if there is one");
  command->add_option("--variant", options->variant,
                      "force a variant (f32, bf16, int8); arrays are converted");
  command->add_option("--q", options->q, "queries (.npy)")->required();
  command->add_option("--k", options->k, "keys (.npy)")->required();
  command->add_option("--v", options->v, "values (.npy)")->required();
  command->add_option("--out", options->out, "output (.npy)")->required();
  command->add_option("--lse", options->lse, "log-sum-exp per row (.npy)");
  command->add_option("--table,--input", options->tables,
                      "NAME=FILE.npy: a table of the spec, or an input of its output expression "
                      "as (batch, heads, tokens, dim), an extent of 1 is repeated");
  command->add_option("--set", options->params, "NAME=NUMBER: a parameter of the spec");
  command->add_option("--segments", options->segments,
                      "SLOT:LENGTH:POSITION,...: where which keys are; default: all, from 0");
  command->add_option("--q-position", options->q_position, "position of the first query row")
      ->capture_default_str();
  command->add_option("--layer", options->layer, "layer that the mask may read")
      ->capture_default_str();
  command->add_option("--scale", options->scale, "factor on q . k (default 1 / sqrt(head_dim))");
  options->device.add_to(*command);
  command->callback([=, &action] { action = [=] { return report(run(*options)); }; });
}

} // namespace attn
