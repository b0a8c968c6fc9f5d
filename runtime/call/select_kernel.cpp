// A bundle, a device and a query enter; an entry's index leaves, or all the
// reasons why none fits.
#include "runtime/call/select_kernel.h"

#include "runtime/base/text.h"

#include <algorithm>

namespace attn {

static Status check_query(const KernelInfo &kernel, const KernelQuery &query) {
  if (!query.variant.empty() && kernel.variant != query.variant)
    return Status::usage("variant ", query.variant, " is asked for");
  struct {
    const char *what;
    uint32_t have, want;
    bool any; // 0 in the record means any
  } const dims[] = {{"qk dim", kernel.qk_dim, query.qk_dim, false},
                    {"v dim", kernel.v_dim, query.v_dim, false},
                    {"heads", kernel.heads, query.heads, true},
                    {"kv heads", kernel.kv_heads, query.kv_heads, true}};
  for (const auto &dim : dims)
    if (dim.want && dim.have != dim.want && !(dim.any && dim.have == 0))
      return Status::invalid_input("its ", dim.what, " is ", dim.have, ", ", dim.want,
                                   " is needed");
  for (auto [role, type] : query.types)
    for (const BindingInfo &binding : kernel.bindings)
      if (binding.role == role && binding.type != type)
        return Status::invalid_input("its ", binding.name, " is ", element_type_name(binding.type),
                                     ", the tensor is ", element_type_name(type));
  return {};
}

// Names or variants, each once, in the order of the bundle.
static std::string list_once(const std::vector<KernelInfo> &kernels, std::string KernelInfo::*what,
                             std::string_view of_kernel = {}) {
  std::vector<std::string> seen;
  for (const KernelInfo &kernel : kernels) {
    if ((!of_kernel.empty() && kernel.name != of_kernel) ||
        std::find(seen.begin(), seen.end(), kernel.*what) != seen.end())
      continue;
    seen.push_back(kernel.*what);
  }
  return some_of(seen);
}

Result<KernelChoice> select_kernel(const Bundle &bundle, const Device &device,
                                   const KernelQuery &query) {
  const std::vector<KernelInfo> &kernels = bundle.kernels();
  std::string_view name = query.name;
  if (name.empty() && !kernels.empty()) {
    name = kernels.front().name;
    for (const KernelInfo &kernel : kernels)
      if (kernel.name != name)
        return Status::usage("the bundle holds several kernels; name one of ",
                             list_once(kernels, &KernelInfo::name))
            .at(bundle.place());
  }
  std::vector<size_t> order;
  for (size_t i = 0; i < kernels.size(); ++i)
    if (kernels[i].name == name)
      order.push_back(i);
  if (order.empty())
    return Status::usage("there is no kernel '", name, "'; the bundle has ",
                         list_once(kernels, &KernelInfo::name))
        .at(bundle.place());
  if (!query.variant.empty() && std::none_of(order.begin(), order.end(), [&](size_t index) {
        return kernels[index].variant == query.variant;
      }))
    return Status::usage("kernel ", name, " has no variant '", query.variant, "'; the bundle has ",
                         list_once(kernels, &KernelInfo::variant, name))
        .at(bundle.place());
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    if (kernels[a].priority != kernels[b].priority)
      return kernels[a].priority > kernels[b].priority;
    return a < b;
  });

  KernelChoice choice;
  bool for_target = false, environment = false;
  for (size_t index : order) {
    const KernelInfo &kernel = kernels[index];
    Status status = device.accepts(kernel, bundle.images()[kernel.image].bytes);
    for_target |= kernel.target == device.info().target;
    if (status.ok())
      status = check_query(kernel, query);
    if (status.ok()) {
      choice.index = index;
      return choice;
    }
    environment |= status.code() == StatusCode::environment;
    choice.refused.push_back(concat(kernel.variant, " ", target_name(kernel.target),
                                    kernel.arch.empty() ? "" : " ", kernel.arch, ": ",
                                    status.message()));
  }
  // One reason a line where there are several.
  const std::string separator = choice.refused.size() > 1 ? "\n  " : "; ";
  const std::string reasons = separator + some_of(choice.refused, 8, separator);
  std::string message = concat("no entry of kernel ", name, " fits device ", device.info().id);
  if (!for_target)
    message += concat(" (compile with --target=", target_name(device.info().target), ")");
  return Status(for_target && environment ? StatusCode::environment : StatusCode::invalid_input,
                message + reasons, bundle.place());
}

Result<std::unique_ptr<Kernel>> load_kernel(const Bundle &bundle, Device &device,
                                            const KernelQuery &query) {
  ATTN_ASSIGN_OR_RETURN(KernelChoice choice, select_kernel(bundle, device, query));
  const KernelInfo &info = bundle.kernels()[choice.index];
  Result<std::unique_ptr<Kernel>> kernel = device.load(info, bundle.images()[info.image].bytes);
  if (!kernel.ok())
    return kernel.status().at(bundle.place());
  return kernel;
}

} // namespace attn
