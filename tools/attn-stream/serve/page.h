// The files of the live page, embedded when attn-stream is built.
#pragma once

#include <span>
#include <string>

namespace attn::tool {

struct PageFile {
  const char *path, *type;
  std::string text;
};

std::span<const PageFile> page_files();

} // namespace attn::tool
