// Calls lld's ELF driver on temporary files.
#include "compiler/target/cpu/LinkImage.h"

#include "lld/Common/Driver.h"
#include "mlir/IR/Diagnostics.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/raw_ostream.h"

#include <deque>
#include <mutex>

LLD_HAS_DRIVER(elf)

using namespace mlir;
using namespace mlir::attn;

namespace {
/// Temporary files that go when this does.
class TemporaryFiles {
public:
  ~TemporaryFiles() {
    for (const std::string &path : paths)
      llvm::sys::fs::remove(path);
  }
  /// A new file with `contents`; its path, or an empty one.
  StringRef add(StringRef suffix, StringRef contents) {
    llvm::SmallString<128> path;
    int descriptor = -1;
    if (llvm::sys::fs::createTemporaryFile("attn", suffix, descriptor, path))
      return "";
    paths.emplace_back(path.str());
    llvm::raw_fd_ostream stream(descriptor, /*shouldClose=*/true);
    stream << contents;
    return paths.back();
  }

private:
  std::deque<std::string> paths;
};
} // namespace

static FailureOr<std::string> runLinker(llvm::ArrayRef<std::string> objects, StringRef suffix,
                                        llvm::ArrayRef<const char *> options, const char *failure,
                                        Location loc) {
  TemporaryFiles files;
  llvm::SmallVector<const char *> arguments{"ld.lld"};
  arguments.append(options.begin(), options.end());
  for (const std::string &object : objects)
    arguments.push_back(files.add("o", object).data());
  StringRef output = files.add(suffix, "");
  arguments.append({"--threads=1", "--error-limit=0", "-o", output.data()});
  if (llvm::any_of(arguments, [](const char *argument) { return !*argument; }))
    return emitError(loc, "cannot create a temporary file to link in");
  std::string messages;
  llvm::raw_string_ostream log(messages);
  static std::mutex mutex; // lld keeps state between its phases
  std::lock_guard<std::mutex> lock(mutex);
  lld::Result result = lld::lldMain(arguments, log, log, {{lld::Gnu, &lld::elf::link}});
  if (result.retCode != 0)
    return emitError(loc, failure) << messages;
  auto image =
      llvm::MemoryBuffer::getFile(output, /*IsText=*/false, /*RequiresNullTerminator=*/false);
  if (!image)
    return emitError(loc, "cannot read the linked kernel: ") << image.getError().message();
  return (*image)->getBuffer().str();
}

FailureOr<std::string> mlir::attn::linkImage(llvm::ArrayRef<std::string> objects, Location loc) {
  // -z defs is the gate: a call into libm or libc does not link.
  return runLinker(objects, "so",
                   {"-shared", "-z", "defs", "-z", "noexecstack", "--build-id=none",
                    "--hash-style=gnu", "--gc-sections", "--strip-all"},
                   "the kernel does not link by itself: ", loc);
}

FailureOr<std::string> mlir::attn::joinObjects(llvm::ArrayRef<std::string> objects, Location loc) {
  return runLinker(objects, "o", {"-r", "-z", "noexecstack"},
                   "the kernels cannot be joined: ", loc);
}
