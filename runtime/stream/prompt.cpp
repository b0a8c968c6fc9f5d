// Splits mixed prompts, checks their weights and makes them sum to one.
#include "runtime/stream/prompt.h"

#include "runtime/base/text.h"
#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>

namespace attn::stream {

static std::string trimmed(const std::string &text) {
  const char *blanks = " \t\r\n";
  const size_t first = text.find_first_not_of(blanks);
  return first == std::string::npos ? std::string()
                                    : text.substr(first, text.find_last_not_of(blanks) - first + 1);
}

Result<std::vector<WeightedPrompt>> parse_prompt(const std::string &text) {
  std::vector<WeightedPrompt> parts;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find('|', begin), text.size());
    WeightedPrompt part{trimmed(text.substr(begin, end - begin))};
    const size_t colon = part.text.rfind(':');
    const std::string number =
        colon == std::string::npos ? std::string() : trimmed(part.text.substr(colon + 1));
    // Behind any other colon stands text.
    if (!number.empty() && std::string("0123456789.+-").find(number[0]) != std::string::npos) {
      const char *from = number.data() + (number[0] == '+'), *to = number.data() + number.size();
      if (auto [at, error] = std::from_chars(from, to, part.weight);
          error != std::errc() || at != to)
        return Status::invalid_input("the prompt '", shown(text), "' has the weight '",
                                     shown(number), "'; a weight is a number from 0 to ",
                                     kMostWeight,
                                     ", as in \"red circle left:0.7 | blue square "
                                     "right:0.3\"");
      part.text = trimmed(part.text.substr(0, colon));
    }
    parts.push_back(std::move(part));
    begin = end + 1;
  }
  for (size_t i = 0; parts.size() > 1 && i < parts.size(); ++i)
    if (parts[i].text.empty())
      return Status::invalid_input("part ", i + 1, " of the prompt '", shown(text),
                                   "' is empty; write a prompt between the bars, or leave one out");
  return parts;
}

std::string prompt_text(std::span<const WeightedPrompt> parts) {
  if (parts.size() == 1)
    return parts[0].text;
  std::string text;
  for (const WeightedPrompt &part : parts) {
    char weight[32];
    std::snprintf(weight, sizeof weight, ":%.6g", part.weight);
    text += (text.empty() ? "" : " | ") + part.text + weight;
  }
  return text;
}

size_t PromptIds::parts() const {
  return static_cast<size_t>(std::find(weights.begin(), weights.end(), 0.0f) - weights.begin());
}

Result<PromptIds> encode_prompt(std::span<const WeightedPrompt> parts, const Tokenizer &tokenizer) {
  if (parts.empty() || parts.size() > kMostParts)
    return Status::invalid_input("the prompt has ", parts.size(), " parts; 1 to ", kMostParts,
                                 " can be mixed");
  double sum = 0;
  for (const WeightedPrompt &part : parts) {
    if (!(part.weight >= 0 && part.weight <= kMostWeight))
      return Status::invalid_input("the prompt '", shown(part.text), "' has weight ", part.weight,
                                   "; give a number from 0 to ", kMostWeight);
    sum += part.weight;
  }
  if (sum == 0)
    return Status::invalid_input("all ", parts.size(),
                                 " parts of the prompt have weight 0; give "
                                 "one of them more");
  PromptIds made;
  for (const WeightedPrompt &part : parts) {
    ATTN_ASSIGN_OR_RETURN(std::vector<int64_t> ids, tokenizer.encode(part.text));
    const float weight = static_cast<float>(part.weight / sum);
    if (weight == 0)
      continue;
    made.weights.push_back(weight);
    made.ids.insert(made.ids.end(), ids.begin(), ids.end());
  }
  made.weights.resize(kMostParts);
  made.ids.resize(kMostParts * static_cast<size_t>(tokenizer.words()));
  return made;
}

std::vector<WeightedPrompt> decode_prompt(const PromptIds &prompt, const Tokenizer &tokenizer) {
  const size_t words = static_cast<size_t>(tokenizer.words());
  std::vector<WeightedPrompt> parts;
  for (size_t p = 0; p < prompt.parts(); ++p)
    parts.push_back({tokenizer.decode({prompt.ids.begin() + static_cast<long>(p * words),
                                       prompt.ids.begin() + static_cast<long>((p + 1) * words)}),
                     static_cast<double>(prompt.weights[p])});
  return parts;
}

bool is_valid(const PromptIds &prompt, const Tokenizer &tokenizer) {
  if (prompt.weights.size() != kMostParts ||
      prompt.ids.size() != kMostParts * static_cast<size_t>(tokenizer.words()))
    return false;
  double sum = 0;
  for (size_t p = 0; p < kMostParts; ++p) {
    const float weight = prompt.weights[p];
    if (!(weight >= 0 && weight <= 1) || (weight != 0 && p >= prompt.parts()))
      return false;
    sum += static_cast<double>(weight);
  }
  return std::abs(sum - 1) < 1e-5 &&
         std::all_of(prompt.ids.begin(), prompt.ids.end(),
                     [&](int64_t id) { return id >= 0 && id < tokenizer.size(); });
}

} // namespace attn::stream
