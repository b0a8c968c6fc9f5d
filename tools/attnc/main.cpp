// attnc: compiles attention specs. Dispatches to one file per subcommand.
#include "tools/attnc/Commands.h"

int main(int argc, char **argv) {
  using namespace attn::tools;
  CLI::App app("Compile declarative attention specs to kernels for CPU, CUDA and Vulkan", "attnc");
  app.require_subcommand(1);
  app.set_version_flag("--version", "attnc 0.1.0");
  app.footer("Example:\n  attnc compile specs/causal.attn --target cpu,spirv -o causal.attnb");
  int exitCode = kDone;
  addCheckCommand(app, exitCode);
  addCompileCommand(app, exitCode);
  addDiffCommand(app, exitCode);
  addExplainCommand(app, exitCode);
  addMaskCommands(app, exitCode);
  addModelCommand(app, exitCode);
  addTuneCommand(app, exitCode);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success &request) { // --help, --version
    return app.exit(request);
  } catch (const CLI::ParseError &error) {
    app.exit(error);
    return kUsage;
  }
  return exitCode;
}
