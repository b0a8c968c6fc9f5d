// One function per subcommand of attnc. Each adds its options to the command
// line and leaves its exit code in `exitCode` when it runs.
#pragma once

#include "compiler/pipeline/Pipeline.h"
#include "compiler/spec/Check.h"
#include "runtime/base/status.h"
#include "runtime/bundle/bundle_writer.h"

#include "tools/support/run_tool.h"

#include <optional>
#include <string>

namespace attn::tools {

using tool::kDone, tool::kEnvironment, tool::kRejected, tool::kUsage;

void addCheckCommand(CLI::App &app, int &exitCode);
void addCompileCommand(CLI::App &app, int &exitCode);
void addDiffCommand(CLI::App &app, int &exitCode);
void addExplainCommand(CLI::App &app, int &exitCode);
void addMaskCommands(CLI::App &app, int &exitCode); // mask, score
void addModelCommand(CLI::App &app, int &exitCode);
void addTuneCommand(CLI::App &app, int &exitCode);

// Reads and checks a spec file. On failure prints why and sets `exitCode`.
std::optional<spec::CheckedSpec> loadSpec(const std::string &path, int &exitCode);

// Prints what `option` gives twice, and gives false if there is such a value.
bool checkTwice(const std::vector<std::string> &values, const char *option);

// Prints what is wrong with --target and gives false if a target is unknown.
bool checkTargets(const std::vector<std::string> &targets);

// Kernels are found by name: prints the places of two that specs of one bundle would both
// make, and gives false if there are.
bool checkKernelNames(const std::vector<spec::CheckedSpec> &specs);

// Adds the record of each cache that a spec declares.
void addPolicies(const spec::CheckedSpec &spec, BundleWriter &bundle);

// Compiles a spec into `bundle`; `text` receives the stage's text if the options
// stop before the image. On failure says why in `messages` and returns false.
bool compileInto(const spec::CheckedSpec &spec, const mlir::attn::CompileOptions &options,
                 BundleWriter &bundle, std::string &text,
                 llvm::raw_ostream &messages = llvm::errs());

// The bytes of a file that is a text.
Result<std::string> readFile(const std::string &path);

// Writes `bytes` to `path`, or to standard output if `path` is "-". On failure
// prints why and sets `exitCode`.
bool writeOutput(const std::string &path, const std::string &bytes, int &exitCode);

// Writes the bundle as above and returns the exit code.
int writeBundle(const std::string &path, BundleWriter &bundle);

// Prints a failure the way every tool does and returns its exit code.
int fail(const Status &status);

} // namespace attn::tools
