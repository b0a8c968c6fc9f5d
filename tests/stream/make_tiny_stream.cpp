// make-tiny-stream FOLDER [SPEC]: writes the tests' small stream model, whose attention
// is computed by SPEC.
#include "tests/stream/tiny_model.h"

int main(int argc, char **argv) {
  if (argc != 2 && argc != 3)
    return 2;
  attn::test::TinyStream model;
  if (argc == 3)
    model.spec = argv[2];
  attn::test::write_tiny_stream(argv[1], model);
  return 0;
}
