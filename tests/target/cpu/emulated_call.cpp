// Writes image and call to temporary files, starts the emulator, reads back.
#include "tests/target/cpu/emulated_call.h"

#include "tests/target/cpu/emulated_call_format.h"

#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <spawn.h>
#include <sstream>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

namespace {

constexpr const char *kEmulator = "qemu-aarch64";

class TemporaryFile {
public:
  explicit TemporaryFile(const char *bytes, size_t size) {
    close(mkstemp(path_));
    std::ofstream(path_, std::ios::binary).write(bytes, std::streamsize(size));
  }
  ~TemporaryFile() { unlink(path_); }
  char *path() { return path_; }

private:
  char path_[32] = "/tmp/attn_call_XXXXXX";
};

int run_command(std::vector<std::string> words) {
  std::vector<char *> arguments;
  for (std::string &word : words)
    arguments.push_back(word.data());
  arguments.push_back(nullptr);
  pid_t child;
  if (posix_spawnp(&child, arguments[0], nullptr, nullptr, arguments.data(), environ) != 0)
    return -1;
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

} // namespace

std::string find_emulator(std::string &reason) {
  std::stringstream path(std::getenv("PATH") ? std::getenv("PATH") : "");
  if (access(ATTN_AARCH64_RUNNER, R_OK) != 0) {
    reason = "the aarch64 runner was not built (no clang with lld)";
    return "";
  }
  for (std::string folder; std::getline(path, folder, ':');)
    if (access((folder + "/" + kEmulator).c_str(), X_OK) == 0)
      return kEmulator;
  reason = std::string(kEmulator) + " is not installed (Debian: qemu-user)";
  return "";
}

size_t EmulatedCall::place(size_t bytes) {
  size_t begin = std::max(file_.size(), sizeof(emulated_call));
  begin = (begin + 63) / 64 * 64;
  file_.resize(begin + bytes);
  return begin;
}

size_t EmulatedCall::add(const KernelBuffer &memory) {
  size_t begin = place(memory.bytes);
  if (memory.bytes)
    std::memcpy(&file_[begin], memory.data, memory.bytes);
  regions_.push_back({memory, begin});
  return begin;
}

void EmulatedCall::set_pointer(size_t at, size_t target) {
  uint64_t value = target;
  std::memcpy(&file_[at], &value, sizeof value);
  pointers_.push_back(at);
}

void EmulatedCall::pass(uint64_t number) {
  place(0);
  std::memcpy(&file_[8 * arguments_++], &number, sizeof number);
}

void EmulatedCall::pass(const KernelBuffer &memory) {
  size_t target = add(memory);
  set_pointer(8 * arguments_++, target);
}

void EmulatedCall::pass(const std::vector<KernelBuffer> &memories) {
  size_t list = place(8 * memories.size());
  for (size_t i = 0; i < memories.size(); ++i)
    set_pointer(list + 8 * i, add(memories[i]));
  set_pointer(8 * arguments_++, list);
}

std::string EmulatedCall::run(const std::string &image, const std::string &symbol,
                              uint64_t &result) {
  emulated_call header;
  std::memcpy(&header, file_.data(), sizeof header);
  header.pointer_count = pointers_.size();
  if (pointers_.size() > std::size(header.pointers))
    return "too many pointers";
  std::copy(pointers_.begin(), pointers_.end(), header.pointers);
  std::memcpy(file_.data(), &header, sizeof header);

  TemporaryFile code(image.data(), image.size()), call(file_.data(), file_.size());
  int code_number = run_command({kEmulator, ATTN_AARCH64_RUNNER, code.path(), symbol, call.path()});
  if (code_number != 0)
    return "the emulated call ended with code " + std::to_string(code_number);
  std::ifstream(call.path(), std::ios::binary).read(file_.data(), std::streamsize(file_.size()));
  std::memcpy(&header, file_.data(), sizeof header);
  result = header.result;
  for (const Region &region : regions_)
    if (region.memory.bytes)
      std::memcpy(region.memory.data, &file_[region.offset], region.memory.bytes);
  return "";
}
