// Reads specs and writes results for every subcommand.
#include "tools/attnc/Commands.h"

#include "runtime/base/write_file.h"

#include <cerrno>
#include <cstring>
#include <fstream>
#include <iostream>
#include <sstream>

namespace attn::tools {

// The bytes of a text file; of one without end (a device, a pipe), as many as show that
// it is too long. Editors' byte order mark is no part of the text.
static Result<std::string> readText(const std::string &path) {
  constexpr size_t kMost = 4 << 20;
  if (path.empty())
    return Status::usage("'' names no file; give the path of a .attn file");
  std::string text(kMost, '\0');
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  if (file)
    file.read(text.data(), kMost);
  if (!file.is_open() || file.bad())
    return Status::environment("cannot read ", path, ": ", std::strerror(errno),
                               "; give the path of a .attn file");
  text.resize(static_cast<size_t>(file.gcount()));
  if (text.starts_with("\xff\xfe") || text.starts_with("\xfe\xff"))
    return Status::invalid_input("the text is UTF-16; save it as UTF-8").at(path);
  if (text.starts_with("\xef\xbb\xbf"))
    text.erase(0, 3);
  return text;
}

std::optional<spec::CheckedSpec> loadSpec(const std::string &path, int &exitCode) {
  auto text = readText(path);
  if (!text.ok()) {
    exitCode = fail(text.status());
    return std::nullopt;
  }
  spec::Diagnostics diagnostics;
  auto checked = spec::parseAndCheck(*text, path, diagnostics);
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
