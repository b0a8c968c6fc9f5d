// Chooses the bundle entry that runs a named kernel on a device, and keeps the
// reasons why the others do not.
#pragma once

#include "runtime/base/status.h"
#include "runtime/bundle/bundle_reader.h"
#include "runtime/device/device.h"
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace attn {

// What an entry must fulfil. Zero and empty mean "any".
struct KernelQuery {
  std::string_view name = {};    // empty: the bundle's only kernel
  std::string_view variant = {}; // "f32", "bf16", "int8": forced
  uint32_t qk_dim = 0, v_dim = 0, heads = 0, kv_heads = 0;
  // Element types that the caller's tensors have, by role.
  std::vector<std::pair<BindingRole, ElementType>> types = {};
};

struct KernelChoice {
  size_t index = 0; // in Bundle::kernels()
  // "f32 cpu avx512: it needs avx512, which ... lacks", in the order tried.
  std::vector<std::string> refused;
};

// The first entry, by descending priority, that the device accepts and that
// fulfils the query. A failure lists every reason.
Result<KernelChoice> select_kernel(const Bundle &bundle, const Device &device,
                                   const KernelQuery &query);

// Selects and loads.
Result<std::unique_ptr<Kernel>> load_kernel(const Bundle &bundle, Device &device,
                                            const KernelQuery &query);

} // namespace attn
