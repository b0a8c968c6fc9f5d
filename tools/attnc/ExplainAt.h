// attnc explain --at: the keys that one query sees, and the clauses of the spec
// that admit them.
#pragma once

#include "tools/attnc/Commands.h"
#include "tools/attnc/SpecCall.h"

namespace attn::tools {

// `at`: "q=N", or values of the query's axes; also head=N and batch=N.
int explainAt(const spec::CheckedSpec &checked, const spec::AttentionSpec &attention,
              const SpecCall &call, const std::vector<std::string> &at, bool json);

} // namespace attn::tools
