// Fuzz target for the bundle and .npy readers. The checksum is put right first, or the fuzzer would never pass it.
#include "runtime/base/npy.h"
#include "runtime/bundle/bundle_format.h"
#include "runtime/bundle/bundle_reader.h"
#include "runtime/bundle/checksum.h"
#include "tests/fuzz_target.h"
#include "tests/runtime/bundle_samples.h"

#include <cstring>

using namespace attn;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  const auto *begin = reinterpret_cast<const std::byte *>(data);
  std::vector<std::byte> file(begin, begin + size);
  (void)parse_npy(file).ok();
  if (size >= kBundleHeaderBytes) {
    std::memcpy(file.data(), kBundleMagic, sizeof kBundleMagic);
    uint64_t length = size, sum = checksum64(std::span(file).subspan(kChecksumBegin));
    std::memcpy(file.data() + 16, &length, 8);
    std::memcpy(file.data() + 24, &sum, 8);
  }
  Result<Bundle> bundle = Bundle::from_memory(file, "fuzz");
  if (!bundle.ok())
    return 0;
  for (const Bundle::Image &image : bundle->images())
    checksum64(image.bytes);
  for (const KernelInfo &kernel : bundle->kernels())
    if (!check_kernel_info(kernel).ok())
      __builtin_trap();
  return 0;
}

std::vector<std::string> fuzz_seeds() {
  std::vector<std::string> seeds;
  if (Result<std::vector<std::byte>> bundle = sample_writer().finish(); bundle.ok())
    seeds.emplace_back(reinterpret_cast<const char *>(bundle->data()), bundle->size());
  std::string npy("\x93NUMPY\x01\x00\x40\x00", 10);
  npy += "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }     \n";
  seeds.push_back(npy + std::string(24, '\0'));
  return seeds;
}
