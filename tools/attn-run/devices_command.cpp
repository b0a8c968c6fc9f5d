// `attn-run devices`: what is here, and why the rest is not.
#include "tools/attn-run/commands.h"
#include "tools/attn-run/json.h"

#include <cstdio>

namespace attn {

static int list(const DeviceOptions &options, bool json) {
  std::vector<DeviceListing> devices = list_devices(options);
  if (json) {
    Json out;
    out.begin_array();
    for (const DeviceListing &device : devices) {
      out.begin_object().field("id", device.id).field("name", device.name);
      out.field("usable", device.status.ok());
      if (!device.status.ok()) {
        out.field("reason", device.status.to_string()).end_object();
        continue;
      }
      out.field("driver", device.info.driver).field("units", device.info.units);
      out.field("features", feature_names(device.info.features));
      out.field("compute_capability", device.info.compute_capability);
      out.field("memory_bytes", device.info.memory_bytes);
      out.field("max_buffer_bytes", device.info.max_buffer_bytes);
      out.field("max_shared_bytes", device.info.max_shared_bytes).end_object();
    }
    out.end_array();
    std::printf("%s\n", out.text().c_str());
    return 0;
  }
  for (const DeviceListing &device : devices) {
    if (!device.status.ok()) {
      std::printf("%-10s not usable: %s\n", device.id.c_str(), device.status.to_string().c_str());
      continue;
    }
    const DeviceInfo &info = device.info;
    std::printf("%-10s %s\n", device.id.c_str(), device.name.c_str());
    std::printf("           %s, %.1f GiB", info.driver.c_str(),
                static_cast<double>(info.memory_bytes) / (1u << 30));
    if (info.target == TargetKind::cpu)
      std::printf(", %u threads", info.units);
    if (info.target == TargetKind::ptx)
      std::printf(", sm_%u, %u multiprocessors", info.compute_capability, info.units);
    std::string features = feature_names(info.features);
    std::printf("%s%s\n", features.empty() ? "" : ", ", features.c_str());
  }
  return 0;
}

void add_devices_command(CLI::App &program, Action &action) {
  CLI::App *command =
      program.add_subcommand("devices", "List devices, and why others cannot be used");
  command->footer("Example:\n  attn-run devices");
  auto json = std::make_shared<bool>(false);
  auto choice = std::make_shared<DeviceOptions>();
  command->add_flag("--json", *json, "print JSON");
  command->callback([=, &action] { action = [=] { return list(*choice, *json); }; });
}

} // namespace attn
