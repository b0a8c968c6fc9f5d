// What a spec's cache, recache and query clauses declare, as the runtime needs it. The
// compiler puts it into a bundle as text, beside the kernels.
#pragma once

#include "runtime/bundle/bundle_reader.h"
#include <cstdint>
#include <string>
#include <string_view>

namespace attn::cache {

// Of one kind of tokens the first `pin` stay, and the newest `ring` blocks of `of` tokens.
struct Kind {
  std::string name;
  int64_t pin = 0, ring = 1, of = 1;
  bool operator==(const Kind &) const = default;
};

// specs/LANGUAGE.md, section 7, says what these mean. Counts are in blocks.
struct Policy {
  enum class Recache : uint8_t { none, on_prompt, on_block };
  enum class Pinned : uint8_t { keep, refresh, move };

  int64_t pin = 0, ring = 0; // ring 0: nothing outlives a call
  std::vector<Kind> kinds;   // of tokens that are kept apart; then a block is a token
  int64_t spare = 0, lanes = 1;
  int64_t call_least = 1, call_most = 1; // blocks of one call
  bool pin_adjacent = false;
  bool write_last = false; // only a block's last pass leaves its keys
  bool roped = true;       // keys are stored rotated
  bool by_place = false;   // rotated by the place among the retained keys
  std::string first_param; // of the kernel: the call's first block; "": none
  // Params of kernels over keys that are kept whole: how many equal keys at the end are
  // given as one, and how many keys are given; "": none.
  std::string tail_param, length_param;
  Recache recache = Recache::none;
  int64_t replay = 0;
  Pinned pinned = Pinned::keep;

  bool operator==(const Policy &) const = default;
};

// Lines of "name value"; the blob "cache/SPEC" of a bundle.
std::string policy_text(const Policy &policy);
Result<Policy> parse_policy(std::string_view text);
Status check_policy(const Policy &policy);

// The policy that spec `name` of a bundle declares.
Result<Policy> find_policy(const Bundle &bundle, std::string_view name);

} // namespace attn::cache
