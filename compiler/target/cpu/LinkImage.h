// Objects -> one ELF shared object, linked in process.
#pragma once

#include "mlir/IR/Location.h"
#include "mlir/Support/LogicalResult.h"

#include <string>

namespace mlir::attn {

/// Links `object` into a shared object that depends on nothing. An undefined
/// symbol is an error reported at `loc`.
FailureOr<std::string> linkImage(const std::string &object, Location loc);

} // namespace mlir::attn
