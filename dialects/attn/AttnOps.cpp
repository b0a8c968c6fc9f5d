// Verifiers of the attn ops.
#include "dialects/attn/AttnDialect.h"

#include "llvm/ADT/StringSet.h"

using namespace mlir;
using namespace mlir::attn;

#define GET_OP_CLASSES
#include "dialects/attn/AttnOps.cpp.inc"

//===-- Helpers -----------------------------------------------------------------===//

// A scalar region has one block with exactly these arguments, and yields `result`.
static LogicalResult verifyScalarRegion(Operation *op, StringRef name, Region &region,
                                        ArrayRef<Type> arguments, Type result) {
  Block &block = region.front();
  if (block.getArgumentTypes() != TypeRange(arguments)) {
    auto diagnostic = op->emitOpError() << name << " region has arguments (";
    llvm::interleaveComma(block.getArgumentTypes(), diagnostic);
    diagnostic << "); must be (";
    llvm::interleaveComma(arguments, diagnostic);
    return diagnostic << ")";
  }
  if (block.empty() || !isa<YieldOp>(block.back()))
    return op->emitOpError() << name << " region must end with attn.yield";
  Type yielded = cast<YieldOp>(block.back()).getResult().getType();
  if (yielded != result)
    return op->emitOpError() << name << " region yields " << yielded << "; must yield " << result;
  for (Operation &inner : block)
    if (inner.getNumRegions() != 0)
      return inner.emitOpError() << "has regions inside a " << name
                                 << " region; scalar regions hold plain ops only";
  return success();
}

static SmallVector<Type> pairArguments(MLIRContext *context, bool withScore) {
  Builder b(context);
  SmallVector<Type> types;
  if (withScore)
    types.push_back(b.getF32Type());
  types.append({PositionType::get(context, Side::query), PositionType::get(context, Side::key),
                b.getI32Type(), b.getI32Type()});
  return types;
}

template <typename AttrT>
static std::pair<AttrT, int64_t> findNamed(std::optional<ArrayAttr> array, StringRef name) {
  if (array)
    for (auto [index, attr] : llvm::enumerate(array->getAsRange<AttrT>()))
      if (attr.getName() == name)
        return {attr, index};
  return {AttrT(), -1};
}

std::pair<ParamAttr, int64_t> AttentionOp::findParam(StringRef name) {
  return findNamed<ParamAttr>(getParams(), name);
}
std::pair<TableAttr, int64_t> AttentionOp::findTable(StringRef name) {
  return findNamed<TableAttr>(getTables(), name);
}
std::pair<InputAttr, int64_t> AttentionOp::findInput(StringRef name) {
  return findNamed<InputAttr>(getInputs(), name);
}

// The attention whose declarations a scalar op inside `op` names: the one around
// it, or the one that the recache around it belongs to.
static AttentionOp enclosingAttention(Operation *op) {
  if (auto attention = op->getParentOfType<AttentionOp>())
    return attention;
  if (auto recache = op->getParentOfType<RecacheOp>())
    return SymbolTable::lookupNearestSymbolFrom<AttentionOp>(recache, recache.getAttentionAttr());
  return {};
}

//===-- Attention and what belongs to it --------------------------------------------===//

LogicalResult AttentionOp::verify() {
  if (int64_t(getHeads()) < 0 || int64_t(getKvHeads()) < 0)
    return emitOpError("has a negative head count; use 0 for any");
  if (getKvHeads() != 0 && getHeads() % getKvHeads() != 0)
    return emitOpError("has ") << getHeads() << " heads, no multiple of its " << getKvHeads()
                               << " kv heads";
  if (int64_t(getQkDim()) <= 0 || int64_t(getVDim()) <= 0)
    return emitOpError("has head dims ")
           << getQkDim() << " and " << getVDim() << "; must be positive";
  if (getTypes().getK().isInteger(8) != getTypes().getV().isInteger(8))
    return emitOpError("has k of ") << getTypes().getK() << " and v of " << getTypes().getV()
                                    << "; both or neither must be i8";

  llvm::StringSet<> spaces, names;
  for (auto space : getSpaces().getAsRange<SpaceAttr>())
    if (!spaces.insert(space.getName()).second)
      return emitOpError("declares space '") << space.getName() << "' twice";
  for (TokensAttr tokens : {getQuery(), getKeys()})
    for (StringAttr space : tokens.getSpaces())
      if (!spaces.contains(space.getValue()))
        return emitOpError("has tokens '")
               << tokens.getName() << "' of space " << space << ", which it does not declare";
  auto declare = [&](StringRef name) { return names.insert(name).second; };
  for (auto [kind, array] :
       {std::pair<StringRef, std::optional<ArrayAttr>>{"parameter", getParams()},
        {"table", getTables()},
        {"input", getInputs()}})
    for (Attribute attr : array.value_or(ArrayAttr::get(getContext(), {}))) {
      StringRef name = isa<ParamAttr>(attr)   ? cast<ParamAttr>(attr).getName()
                       : isa<TableAttr>(attr) ? cast<TableAttr>(attr).getName()
                                              : cast<InputAttr>(attr).getName();
      if (!declare(name))
        return emitOpError("declares ") << kind << " '" << name << "', a name already taken";
    }
  if (getRope()) {
    int64_t dims = 0;
    for (RopeAxisAttr axis : getRope()->getAxes())
      dims += axis.getDims();
    if (dims != int64_t(getQkDim()))
      return emitOpError("ropes ")
             << dims << " dims; must be all " << getQkDim() << " of the head dim";
  }
  if (getPartial() && !getEmitLse())
    return emitOpError("gives parts without emit_lse; a merge needs both");
  if (getScale() && !(getScale()->convertToDouble() > 0))
    return emitOpError("has scale ") << getScale()->convertToDouble() << "; must be positive";

  Builder b(getContext());
  Type i32 = b.getI32Type(), f32 = b.getF32Type();
  if (failed(verifyScalarRegion(*this, "mask", getMask(), pairArguments(getContext(), false),
                                b.getI1Type())))
    return failure();
  if (!getScore().empty() && failed(verifyScalarRegion(*this, "score", getScore(),
                                                       pairArguments(getContext(), true), f32)))
    return failure();
  if (!getSink().empty() && failed(verifyScalarRegion(*this, "sink", getSink(), {i32, i32}, f32)))
    return failure();
  Type query = PositionType::get(getContext(), Side::query);
  if (!getOutput().empty() &&
      failed(verifyScalarRegion(*this, "output", getOutput(), {f32, f32, query, i32, i32}, f32)))
    return failure();
  return success();
}

LogicalResult RecacheOp::verify() {
  auto attention = SymbolTable::lookupNearestSymbolFrom<AttentionOp>(*this, getAttentionAttr());
  if (!attention)
    return emitOpError("belongs to ") << getAttentionAttr() << ", which is no attn.attention";
  if (!attention.getCache())
    return emitOpError("rebuilds the cache of ") << getAttentionAttr() << ", which has none";
  if (int64_t(getReplay()) < 1)
    return emitOpError("replays ") << getReplay() << " blocks; must be at least 1";
  return verifyScalarRegion(*this, "mask", getMask(), pairArguments(getContext(), false),
                            IntegerType::get(getContext(), 1));
}

LogicalResult CacheAppendOp::verify() {
  auto attention = SymbolTable::lookupNearestSymbolFrom<AttentionOp>(*this, getAttentionAttr());
  if (!attention)
    return emitOpError("belongs to ") << getAttentionAttr() << ", which is no attn.attention";
  if (!attention.getCache())
    return emitOpError("appends to the cache of ") << getAttentionAttr() << ", which has none";
  return success();
}

LogicalResult MergeOp::verify() {
  auto attention = SymbolTable::lookupNearestSymbolFrom<AttentionOp>(*this, getAttentionAttr());
  if (!attention)
    return emitOpError("belongs to ") << getAttentionAttr() << ", which is no attn.attention";
  if (!attention.getPartial())
    return emitOpError("merges parts of ") << getAttentionAttr() << ", which gives whole results";
  return success();
}

//===-- Whole tensors ----------------------------------------------------------------===//

LogicalResult SelectBlocksOp::verify() {
  auto scores = cast<RankedTensorType>(getScores().getType());
  auto list = cast<RankedTensorType>(getList().getType());
  auto count = cast<RankedTensorType>(getCount().getType());
  if (scores.getRank() != 4 || list.getRank() != 4 || count.getRank() != 3)
    return emitOpError("has scores, list and count of ranks ")
           << scores.getRank() << ", " << list.getRank() << " and " << count.getRank()
           << "; must be 4, 4 and 3";
  if (scores.getShape().drop_back() != list.getShape().drop_back() ||
      scores.getShape().drop_back() != count.getShape())
    return emitOpError("has scores, list and count that differ in batch, head or query block");
  if (!list.getElementType().isInteger(32) || !count.getElementType().isInteger(32))
    return emitOpError("has list and count of ")
           << list.getElementType() << " and " << count.getElementType() << "; must be i32";
  double limit = getLimit().convertToDouble();
  switch (getRule()) {
  case SelectRule::top_k:
    if (limit < 1 || limit != static_cast<double>(static_cast<int64_t>(limit)))
      return emitOpError("takes the top ") << limit << " blocks; must be a whole number from 1";
    break;
  case SelectRule::top_p:
    if (!(limit > 0 && limit <= 1))
      return emitOpError("takes a share of ") << limit << "; must lie in (0, 1]";
    break;
  case SelectRule::threshold:
    break;
  }
  return success();
}

//===-- Scalars ------------------------------------------------------------------------===//

LogicalResult CoordOp::verify() {
  AttentionOp attention = enclosingAttention(*this);
  if (!attention)
    return success();
  // A name without a space is an axis that the spec derived from others.
  auto [spaceName, axisName] = getAxis().split('.');
  if (axisName.empty())
    return success();
  for (auto space : attention.getSpaces().getAsRange<SpaceAttr>())
    if (space.getName() == spaceName)
      for (AxisAttr axis : space.getAxes())
        if (axis.getName() == axisName)
          return success();
  return emitOpError("decodes '") << getAxis() << "', which no space of the attention declares";
}

LogicalResult ParamOp::verify() {
  AttentionOp attention = enclosingAttention(*this);
  if (!attention)
    return success();
  ParamAttr param = attention.findParam(getParam()).first;
  if (!param)
    return emitOpError("reads '") << getParam() << "', which is no parameter of the attention";
  if (param.getType() != getType())
    return emitOpError("reads '") << getParam() << "' as " << getType() << "; it is "
                                  << param.getType();
  return success();
}

LogicalResult TableLoadOp::verify() {
  AttentionOp attention = enclosingAttention(*this);
  if (!attention)
    return success();
  TableAttr table = attention.findTable(getTable()).first;
  if (!table)
    return emitOpError("reads '") << getTable() << "', which is no table of the attention";
  if (table.getRank() != getIndices().size())
    return emitOpError("reads '") << getTable() << "' with " << getIndices().size()
                                  << " indices; it has rank " << table.getRank();
  if (isa<FloatType>(table.getElementType()) != getType().isF32())
    return emitOpError("reads '") << getTable() << "' of " << table.getElementType() << " as "
                                  << getType();
  return success();
}

LogicalResult InputOp::verify() {
  AttentionOp attention = enclosingAttention(*this);
  if (attention && !attention.findInput(getInput()).first)
    return emitOpError("reads '") << getInput() << "', which is no input of the attention";
  if (attention && (*this)->getParentRegion() != &attention.getOutput())
    return emitOpError("reads an input outside the output region");
  return success();
}

LogicalResult NeighborhoodOp::verify() {
  if (int64_t(getSize()) < 1 || int64_t(getStride()) < 1 || int64_t(getDilation()) < 1)
    return emitOpError("has size ") << getSize() << ", stride " << getStride() << ", dilation "
                                    << getDilation() << "; must be at least 1";
  if (getStride() > getSize())
    return emitOpError("has stride ") << getStride() << " beyond its size " << getSize();
  return success();
}
