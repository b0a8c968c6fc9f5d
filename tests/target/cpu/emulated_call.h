// Calls a function of another architecture's shared object under an emulator: lays
// the arguments and the memory they point to out in a file that the runner maps.
#pragma once

#include "tests/target/cpu/cpu_kernel.h"

#include <string>
#include <vector>

// The emulator's command, or empty with the reason where it or the runner is missing.
std::string find_emulator(std::string &reason);

class EmulatedCall {
public:
  void pass(uint64_t number);
  // Memory; what the function writes is copied back to `data`.
  void pass(const KernelBuffer &memory);
  // An array of pointers.
  void pass(const std::vector<KernelBuffer> &memories);
  // Empty, or why it did not run.
  std::string run(const std::string &image, const std::string &symbol, uint64_t &result);

private:
  struct Region {
    KernelBuffer memory;
    size_t offset;
  };
  size_t place(size_t bytes);
  size_t add(const KernelBuffer &memory);
  void set_pointer(size_t at, size_t target);

  std::vector<char> file_;
  std::vector<Region> regions_;
  std::vector<uint64_t> pointers_;
  int arguments_ = 0;
};
