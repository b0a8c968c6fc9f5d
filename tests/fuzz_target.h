// A fuzz target: bytes enter, nothing may crash. Under ATTN_SANITIZE with clang
// libFuzzer drives it (fuzz_NAME CORPUS); the driver beside this file repeats its
// seeds and mutations of them as an ordinary test.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

// Inputs to start from: valid ones.
std::vector<std::string> fuzz_seeds();
