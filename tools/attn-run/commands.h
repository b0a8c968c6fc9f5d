// The subcommands of attn-run. Each adds its options to the program and leaves
// in `action` what to do once they are parsed; actions return an exit code.
#pragma once

#include "runtime/base/status.h"
#include "runtime/device/device.h"
#include "tools/support/run_tool.h"
#include <functional>
#include <string>

namespace attn {

using Action = std::function<int()>;

// Options that several subcommands share.
struct DeviceChoice {
  std::string id = "cpu";
  DeviceOptions options;
  void add_to(CLI::App &command);
};

// Prints "attn-run: error: place: message" and gives the exit code.
int report(const Status &status);

void add_run_command(CLI::App &program, Action &action);
void add_merge_command(CLI::App &program, Action &action);
void add_verify_command(CLI::App &program, Action &action);
void add_bench_command(CLI::App &program, Action &action);
void add_devices_command(CLI::App &program, Action &action);
void add_inspect_command(CLI::App &program, Action &action);
void add_model_command(CLI::App &program, Action &action);

} // namespace attn
