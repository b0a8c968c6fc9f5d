// One function per subcommand of attnc. Each adds its options to the command
// line and leaves its exit code in `exitCode` when it runs.
#pragma once

#include "compiler/pipeline/Pipeline.h"
#include "compiler/spec/Check.h"
#include "runtime/base/status.h"
#include "runtime/bundle/bundle_writer.h"

#include <CLI/CLI.hpp>

#include <optional>
#include <string>

namespace attn::tools {

// The exit codes of every tool of the project.
enum ExitCode : int { kDone = 0, kRejected = 1, kUsage = 2, kEnvironment = 3 };

void addCheckCommand(CLI::App &app, int &exitCode);
void addCompileCommand(CLI::App &app, int &exitCode);
void addDiffCommand(CLI::App &app, int &exitCode);
void addExplainCommand(CLI::App &app, int &exitCode);
void addMaskCommands(CLI::App &app, int &exitCode); // mask, score
void addModelCommand(CLI::App &app, int &exitCode);
void addTuneCommand(CLI::App &app, int &exitCode);

// Reads and checks a spec file. On failure prints why and sets `exitCode`.
std::optional<spec::CheckedSpec> loadSpec(const std::string &path, int &exitCode);

// Compiles a spec into `bundle`; `text` receives the stage's text if the options
// stop before the image. On failure prints why and returns false.
bool compileInto(const spec::CheckedSpec &spec, const mlir::attn::CompileOptions &options,
                 BundleWriter &bundle, std::string &text);

Result<std::string> readFile(const std::string &path);

// Writes `bytes` to `path`, or to standard output if `path` is "-". On failure
// prints why and sets `exitCode`.
bool writeOutput(const std::string &path, const std::string &bytes, int &exitCode);

// Prints a failure the way every tool does and returns its exit code.
int fail(const Status &status);

} // namespace attn::tools
