// Writes the bundle of the reference kernels: SHARED_OBJECT OUT.attnb.
#include "test_bundle.h"

#include <cstdio>

int main(int argc, char **argv) {
  if (argc != 3)
    return 2;
  attn::Result<attn::BundleWriter> writer = attn::reference_bundle(argv[1]);
  attn::Status status = writer.ok() ? writer->write(argv[2]) : writer.status();
  if (!status.ok())
    std::fprintf(stderr, "%s\n", status.to_string().c_str());
  return status.exit_code();
}
