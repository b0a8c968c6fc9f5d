// Calls lld's ELF driver on temporary files.
#include "compiler/target/cpu/LinkImage.h"

#include "lld/Common/Driver.h"
#include "mlir/IR/Diagnostics.h"
#include "llvm/ADT/ScopeExit.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/raw_ostream.h"

#include <mutex>

LLD_HAS_DRIVER(elf)

using namespace mlir;
using namespace mlir::attn;

FailureOr<std::string> mlir::attn::linkImage(const std::string &object, Location loc) {
  llvm::SmallString<128> input, output;
  int descriptor = -1;
  if (llvm::sys::fs::createTemporaryFile("attn", "o", descriptor, input) ||
      llvm::sys::fs::createTemporaryFile("attn", "so", output))
    return emitError(loc, "cannot create a temporary file to link in");
  llvm::scope_exit cleanup([&] {
    llvm::sys::fs::remove(input);
    llvm::sys::fs::remove(output);
  });
  {
    llvm::raw_fd_ostream stream(descriptor, /*shouldClose=*/true);
    stream << object;
  }
  // -z defs is the gate: a call into libm or libc does not link.
  const char *arguments[] = {"ld.lld",
                             "-shared",
                             "-z",
                             "defs",
                             "-z",
                             "noexecstack",
                             "--build-id=none",
                             "--hash-style=gnu",
                             "--gc-sections",
                             "--strip-all",
                             "--threads=1",
                             "--error-limit=0",
                             input.c_str(),
                             "-o",
                             output.c_str()};
  std::string messages;
  llvm::raw_string_ostream log(messages);
  static std::mutex mutex; // lld keeps state between its phases
  std::lock_guard<std::mutex> lock(mutex);
  lld::Result result = lld::lldMain(arguments, log, log, {{lld::Gnu, &lld::elf::link}});
  if (result.retCode != 0)
    return emitError(loc, "the kernel does not link by itself: ") << messages;
  auto image =
      llvm::MemoryBuffer::getFile(output, /*IsText=*/false, /*RequiresNullTerminator=*/false);
  if (!image)
    return emitError(loc, "cannot read the linked kernel: ") << image.getError().message();
  return (*image)->getBuffer().str();
}
