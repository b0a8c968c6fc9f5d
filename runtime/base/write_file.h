// Writes whole files so that a reader sees either the old file or the new one.
#pragma once

#include "runtime/base/status.h"
#include <cstddef>
#include <initializer_list>
#include <span>
#include <string>

namespace attn {

// Fails if a file cannot be made at `path` for want of a folder that takes it: known now
// rather than after the work whose result it would hold.
Status check_folder_of(const std::string &path);

// Writes the parts, one after another, to a temporary file beside `path` and
// renames it. On failure (a full disk, say) `path` is untouched and nothing is
// left behind.
Status write_file(const std::string &path, std::span<const std::span<const std::byte>> parts);
inline Status write_file(const std::string &path,
                         std::initializer_list<std::span<const std::byte>> parts) {
  return write_file(path, std::span(parts.begin(), parts.size()));
}

} // namespace attn
