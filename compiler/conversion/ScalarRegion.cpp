// Copies scalar ops one by one, widening those that a lane-varying operand reaches.
#include "compiler/conversion/ScalarRegion.h"

#include "dialects/tile/TileDialect.h"

#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace mlir::attn;

// The lanes of the first vector among `values`, 0 when all are scalars.
static int64_t lanesOf(ValueRange values) {
  for (Value value : values)
    if (auto type = dyn_cast<VectorType>(value.getType()))
      return type.getNumElements();
  return 0;
}

static Value toLanes(OpBuilder &builder, Location loc, Value value, int64_t lanes) {
  if (lanes == 0 || isa<VectorType>(value.getType()))
    return value;
  return vector::BroadcastOp::create(builder, loc, VectorType::get(lanes, value.getType()), value);
}

Value ScalarRegionInliner::lookup(OpBuilder &builder, Value value) {
  if (Value known = map.lookupOrNull(value))
    return known;
  // A constant may have been hoisted out of the region by the folder; the kernel
  // that is being built must not refer to the one that is being lowered.
  Operation *op = value.getDefiningOp();
  if (op && op->hasTrait<OpTrait::ConstantLike>() && op->getBlock() != block)
    map.map(value, builder.clone(*op)->getResult(0));
  return map.lookupOrNull(value);
}

void ScalarRegionInliner::emit(OpBuilder &builder, Operation &op, ArrayRef<Value> inputs) {
  Location loc = op.getLoc();
  if (auto param = dyn_cast<tile::ParamOp>(op)) {
    map.map(param.getResult(), context.param(builder, loc, param.getIndex(), param.getType()));
    return;
  }
  if (auto item = dyn_cast<tile::IndexOp>(op)) {
    map.map(item.getResult(), context.item(builder, loc, item.getWhich()));
    return;
  }
  SmallVector<Value> operands(inputs);
  int64_t lanes = lanesOf(operands);
  for (Value &operand : operands)
    operand = toLanes(builder, loc, operand, lanes);
  if (auto load = dyn_cast<tile::TableLoadOp>(op)) {
    map.map(load.getResult(),
            context.tableLoad(builder, loc, load.getBinding(), operands, load.getType()));
    return;
  }
  assert(op.getNumRegions() == 0 && "scalar regions hold plain arith and math ops");
  OperationState state(loc, op.getName(), operands, {}, op.getAttrs());
  state.propertiesAttr = op.getPropertiesAsAttribute();
  for (Type type : op.getResultTypes())
    state.addTypes(lanes ? Type(VectorType::get(lanes, type)) : type);
  map.map(op.getResults(), builder.create(state)->getResults());
}

void ScalarRegionInliner::hoist(OpBuilder &builder, ArrayRef<Value> args) {
  for (auto [argument, value] : llvm::zip_equal(block->getArguments(), args))
    if (value)
      map.map(argument, value);
  for (Operation &op : block->without_terminator()) {
    if (map.contains(op.getResult(0)))
      continue;
    SmallVector<Value> operands;
    for (Value operand : op.getOperands())
      operands.push_back(lookup(builder, operand));
    if (!llvm::is_contained(operands, Value()))
      emit(builder, op, operands);
  }
}

void ScalarRegionInliner::emit(OpBuilder &builder, const llvm::SetVector<Operation *> &ops) {
  for (Operation *op : ops) {
    SmallVector<Value> operands;
    for (Value operand : op->getOperands())
      operands.push_back(lookup(builder, operand));
    emit(builder, *op, operands);
  }
}

SmallVector<Value> ScalarRegionInliner::finish(OpBuilder &builder, ArrayRef<Value> args) {
  hoist(builder, args);
  SmallVector<Value> results;
  for (Value value : block->getTerminator()->getOperands())
    results.push_back(lookup(builder, value));
  return results;
}

SmallVector<Value> mlir::attn::inlineScalarRegion(OpBuilder &builder, Block &block, ValueRange args,
                                                  const ScalarContext &context) {
  return ScalarRegionInliner(block, context).finish(builder, SmallVector<Value>(args));
}
