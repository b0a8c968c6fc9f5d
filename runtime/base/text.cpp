// Entries and bytes from files enter; what a terminal can show leaves.
#include "runtime/base/text.h"

#include <algorithm>

namespace attn {

std::string some_of(const std::vector<std::string> &entries, size_t most,
                    std::string_view separator) {
  std::string text;
  for (size_t i = 0; i < std::min(entries.size(), most); ++i) {
    if (i)
      text += separator;
    text += entries[i];
  }
  if (entries.size() > most)
    text += (separator == ", " ? " " : std::string(separator)) + "and " +
            std::to_string(entries.size() - most) + " more";
  return entries.empty() ? "none" : text;
}

// Bytes of the UTF-8 sequence at the front of `text`; 0 if there is none.
static size_t utf8_length(std::string_view text) {
  const auto first = static_cast<unsigned char>(text[0]);
  const size_t length = first < 0x80                    ? 1
                        : first >= 0xc2 && first < 0xe0 ? 2
                        : first >= 0xe0 && first < 0xf0 ? 3
                        : first >= 0xf0 && first < 0xf5 ? 4
                                                        : 0;
  if (length > text.size())
    return 0;
  for (size_t i = 1; i < length; ++i)
    if ((static_cast<unsigned char>(text[i]) & 0xc0) != 0x80)
      return 0;
  // U+0080 to U+009f steer terminals as the ASCII controls do.
  const bool control = length == 2 && first == 0xc2 && static_cast<unsigned char>(text[1]) < 0xa0;
  return control ? 0 : length;
}

std::string shown(std::string_view text, size_t most) {
  std::string out;
  while (!text.empty() && out.size() < most) {
    const size_t length = utf8_length(text);
    const bool printable = length > 1 || (length == 1 && text[0] >= ' ' && text[0] != 0x7f);
    if (length > most - out.size())
      break;
    out += printable ? text.substr(0, length) : "?";
    text.remove_prefix(std::max<size_t>(length, 1));
  }
  return text.empty() ? out : out + "...";
}

} // namespace attn
