// What `attn-run run` and `merge` share: which kernel on which device, and what its spec
// reads beside the tensors.
#pragma once

#include "runtime/bundle/bundle_reader.h"
#include "tools/attn-run/commands.h"
#include "tools/attn-run/host_call.h"

#include <memory>

namespace attn {

struct KernelOptions {
  std::string bundle, kernel, variant;
  std::vector<std::string> tables, params;
  int32_t q_position = 0, layer = 0;
  DeviceChoice device;
  // After the command's own options.
  void add_to(CLI::App &command, const char *kernel_help, bool kernel_required);
};

struct LoadedKernel {
  Bundle bundle;
  std::unique_ptr<Device> device;
  std::unique_ptr<Kernel> kernel;
};

// The kernel whose `role` tensor has the arrays' `type`; a forced variant converts them.
// Parameters are asked for by the option's name.
Result<LoadedKernel> load_kernel(const KernelOptions &options, BindingRole role, ElementType type);

// Reads --table and --set.
Status read_named(const KernelOptions &options, std::vector<NamedArray> &tensors);
Status read_params(const KernelOptions &options,
                   std::vector<std::pair<std::string, double>> &params);

} // namespace attn
