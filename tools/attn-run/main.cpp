// attn-run: arguments enter; one of the subcommands runs and its exit code
// (0 done, 1 input rejected, 2 usage, 3 environment) leaves.
#include "tools/attn-run/commands.h"

#include "runtime/base/thread_pool.h"

#include <cstdio>

namespace attn {

int report(const Status &status) {
  if (!status.ok())
    std::fprintf(stderr, "attn-run: error: %s\n", status.to_string().c_str());
  return status.exit_code();
}

void DeviceChoice::add_to(CLI::App &command) {
  command.add_option("--device", id, "cpu, vulkan[:INDEX] or cuda[:INDEX]")->capture_default_str();
  command.add_option("--threads", options.threads, "threads of the cpu device; 0: one per core")
      ->check(tool::whole_number(0, ThreadPool::kMost))
      ->capture_default_str();
  command.add_option("--cpu-features", options.cpu_features,
                     "use only these of the processor's features, e.g. avx2, or none");
  command.add_flag("--validation", options.validation,
                   "run Vulkan under its validation layer; any message is an error");
}

} // namespace attn

int main(int argc, char **argv) {
  CLI::App program("Runs, verifies and measures the attention kernels of a bundle (.attnb).",
                   "attn-run");
  program.require_subcommand(1);
  program.footer("Example:\n"
                 "  attn-run run causal.attnb --kernel causal --q q.npy --k k.npy --v v.npy "
                 "--out o.npy\n"
                 "`attn-run COMMAND --help` describes a command.\n" +
                 std::string(attn::tool::kExitCodeHelp));
  attn::Action action;
  attn::add_run_command(program, action);
  attn::add_merge_command(program, action);
  attn::add_verify_command(program, action);
  attn::add_bench_command(program, action);
  attn::add_devices_command(program, action);
  attn::add_inspect_command(program, action);
  attn::add_model_command(program, action);
  return attn::tool::run_tool(program, argc, argv, [&] { return action(); });
}
