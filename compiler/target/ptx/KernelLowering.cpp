// Creates the kernel function, reads the call's words and dispatches the ops.
#include "compiler/target/ptx/KernelLowering.h"

#include "runtime/bundle/kernel_abi.h"

#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace mlir::attn;

static constexpr int64_t kRegisterFile = 65536; // of a multiprocessor, since sm_30

LogicalResult PtxLowering::lower(StringRef symbol, LLVM::GlobalOp sharedMemory) {
  Location loc = kernel.getLoc();
  OpBuilder outer(kernel);
  MLIRContext *context = kernel.getContext();
  size_t bindings = kernel.getBindings().size();
  Type pointer = LLVM::LLVMPointerType::get(context, 1);
  SmallVector<Type> parameters(bindings + 1, pointer);
  addParameters(parameters);
  auto type = LLVM::LLVMFunctionType::get(LLVM::LLVMVoidType::get(context), parameters);
  auto function = LLVM::LLVMFuncOp::create(outer, loc, symbol, type);
  function->setAttr("nvvm.kernel", outer.getUnitAttr());
  function->setAttr("nvvm.reqntid",
                    outer.getDenseI32ArrayAttr({static_cast<int32_t>(s.threads()), 1, 1}));
  // As many blocks as leave each thread all 255 registers; without a word ptxas may aim at
  // one more, and spill for it.
  function->setAttr("nvvm.minctasm", outer.getI32IntegerAttr(std::max<int64_t>(
                                         1, kRegisterFile / 256 / s.threads())));
  // The words and the tables are never written while a kernel runs.
  auto markReadOnly = [&](unsigned argument) {
    function.setArgAttr(argument, LLVM::LLVMDialect::getNoAliasAttrName(), outer.getUnitAttr());
    function.setArgAttr(argument, LLVM::LLVMDialect::getReadonlyAttrName(), outer.getUnitAttr());
  };
  markReadOnly(0);
  for (auto [i, attr] : llvm::enumerate(kernel.getBindings().getAsRange<tile::BindingAttr>()))
    if (attr.getRole() == tile::Role::table)
      markReadOnly(i + 1);

  Block *entry = function.addEntryBlock(outer);
  PtxBuilder p(OpBuilder::atBlockEnd(entry), loc);
  prologue(p, function, sharedMemory);
  begin(p, function);
  if (mlir::failed(lowerBlock(p, kernel.getBody().front())) || failed)
    return failure();
  LLVM::ReturnOp::create(p, loc, ValueRange());
  return success();
}

void PtxLowering::prologue(PtxBuilder &p, LLVM::LLVMFuncOp function,
                              LLVM::GlobalOp sharedMemory) {
  words = function.getArgument(0);
  sharedBase = LLVM::AddressOfOp::create(p, p.loc, sharedMemory);
  thread = p.threadId();
  lane = p.andI(thread, 31);
  warpRow = p.mul(p.shrU(thread, 5), s.warpRows());
  head = NVVM::BlockIdYOp::create(p, p.loc, p.getI32Type());
  batch = NVVM::BlockIdZOp::create(p, p.loc, p.getI32Type());
  // The last rows first: under causal masks theirs is the most work.
  Value tilesAfter = NVVM::BlockIdXOp::create(p, p.loc, p.getI32Type());
  Value tileCount = NVVM::GridDimXOp::create(p, p.loc, p.getI32Type());
  firstRow = p.mul(p.add(p.sub(tileCount, tilesAfter), -1), s.blockQ);
  rowCount = p.minS(p.sub(word(p, ATTN_W_Q_LEN), firstRow), p.i32(s.blockQ));
  scale = p.bitcast(word(p, ATTN_W_SCALE), p.getF32Type());
  item.head = head;
  item.batch = batch;
  item.qLow = p.add(word(p, ATTN_W_Q_POSITION), firstRow);
  item.qHigh = p.add(p.add(item.qLow, rowCount), -1);
  Value group = p.divU(word(p, ATTN_W_HEADS), word(p, ATTN_W_KV_HEADS));
  Value kvHead = p.divU(head, group);
  for (size_t i = 0; i < kernel.getBindings().size(); ++i) {
    buffers.push_back(Buffer{});
    buffers.back().pointer = function.getArgument(i + 1);
    // What is read or written after the walk is prepared there: across it, it would
    // cost registers.
    auto attr = cast<tile::BindingAttr>(kernel.getBindings()[i]);
    if (!llvm::is_contained({tile::Role::input, tile::Role::o, tile::Role::lse}, attr.getRole()))
      prepareBuffer(p, i, kvHead);
  }
}

Value PtxLowering::word(PtxBuilder &p, Value index) {
  Value bytes = p.shl(index, 2);
  return p.load(p.offset(words, p.wide(bytes)), p.getI32Type(), 4, /*invariant=*/true);
}

void PtxLowering::prepareBuffer(PtxBuilder &p, int64_t binding, Value kvHead) {
  auto attr = cast<tile::BindingAttr>(kernel.getBindings()[binding]);
  Buffer &buffer = buffers[binding];
  buffer.element = attr.getElementType();
  tile::Role role = attr.getRole();
  if (role == tile::Role::table)
    return;
  bool ofKeys = role == tile::Role::k || role == tile::Role::v || role == tile::Role::k_scale ||
                role == tile::Role::v_scale;
  int64_t first = ATTN_W_BINDINGS + ATTN_BINDING_WORDS * binding;
  int64_t bytes = buffer.element.getIntOrFloatBitWidth() / 8;
  auto mul = [&](Value a, Value b) -> Value { return arith::MulIOp::create(p, p.loc, a, b); };
  auto add = [&](Value a, Value b) -> Value { return arith::AddIOp::create(p, p.loc, a, b); };
  Value elements = add(p.wide(word(p, first + 3)), mul(p.wide(batch), p.wide(word(p, first))));
  elements = add(elements, mul(p.wide(ofKeys ? kvHead : head), p.wide(word(p, first + 1))));
  buffer.base = p.offset(buffer.pointer, mul(elements, p.i64(bytes)));
  buffer.tokenBytes = mul(p.wide(word(p, first + 2)), p.i64(bytes));
  Value address = LLVM::PtrToIntOp::create(p, p.loc, p.getI64Type(), buffer.base);
  Value bits = p.orI(address, buffer.tokenBytes);
  auto aligned = [&](int64_t alignment) {
    return p.equal(p.andI(bits, p.i64(alignment - 1)), p.i64(0));
  };
  buffer.vectorized = aligned(16);
  buffer.paired = aligned(2 * bytes);
}

ScalarContext PtxLowering::scalarContext() {
  ScalarContext context;
  context.param = [this](OpBuilder &b, Location loc, int64_t index, Type type) {
    PtxBuilder p(b, loc);
    Value value = word(p, p.add(word(p, ATTN_W_PARAMS), index));
    return type.isF32() ? p.bitcast(value, type) : value;
  };
  context.item = [this](OpBuilder &b, Location loc, int64_t which) {
    PtxBuilder p(b, loc);
    switch (which) { // see tile.item
    case 0:
      return head;
    case 1:
      return batch;
    case 2:
      return word(p, ATTN_W_LAYER);
    case 3:
      return word(p, ATTN_W_HEADS);
    default:
      return word(p, ATTN_W_KV_HEADS);
    }
  };
  context.tableLoad = [this](OpBuilder &b, Location loc, int64_t binding, ValueRange indices,
                             Type type) { return tableLoad(b, loc, binding, indices, type); };
  return context;
}

Value PtxLowering::tableLoad(OpBuilder &b, Location loc, int64_t binding, ValueRange indices,
                                Type type) {
  PtxBuilder p(b, loc);
  int64_t first = ATTN_W_BINDINGS + ATTN_BINDING_WORDS * binding;
  int64_t rank = indices.size();
  Value flat;
  for (auto [d, index] : llvm::enumerate(indices)) {
    Value extent = word(p, first + d);
    Value clamped = p.minS(p.maxS(index, p.i32(0)), p.add(extent, -1));
    flat = flat ? p.add(p.mul(flat, extent), clamped) : clamped;
  }
  Type element = buffers[binding].element;
  bool isUnsigned = element.isUnsignedInteger();
  if (isUnsigned) // memory knows no signs
    element = b.getIntegerType(element.getIntOrFloatBitWidth());
  int64_t bytes = element.getIntOrFloatBitWidth() / 8;
  Value position = p.wide(rank < 4 ? p.add(flat, word(p, first + 3)) : flat);
  Value pointer =
      p.offset(buffers[binding].pointer, arith::MulIOp::create(p, loc, position, p.i64(bytes)));
  Value value = p.load(pointer, element, bytes);
  if (element == type)
    return value;
  if (type.isF32() && isa<FloatType>(element))
    return arith::ExtFOp::create(p, loc, type, value);
  if (element.isInteger(64))
    return arith::TruncIOp::create(p, loc, type, value);
  if (isUnsigned)
    return arith::ExtUIOp::create(p, loc, type, value);
  return arith::ExtSIOp::create(p, loc, type, value);
}

LogicalResult PtxLowering::lowerBlock(PtxBuilder &p, Block &block) {
  for (Operation &op : block) {
    if (op.hasTrait<OpTrait::IsTerminator>())
      break;
    p.loc = op.getLoc();
    if (mlir::failed(lowerOp(p, op)))
      return failure();
  }
  return success();
}

LogicalResult PtxLowering::lowerOp(PtxBuilder &p, Operation &op) {
  ScalarContext context = scalarContext();
  return llvm::TypeSwitch<Operation *, LogicalResult>(&op)
      .Case([&](tile::LoadQueriesOp op) { return lowerLoadQueries(p, op); })
      .Case([&](tile::LoadKeysOp op) { return lowerLoadKeys(p, op); })
      .Case([&](tile::StoreQueriesOp op) { return lowerStoreQueries(p, op); })
      .Case([&](tile::ForKeysOp op) { return lowerForKeys(p, op); })
      .Case([&](tile::QuantizeOp op) { return lowerQuantize(p, op); })
      .Case([&](tile::DotQKOp op) { return lowerDotQK(p, op); })
      .Case([&](tile::DotPVOp op) { return lowerDotPV(p, op); })
      .Case([&](tile::DequantizeScoresOp op) { return lowerDequantizeScores(p, op); })
      .Case([&](tile::DequantizeKeysOp op) { return lowerDequantizeKeys(p, op); })
      .Case([&](tile::ScoreOp op) { return lowerScore(p, op); })
      .Case([&](tile::MaskOp op) { return lowerMask(p, op); })
      .Case([&](tile::SoftmaxInitOp op) { return lowerSoftmaxInit(p, op); })
      .Case([&](tile::SoftmaxStepOp op) { return lowerSoftmaxStep(p, op); })
      .Case([&](tile::SoftmaxFinishOp op) { return lowerSoftmaxFinish(p, op); })
      .Case([&](tile::MergePartsOp op) { return lowerMergeParts(p, op); })
      .Case([&](tile::OutputOp op) { return lowerOutput(p, op); })
      .Case([&](tile::ScoreFactorOp op) {
        Value log2e = p.f32(1.4426950408889634);
        scalars.map(op.getResult(), op.getPlain() ? log2e : p.fmul(scale, log2e));
        return success();
      })
      .Case([&](tile::ParamOp op) {
        scalars.map(op.getResult(), context.param(p, p.loc, op.getIndex(), op.getType()));
        return success();
      })
      .Case([&](tile::IndexOp op) {
        scalars.map(op.getResult(), context.item(p, p.loc, op.getWhich()));
        return success();
      })
      .Case([&](tile::TableLoadOp op) {
        SmallVector<Value> indices;
        for (Value index : op.getIndices())
          indices.push_back(scalars.lookup(index));
        scalars.map(op.getResult(), tableLoad(p, p.loc, op.getBinding(), indices, op.getType()));
        return success();
      })
      .Default([&](Operation *op) -> LogicalResult {
        if (!isa<arith::ArithDialect, math::MathDialect>(op->getDialect()))
          return op->emitOpError("has no lowering to ptx");
        p.clone(*op, scalars);
        return success();
      });
}
