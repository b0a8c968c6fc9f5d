// Objects -> one ELF file, linked in process.
#pragma once

#include "mlir/IR/Location.h"
#include "mlir/Support/LogicalResult.h"
#include "llvm/ADT/ArrayRef.h"

#include <string>

namespace mlir::attn {

/// Links `objects` into a shared object that depends on nothing. An undefined
/// symbol is an error reported at `loc`.
FailureOr<std::string> linkImage(llvm::ArrayRef<std::string> objects, Location loc);

/// Joins objects into one relocatable object.
FailureOr<std::string> joinObjects(llvm::ArrayRef<std::string> objects, Location loc);

} // namespace mlir::attn
