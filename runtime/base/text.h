// Names and lists as messages show them: short, and in one piece.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace attn {

// "a, b, c and 5 more": the first `most` entries and how many follow; "none" of nothing.
std::string some_of(const std::vector<std::string> &entries, size_t most = 12,
                    std::string_view separator = ", ");

// `text`, at most `most` bytes of it; what is no printable ASCII or UTF-8 is a '?'.
std::string shown(std::string_view text, size_t most = 80);

} // namespace attn
