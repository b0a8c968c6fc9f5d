// Writes the bundle of the reference kernels, SHARED_OBJECT OUT.attnb, or that
// of the stand-in driver, OUT.attnb.
#include "test_bundle.h"

#include <cstdio>

using namespace attn;

int main(int argc, char **argv) {
  if (argc != 2 && argc != 3)
    return 2;
  Result<BundleWriter> writer = argc == 3 ? reference_bundle(argv[1]) : stand_in_bundle();
  Status status = writer.ok() ? writer->write(argv[argc - 1]) : writer.status();
  if (!status.ok())
    std::fprintf(stderr, "%s\n", status.to_string().c_str());
  return status.exit_code();
}
