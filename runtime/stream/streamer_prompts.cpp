// Prompts of a stream: pushed from any thread, applied when their block begins.
#include "runtime/base/text.h"
#include "runtime/stream/streamer.h"
#include <algorithm>
#include <cstring>

namespace attn::stream {

std::string Streamer::prompt() const {
  return has_prompt_ ? prompt_text(decode_prompt(now_, model_->tokenizer())) : std::string();
}

Status Streamer::push_prompt(const std::string &text, std::optional<Recache> recache,
                             uint64_t block) {
  ATTN_ASSIGN_OR_RETURN(std::vector<WeightedPrompt> parts, parse_prompt(text));
  return push_prompt(parts, recache, block);
}

Status Streamer::push_prompt(std::span<const WeightedPrompt> parts, std::optional<Recache> recache,
                             uint64_t block) {
  PromptChange change;
  change.block = block;
  change.recache = recache.value_or(options_.recache);
  ATTN_ASSIGN_OR_RETURN(change.prompt, encode_prompt(parts, model_->tokenizer()));
  if (change.prompt.parts() > 1 && !prompt_weights_.data)
    return Status::invalid_input("the prompt '", shown(prompt_text(parts)),
                                 "' mixes several; this model reads its prompt otherwise than "
                                 "through tables of embeddings, where they would be mixed: give "
                                 "one prompt");
  std::lock_guard lock(prompts_mutex_);
  if (prompts_.size() >= kMostPrompts)
    return Status::usage("there are ", kMostPrompts, " prompt changes to come already");
  auto after = std::upper_bound(
      prompts_.begin(), prompts_.end(), block,
      [](uint64_t wanted, const PromptChange &have) { return wanted < have.block; });
  prompts_.insert(after, std::move(change));
  return {};
}

Status Streamer::apply_prompts() {
  PromptChange change;
  {
    std::lock_guard lock(prompts_mutex_);
    auto due = std::find_if(prompts_.begin(), prompts_.end(),
                            [&](const PromptChange &c) { return c.block > block_; });
    if (due == prompts_.begin())
      return {};
    change = std::move(*(due - 1));
    prompts_.erase(prompts_.begin(), due);
  }
  const bool changed = has_prompt_ && change.prompt != now_;
  has_prompt_ = true;
  now_ = std::move(change.prompt);
  write_prompt();
  if (!changed || kept_.empty())
    return {};
  times_.switched = true;
  switch (change.recache) {
  case Recache::stale:
    break;
  case Recache::full:
    return replay(description().sink == SinkRecache::refresh);
  case Recache::window:
    return replay(false);
  case Recache::flush:
    empty_cache();
    next_position_ = 0; // the next block is a first block
  }
  return {};
}

void Streamer::write_prompt() {
  std::memcpy(prompt_.data, now_.ids.data(),
              static_cast<size_t>(prompt_.elements()) * sizeof(int64_t));
  if (prompt_weights_.data)
    std::memcpy(prompt_weights_.data, now_.weights.data(), kMostParts * sizeof(float));
}

} // namespace attn::stream
