// What a kernel cannot see of its arguments, since it reads them as they come: a key that
// is named twice, positions beyond the tokens of the spec, tables of another size.
#pragma once

#include "compiler/spec/CheckedSpec.h"
#include "tools/attn-run/host_call.h"

namespace attn {

// Every segment lies within the slots and positions that there are; none is in two segments.
Status check_segments(const std::vector<Segment> &segments, int64_t slots);

// Positions of queries and keys lie within the spec's tokens, as far as those are known from
// it and from the parameters (a length `len_SPACE` among them); tables have the extents that
// the spec gives them by number, const, heads or batch.
Status check_against_spec(const spec::AttentionSpec &spec, const HostArgs &args);

} // namespace attn
