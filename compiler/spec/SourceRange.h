// A place in a spec's source text. Every tree node carries one, so that each
// later phase can point at what the user wrote.
#pragma once

#include <cstdint>

namespace attn::spec {

// `file` 0 is the user's file; 1.. are the files of the embedded standard
// library, in the order of standardLibrary(). Lines and columns count from 1,
// columns in bytes. A default-constructed range points nowhere (line 0).
struct SourceRange {
  uint32_t file = 0;
  uint32_t line = 0;
  uint32_t column = 0;
  uint32_t offset = 0; // byte offset of the first character
  uint32_t length = 0; // in bytes; may span lines

  bool valid() const { return line != 0; }
};

// The range from the start of `first` to the end of `last` (same file).
inline SourceRange join(SourceRange first, SourceRange last) {
  if (!first.valid())
    return last;
  if (!last.valid() || last.file != first.file || last.offset + last.length < first.offset)
    return first;
  first.length = last.offset + last.length - first.offset;
  return first;
}

} // namespace attn::spec
