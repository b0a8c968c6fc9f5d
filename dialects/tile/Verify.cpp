// The checks that verifiers share; each says what was found and what must be.
#include "dialects/tile/Verify.h"

using namespace mlir;
using namespace mlir::tile;

LogicalResult mlir::tile::expectTile(Operation *op, StringRef what, Value value, ArrayRef<int64_t> shape,
                                Type elementType) {
  auto type = cast<TileType>(value.getType());
  auto expected = TileType::get(op->getContext(), shape, elementType);
  if (type == expected)
    return success();
  return op->emitOpError("has ") << what << " of " << type << "; must be " << expected;
}

LogicalResult mlir::tile::expectRank(Operation *op, StringRef what, Value value, size_t rank) {
  auto type = cast<TileType>(value.getType());
  if (type.getShape().size() == rank)
    return success();
  return op->emitOpError("has ") << what << " of " << type << "; must have rank " << rank;
}

LogicalResult mlir::tile::expectRegion(Operation *op, StringRef name, Region &region,
                                  ArrayRef<Type> arguments, ArrayRef<Type> results) {
  Block &block = region.front();
  if (block.getArgumentTypes() != TypeRange(arguments)) {
    auto diagnostic = op->emitOpError() << name << " region has arguments (";
    llvm::interleaveComma(block.getArgumentTypes(), diagnostic);
    diagnostic << "); must be (";
    llvm::interleaveComma(arguments, diagnostic);
    return diagnostic << ")";
  }
  auto yield = block.empty() ? YieldOp() : dyn_cast<YieldOp>(block.back());
  if (!yield)
    return op->emitOpError() << name << " region must end with tile.yield";
  if (yield.getOperandTypes() != TypeRange(results)) {
    auto diagnostic = op->emitOpError() << name << " region yields (";
    llvm::interleaveComma(yield.getOperandTypes(), diagnostic);
    diagnostic << "); must yield (";
    llvm::interleaveComma(results, diagnostic);
    return diagnostic << ")";
  }
  return success();
}

LogicalResult mlir::tile::expectScalarOps(StringRef name, Region &region) {
  for (Operation &op : region.front().without_terminator()) {
    if (op.getNumRegions() != 0)
      return op.emitOpError("has regions inside a ")
             << name << " region; scalar regions hold plain ops";
    for (Type type : op.getResultTypes())
      if (!type.isIntOrFloat())
        return op.emitOpError("gives ") << type << " inside a " << name
                                        << " region; scalar regions hold integers and floats";
  }
  return success();
}

BindingAttr mlir::tile::bindingOf(Operation *op, KernelOp kernel, int64_t index) {
  int64_t count = kernel.getBindings().size();
  if (index >= 0 && index < count)
    return cast<BindingAttr>(kernel.getBindings()[index]);
  op->emitOpError("names binding ") << index << "; the kernel has " << count;
  return {};
}

LogicalResult mlir::tile::wrongRole(Operation *op, BindingAttr binding, StringRef allowed) {
  return op->emitOpError("names binding '")
         << binding.getName() << "' of role " << stringifyRole(binding.getRole()) << "; must be "
         << allowed;
}
