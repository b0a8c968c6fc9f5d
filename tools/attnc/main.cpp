// attnc: compiles attention specs. Dispatches to one file per subcommand.
#include "tools/attnc/Commands.h"

#include "llvm/Support/ErrorHandling.h"
#include "llvm/Support/raw_ostream.h"

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <sys/resource.h>
#include <unistd.h>

// LLVM does not check every allocation, nor lld: below a limit (ulimit -v) under which
// they could come to an end, nothing is begun.
static attn::Status checkAddressSpace() {
  constexpr uint64_t kNeeded = 256, mega = 1 << 20; // beside what is mapped already
  rlimit limit{};
  std::ifstream statm("/proc/self/statm");
  uint64_t pages = 0;
  if (getrlimit(RLIMIT_AS, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY || !(statm >> pages))
    return {};
  const uint64_t mapped = pages * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  if (limit.rlim_cur >= mapped + kNeeded * mega)
    return {};
  return attn::Status::environment("out of memory: the address space is limited to ",
                                   limit.rlim_cur / mega, " MiB; at least ",
                                   mapped / mega + kNeeded, " are needed, see ulimit -v");
}

int main(int argc, char **argv) {
  using namespace attn::tools;
  CLI::App app("Compile declarative attention specs to kernels for CPU, CUDA and Vulkan", "attnc");
  app.require_subcommand(1);
  app.set_version_flag("--version", "attnc 0.1.0");
  app.footer("Example:\n  attnc compile specs/causal.attn --target cpu,spirv -o causal.attnb\n" +
             std::string(attn::tool::kExitCodeHelp));
  int exitCode = kDone;
  addCheckCommand(app, exitCode);
  addCompileCommand(app, exitCode);
  addDiffCommand(app, exitCode);
  addExplainCommand(app, exitCode);
  addMaskCommands(app, exitCode);
  addModelCommand(app, exitCode);
  addTuneCommand(app, exitCode);
  // LLVM's own allocations and its output stream abort where they fail, unless told not to.
  llvm::install_bad_alloc_error_handler([](void *, const char *, bool) {
    std::fputs("attnc: error: out of memory; give a smaller problem\n", stderr);
    std::_Exit(kEnvironment);
  });
  // Such as a thread that cannot be started; LLVM would abort.
  llvm::install_fatal_error_handler([](void *, const char *reason, bool) {
    std::fprintf(stderr, "attnc: error: LLVM gives up: %s; nothing is written\n", reason);
    std::_Exit(kEnvironment);
  });
  if (attn::Status status = checkAddressSpace(); !status.ok())
    return fail(status);
  return attn::tool::run_tool(app, argc, argv, [&] {
    llvm::outs().flush();
    std::error_code error = llvm::outs().error();
    llvm::outs().clear_error();
    if (error && exitCode == kDone)
      return fail(attn::Status::environment("cannot write standard output: ", error.message()));
    return exitCode;
  });
}
