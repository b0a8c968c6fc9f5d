// Reads specs and writes results for every subcommand.
#include "tools/attnc/Commands.h"

#include "runtime/base/write_file.h"

#include <cerrno>
#include <cstring>
#include <fstream>
#include <iostream>
#include <sstream>

namespace attn::tools {

std::optional<spec::CheckedSpec> loadSpec(const std::string &path, int &exitCode) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  if (!file || !(text << file.rdbuf())) {
    // An empty file also sets failbit on `text`; it is the parser's to reject.
    if (!file.is_open() || errno == EISDIR) {
      std::cerr << "attnc: error: cannot read " << path << ": " << std::strerror(errno)
                << "; give the path of a .attn file\n";
      exitCode = kEnvironment;
      return std::nullopt;
    }
  }
  spec::Diagnostics diagnostics;
  auto checked = spec::parseAndCheck(text.str(), path, diagnostics);
  if (!checked) {
    std::cerr << diagnostics.render();
    exitCode = kRejected;
  }
  return checked;
}

Result<std::string> readFile(const std::string &path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  if (!file)
    return Status::environment("cannot be read: ", std::strerror(errno)).at(path);
  text << file.rdbuf();
  return text.str();
}

bool writeOutput(const std::string &path, const std::string &bytes, int &exitCode) {
  if (path == "-") {
    if (std::cout << bytes << std::flush)
      return true;
    exitCode = fail(Status::environment("cannot write standard output: ", std::strerror(errno)));
    return false;
  }
  Status status = write_file(path, {std::as_bytes(std::span(bytes))});
  if (!status.ok())
    exitCode = fail(status);
  return status.ok();
}

int writeBundle(const std::string &path, BundleWriter &bundle) {
  auto bytes = bundle.finish();
  if (!bytes.ok())
    return fail(bytes.status().at(path));
  int exitCode = kDone;
  writeOutput(path, {reinterpret_cast<const char *>(bytes->data()), bytes->size()}, exitCode);
  return exitCode;
}

int fail(const Status &status) {
  std::cerr << "attnc: error: " << status.to_string() << "\n";
  return status.exit_code();
}

} // namespace attn::tools
