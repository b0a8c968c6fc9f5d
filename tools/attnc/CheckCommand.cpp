// attnc check: parse and check specs, print diagnostics, produce nothing.
#include "tools/attnc/Commands.h"

#include <filesystem>
#include <iostream>
#include <memory>

namespace attn::tools {

// A file of the standard library defines patterns, which a spec may not define again.
static void checkStandard(size_t which, const std::string &path, int &exitCode) {
  Result<std::string> text = readFile(path);
  if (!text.ok()) {
    exitCode = fail(text.status());
    return;
  }
  spec::Diagnostics diagnostics;
  size_t patterns = spec::checkStandardFile(which, *text, path, diagnostics);
  std::cerr << diagnostics.render();
  if (diagnostics.hasErrors())
    exitCode = kRejected;
  else
    std::cout << path << ": " << patterns
              << " standard patterns; what they say is checked where a spec uses them\n";
}

void addCheckCommand(CLI::App &app, int &exitCode) {
  auto paths = std::make_shared<std::vector<std::string>>();
  CLI::App *command = app.add_subcommand("check", "Check specs and print what is wrong with them");
  command->add_option("SPEC", *paths, "Spec files (.attn)")->required();
  command->footer("Example:\n  attnc check specs/causal.attn");
  command->callback([paths, &exitCode] {
    std::error_code error; // of an empty path, which fails where it is read
    for (const std::string &path : *paths)
      if (auto which =
              spec::findStandardFile(std::filesystem::absolute(path, error).generic_string()))
        checkStandard(*which, path, exitCode);
      else
        loadSpec(path, exitCode);
  });
}

} // namespace attn::tools
