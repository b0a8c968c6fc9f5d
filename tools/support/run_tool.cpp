#include "tools/support/run_tool.h"

#include <cerrno>
#include <charconv>
#include <cmath>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <iostream>
#include <new>
#include <system_error>

namespace attn::tool {

const char *const kExitCodeHelp = "Exit codes: 0 done; 1 what a file holds is rejected, or a "
                                  "comparison fails; 2 the command line "
                                  "is\n"
                                  "wrong: an unknown option or name, a value out of range, "
                                  "something missing; 3 the machine lacks\n"
                                  "something: a device, memory, a file, room on a disk.";

namespace {

// "attnc compile", if that is the command that was given.
std::string command_name(const CLI::App &app) {
  std::string name = app.get_name();
  for (const CLI::App *command : app.get_subcommands())
    name += " " + command->get_name();
  return name;
}

// CLI11 speaks of a missing option before it speaks of the word that it did not know,
// which is the likelier mistake.
std::string usage_message(const CLI::App &app, const CLI::ParseError &error) {
  bool words_left = dynamic_cast<const CLI::RequiredError *>(&error) ||
                    dynamic_cast<const CLI::ExtrasError *>(&error);
  if (dynamic_cast<const CLI::ArgumentMismatch *>(&error)) {
    std::string text = error.what();
    if (size_t at = text.find(": At Most 1 required"); at != std::string::npos)
      return text.substr(0, at) + " is given more than once; give it once";
    if (size_t at = text.find(": 1 required"); at != std::string::npos)
      return text.substr(0, at) + " has no value behind it; give one";
  }
  std::string commands;
  if (app.get_subcommands().empty())
    for (const CLI::App *command : app.get_subcommands(nullptr))
      commands += (commands.empty() ? "" : ", ") + command->get_name();
  std::vector<std::string> words;
  if (words_left)
    words = app.remaining(true);
  if (words.empty())
    return words_left && !commands.empty() ? "no command is given; commands are " + commands
                                           : error.what();
  for (const std::string &word : words)
    if (word.size() > 1 && word[0] == '-')
      return concat("unknown option '", word.substr(0, word.find('=')), "'");
  if (commands.empty())
    return concat("unexpected argument '", words.front(), "'");
  return concat("unknown command '", words.front(), "'; commands are ", commands);
}

int fail(const CLI::App &app, ExitCode code, const std::string &message) {
  std::fprintf(stderr, "%s: error: %s\n", app.get_name().c_str(), message.c_str());
  return code;
}

// A stream that the caller has closed is not to become the first file that is opened, and
// be written to: what reads fails and what writes fails.
void keep_standard_streams() {
  for (int stream = 0; stream < 3; ++stream)
    if (::fcntl(stream, F_GETFD) < 0 && ::open("/dev/null", O_RDONLY) < 0)
      return;
}

// Whether the option names what the command writes. --lse is written by attn-run run and
// read by attn-run merge, which writes --out-lse.
bool names_output(const CLI::App &command, const std::string &option) {
  if (option == "--lse")
    return !command.get_option_no_throw("--out-lse");
  return option == "--output" || option == "--out" || option == "--out-lse" || option == "--stats";
}

// The two names of one file in the command line that the command would write over what it
// reads, or write twice: "--out q.npy would overwrite --q q.npy". Empty: there are none.
std::string overwritten(const CLI::App &command) {
  struct Named {
    std::string option, path;
    bool output;
  };
  std::vector<Named> files;
  for (const CLI::Option *option : command.get_options())
    for (const std::string &value : option->results()) {
      size_t name = value.find('='); // NAME=FILE
      bool output = names_output(command, option->get_name());
      files.push_back({option->get_name(), value, output});
      if (!output && name != std::string::npos)
        files.push_back({option->get_name(), value.substr(name + 1), false});
    }
  for (size_t i = 0; i < files.size(); ++i)
    for (size_t j = 0; j < files.size(); ++j) {
      const Named &to = files[i], &from = files[j];
      std::error_code error; // of what is no file: then it is not the same one
      bool same = to.path == from.path && to.path != "-"
                      ? from.output || std::filesystem::is_regular_file(to.path, error)
                      : std::filesystem::is_regular_file(to.path, error) &&
                            std::filesystem::equivalent(to.path, from.path, error);
      if (i != j && to.output && same)
        return concat(to.option, " ", to.path, " would overwrite ", from.option, " ", from.path,
                      "; write to another file");
    }
  return "";
}

// An option takes one word, though it may be repeated: what follows is the command's own.
void take_one_word(CLI::App &command) {
  for (CLI::Option *option : command.get_options())
    if (option->nonpositional() && option->get_expected_max() > 1)
      option->allow_extra_args(false);
  for (CLI::App *inner : command.get_subcommands(nullptr))
    take_one_word(*inner);
}

int parse_and_act(CLI::App &app, int argc, char **argv, const std::function<int()> &action) {
  take_one_word(app);
  app.parse_complete_callback([&app] { // before the callbacks of commands, which may act
    std::string conflict = overwritten(app);
    for (const CLI::App *command : app.get_subcommands())
      conflict = conflict.empty() ? overwritten(*command) : conflict;
    if (!conflict.empty())
      throw CLI::ValidationError(conflict);
  });
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success &request) { // --help, --version
    return app.exit(request);
  } catch (const CLI::ParseError &error) {
    return fail(
        app, kUsage,
        concat(usage_message(app, error), "; ", command_name(app), " --help shows the usage"));
  }
  return action();
}

} // namespace

int run_tool(CLI::App &app, int argc, char **argv, const std::function<int()> &action) {
  keep_standard_streams();
  std::signal(SIGXFSZ, SIG_IGN); // a file grown too large is a failed write
  int code = kDone;
  try {
    code = parse_and_act(app, argc, argv, action);
  } catch (const std::bad_alloc &) {
    code = fail(app, kEnvironment, "out of memory; give a smaller problem or a larger machine");
  } catch (const std::system_error &error) { // threads
    code = fail(app, kEnvironment, error.what());
  } catch (const std::exception &error) {
    code = fail(app, kEnvironment, concat("internal error: ", error.what()));
  }
  errno = 0;
  std::cout.flush();
  bool written = std::fflush(stdout) == 0 && !std::ferror(stdout) && std::cout.good();
  if (!written && code == kDone)
    code = fail(app, kEnvironment,
                concat("cannot write standard output",
                       errno ? concat(": ", std::strerror(errno)) : std::string()));
  return code;
}

CLI::Validator whole_number(int64_t low, uint64_t high) {
  auto check = [low, high](std::string &text) -> std::string {
    const char *end = text.data() + text.size();
    bool good = false;
    if (text.starts_with('-')) {
      int64_t number = 0;
      auto [at, error] = std::from_chars(text.data(), end, number);
      good = error == std::errc() && at == end && number >= low;
    } else {
      uint64_t number = 0;
      auto [at, error] = std::from_chars(text.data(), end, number);
      good = error == std::errc() && at == end && number <= high &&
             (low <= 0 || number >= static_cast<uint64_t>(low));
      if (good) // CLI11 reads a leading 0 as octal
        text = std::to_string(number);
    }
    return good ? std::string()
                : concat("'", text, "' is no whole number from ", low, " to ", high);
  };
  return CLI::Validator(check, "", "whole");
}

Status split_assignment(const std::string &text, const char *option, const char *form,
                        std::string &name, std::string &value) {
  size_t at = text.find('=');
  if (at == std::string::npos || at == 0 || at + 1 == text.size())
    return Status::usage(option, " has '", text, "'; write ", form);
  name = text.substr(0, at);
  value = text.substr(at + 1);
  return {};
}

Status parse_number(const std::string &text, const std::string &what, double &number) {
  const char *end = text.data() + text.size();
  auto [at, error] = std::from_chars(text.data(), end, number);
  if (text.empty() || error != std::errc() || at != end || !std::isfinite(number))
    return Status::usage(what, " is '", text, "'; a finite number is needed");
  return {};
}

} // namespace attn::tool
