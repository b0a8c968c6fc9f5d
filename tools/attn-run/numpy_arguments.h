// Arguments of attn-run that are NumPy files or NAME=VALUE pairs.
#pragma once

#include "tools/attn-run/host_call.h"

namespace attn {

// Reads (batch, heads, tokens, dim), or (heads, tokens, dim) as one batch entry.
Status read_tensor(const std::string &path, HostTensor &tensor, ElementType &type);
// Reads (batch, heads, tokens) or (heads, tokens) in f32.
Status read_rows(const std::string &path, std::vector<float> &rows);
// NAME=FILE.npy: tables and inputs of a spec.
Status read_named(const std::vector<std::string> &options, std::vector<NamedArray> &tensors);
// NAME=NUMBER: parameters of a spec.
Status read_params(const std::vector<std::string> &options,
                   std::vector<std::pair<std::string, double>> &params);
// Writes values, rounded to `type`: f32, f16 or bf16.
Status write_tensor(const std::string &path, const HostTensor &tensor, ElementType type);

} // namespace attn
