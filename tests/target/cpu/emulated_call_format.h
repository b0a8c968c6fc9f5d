/* One call of a kernel's function as a file: what the test writes, the runner under
 * the emulator reads and changes in place. Plain C, shared by both. */
#ifndef ATTN_TESTS_EMULATED_CALL_FORMAT_H
#define ATTN_TESTS_EMULATED_CALL_FORMAT_H

#include <stdint.h>

/* The file's first bytes. A pointer is stored as an offset into the file; the runner
 * adds the address at which it mapped the file to every u64 that `pointers` names. */
struct emulated_call {
  uint64_t arguments[7];
  uint64_t result;
  uint64_t pointer_count;
  uint64_t pointers[56]; /* offsets of pointers into the file */
};

#endif
