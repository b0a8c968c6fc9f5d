// Bytes enter, a complete file leaves, or nothing.
#include "runtime/base/write_file.h"

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace attn {

static Status write_all(int fd, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    ssize_t done = ::write(fd, bytes.data(), bytes.size());
    if (done < 0 && errno == EINTR)
      continue;
    if (done < 0)
      return Status::environment("cannot write ", bytes.size(), " bytes: ", std::strerror(errno));
    bytes = bytes.subspan(static_cast<size_t>(done));
  }
  return {};
}

Status check_folder_of(const std::string &path) {
  size_t slash = path.rfind('/');
  std::string folder = slash == std::string::npos ? "." : path.substr(0, slash + 1);
  struct stat info;
  if (stat(folder.c_str(), &info) != 0)
    return Status::environment("there is no folder ", folder, " (", std::strerror(errno),
                               "); make it, or name another file")
        .at(path);
  if (!S_ISDIR(info.st_mode))
    return Status::environment(folder, " is no folder; name another file").at(path);
  struct stat file;
  bool exists = stat(path.c_str(), &file) == 0;
  if (exists && S_ISDIR(file.st_mode))
    return Status::environment("is a folder; name a file").at(path);
  // Files are replaced by renaming; devices and pipes are written as they are.
  const std::string &written = exists && !S_ISREG(file.st_mode) ? path : folder;
  if (access(written.c_str(), W_OK) != 0)
    return Status::environment("cannot write into ", folder, ": ", std::strerror(errno)).at(path);
  return {};
}

Status write_file(const std::string &path, std::span<const std::span<const std::byte>> parts) {
  if (path.empty())
    return Status::usage("'' names no file to write; give the path of one");
  struct stat existing;
  // Devices and pipes (/dev/stdout) cannot be renamed onto.
  if (stat(path.c_str(), &existing) == 0 && !S_ISREG(existing.st_mode)) {
    int fd = ::open(path.c_str(), O_WRONLY | O_CLOEXEC);
    if (fd < 0)
      return Status::environment("cannot open for writing: ", std::strerror(errno)).at(path);
    Status status;
    for (std::span<const std::byte> part : parts)
      if (status.ok())
        status = write_all(fd, part);
    if (::close(fd) != 0 && status.ok())
      status = Status::environment("cannot write: ", std::strerror(errno));
    return status.at(path);
  }

  // Renaming would replace what its owner has write-protected.
  if (access(path.c_str(), F_OK) == 0 && access(path.c_str(), W_OK) != 0)
    return Status::environment("cannot replace the file: ", std::strerror(errno)).at(path);
  std::string temporary = path + ".tmpXXXXXX";
  int fd = mkstemp(temporary.data());
  if (fd < 0)
    return Status::environment("cannot create a file here: ", std::strerror(errno)).at(path);
  Status status;
  for (std::span<const std::byte> part : parts)
    if (status.ok())
      status = write_all(fd, part);
  mode_t mask = umask(0);
  umask(mask);
  if (status.ok() && fchmod(fd, 0666 & ~mask) != 0)
    status = Status::environment("cannot set the file's mode: ", std::strerror(errno));
  if (::close(fd) != 0 && status.ok())
    status = Status::environment("cannot write: ", std::strerror(errno));
  if (status.ok() && std::rename(temporary.c_str(), path.c_str()) != 0)
    status = Status::environment("cannot replace the file: ", std::strerror(errno));
  if (!status.ok())
    ::unlink(temporary.c_str());
  return status.at(path);
}

} // namespace attn
