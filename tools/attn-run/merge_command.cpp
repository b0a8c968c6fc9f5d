// `attn-run merge`: partial results on NumPy arrays, merged on a device.
#include "runtime/base/npy.h"
#include "runtime/call/select_kernel.h"
#include "tools/attn-run/commands.h"
#include "tools/attn-run/numpy_arguments.h"

#include <cstdio>

namespace attn {

namespace {

struct MergeOptions {
  std::string bundle, kernel, variant, out, out_lse;
  std::vector<std::string> o, lse, tables, params;
  int32_t q_position = 0, layer = 0;
  DeviceChoice device;
};

Status merge(const MergeOptions &options) {
  ATTN_ASSIGN_OR_RETURN(Bundle bundle, Bundle::open(options.bundle));
  HostMerge parts;
  ElementType type = ElementType::f32;
  for (const std::string &path : options.o) {
    ElementType other;
    parts.o.emplace_back();
    ATTN_RETURN_IF_ERROR(read_tensor(path, parts.o.back(), other));
    if (parts.o.size() > 1 && other != type)
      return Status::invalid_input("array is ", element_type_name(other), ", the first part is ",
                                   element_type_name(type), "; give all parts one type")
          .at(path);
    type = other;
  }
  for (const std::string &path : options.lse) {
    parts.lse.emplace_back();
    ATTN_RETURN_IF_ERROR(read_rows(path, parts.lse.back()));
  }
  ATTN_RETURN_IF_ERROR(read_named(options.tables, parts.tensors));
  ATTN_RETURN_IF_ERROR(read_params(options.params, parts.params));
  parts.q_position = options.q_position;
  parts.layer = options.layer;
  ATTN_ASSIGN_OR_RETURN(std::unique_ptr<Device> device,
                        open_device(options.device.id, options.device.options));
  KernelQuery query;
  query.name = options.kernel;
  query.variant = options.variant;
  if (options.variant.empty()) // a forced variant converts instead
    query.types = {{BindingRole::part_o, type}};
  ATTN_ASSIGN_OR_RETURN(std::unique_ptr<Kernel> kernel, load_kernel(bundle, *device, query));
  ATTN_ASSIGN_OR_RETURN(HostResult result, merge_on_device(*device, *kernel, parts));
  ATTN_RETURN_IF_ERROR(write_tensor(options.out, result.o, type));
  if (!options.out_lse.empty())
    ATTN_RETURN_IF_ERROR(write_npy(options.out_lse, ElementType::f32,
                                   std::span(result.o.shape).first(3), result.lse.data()));
  return {};
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
  command->add_option("bundle", options->bundle, "bundle (.attnb)")->required();
  command->add_option("--kernel", options->kernel, "NAME_merge")->required();
  command->add_option("--variant", options->variant,
                      "force a variant (f32, bf16, f16, int8); arrays are converted");
  command->add_option("--o", options->o, "output of a part (.npy); once for each part")->required();
  command->add_option("--lse", options->lse, "log-sum-exp of a part (.npy), in the same order")
      ->required();
  command->add_option("--out", options->out, "merged output (.npy)")->required();
  command->add_option("--out-lse", options->out_lse, "merged log-sum-exp (.npy)");
  command->add_option("--table,--input", options->tables,
                      "NAME=FILE.npy: a table of the spec, or an input of its output expression");
  command->add_option("--set", options->params, "NAME=NUMBER: a parameter of the spec");
  command->add_option("--q-position", options->q_position, "position of the first row")
      ->capture_default_str();
  command->add_option("--layer", options->layer, "layer that the output expression may read")
      ->capture_default_str();
  options->device.add_to(*command);
  command->callback([=, &action] { action = [=] { return report(merge(*options)); }; });
}

} // namespace attn
