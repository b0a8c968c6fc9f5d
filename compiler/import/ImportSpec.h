// Takes a checked spec, leaves it in the attn dialect with every op located at
// the source text that it came from.
#pragma once

#include "compiler/spec/CheckedSpec.h"
#include "dialects/attn/AttnDialect.h"

#include "mlir/IR/BuiltinOps.h"

namespace mlir::attn {

/// A module with the attn.attention of `attention`, its attn.recache and its
/// attn.cache_append where the spec has them. Null after an error was reported.
OwningOpRef<ModuleOp> importAttention(MLIRContext *context, const ::attn::spec::CheckedSpec &spec,
                                      const ::attn::spec::AttentionSpec &attention);

/// All attentions of a file in one module.
OwningOpRef<ModuleOp> importSpec(MLIRContext *context, const ::attn::spec::CheckedSpec &spec);

} // namespace mlir::attn
