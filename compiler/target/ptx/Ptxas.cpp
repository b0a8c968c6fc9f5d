// Runs ptxas as a subprocess: PTX text in, cubin out, and what its report must not say.
#include "compiler/target/ptx/PtxPipeline.h"

#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FileUtilities.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Program.h"
#include "llvm/Support/Regex.h"

using namespace mlir;
using namespace mlir::attn;

std::optional<std::string> mlir::attn::findPtxas() {
  if (const char *chosen = std::getenv("ATTN_PTXAS"); chosen && *chosen)
    return StringRef(chosen) == "none" ? std::nullopt : std::optional<std::string>(chosen);
  if (auto found = llvm::sys::findProgramByName("ptxas"))
    return *found;
  if (auto found = llvm::sys::findProgramByName("ptxas", {"/usr/local/cuda/bin"}))
    return *found;
  return std::nullopt;
}

// The first line of the report that speaks of lost speed, or an empty string.
static StringRef forbiddenLine(StringRef log) {
  // Advisory C75xx: asynchronous work was serialised or waits were added.
  llvm::Regex advisory("\\(C75[0-9][0-9]\\)"), spill("[1-9][0-9]* bytes spill");
  SmallVector<StringRef> lines;
  log.split(lines, '\n');
  for (StringRef line : lines)
    if (advisory.match(line) || spill.match(line))
      return line.trim();
  return {};
}

FailureOr<AssembledKernels> mlir::attn::assemble(StringRef ptxas, StringRef ptx, StringRef arch,
                                                 Location loc) {
  SmallString<128> source, image, report;
  for (auto [path, suffix] : {std::pair{&source, "ptx"}, {&image, "cubin"}, {&report, "log"}})
    if (std::error_code error = llvm::sys::fs::createTemporaryFile("attnc", suffix, *path))
      return emitError(loc, "cannot make a temporary file for ptxas: ") << error.message();
  llvm::FileRemover removers[] = {llvm::FileRemover(source), llvm::FileRemover(image),
                                  llvm::FileRemover(report)};
  {
    std::error_code error;
    llvm::raw_fd_ostream stream(source, error);
    stream << ptx;
    stream.close();
    if (error || stream.has_error()) {
      stream.clear_error();
      return emitError(loc, "cannot write ") << source;
    }
  }
  std::string archFlag = ("-arch=" + arch).str();
  StringRef args[] = {ptxas, archFlag, "-O3", "-v", source, "-o", image};
  std::optional<StringRef> redirects[] = {StringRef(), StringRef(report), StringRef(report)};
  std::string message;
  int code = llvm::sys::ExecuteAndWait(ptxas, args, std::nullopt, redirects, 120, 0, &message);
  AssembledKernels result;
  if (auto log = llvm::MemoryBuffer::getFile(report))
    result.log = (*log)->getBuffer().str();
  if (code == -1)
    return emitError(loc, "cannot run ptxas '")
           << ptxas << "': " << message << "; ATTN_PTXAS names another, or 'none' to do without";
  if (code != 0)
    return emitError(loc, "ptxas rejects the generated kernel: ") << message << result.log;
  result.complaint = forbiddenLine(result.log).str();
  auto cubin = llvm::MemoryBuffer::getFile(image, /*IsText=*/false, /*RequiresNull=*/false);
  if (!cubin)
    return emitError(loc, "cannot read what ptxas wrote: ") << cubin.getError().message();
  result.cubin = (*cubin)->getBuffer().str();
  if (result.cubin.empty())
    return emitError(loc, "'") << ptxas << "' wrote nothing; is it a ptxas?";
  return result;
}
