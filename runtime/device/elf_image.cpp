// ELF bytes enter, function addresses leave.
#include "runtime/device/elf_image.h"

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <elf.h>
#include <sys/mman.h>
#include <unistd.h>

namespace attn {

// The loader maps what the headers promise and dies of SIGBUS where the file
// is shorter, so that much is checked first.
static Status check_elf(std::span<const std::byte> bytes) {
  Elf64_Ehdr header;
  if (bytes.size() < sizeof header)
    return Status::invalid_input("cpu image of ", bytes.size(), " bytes is no ELF file");
  std::memcpy(&header, bytes.data(), sizeof header);
  if (std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 || header.e_ident[EI_CLASS] != ELFCLASS64 ||
      header.e_ident[EI_DATA] != ELFDATA2LSB || header.e_type != ET_DYN)
    return Status::invalid_input("cpu image is no 64-bit little-endian ELF shared object");
#if defined(__x86_64__)
  constexpr unsigned machine = EM_X86_64;
#elif defined(__aarch64__)
  constexpr unsigned machine = EM_AARCH64;
#else
  constexpr unsigned machine = EM_NONE;
#endif
  if (header.e_machine != machine)
    return Status::environment("cpu image is for ELF machine ", header.e_machine,
                               ", this processor is ", machine,
                               "; compile the bundle for this architecture");
  if (header.e_phentsize != sizeof(Elf64_Phdr) || header.e_phoff > bytes.size() ||
      header.e_phnum * sizeof(Elf64_Phdr) > bytes.size() - header.e_phoff)
    return Status::invalid_input("cpu image has program headers outside the file");
  for (unsigned i = 0; i < header.e_phnum; ++i) {
    Elf64_Phdr segment;
    std::memcpy(&segment, bytes.data() + header.e_phoff + i * sizeof segment, sizeof segment);
    if (segment.p_type == PT_LOAD &&
        (segment.p_offset > bytes.size() || segment.p_filesz > bytes.size() - segment.p_offset))
      return Status::invalid_input("cpu image has a segment outside the file");
  }
  return {};
}

static bool write_all(int fd, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    ssize_t done = ::write(fd, bytes.data(), bytes.size());
    if (done < 0 && errno == EINTR)
      continue;
    if (done <= 0)
      return false;
    bytes = bytes.subspan(static_cast<size_t>(done));
  }
  return true;
}

Result<std::shared_ptr<ElfImage>> ElfImage::load(std::span<const std::byte> bytes) {
  ATTN_RETURN_IF_ERROR(check_elf(bytes));
  std::shared_ptr<ElfImage> image(new ElfImage);
  std::string reasons;
  int fd = memfd_create("attn-kernel", MFD_CLOEXEC);
  if (fd >= 0 && write_all(fd, bytes)) {
    std::string path = concat("/proc/self/fd/", fd);
    image->handle_ = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (image->handle_) {
      // The descriptor stays open: the loader knows the library by this path,
      // and a reused number would give the next image this library.
      image->fd_ = fd;
      return image;
    }
    reasons = dlerror();
  } else {
    reasons = concat("memory file: ", std::strerror(errno));
  }
  if (fd >= 0)
    close(fd);

  // Where memory files or /proc are not to be had, a real file does.
  const char *folder = std::getenv("TMPDIR");
  std::string path = concat(folder && *folder ? folder : "/tmp", "/attn-kernel-XXXXXX");
  fd = mkstemp(path.data());
  if (fd < 0)
    return Status::environment("cannot load a cpu image: ", reasons, "; temporary file ", path,
                               ": ", std::strerror(errno), "; set TMPDIR to a writable folder");
  bool written = write_all(fd, bytes);
  close(fd);
  if (written)
    image->handle_ = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  std::string error = written ? (image->handle_ ? "" : dlerror()) : std::strerror(errno);
  unlink(path.c_str());
  if (!image->handle_)
    return Status::environment("cannot load a cpu image: ", reasons, "; ", error);
  return image;
}

ElfImage::~ElfImage() {
  if (handle_)
    dlclose(handle_);
  if (fd_ >= 0)
    close(fd_);
}

void *ElfImage::find(const std::string &symbol) const { return dlsym(handle_, symbol.c_str()); }

} // namespace attn
