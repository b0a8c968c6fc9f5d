// What a stream shows: one prompt, or several that are mixed by weight.
#pragma once

#include "runtime/base/status.h"
#include "runtime/stream/tokenizer.h"
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace attn::stream {

struct WeightedPrompt {
  std::string text;
  double weight = 1; // relative to the others'
};

inline constexpr size_t kMostParts = 8; // of a mixed prompt
inline constexpr double kMostWeight = 1000;

// "red circle left:0.7 | blue square right:0.3": parts between bars, each with a weight
// behind its last colon, or 1.
Result<std::vector<WeightedPrompt>> parse_prompt(const std::string &text);
// The reverse, for messages: weights to six digits, none for a prompt alone.
std::string prompt_text(std::span<const WeightedPrompt> parts);

// The same as a graph takes it. Parts of weight 0 are left out.
struct PromptIds {
  std::vector<int64_t> ids;   // kMostParts rows of the model's words; unused ones are 0
  std::vector<float> weights; // kMostParts, of sum 1
  size_t parts() const;       // the first so many are used
  bool operator==(const PromptIds &) const = default;
};
// Fails for unknown words, and for weights that are no numbers from 0 to kMostWeight or
// are all 0.
Result<PromptIds> encode_prompt(std::span<const WeightedPrompt> parts, const Tokenizer &tokenizer);
std::vector<WeightedPrompt> decode_prompt(const PromptIds &prompt, const Tokenizer &tokenizer);
// Whether encode_prompt can have made it.
bool is_valid(const PromptIds &prompt, const Tokenizer &tokenizer);

} // namespace attn::stream
