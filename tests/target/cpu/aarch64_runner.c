/* Calls one function of a kernel's shared object in a file of arguments: a static
 * program without a C library, so that an emulator needs nothing of the other
 * architecture but this file.
 *
 *   aarch64_runner IMAGE SYMBOL CALL
 *
 * CALL is changed in place; its layout is in emulated_call_format.h. Exit code 0: called. */
#include "tests/target/cpu/emulated_call_format.h"

#include <stddef.h>
#include <stdint.h>

/* What this program needs of ELF. */
struct file_header {
  uint8_t ident[16];
  uint16_t type, machine;
  uint32_t version;
  uint64_t entry, program_headers, section_headers;
  uint32_t flags;
  uint16_t size, program_header_size, program_header_count, section_header_size,
      section_header_count, names;
};
struct program_header {
  uint32_t type, flags;
  uint64_t offset, address, physical, file_size, memory_size, alignment;
};
struct dynamic_entry {
  int64_t tag;
  uint64_t value;
};
struct symbol {
  uint32_t name;
  uint8_t info, other;
  uint16_t section;
  uint64_t value, size;
};
struct relocation {
  uint64_t offset, info;
  int64_t addend;
};
enum { kLoad = 1, kDynamic = 2 };
enum { kGnuHash = 0x6ffffef5, kStrings = 5, kSymbols = 6, kRela = 7, kRelaSize = 8 };
enum { kRelative = 1027 };

enum { kOpenAt = 56, kSeek = 62, kExitGroup = 94, kMap = 222 };

static long system_call(long number, long a, long b, long c, long d, long e, long f) {
  register long x8 __asm__("x8") = number;
  register long x0 __asm__("x0") = a;
  register long x1 __asm__("x1") = b;
  register long x2 __asm__("x2") = c;
  register long x3 __asm__("x3") = d;
  register long x4 __asm__("x4") = e;
  register long x5 __asm__("x5") = f;
  __asm__ volatile("svc 0"
                   : "+r"(x0)
                   : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
                   : "memory");
  return x0;
}

static _Noreturn void leave(int code) {
  for (;;)
    system_call(kExitGroup, code, 0, 0, 0, 0, 0);
}

static char *map(const char *path, int writable) {
  long file = system_call(kOpenAt, -100, (long)path, writable ? 2 : 0, 0, 0, 0);
  long size = file < 0 ? -1 : system_call(kSeek, file, 0, 2, 0, 0, 0);
  if (size <= 0)
    leave(10);
  long address = system_call(kMap, 0, size, writable ? 3 : 1, writable ? 1 : 2, file, 0);
  if (address < 0 && address > -4096)
    leave(11);
  return (char *)address;
}

static int same(const char *a, const char *b) {
  while (*a && *a == *b)
    ++a, ++b;
  return *a == *b;
}

/* Copies the segments to fresh memory; the emulator notices code that is written. */
static char *load(const char *image, const struct dynamic_entry **dynamic) {
  const struct file_header *header = (const void *)image;
  const struct program_header *segments = (const void *)(image + header->program_headers);
  uint64_t span = 0;
  for (int i = 0; i < header->program_header_count; ++i)
    if (segments[i].type == kLoad && segments[i].address + segments[i].memory_size > span)
      span = segments[i].address + segments[i].memory_size;
  long address = system_call(kMap, 0, span, 7, 0x22, -1, 0);
  if (address < 0 && address > -4096)
    leave(12);
  char *base = (char *)address;
  for (int i = 0; i < header->program_header_count; ++i) {
    if (segments[i].type == kLoad)
      for (uint64_t j = 0; j < segments[i].file_size; ++j)
        base[segments[i].address + j] = image[segments[i].offset + j];
    if (segments[i].type == kDynamic)
      *dynamic = (const void *)(base + segments[i].address);
  }
  return base;
}

static void *find(char *base, const struct dynamic_entry *dynamic, const char *name) {
  const struct symbol *symbols = 0;
  const struct relocation *relocations = 0;
  const char *strings = 0;
  const uint32_t *hash = 0;
  uint64_t relocation_bytes = 0;
  for (; dynamic && dynamic->tag; ++dynamic) {
    void *at = base + dynamic->value;
    switch (dynamic->tag) {
    case kGnuHash:
      hash = at;
      break;
    case kStrings:
      strings = at;
      break;
    case kSymbols:
      symbols = at;
      break;
    case kRela:
      relocations = at;
      break;
    case kRelaSize:
      relocation_bytes = dynamic->value;
      break;
    }
  }
  for (uint64_t i = 0; i < relocation_bytes / sizeof *relocations; ++i) {
    if ((relocations[i].info & 0xffffffff) != kRelative)
      leave(13);
    *(uint64_t *)(base + relocations[i].offset) = (uint64_t)base + relocations[i].addend;
  }
  if (!hash)
    return 0;
  /* bucket count, first symbol, filter words, shift; filter; buckets; chains */
  const uint32_t *buckets = hash + 4 + 2 * hash[2], *chains = buckets + hash[0] - hash[1];
  for (uint32_t b = 0; b < hash[0]; ++b)
    for (uint32_t i = buckets[b]; i; i = chains[i] & 1 ? 0 : i + 1)
      if (same(strings + symbols[i].name, name))
        return base + symbols[i].value;
  return 0;
}

typedef uint64_t (*function)(uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t);

__attribute__((used)) static void run(long *stack) {
  if (stack[0] != 4)
    leave(2);
  char **arguments = (char **)&stack[1];
  const struct dynamic_entry *dynamic = 0;
  char *base = load(map(arguments[1], 0), &dynamic);
  function called = (function)find(base, dynamic, arguments[2]);
  if (!called)
    leave(14);
  char *file = map(arguments[3], 1);
  struct emulated_call *call = (struct emulated_call *)file;
  for (uint64_t i = 0; i < call->pointer_count; ++i)
    *(uint64_t *)(file + call->pointers[i]) += (uint64_t)file;
  uint64_t *a = call->arguments;
  call->result = called(a[0], a[1], a[2], a[3], a[4], a[5], a[6]);
  leave(0);
}

__asm__(".global _start\n_start:\n  mov x0, sp\n  bl run\n");
