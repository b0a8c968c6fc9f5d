// A fuzz target: bytes enter, nothing may crash. Under ATTN_SANITIZE with clang
// libFuzzer drives it (`cmake --preset sanitize`, then fuzz_NAME CORPUS; needs the
// package libclang-rt-22-dev); the driver beside this file repeats its seeds and
// mutations of them as an ordinary test.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

// Inputs to start from: valid ones.
std::vector<std::string> fuzz_seeds();
