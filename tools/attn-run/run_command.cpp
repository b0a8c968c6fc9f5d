// `attn-run run`: one kernel on NumPy arrays.
#include "runtime/base/text.h"
#include "tools/attn-run/check_arguments.h"
#include "tools/attn-run/kernel_options.h"
#include "tools/attn-run/numpy_arguments.h"
#include "tools/attn-run/problem.h"

#include <charconv>
#include <cmath>
#include <cstdio>
#include <limits>
#include <optional>

namespace attn {

namespace {

struct RunOptions {
  KernelOptions kernel;
  std::string q, k, v, out, lse;
  std::optional<std::string> segments, scale;
};

// "slot:length:position,..."
Status parse_segments(const std::string &text, std::vector<Segment> &segments) {
  const char *at = text.data(), *end = at + text.size();
  for (bool more = true; more;) {
    int32_t numbers[3];
    for (int i = 0; i < 3; ++i) {
      auto [next, error] = std::from_chars(at, end, numbers[i]);
      bool separated = next != end && *next == (i == 2 ? ',' : ':');
      if (error != std::errc() || numbers[i] < 0 || !(separated || (i == 2 && next == end)))
        return Status::usage("'", shown(text),
                             "' after --segments is not SLOT:LENGTH:POSITION,... "
                             "of whole numbers from 0 to ",
                             INT32_MAX);
      at = next + separated;
      more = separated;
    }
    segments.push_back({numbers[0], numbers[1], numbers[2]});
  }
  return {};
}

Status read_arguments(const RunOptions &options, HostArgs &args, ArrayKind &kind) {
  ATTN_RETURN_IF_ERROR(read_tensor(options.q, false, args.q, kind));
  ATTN_RETURN_IF_ERROR(read_tensor_like(options.k, true, args.k, kind, "q"));
  ATTN_RETURN_IF_ERROR(read_tensor_like(options.v, true, args.v, kind, "q"));
  ATTN_RETURN_IF_ERROR(read_named(options.kernel, args.tensors));
  ATTN_RETURN_IF_ERROR(read_params(options.kernel, args.params));
  if (options.segments)
    ATTN_RETURN_IF_ERROR(parse_segments(*options.segments, args.segments));
  ATTN_RETURN_IF_ERROR(check_segments(args.segments, args.k.shape[2]));
  args.q_position = options.kernel.q_position;
  args.layer = options.kernel.layer;
  if (options.scale) {
    double scale = 0;
    ATTN_RETURN_IF_ERROR(tool::parse_number(*options.scale, "--scale", scale));
    if (std::abs(scale) > std::numeric_limits<float>::max())
      return Status::usage("--scale is ", scale, "; it must fit in f32");
    args.scale = static_cast<float>(scale);
  }
  return {};
}

Status check_lse(const KernelInfo &info) {
  for (const BindingInfo &binding : info.bindings)
    if (binding.role == BindingRole::lse)
      return {};
  return Status::usage("kernel ", info.name,
                       " writes no LSE; add `emit lse` to its spec or drop --lse");
}

Status run(const RunOptions &options) {
  HostArgs args;
  ArrayKind kind;
  ATTN_RETURN_IF_ERROR(read_arguments(options, args, kind));
  ATTN_ASSIGN_OR_RETURN(LoadedKernel loaded,
                        load_kernel(options.kernel, BindingRole::q, kind.type));
  const KernelInfo &info = loaded.kernel->info();
  if (!options.lse.empty())
    ATTN_RETURN_IF_ERROR(check_lse(info));
  Result<KernelSpec> spec = KernelSpec::load(loaded.bundle, info);
  if (spec.ok())
    ATTN_RETURN_IF_ERROR(check_against_spec(**spec, args));
  else
    std::fprintf(stderr, "attn-run: warning: positions and tables are not checked: %s\n",
                 spec.status().to_string().c_str());
  ATTN_ASSIGN_OR_RETURN(HostResult result, run_on_device(*loaded.device, *loaded.kernel, args));
  ATTN_RETURN_IF_ERROR(write_tensor(options.out, result.o, kind));
  if (!options.lse.empty())
    ATTN_RETURN_IF_ERROR(write_rows(options.lse, result, kind));
  std::fprintf(stderr, "%s %s (%s %s) on %s\n", info.name.c_str(), info.variant.c_str(),
               target_name(info.target), info.arch.c_str(), loaded.device->info().name.c_str());
  return {};
}

} // namespace

void add_run_command(CLI::App &program, Action &action) {
  CLI::App *command = program.add_subcommand("run", "Run one kernel on NumPy arrays");
  command->footer(
      "Example:\n"
      "  attn-run run causal.attnb --kernel causal --q q.npy --k k.npy --v v.npy "
      "--out o.npy --lse lse.npy\n"
      "Arrays have shape (batch, heads, tokens, head_dim), or (heads, tokens, head_dim) "
      "for one batch entry, and type f4, f2, or u2 holding bf16.");
  auto options = std::make_shared<RunOptions>();
  command->add_option("--q", options->q, "queries (.npy)")->required();
  command->add_option("--k", options->k, "keys (.npy)")->required();
  command->add_option("--v", options->v, "values (.npy)")->required();
  command->add_option("--out", options->out, "output (.npy)")->required();
  command->add_option("--lse", options->lse, "log-sum-exp per row (.npy)");
  command->add_option("--segments", options->segments,
                      "SLOT:LENGTH:POSITION,...: where which keys are; default: all, from 0");
  command->add_option("--scale", options->scale, "factor on q . k (default 1 / sqrt(head_dim))");
  options->kernel.add_to(*command, "name of the spec; not needed if there is one", false);
  command->callback([=, &action] { action = [=] { return report(run(*options)); }; });
}

} // namespace attn
