// Verifiers of the tile ops: shapes and element types agree with the kernel.
#include "dialects/tile/Verify.h"

#include "mlir/IR/Builders.h"
#include "llvm/ADT/StringSet.h"

using namespace mlir;
using namespace mlir::tile;

#define GET_OP_CLASSES
#include "dialects/tile/TileOps.cpp.inc"

static bool isFloat(Type type) { return type.isF32() || type.isF16() || type.isBF16(); }

static int64_t extent(Value tile, unsigned dim) {
  return cast<TileType>(tile.getType()).getShape()[dim];
}
static Type element(Value tile) { return cast<TileType>(tile.getType()).getElementType(); }

//===-- Kernel --------------------------------------------------------------------===//

static LogicalResult verifyBinding(KernelOp op, BindingAttr binding) {
  Type type = binding.getElementType();
  unsigned rank = binding.getRank();
  auto wrong = [&](StringRef types, StringRef ranks) {
    return op.emitOpError("has binding '")
           << binding.getName() << "' of role " << stringifyRole(binding.getRole()) << " with type "
           << type << " and rank " << rank << "; must be " << types << " of rank " << ranks;
  };
  switch (binding.getRole()) {
  case Role::q:
  case Role::o:
    return isFloat(type) && rank == 4 ? success() : wrong("f32, f16 or bf16", "4");
  case Role::k:
  case Role::v:
    return (isFloat(type) || type.isInteger(8)) && rank == 4 ? success()
                                                             : wrong("f32, f16, bf16 or i8", "4");
  case Role::lse:
  case Role::k_scale:
  case Role::v_scale:
    return type.isF32() && rank == 3 ? success() : wrong("f32", "3");
  case Role::part_o:
    return isFloat(type) && rank == 4 ? success() : wrong("f32, f16 or bf16", "4");
  case Role::part_lse:
    return type.isF32() && rank == 3 ? success() : wrong("f32", "3");
  case Role::table:
    return (isFloat(type) || type.isInteger(32) || type.isInteger(8)) && rank >= 1 && rank <= 4
               ? success()
               : wrong("f32, f16, bf16, i32 or i8", "1 to 4");
  case Role::input:
    return isFloat(type) && (rank == 3 || rank == 4) ? success()
                                                     : wrong("f32, f16 or bf16", "3 or 4");
  }
  return success();
}

static LogicalResult verifyParams(KernelOp op) {
  for (auto param : op.getParams().getAsRange<ParamAttr>()) {
    if (!param.getType().isInteger(32) && !param.getType().isF32())
      return op.emitOpError("has parameter '")
             << param.getName() << "' of type " << param.getType() << "; must be i32 or f32";
    if (param.getMinimum() > param.getMaximum())
      return op.emitOpError("has parameter '") << param.getName() << "' with an empty range";
  }
  return success();
}

LogicalResult KernelOp::verify() {
  for (auto [name, value] : {std::pair<StringRef, int64_t>{"block_q", getBlockQ()},
                             {"block_k", getBlockK()},
                             {"qk_dim", getQkDim()},
                             {"v_dim", getVDim()}})
    if (value <= 0)
      return emitOpError("has ") << name << " " << value << "; must be positive";
  if (getHeads() && getKvHeads() &&
      (int64_t(*getKvHeads()) <= 0 || *getHeads() % *getKvHeads() != 0))
    return emitOpError("has ") << *getHeads() << " heads, no multiple of its " << *getKvHeads()
                               << " kv heads";

  bool merges = llvm::any_of(getBindings().getAsRange<BindingAttr>(), [](BindingAttr binding) {
    return binding.getRole() == Role::part_o || binding.getRole() == Role::part_lse;
  });
  StringRef order = merges ? "o, lse, tables, inputs, part_o, part_lse"
                           : "q, k, v, o, lse, k_scale, v_scale, tables, inputs";
  Role last = Role::q;
  llvm::StringSet<> names;
  BindingAttr byRole[11];
  for (auto [index, binding] : llvm::enumerate(getBindings().getAsRange<BindingAttr>())) {
    Role role = binding.getRole();
    bool repeats = role == last && index != 0 && role != Role::table && role != Role::input;
    bool misplaced = merges ? index < 2 && role != static_cast<Role>(index + 3)
                            : index < 4 && role != static_cast<Role>(index);
    bool ofKeys = role == Role::k_scale || role == Role::v_scale;
    if (role < last || repeats || misplaced || (merges && ofKeys))
      return emitOpError("has binding '")
             << binding.getName() << "' of role " << stringifyRole(role) << " at " << index
             << "; the order is " << order;
    // Tensors of fixed roles are known by role; a table may be called `v` too.
    bool named = role == Role::table || role == Role::input;
    if (named && !names.insert(binding.getName()).second)
      return emitOpError("has two bindings '") << binding.getName() << "'";
    if (failed(verifyBinding(*this, binding)))
      return failure();
    byRole[static_cast<int>(role)] = binding;
    last = role;
  }
  if (merges) {
    for (Role role : {Role::o, Role::lse, Role::part_o, Role::part_lse})
      if (!byRole[static_cast<int>(role)])
        return emitOpError("merges parts without a binding of role ") << stringifyRole(role);
    return verifyParams(*this);
  }
  if (getBindings().size() < 4)
    return emitOpError("has ") << getBindings().size() << " bindings; needs q, k, v and o";
  for (auto [rows, scale] : {std::pair{Role::k, Role::k_scale}, {Role::v, Role::v_scale}}) {
    bool quantized = byRole[static_cast<int>(rows)].getElementType().isInteger(8);
    if (quantized != bool(byRole[static_cast<int>(scale)]))
      return emitOpError("has ") << stringifyRole(rows) << " of "
                                 << byRole[static_cast<int>(rows)].getElementType() << " and "
                                 << (quantized ? "no " : "a ") << stringifyRole(scale)
                                 << "; scales go with i8";
  }
  return verifyParams(*this);
}

//===-- Loading and storing ---------------------------------------------------------===//

LogicalResult LoadQueriesOp::verify() {
  auto kernel = (*this)->getParentOfType<KernelOp>();
  if (!kernel)
    return success();
  BindingAttr binding = bindingOf(*this, kernel, getBinding());
  if (!binding)
    return failure();
  int64_t rows = kernel.getBlockQ();
  Type type = binding.getElementType();
  switch (binding.getRole()) {
  case Role::q:
    return expectTile(*this, "rows", getResult(), {rows, int64_t(kernel.getQkDim())}, type);
  case Role::input:
    if (binding.getRank() == 3)
      return expectTile(*this, "rows", getResult(), {rows}, type);
    return expectTile(*this, "rows", getResult(), {rows, int64_t(kernel.getVDim())}, type);
  default:
    return wrongRole(*this, binding, "q or input");
  }
}

LogicalResult LoadKeysOp::verify() {
  auto kernel = (*this)->getParentOfType<KernelOp>();
  if (!kernel)
    return success();
  BindingAttr binding = bindingOf(*this, kernel, getBinding());
  if (!binding)
    return failure();
  int64_t columns = kernel.getBlockK();
  Type type = binding.getElementType();
  switch (binding.getRole()) {
  case Role::k:
    return expectTile(*this, "keys", getResult(), {columns, int64_t(kernel.getQkDim())}, type);
  case Role::v:
    return expectTile(*this, "values", getResult(), {columns, int64_t(kernel.getVDim())}, type);
  case Role::k_scale:
  case Role::v_scale:
    return expectTile(*this, "scales", getResult(), {columns}, type);
  default:
    return wrongRole(*this, binding, "k, v, k_scale or v_scale");
  }
}

LogicalResult StoreQueriesOp::verify() {
  auto kernel = (*this)->getParentOfType<KernelOp>();
  if (!kernel)
    return success();
  BindingAttr binding = bindingOf(*this, kernel, getBinding());
  if (!binding)
    return failure();
  int64_t rows = kernel.getBlockQ();
  Type f32 = Float32Type::get(getContext());
  switch (binding.getRole()) {
  case Role::o:
    return expectTile(*this, "rows", getValue(), {rows, int64_t(kernel.getVDim())}, f32);
  case Role::lse:
    return expectTile(*this, "rows", getValue(), {rows}, f32);
  default:
    return wrongRole(*this, binding, "o or lse");
  }
}

//===-- Walking the keys ----------------------------------------------------------------===//

LogicalResult ForKeysOp::verify() {
  if (getInits().getTypes() != getResultTypes())
    return emitOpError("has results of other types than its initial values");
  Builder b(getContext());
  SmallVector<Type> positions(6, b.getI32Type()), truths(2, b.getI1Type());
  SmallVector<Type> state(getInits().getTypes()), arguments{KeysType::get(getContext())};
  llvm::append_range(arguments, state);
  if (failed(expectRegion(*this, "classify", getClassify(), positions, truths)) ||
      failed(expectScalarOps("classify", getClassify())) ||
      failed(expectRegion(*this, "full", getFull(), arguments, state)) ||
      failed(expectRegion(*this, "partial", getPartial(), arguments, state)))
    return failure();
  if (!getCuts().empty() && getCuts().size() != 2)
    return emitOpError("has ") << getCuts().size()
                               << " cut regions; must be none, or one of queries and one of keys";
  for (Region &region : getCuts()) {
    unsigned count = region.front().getTerminator()->getNumOperands();
    SmallVector<Type> range(2, b.getI32Type()), cuts(count, b.getI32Type());
    if (failed(expectRegion(*this, "cut", region, range, cuts)) ||
        failed(expectScalarOps("cut", region)))
      return failure();
  }
  return success();
}

LogicalResult SortRowsOp::verify() {
  Builder b(getContext());
  unsigned count = getTraitCount();
  SmallVector<Type> row(3, b.getI32Type()), traits(count, b.getI32Type());
  SmallVector<Type> box(2 * count + 4, b.getI32Type()), truths(2, b.getI1Type());
  if (failed(expectRegion(*this, "traits", getTraits(), row, traits)) ||
      failed(expectScalarOps("traits", getTraits())) ||
      failed(expectRegion(*this, "classify", getClassify(), box, truths)) ||
      failed(expectScalarOps("classify", getClassify())))
    return failure();
  if (getAxes().size() != 2 && getAxes().size() != 3)
    return emitOpError("sorts by ") << getAxes().size() << " traits; must be two or three";
  for (int64_t axis : getAxes())
    if (axis < 0 || axis >= int64_t(count))
      return emitOpError("sorts by trait ") << axis << " of " << count;
  return success();
}

LogicalResult MergePartsOp::verify() {
  Type f32 = Float32Type::get(getContext());
  if (failed(expectRank(*this, "output", getOut(), 2)))
    return failure();
  int64_t rows = extent(getOut(), 0), dim = extent(getOut(), 1);
  auto kernel = (*this)->getParentOfType<KernelOp>();
  if (kernel) {
    rows = kernel.getBlockQ();
    dim = kernel.getVDim();
    for (auto [index, role] :
         {std::pair{getOBinding(), Role::part_o}, std::pair{getLseBinding(), Role::part_lse}}) {
      BindingAttr binding = bindingOf(*this, kernel, index);
      if (!binding)
        return failure();
      if (binding.getRole() != role)
        return wrongRole(*this, binding, stringifyRole(role));
    }
  }
  if (failed(expectTile(*this, "maximum", getMax(), {rows}, f32)) ||
      failed(expectTile(*this, "sum", getSum(), {rows}, f32)))
    return failure();
  return expectTile(*this, "output", getOut(), {rows, dim}, f32);
}

//===-- Arithmetic on tiles --------------------------------------------------------------===//

LogicalResult DotQKOp::verify() {
  if (failed(expectRank(*this, "queries", getQ(), 2)) ||
      failed(expectRank(*this, "keys", getK(), 2)))
    return failure();
  if (extent(getQ(), 1) != extent(getK(), 1))
    return emitOpError("has query head dim ")
           << extent(getQ(), 1) << " and key head dim " << extent(getK(), 1) << "; must agree";
  Type type = element(getQ());
  if (type != element(getK()) || !(isFloat(type) || type.isInteger(8)))
    return emitOpError("multiplies ")
           << type << " with " << element(getK()) << "; must both be f32, f16, bf16 or i8";
  Builder b(getContext());
  return expectTile(*this, "scores", getResult(), {extent(getQ(), 0), extent(getK(), 0)},
                    type.isInteger(8) ? Type(b.getI32Type()) : b.getF32Type());
}

LogicalResult QuantizeOp::verify() {
  if (failed(expectRank(*this, "rows", getX(), 2)))
    return failure();
  if (!isFloat(element(getX())))
    return emitOpError("quantises ") << element(getX()) << "; must be f32, f16 or bf16";
  Builder b(getContext());
  if (failed(expectTile(*this, "result", getResult(), {extent(getX(), 0), extent(getX(), 1)},
                        b.getI8Type())))
    return failure();
  return expectTile(*this, "scale", getScale(), {extent(getX(), 0)}, b.getF32Type());
}

LogicalResult DequantizeScoresOp::verify() {
  if (failed(expectRank(*this, "scores", getS(), 2)))
    return failure();
  Builder b(getContext());
  int64_t rows = extent(getS(), 0), columns = extent(getS(), 1);
  if (failed(expectTile(*this, "scores", getS(), {rows, columns}, b.getI32Type())) ||
      failed(expectTile(*this, "row scale", getRowScale(), {rows}, b.getF32Type())) ||
      failed(expectTile(*this, "key scale", getKeyScale(), {columns}, b.getF32Type())))
    return failure();
  return expectTile(*this, "result", getResult(), {rows, columns}, b.getF32Type());
}

LogicalResult DequantizeKeysOp::verify() {
  if (failed(expectRank(*this, "rows", getX(), 2)))
    return failure();
  Builder b(getContext());
  int64_t rows = extent(getX(), 0), dim = extent(getX(), 1);
  if (failed(expectTile(*this, "rows", getX(), {rows, dim}, b.getI8Type())) ||
      failed(expectTile(*this, "scale", getScale(), {rows}, b.getF32Type())))
    return failure();
  if (!isFloat(element(getResult())))
    return emitOpError("gives ") << element(getResult()) << "; must be f32, f16 or bf16";
  return expectTile(*this, "result", getResult(), {rows, dim}, element(getResult()));
}

static LogicalResult expectScores(Operation *op, Value scores) {
  if (failed(expectRank(op, "scores", scores, 2)))
    return failure();
  return expectTile(op, "scores", scores, {extent(scores, 0), extent(scores, 1)},
                    Float32Type::get(op->getContext()));
}

LogicalResult ScoreOp::verify() {
  Builder b(getContext());
  Type i32 = b.getI32Type(), f32 = b.getF32Type();
  if (failed(expectScores(*this, getS())) ||
      failed(expectRegion(*this, "score", getBody(), {f32, i32, i32, i32, i32}, {f32})))
    return failure();
  return expectScalarOps("score", getBody());
}

LogicalResult MaskOp::verify() {
  Builder b(getContext());
  Type i32 = b.getI32Type();
  if (failed(expectScores(*this, getS())) ||
      failed(expectRegion(*this, "mask", getBody(), {i32, i32, i32, i32}, {b.getI1Type()})))
    return failure();
  return expectScalarOps("mask", getBody());
}

//===-- Online softmax ----------------------------------------------------------------------===//

LogicalResult SoftmaxInitOp::verify() {
  Type f32 = Float32Type::get(getContext());
  if (failed(expectRank(*this, "output", getOut(), 2)))
    return failure();
  int64_t rows = extent(getOut(), 0);
  if (failed(expectTile(*this, "maximum", getMax(), {rows}, f32)) ||
      failed(expectTile(*this, "sum", getSum(), {rows}, f32)))
    return failure();
  return expectTile(*this, "output", getOut(), {rows, extent(getOut(), 1)}, f32);
}

LogicalResult SoftmaxStepOp::verify() {
  if (failed(expectScores(*this, getS())))
    return failure();
  return expectTile(*this, "maximum", getMax(), {extent(getS(), 0)},
                    Float32Type::get(getContext()));
}

LogicalResult DotPVOp::verify() {
  if (failed(expectScores(*this, getP())) || failed(expectRank(*this, "values", getV(), 2)))
    return failure();
  Type f32 = Float32Type::get(getContext());
  int64_t rows = extent(getP(), 0), columns = extent(getP(), 1), dim = extent(getV(), 1);
  if (!isFloat(element(getV())))
    return emitOpError("has values of ")
           << element(getV()) << "; must be f32, f16 or bf16 (dequantise i8 first)";
  if (failed(expectTile(*this, "values", getV(), {columns, dim}, element(getV()))) ||
      failed(expectTile(*this, "output", getO(), {rows, dim}, f32)) ||
      failed(expectTile(*this, "rescale", getAlpha(), {rows}, f32)))
    return failure();
  return expectTile(*this, "result", getResult(), {rows, dim}, f32);
}

LogicalResult SoftmaxFinishOp::verify() {
  Type f32 = Float32Type::get(getContext());
  if (failed(expectRank(*this, "output", getO(), 2)))
    return failure();
  int64_t rows = extent(getO(), 0);
  if (failed(expectTile(*this, "maximum", getMax(), {rows}, f32)))
    return failure();
  return expectTile(*this, "output", getO(), {rows, extent(getO(), 1)}, f32);
}

LogicalResult OutputOp::verify() {
  if (failed(expectRank(*this, "output", getO(), 2)))
    return failure();
  Builder b(getContext());
  Type i32 = b.getI32Type(), f32 = b.getF32Type();
  int64_t rows = extent(getO(), 0), dim = extent(getO(), 1);
  if (failed(expectTile(*this, "output", getO(), {rows, dim}, f32)) ||
      failed(expectTile(*this, "log-sum-exp", getLse(), {rows}, f32)))
    return failure();
  SmallVector<Type> arguments{f32, f32, i32, i32, i32};
  for (Value input : getInputs()) {
    arguments.push_back(f32);
    auto load = input.getDefiningOp<LoadQueriesOp>();
    if (!load)
      return emitOpError("reads an input that no tile.load_queries made");
    bool hasDim = cast<TileType>(input.getType()).getShape().size() == 2;
    SmallVector<int64_t> shape{rows};
    if (hasDim)
      shape.push_back(dim);
    if (!isFloat(element(input)))
      return emitOpError("reads an input of ") << element(input) << "; must be f32, f16 or bf16";
    if (failed(expectTile(*this, "input", input, shape, element(input))))
      return failure();
  }
  if (failed(expectRegion(*this, "output", getBody(), arguments, {f32})))
    return failure();
  return expectScalarOps("output", getBody());
}

//===-- Scalars
//--------------------------------------------------------------------------------===//

LogicalResult ParamOp::verify() {
  auto kernel = (*this)->getParentOfType<KernelOp>();
  if (!kernel)
    return success();
  int64_t count = kernel.getParams().size(), index = getIndex();
  if (index < 0 || index >= count)
    return emitOpError("reads parameter ") << index << "; the kernel has " << count;
  Type type = cast<ParamAttr>(kernel.getParams()[index]).getType();
  if (type != getType())
    return emitOpError("reads parameter ") << index << " as " << getType() << "; it is " << type;
  return success();
}

LogicalResult IndexOp::verify() {
  if (getWhich() > 4)
    return emitOpError("asks for item ")
           << getWhich() << "; must be 0 (head), 1 (batch), 2 (layer), 3 (heads) or 4 (kv heads)";
  return success();
}

LogicalResult TableLoadOp::verify() {
  auto kernel = (*this)->getParentOfType<KernelOp>();
  if (!kernel)
    return success();
  BindingAttr binding = bindingOf(*this, kernel, getBinding());
  if (!binding)
    return failure();
  if (binding.getRole() != Role::table)
    return wrongRole(*this, binding, "table");
  if (binding.getRank() != getIndices().size())
    return emitOpError("reads table '") << binding.getName() << "' with " << getIndices().size()
                                        << " indices; it has rank " << binding.getRank();
  if (isFloat(binding.getElementType()) != getType().isF32())
    return emitOpError("reads table '")
           << binding.getName() << "' of " << binding.getElementType() << " as " << getType();
  return success();
}
