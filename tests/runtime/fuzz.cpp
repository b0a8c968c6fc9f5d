// Fuzz target for the readers of bundles, packages and .npy files. The checksum is put
// right first, or the fuzzer would never pass it.
#include "runtime/base/npy.h"
#include "runtime/bundle/bundle_format.h"
#include "runtime/bundle/bundle_reader.h"
#include "runtime/bundle/checksum.h"
#include "runtime/graph/package.h"
#include "runtime/graph/session.h"
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
    uint64_t length = size;
    std::memcpy(file.data() + 16, &length, 8);
    uint32_t checked = 0;
    std::memcpy(&checked, file.data() + 36, 4);
    uint64_t end = checked ? checked * uint64_t(kImageAlignment) : size;
    if (end < kBundleHeaderBytes || end > size)
      end = size; // refused before it is summed
    uint64_t sum = checksum64(std::span(file).subspan(kChecksumBegin, end - kChecksumBegin));
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
  // A graph that is accepted is made ready to run.
  for (const PackedGraph &packed : bundle->graphs()) {
    hash_constants(packed.graph);
    graph::Graph graph = packed.graph;
    if (!graph::restore_graph(graph).ok())
      continue;
    uint64_t elements = 0;
    for (const graph::Value &value : graph.values)
      elements += static_cast<uint64_t>(value.type.elements());
    static ThreadPool pool(1);
    if (elements < 1 << 16)
      if (auto session = graph::Session::create(std::move(graph), pool); session.ok())
        (void)(*session)->run().ok();
  }
  return 0;
}

std::vector<std::string> fuzz_seeds() {
  std::vector<std::string> seeds;
  if (Result<std::vector<std::byte>> bundle = sample_writer().finish(); bundle.ok())
    seeds.emplace_back(reinterpret_cast<const char *>(bundle->data()), bundle->size());
  for (uint32_t columns : {0u, 8u}) {
    graph::Graph graph = sample_graph();
    BundleWriter package = sample_writer();
    if (!graph::pack_graph(graph, columns).ok())
      continue;
    package.add_graph("model", std::move(graph));
    if (Result<std::vector<std::byte>> file = package.finish(); file.ok())
      seeds.emplace_back(reinterpret_cast<const char *>(file->data()), file->size());
  }
  std::string npy("\x93NUMPY\x01\x00\x40\x00", 10);
  npy += "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }     \n";
  seeds.push_back(npy + std::string(24, '\0'));
  return seeds;
}
