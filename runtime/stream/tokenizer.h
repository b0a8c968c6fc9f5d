// Turns a prompt's words into ids, and back: a word's id is its line in the vocabulary.
#pragma once

#include "runtime/base/status.h"
#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

namespace attn::stream {

class Tokenizer {
public:
  static Result<Tokenizer> open(const std::string &path, int64_t words);
  static Result<Tokenizer> from_text(const std::string &text, int64_t words,
                                     const std::string &place);
  // Exactly `words` ids, or which word is unknown and what is known.
  Result<std::vector<int64_t>> encode(const std::string &prompt) const;
  // The words of ids that encode() gave, separated by blanks.
  std::string decode(const std::vector<int64_t> &ids) const;
  int64_t words() const { return words_; } // of a prompt
  int64_t size() const { return static_cast<int64_t>(list_.size()); }

private:
  std::unordered_map<std::string, int64_t> ids_;
  std::vector<std::string> list_;
  int64_t words_ = 0;
};

} // namespace attn::stream
