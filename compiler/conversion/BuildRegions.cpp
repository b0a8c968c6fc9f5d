// The scalar regions of a tile.kernel: classes of tiles, mask, score, sink logit and
// output expression.
#include "compiler/conversion/KernelBuilder.h"

#include "compiler/conversion/Classify.h"

#include "mlir/IR/IRMapping.h"

using namespace mlir;
using namespace mlir::attn;

IntRange KernelBuilder::headRange() {
  IntRange heads = kItemRange;
  if (original.getHeads())
    heads.max = original.getHeads() - 1;
  return heads;
}

// Lowers `scratch` into `region`; its arguments become i32 that lie in `ranges`.
LogicalResult KernelBuilder::lowerInto(Region &region, Block &scratch, ArrayRef<IntRange> ranges) {
  OpBuilder::InsertionGuard guard(builder);
  Block *block = builder.createBlock(&region, {}, SmallVector<Type>(ranges.size(), i32),
                                     SmallVector<Location>(ranges.size(), loc));
  SmallVector<LoweredValue> arguments;
  for (auto [value, range] : llvm::zip_equal(block->getArguments(), ranges))
    arguments.push_back({value, range});
  auto results = lowerScalars(builder, scratch, arguments, tables());
  if (failed(results))
    return failure();
  tile::YieldOp::create(builder, loc, *results);
  return success();
}

// The classify region: the mask over intervals of positions.
LogicalResult KernelBuilder::buildClassify(Region &region) {
  OpBuilder::InsertionGuard guard(builder);
  // Intervals are emitted as attn scalars into a scratch block, then lowered.
  Block scratch;
  SmallVector<Type> types(6, i32);
  SmallVector<Location> locs(6, loc);
  scratch.addArguments(types, locs);
  builder.setInsertionPointToEnd(&scratch);
  using Classify = tile::ForKeysOp::ClassifyArg;
  IntRange positions{0, kMaxPosition}, heads = headRange();
  auto argument = [&](Classify which) { return scratch.getArgument(which); };
  ClassifyBox box{{argument(Classify::QLow), argument(Classify::QHigh), positions},
                  {argument(Classify::KLow), argument(Classify::KHigh), positions},
                  {argument(Classify::Head), argument(Classify::Head), heads},
                  {argument(Classify::Batch), argument(Classify::Batch), kItemRange}};
  Block &source = recache ? recache.getMask().front() : original.getMask().front();
  Truth truth = emitClassification(builder, source, box, original);
  tile::YieldOp::create(builder, loc, ValueRange{truth.any, truth.all});

  return lowerInto(region, scratch,
                   {positions, positions, positions, positions, heads, kItemRange});
}

// A cut region: attn scalars into a scratch block, then lowered.
LogicalResult KernelBuilder::buildCuts(Region &region, const Cuts &cuts) {
  OpBuilder::InsertionGuard guard(builder);
  Block scratch;
  SmallVector<Type> types(2, i32);
  SmallVector<Location> locs(2, loc);
  scratch.addArguments(types, locs);
  builder.setInsertionPointToEnd(&scratch);
  SmallVector<Value> values =
      cuts.emit(builder, loc, scratch.getArgument(0), scratch.getArgument(1));
  tile::YieldOp::create(builder, loc, values);
  IntRange positions{0, kMaxPosition};
  return lowerInto(region, scratch, {positions, positions});
}

// The traits of rows, and the mask over boxes of them, where runs of rows are not the
// best sets of rows.
LogicalResult KernelBuilder::buildSortRows() {
  const RowTraits &traits = rowTraits;
  auto op = tile::SortRowsOp::create(builder, loc, traits.axes);
  IntRange positions{0, kMaxPosition}, heads = headRange();
  OpBuilder::InsertionGuard guard(builder);
  {
    Block scratch;
    IRMapping map;
    for (unsigned which : {AttentionOp::MaskQuery, AttentionOp::MaskHead, AttentionOp::MaskBatch}) {
      Value argument = mask->getArgument(which);
      map.map(argument, scratch.addArgument(argument.getType(), loc));
    }
    builder.setInsertionPointToEnd(&scratch);
    for (Operation &op : mask->without_terminator())
      if (llvm::all_of(op.getOperands(), [&](Value operand) { return map.contains(operand); }))
        builder.clone(op, map);
    SmallVector<Value> values;
    for (Value trait : traits.values) {
      Value value = map.lookup(trait);
      if (value.getType().isInteger(1))
        value = arith::ExtUIOp::create(builder, loc, i32, value);
      values.push_back(value);
    }
    tile::YieldOp::create(builder, loc, values);
    if (failed(lowerInto(op.getTraits(), scratch, {positions, heads, kItemRange})))
      return failure();
  }
  Block scratch;
  SmallVector<IntRange> ranges;
  auto argument = [&](IntRange range) -> Value {
    ranges.push_back(range);
    return scratch.addArgument(i32, loc);
  };
  builder.setInsertionPointToEnd(&scratch);
  ClassifyBox box;
  for (auto [trait, range] : llvm::zip_equal(traits.values, traits.ranges)) {
    Value low = argument(range), high = argument(range);
    box.known[trait] = {low, high, range};
  }
  Value low = argument(positions), high = argument(positions);
  box.key = {low, high, positions};
  box.query = box.key; // of what traits are computed from; nothing needs it
  Value head = argument(heads), batch = argument(kItemRange);
  box.head = {head, head, heads};
  box.batch = {batch, batch, kItemRange};
  Truth truth = emitClassification(builder, *mask, box, original);
  tile::YieldOp::create(builder, loc, ValueRange{truth.any, truth.all});
  return lowerInto(op.getClassify(), scratch, ranges);
}

LogicalResult KernelBuilder::buildMask(Value &scores, Value keys) {
  auto op =
      tile::MaskOp::create(builder, mask->getParentOp()->getLoc(), scores.getType(), scores, keys);
  OpBuilder::InsertionGuard guard(builder);
  Block *block =
      builder.createBlock(&op.getBody(), {}, {i32, i32, i32, i32}, SmallVector<Location>(4, loc));
  IntRange positions{0, kMaxPosition};
  IntRange ranges[] = {positions, positions, kItemRange, kItemRange};
  SmallVector<LoweredValue> arguments;
  for (auto [value, range] : llvm::zip_equal(block->getArguments(), ranges))
    arguments.push_back({value, range});
  auto results = lowerScalars(builder, *mask, arguments, tables());
  if (failed(results))
    return failure();
  tile::YieldOp::create(builder, loc, *results);
  scores = op.getResult();
  return success();
}

LogicalResult KernelBuilder::buildScore(Value &scores, Value keys) {
  Block &source = attention.getScore().front();
  auto op = tile::ScoreOp::create(builder, source.getTerminator()->getLoc(), scores.getType(),
                                  scores, keys);
  OpBuilder::InsertionGuard guard(builder);
  Block *block = builder.createBlock(&op.getBody(), {}, {f32, i32, i32, i32, i32},
                                     SmallVector<Location>(5, loc));
  IntRange positions{0, kMaxPosition};
  IntRange ranges[] = {IntRange::all(), positions, positions, kItemRange, kItemRange};
  SmallVector<LoweredValue> arguments;
  for (auto [value, range] : llvm::zip_equal(block->getArguments(), ranges))
    arguments.push_back({value, range});
  auto results = lowerScalars(builder, source, arguments, tables());
  if (failed(results))
    return failure();
  tile::YieldOp::create(builder, loc, *results);
  scores = op.getResult();
  return success();
}

FailureOr<Value> KernelBuilder::buildSink() {
  if (original.getSink().empty() || !isWhole())
    return Value();
  Value head = tile::IndexOp::create(builder, loc, i32, 0);
  Value batch = tile::IndexOp::create(builder, loc, i32, 1);
  auto results = lowerScalars(builder, original.getSink().front(),
                              {{head, kItemRange}, {batch, kItemRange}}, tables());
  if (failed(results))
    return failure();
  return results->front();
}

FailureOr<Value> KernelBuilder::buildOutput(Value o, Value lse) {
  if (attention.getOutput().empty() || !isWhole())
    return o;
  Block &source = attention.getOutput().front();
  SmallVector<Value> inputs;
  SmallVector<int64_t> places; // in the attention's list
  for (auto read : source.getOps<InputOp>()) {
    auto [input, place] = attention.findInput(read.getInput());
    if (llvm::is_contained(places, place))
      continue;
    SmallVector<int64_t> shape{options.blockQ};
    if (hasDim(input))
      shape.push_back(original.getVDim());
    places.push_back(place);
    inputs.push_back(tile::LoadQueriesOp::create(
        builder, read.getLoc(), tileType(shape, input.getElementType()), plan.firstInput + place));
  }
  auto op = tile::OutputOp::create(builder, source.getTerminator()->getLoc(), o.getType(), o, lse,
                                   inputs);
  OpBuilder::InsertionGuard guard(builder);
  SmallVector<Type> types{f32, f32, i32, i32, i32};
  types.append(inputs.size(), f32);
  Block *block =
      builder.createBlock(&op.getBody(), {}, types, SmallVector<Location>(types.size(), loc));
  KernelTables names = tables();
  for (auto [i, place] : llvm::enumerate(places))
    names.inputs[place] = block->getArgument(tile::OutputOp::FirstInput + i);
  IntRange ranges[] = {IntRange::all(), IntRange::all(), IntRange{0, kMaxPosition}, kItemRange,
                       kItemRange};
  SmallVector<LoweredValue> arguments;
  for (auto [value, range] : llvm::zip(block->getArguments(), ranges))
    arguments.push_back({value, range});
  auto results = lowerScalars(builder, source, arguments, names);
  if (failed(results))
    return failure();
  tile::YieldOp::create(builder, loc, *results);
  return op.getResult();
}
