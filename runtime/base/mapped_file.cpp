// Maps a file for reading; a path enters, a view of its bytes leaves.
#include "runtime/base/mapped_file.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace attn {

MappedFile::~MappedFile() {
  if (data_)
    munmap(data_, size_);
}

Result<MappedFile> MappedFile::open(const std::string &path) {
  if (path.empty())
    return Status::usage("'' names no file; give the path of one");
  // A pipe that nobody writes to is refused below, not waited for.
  int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0)
    return Status::environment("cannot open the file: ", std::strerror(errno)).at(path);
  struct stat info;
  if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
    ::close(fd);
    return Status::environment("not a regular file, which this must be to be mapped; give one")
        .at(path);
  }
  MappedFile file;
  if (info.st_size > 0) {
    void *data = mmap(nullptr, static_cast<size_t>(info.st_size), PROT_READ, MAP_PRIVATE, fd, 0);
    if (data == MAP_FAILED) {
      int error = errno;
      ::close(fd);
      return Status::environment("cannot map the file: ", std::strerror(error)).at(path);
    }
    file.data_ = data;
    file.size_ = static_cast<size_t>(info.st_size);
  }
  ::close(fd);
  return file;
}

} // namespace attn
