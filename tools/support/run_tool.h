// What every tool's main has in common: whatever goes wrong becomes a message on
// standard error and an exit code, wrong usage, exceptions and a full disk included.
#pragma once

#include "runtime/base/status.h"
#include <CLI/CLI.hpp>
#include <functional>
#include <string>

namespace attn::tool {

// The exit codes of every tool of the project.
enum ExitCode : int { kDone = 0, kRejected = 1, kUsage = 2, kEnvironment = 3 };

// The line that every --help ends with.
extern const char *const kExitCodeHelp;

// Parses the arguments and calls `action`, which gives the exit code. What was printed
// has reached standard output when this returns, or the code says that it has not.
int run_tool(CLI::App &app, int argc, char **argv, const std::function<int()> &action);

// An option's value is a whole number in decimal from `low` to `high`: no other base,
// no sign that wraps around, no overflow.
CLI::Validator whole_number(int64_t low, uint64_t high);

// Splits "name=value"; `form` is how `option` is to be written, such as NAME=FILE.npy.
Status split_assignment(const std::string &text, const char *option, const char *form,
                        std::string &name, std::string &value);

// All of `text` as a finite number.
Status parse_number(const std::string &text, const std::string &what, double &number);

} // namespace attn::tool
