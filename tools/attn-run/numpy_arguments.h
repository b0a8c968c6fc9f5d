// Arrays of attn-run in NumPy files.
#pragma once

#include "tools/attn-run/host_call.h"

namespace attn {

// What results are written back as: (batch, heads, tokens, dim), or three axes where a
// single batch entry was given without its axis.
struct ArrayKind {
  ElementType type = ElementType::f32;
  size_t axes = 4;
  bool operator==(const ArrayKind &) const = default;
};

// Reads an array of f32, f16 or bf16 of either kind. Its extents are at least 1, but that of
// the tokens may be 0 if `may_be_empty`.
Status read_tensor(const std::string &path, bool may_be_empty, HostTensor &tensor, ArrayKind &kind);
// As above, of the kind that an earlier one, `like`, has.
Status read_tensor_like(const std::string &path, bool may_be_empty, HostTensor &tensor,
                        const ArrayKind &kind, const std::string &like);
// Reads (batch, heads, tokens) or (heads, tokens) in f32.
Status read_rows(const std::string &path, std::vector<float> &rows);
// Writes values, rounded to the kind's type.
Status write_tensor(const std::string &path, const HostTensor &tensor, const ArrayKind &kind);
// Writes the log-sum-exps of a result, one for each row of its output.
Status write_rows(const std::string &path, const HostResult &result, const ArrayKind &kind);

} // namespace attn
