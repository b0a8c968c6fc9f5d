// Options enter; a loaded kernel and named values leave.
#include "tools/attn-run/kernel_options.h"

#include "runtime/base/npy.h"
#include "runtime/base/text.h"
#include "runtime/call/select_kernel.h"

#include <algorithm>
#include <cmath>
#include <set>

namespace attn {

void KernelOptions::add_to(CLI::App &command, const char *kernel_help, bool kernel_required) {
  command.add_option("bundle", bundle, "bundle (.attnb)")->required();
  command.add_option("--kernel", kernel, kernel_help)->required(kernel_required);
  command.add_option("--variant", variant,
                     "force a variant (f32, bf16, f16, int8); arrays are converted");
  command.add_option("--table,--input", tables,
                     "NAME=FILE.npy: a table of the spec, or an input of its output expression as "
                     "(batch, heads, tokens, dim), an extent of 1 is repeated");
  command.add_option("--set", params, "NAME=NUMBER: a parameter of the spec; may be repeated");
  command.add_option("--q-position", q_position, "position of the first query row")
      ->check(tool::whole_number(0, ATTN_POSITION_LIMIT - 1))
      ->capture_default_str();
  command.add_option("--layer", layer, "layer that the spec may read")
      ->check(tool::whole_number(0, INT32_MAX))
      ->capture_default_str();
  device.add_to(command);
}

namespace {

// Where arrays of another type are all that is wrong: the entries' types and the way out.
Status explain_type(const LoadedKernel &loaded, const KernelQuery &query, ElementType type,
                    Status status) {
  KernelQuery any = query;
  any.types = {};
  if (status.code() != StatusCode::invalid_input ||
      !select_kernel(loaded.bundle, *loaded.device, any).ok())
    return status;
  std::set<std::string> variants;
  for (const KernelInfo &kernel : loaded.bundle.kernels())
    if ((query.name.empty() || kernel.name == query.name) &&
        loaded.device->accepts(kernel, loaded.bundle.images()[kernel.image].bytes).ok())
      variants.insert(kernel.variant);
  std::string list;
  for (const std::string &variant : variants)
    list += (list.empty() ? "" : ", ") + variant;
  const char *name = element_type_name(type);
  return Status::invalid_input("the arrays are ", name, ", kernel ",
                               query.name.empty() ? loaded.bundle.kernels().front().name
                                                  : std::string(query.name),
                               " is there in ", list, "; give --variant ", *variants.begin(),
                               ", which converts the arrays, or compile it with --dtype ", name)
      .at(loaded.bundle.place());
}

// Every name that is given exists, every value lies in its range, and none is missing;
// all that is wrong is said at once.
Status check_params(const KernelOptions &options, const KernelInfo &info) {
  std::vector<std::pair<std::string, double>> given;
  ATTN_RETURN_IF_ERROR(read_params(options, given));
  std::vector<std::string> known, wrong;
  for (const ParamInfo &param : info.params) {
    known.push_back(param.name);
    const std::string range = concat(param.minimum, " to ", param.maximum);
    auto value = std::find_if(given.begin(), given.end(),
                              [&](const auto &one) { return one.first == param.name; });
    if (value == given.end())
      wrong.push_back(concat("it needs its parameter ", param.name, "; give --set ", param.name,
                             "=NUMBER, from ", range));
    else if (!(value->second >= param.minimum && value->second <= param.maximum))
      wrong.push_back(
          concat("parameter ", param.name, " is ", value->second, "; ", range, " is allowed"));
    else if (param.type == ElementType::i32 && value->second != std::floor(value->second))
      wrong.push_back(concat("parameter ", param.name, " is ", value->second,
                             "; a whole number is needed, from ", range));
  }
  for (const auto &[name, value] : given)
    if (std::find(known.begin(), known.end(), name) == known.end())
      wrong.push_back(concat("it has no parameter ", shown(name),
                             ", which --set names; its "
                             "parameters are ",
                             some_of(known)));
  if (wrong.empty())
    return {};
  return Status::usage("kernel ", info.name, ": ", some_of(wrong, 8, "\n  "));
}

// Calls `take(name, value)` for each "name=value"; a name may be given once.
template <typename Take>
Status for_each_assignment(const std::vector<std::string> &texts, const char *option,
                           const char *form, Take take) {
  std::string name, value;
  std::set<std::string> seen;
  for (const std::string &text : texts) {
    ATTN_RETURN_IF_ERROR(tool::split_assignment(text, option, form, name, value));
    if (!seen.insert(name).second)
      return Status::usage(option, " gives ", name, " twice; give it once");
    ATTN_RETURN_IF_ERROR(take(name, value));
  }
  return {};
}

} // namespace

Result<LoadedKernel> load_kernel(const KernelOptions &options, BindingRole role, ElementType type) {
  ATTN_ASSIGN_OR_RETURN(Bundle bundle, Bundle::open(options.bundle));
  ATTN_ASSIGN_OR_RETURN(std::unique_ptr<Device> device,
                        open_device(options.device.id, options.device.options));
  LoadedKernel loaded{std::move(bundle), std::move(device), nullptr};
  KernelQuery query;
  query.name = options.kernel;
  query.variant = options.variant;
  if (options.variant.empty()) // a forced variant converts instead
    query.types = {{role, type}};
  Result<std::unique_ptr<Kernel>> kernel = load_kernel(loaded.bundle, *loaded.device, query);
  if (!kernel.ok())
    return explain_type(loaded, query, type, kernel.status());
  loaded.kernel = std::move(*kernel);
  ATTN_RETURN_IF_ERROR(check_params(options, loaded.kernel->info()));
  return loaded;
}

Status read_named(const KernelOptions &options, std::vector<NamedArray> &tensors) {
  return for_each_assignment(options.tables, "--table", "NAME=FILE.npy",
                             [&](const std::string &name, const std::string &path) -> Status {
                               ATTN_ASSIGN_OR_RETURN(NpyArray array, read_npy(path));
                               HostArray host{array.shape, {}};
                               host.values.resize(static_cast<size_t>(array.count()));
                               for (size_t i = 0; i < host.values.size(); ++i)
                                 host.values[i] = array.number(i);
                               tensors.push_back({name, std::move(host)});
                               return {};
                             });
}

Status read_params(const KernelOptions &options,
                   std::vector<std::pair<std::string, double>> &params) {
  return for_each_assignment(options.params, "--set", "NAME=NUMBER",
                             [&](const std::string &name, const std::string &text) -> Status {
                               double number = 0;
                               ATTN_RETURN_IF_ERROR(
                                   tool::parse_number(text, "--set " + name, number));
                               params.emplace_back(name, number);
                               return {};
                             });
}

} // namespace attn
