// attnc check: parse and check specs, print diagnostics, produce nothing.
#include "tools/attnc/Commands.h"

#include <memory>

namespace attn::tools {

void addCheckCommand(CLI::App &app, int &exitCode) {
  auto paths = std::make_shared<std::vector<std::string>>();
  CLI::App *command = app.add_subcommand("check", "Check specs and print what is wrong with them");
  command->add_option("SPEC", *paths, "Spec files (.attn)")->required();
  command->footer("Example:\n  attnc check specs/causal.attn");
  command->callback([paths, &exitCode] {
    for (const std::string &path : *paths)
      loadSpec(path, exitCode);
  });
}

} // namespace attn::tools
