// Sorts the ops of a region by how they depend on the key's position.
#include "compiler/conversion/RunValues.h"

#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;
using namespace mlir::attn;

// Runs that are shorter end before keeping values pays.
static constexpr int64_t kShortestRun = 16;

static std::optional<int64_t> constantOf(Value value) {
  IntegerAttr attr;
  if (auto constant = value.getDefiningOp<arith::ConstantOp>())
    attr = dyn_cast<IntegerAttr>(constant.getValue());
  return attr ? std::optional(attr.getInt()) : std::nullopt;
}

RunValues::Kind RunValues::kindOf(Operation &op, const DenseMap<Value, Kind> &kinds) const {
  SmallVector<Kind> operands; // values from outside of the region are constants
  for (Value operand : op.getOperands()) {
    auto known = kinds.find(operand);
    operands.push_back(known == kinds.end() ? Kind::uniform : known->second);
  }
  auto some = [&](Kind kind) { return llvm::is_contained(operands, kind); };
  if (!some(Kind::place) && !some(Kind::fine))
    return some(Kind::run) ? Kind::run : some(Kind::query) ? Kind::query : Kind::uniform;
  bool shifted = operands.size() == 2 && operands[0] == Kind::place && operands[1] == Kind::uniform;
  if (shifted && isa<arith::AddIOp, arith::SubIOp>(op))
    return Kind::place;
  if (shifted && isa<arith::DivUIOp>(op) &&
      constantOf(op.getOperand(1)).value_or(kShortestRun) >= kShortestRun)
    return Kind::run;
  return Kind::fine;
}

RunValues::RunValues(Block &block, Value key, Value query) : key(key) {
  DenseMap<Value, Kind> kinds{{key, Kind::place}, {query, Kind::query}};
  for (Operation &op : block) {
    Kind kind = kindOf(op, kinds);
    for (Value result : op.getResults())
      kinds[result] = kind;
    if (kind == Kind::place || kind == Kind::run)
      ops.insert(&op);
    if (kind == Kind::run && llvm::any_of(op.getOperands(), [&](Value operand) {
          return kinds.lookup_or(operand, Kind::uniform) == Kind::place;
        }))
      quotients.insert(&op);
  }
  // The terminator is no op of a run, whatever it yields.
  ops.remove(block.getTerminator());
  for (Operation *op : ops)
    if (kinds.lookup(op->getResult(0)) == Kind::run &&
        llvm::any_of(op->getUsers(), [&](Operation *user) { return !ops.contains(user); }))
      kept.insert(op->getResult(0));
}

SmallVector<Value> RunValues::emit(OpBuilder &builder, Location loc, ScalarRegionInliner region,
                                   Value position) const {
  region.set(key, position);
  region.emit(builder, ops);
  Value end;
  for (Operation *op : quotients) {
    Value place = region.lookup(builder, op->getOperand(0));
    Value divisor = region.lookup(builder, op->getOperand(1));
    Value into = arith::RemUIOp::create(builder, loc, place, divisor);
    Value left = arith::SubIOp::create(builder, loc, divisor, into);
    Value next = arith::AddIOp::create(builder, loc, position, left);
    end = end ? Value(arith::MinUIOp::create(builder, loc, end, next)) : next;
  }
  SmallVector<Value> results{end};
  for (Value value : kept)
    results.push_back(region.lookup(builder, value));
  return results;
}
