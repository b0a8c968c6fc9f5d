// make-tiny-stream FOLDER: writes the tests' small stream model.
#include "tests/stream/tiny_model.h"

int main(int argc, char **argv) {
  if (argc != 2)
    return 2;
  attn::test::write_tiny_stream(argv[1]);
  return 0;
}
