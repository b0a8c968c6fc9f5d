// Makes a failing draft smaller while it fails in the same way.
#pragma once

#include "tests/fuzz/draft.h"

#include <functional>

namespace attn::fuzz {

// `fails` says whether a draft still shows the failure. At most `attempts` are
// tried.
Draft minimise(Draft draft, const std::function<bool(const Draft &)> &fails, int attempts);

} // namespace attn::fuzz
