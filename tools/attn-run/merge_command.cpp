// `attn-run merge`: partial results on NumPy arrays, merged on a device.
#include "tools/attn-run/kernel_options.h"
#include "tools/attn-run/numpy_arguments.h"

#include <filesystem>

namespace attn {

namespace {

struct MergeOptions {
  KernelOptions kernel;
  std::string out, out_lse;
  std::vector<std::string> o, lse;
};

// A part that is given twice would count twice.
Status check_distinct(const std::vector<std::string> &paths, const char *option) {
  std::error_code error; // of what is no file, which fails when it is read
  for (size_t i = 0; i < paths.size(); ++i)
    for (size_t j = 0; j < i; ++j)
      if (std::filesystem::equivalent(paths[j], paths[i], error))
        return Status::usage(option, " gives ", paths[i], " for part ", j, " and for part ", i,
                             "; parts are over disjoint keys, give each once");
  return {};
}

Status merge(const MergeOptions &options) {
  ATTN_RETURN_IF_ERROR(check_distinct(options.o, "--o"));
  ATTN_RETURN_IF_ERROR(check_distinct(options.lse, "--lse"));
  HostMerge parts;
  ArrayKind kind;
  for (const std::string &path : options.o) {
    bool first = parts.o.empty();
    parts.o.emplace_back();
    ATTN_RETURN_IF_ERROR(
        first ? read_tensor(path, false, parts.o.back(), kind)
              : read_tensor_like(path, false, parts.o.back(), kind, "the first part"));
  }
  for (const std::string &path : options.lse) {
    parts.lse.emplace_back();
    ATTN_RETURN_IF_ERROR(read_rows(path, parts.lse.back()));
  }
  ATTN_RETURN_IF_ERROR(read_named(options.kernel, parts.tensors));
  ATTN_RETURN_IF_ERROR(read_params(options.kernel, parts.params));
  parts.q_position = options.kernel.q_position;
  parts.layer = options.kernel.layer;
  ATTN_ASSIGN_OR_RETURN(LoadedKernel loaded,
                        load_kernel(options.kernel, BindingRole::part_o, kind.type));
  ATTN_ASSIGN_OR_RETURN(HostResult result, merge_on_device(*loaded.device, *loaded.kernel, parts));
  ATTN_RETURN_IF_ERROR(write_tensor(options.out, result.o, kind));
  return options.out_lse.empty() ? Status() : write_rows(options.out_lse, result, kind);
}

} // namespace

void add_merge_command(CLI::App &program, Action &action) {
  CLI::App *command = program.add_subcommand("merge", "Merge partial results over disjoint keys");
  command->footer("Example:\n"
                  "  attn-run merge parts.attnb --kernel window_part_merge --o near.npy --lse "
                  "near_lse.npy \\\n"
                  "           --o far.npy --lse far_lse.npy --out o.npy --out-lse lse.npy\n"
                  "A spec that says `emit partial` has a kernel NAME_merge.");
  auto options = std::make_shared<MergeOptions>();
  command->add_option("--o", options->o, "output of a part (.npy); once for each part")->required();
  command->add_option("--lse", options->lse, "log-sum-exp of a part (.npy), in the same order")
      ->required();
  command->add_option("--out", options->out, "merged output (.npy)")->required();
  command->add_option("--out-lse", options->out_lse, "merged log-sum-exp (.npy)");
  options->kernel.add_to(*command, "NAME_merge", true);
  command->callback([=, &action] { action = [=] { return report(merge(*options)); }; });
}

} // namespace attn
