// Copies scalar ops one by one, widening those that a lane-varying operand reaches.
#include "compiler/conversion/ScalarRegion.h"

#include "dialects/tile/TileDialect.h"

#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/IRMapping.h"

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

SmallVector<Value> mlir::attn::inlineScalarRegion(OpBuilder &builder, Block &block, ValueRange args,
                                                  const ScalarContext &context) {
  IRMapping map;
  map.map(block.getArguments(), args);
  // A constant may have been hoisted out of the region by the folder; the kernel
  // that is being built must not refer to the one that is being lowered.
  auto lookup = [&](Value value) {
    Operation *outside = value.getDefiningOp();
    if (!map.contains(value) && outside && outside->hasTrait<OpTrait::ConstantLike>())
      map.map(value, builder.clone(*outside)->getResult(0));
    return map.lookupOrDefault(value);
  };
  for (Operation &op : block.without_terminator()) {
    Location loc = op.getLoc();
    if (auto param = dyn_cast<tile::ParamOp>(op)) {
      map.map(param.getResult(), context.param(builder, loc, param.getIndex(), param.getType()));
      continue;
    }
    if (auto item = dyn_cast<tile::IndexOp>(op)) {
      map.map(item.getResult(), context.item(builder, loc, item.getWhich()));
      continue;
    }
    SmallVector<Value> operands;
    for (Value operand : op.getOperands())
      operands.push_back(lookup(operand));
    int64_t lanes = lanesOf(operands);
    for (Value &operand : operands)
      operand = toLanes(builder, loc, operand, lanes);
    if (auto load = dyn_cast<tile::TableLoadOp>(op)) {
      map.map(load.getResult(),
              context.tableLoad(builder, loc, load.getBinding(), operands, load.getType()));
      continue;
    }
    assert(op.getNumRegions() == 0 && "scalar regions hold plain arith and math ops");
    OperationState state(loc, op.getName(), operands, {}, op.getAttrs());
    state.propertiesAttr = op.getPropertiesAsAttribute();
    for (Type type : op.getResultTypes())
      state.addTypes(lanes ? Type(VectorType::get(lanes, type)) : type);
    map.map(op.getResults(), builder.create(state)->getResults());
  }
  SmallVector<Value> results;
  for (Value value : block.getTerminator()->getOperands())
    results.push_back(lookup(value));
  return results;
}
