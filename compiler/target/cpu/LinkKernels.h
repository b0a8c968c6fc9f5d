// Compiled kernels -> one relocatable object for a program to link.
#pragma once

#include "runtime/bundle/kernel_info.h"

#include "mlir/IR/Location.h"
#include "mlir/Support/LogicalResult.h"
#include "llvm/ADT/ArrayRef.h"

#include <string>

namespace mlir::attn {

/// Joins the kernels' objects with the constant `attn_kernels_<name>`, an
/// attn_linked_kernels_t of attn/runtime.h: the bundle of their records, whose
/// cpu images are `linkedImage(name)`, and their functions by symbol.
FailureOr<std::string> linkKernels(StringRef name, ArrayRef<std::string> objects,
                                   ArrayRef<::attn::KernelInfo> kernels, StringRef bundle,
                                   Location loc);

} // namespace mlir::attn
