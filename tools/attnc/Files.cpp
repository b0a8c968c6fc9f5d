// Reads specs and writes results for every subcommand.
#include "tools/attnc/Commands.h"

#include "runtime/base/write_file.h"
#include "runtime/bundle/bundle_reader.h"

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <sstream>

namespace attn::tools {

Result<std::string> readFile(const std::string &path) {
  constexpr size_t kMost = 4 << 20; // a device or a pipe may have no end
  if (path.empty())
    return Status::usage("'' names no file; give the path of one");
  std::string text(kMost + 1, '\0');
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  if (file)
    file.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (!file.is_open() || file.bad())
    return Status::environment("cannot be read: ", std::strerror(errno)).at(path);
  text.resize(static_cast<size_t>(file.gcount()));
  if (text.size() > kMost)
    return Status::invalid_input("is longer than ", kMost, " bytes, no text that attnc reads is")
        .at(path);
  return text;
}

// Editors' byte order mark is no part of the text.
static Result<std::string> readText(const std::string &path) {
  ATTN_ASSIGN_OR_RETURN(std::string text, readFile(path));
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

// A model's description, vocabulary or weights are not worth a slip of `-o`.
static Status checkReplaceable(const std::string &path) {
  std::error_code error;
  if (!std::filesystem::is_regular_file(path, error) ||
      std::filesystem::file_size(path, error) == 0 || is_bundle_file(path))
    return {};
  return Status::usage("is there already and is no bundle; write to another file, or remove it")
      .at(path);
}

int writeBundle(const std::string &path, BundleWriter &bundle) {
  if (Status status = checkReplaceable(path); !status.ok())
    return fail(status);
  if (path != "-") { // without a copy of its weights
    Status status = bundle.write(path);
    return status.ok() ? kDone : fail(status);
  }
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
