// Emission of the call's scalars, binding addresses and table reads.
#include "compiler/target/cpu/CallFrame.h"

#include "runtime/bundle/kernel_abi.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace mlir::attn;

tile::BindingAttr CallFrame::binding(int64_t index) {
  return cast<tile::BindingAttr>(kernel.getBindings()[index]);
}

// Nothing writes the words or the list of buffers while a kernel runs.
Value CallFrame::word(LaneBuilder &b, int64_t index, Type type) {
  return b.load(type ? type : b.i32(), b.address(words, b.i32(), index), 4, /*invariant=*/true);
}
Value CallFrame::wordAt(LaneBuilder &b, Value index) {
  return b.load(b.i32(), b.address(words, b.i32(), b.widen(index)), 4, /*invariant=*/true);
}
Value CallFrame::bindingWord(LaneBuilder &b, int64_t binding, int64_t index) {
  return word(b, ATTN_W_BINDINGS + ATTN_BINDING_WORDS * binding + index);
}

void CallFrame::enterCall(LaneBuilder &b) {
  OpBuilder &builder = b.builder;
  qLen = word(b, ATTN_W_Q_LEN);
  heads = word(b, ATTN_W_HEADS);
  headsPerKv = arith::DivUIOp::create(builder, b.loc, heads, word(b, ATTN_W_KV_HEADS));
  int64_t blockQ = kernel.getBlockQ();
  Value raised = arith::AddIOp::create(builder, b.loc, qLen, b.constI32(blockQ - 1));
  qTiles = arith::DivUIOp::create(builder, b.loc, raised, b.constI32(blockQ));
}

void CallFrame::enterItem(LaneBuilder &b, Value index) {
  OpBuilder &builder = b.builder;
  Value qTile = arith::RemUIOp::create(builder, b.loc, index, qTiles);
  Value outer = arith::DivUIOp::create(builder, b.loc, index, qTiles);
  enterItem(b, arith::DivUIOp::create(builder, b.loc, outer, heads),
            arith::RemUIOp::create(builder, b.loc, outer, heads), qTile);
}

void CallFrame::enterItem(LaneBuilder &b, Value itemBatch, Value itemHead, Value qTile) {
  OpBuilder &builder = b.builder;
  Location loc = b.loc;
  batch = itemBatch;
  head = itemHead;
  kvHead = arith::DivUIOp::create(builder, loc, head, headsPerKv);
  qFirst = arith::MulIOp::create(builder, loc, qTile, b.constI32(kernel.getBlockQ()));
  qCount = arith::MinSIOp::create(builder, loc, arith::SubIOp::create(builder, loc, qLen, qFirst),
                                  b.constI32(kernel.getBlockQ()));
  Value low = arith::AddIOp::create(builder, loc, word(b, ATTN_W_Q_POSITION), qFirst);
  Value last = arith::SubIOp::create(builder, loc, qCount, b.constI32(1));
  item = {low, arith::AddIOp::create(builder, loc, low, last), head, batch};
}

BindingRows CallFrame::rows(LaneBuilder &b, int64_t index) {
  using tile::Role;
  tile::BindingAttr attr = binding(index);
  Role role = attr.getRole();
  bool perKvHead =
      role == Role::k || role == Role::v || role == Role::k_scale || role == Role::v_scale;
  Value offset = b.widen(bindingWord(b, index, 3));
  offset = b.add(offset, b.mul(b.widen(batch), b.widen(bindingWord(b, index, 0))));
  offset =
      b.add(offset, b.mul(b.widen(perKvHead ? kvHead : head), b.widen(bindingWord(b, index, 1))));
  Value buffer = b.load(b.pointer(), b.address(buffers, b.pointer(), index), 8, true);
  return {b.address(buffer, attr.getElementType(), offset), b.widen(bindingWord(b, index, 2)),
          attr.getElementType()};
}

ScalarContext CallFrame::scalars(const CpuArch &arch) {
  ScalarContext context;
  context.param = [this, &arch](OpBuilder &builder, Location loc, int64_t index, Type type) {
    LaneBuilder b(builder, loc, arch);
    Value at = b.add(b.widen(word(b, ATTN_W_PARAMS)), index);
    return b.load(type, b.address(words, b.i32(), at), 4, /*invariant=*/true);
  };
  context.item = [this, &arch](OpBuilder &builder, Location loc, int64_t which) {
    LaneBuilder b(builder, loc, arch);
    return which == 0   ? head
           : which == 1 ? batch
                        : word(b, which == 2   ? ATTN_W_LAYER
                                  : which == 3 ? ATTN_W_HEADS
                                               : ATTN_W_KV_HEADS);
  };
  context.tableLoad = [this, &arch](OpBuilder &builder, Location loc, int64_t binding,
                                    ValueRange indices, Type type) {
    LaneBuilder b(builder, loc, arch);
    return tableLoad(b, binding, indices, type);
  };
  return context;
}

// The index is clamped dimension by dimension.
Value CallFrame::tableLoad(LaneBuilder &b, int64_t index, ValueRange indices, Type type) {
  OpBuilder &builder = b.builder;
  Location loc = b.loc;
  tile::BindingAttr attr = binding(index);
  auto vector = dyn_cast<VectorType>(indices[0].getType());
  auto like = [&](Value scalar) -> Value {
    if (!vector)
      return scalar;
    return vector::BroadcastOp::create(
        builder, loc, VectorType::get(vector.getShape(), scalar.getType()), scalar);
  };
  int64_t rank = indices.size();
  Value linear;
  for (int64_t dim = 0; dim < rank; ++dim) {
    Value at = arith::MaxSIOp::create(builder, loc, indices[dim], like(b.constI32(0)));
    Value extent = bindingWord(b, index, dim);
    Value last = arith::SubIOp::create(builder, loc, extent, b.constI32(1));
    at = arith::MinSIOp::create(builder, loc, at, like(last));
    if (linear)
      at = arith::AddIOp::create(builder, loc,
                                 arith::MulIOp::create(builder, loc, linear, like(extent)), at);
    linear = at;
  }
  if (rank < 4)
    linear = arith::AddIOp::create(builder, loc, linear, like(bindingWord(b, index, 3)));
  Value base = b.load(b.pointer(), b.address(buffers, b.pointer(), index), 8, true);
  // Memory knows no signs; what a narrow integer is extended by does.
  bool isUnsigned = attr.getElementType().isUnsignedInteger();
  Type element = attr.getElementType();
  if (isUnsigned)
    element = builder.getIntegerType(element.getIntOrFloatBitWidth());
  auto convert = [&](Value value) -> Value {
    if (type.isF32())
      return b.toF32(value);
    unsigned bits = element.getIntOrFloatBitWidth();
    if (bits < 32 && isUnsigned)
      return arith::ExtUIOp::create(builder, loc, type, value);
    if (bits < 32)
      return arith::ExtSIOp::create(builder, loc, type, value);
    return bits > 32 ? Value(arith::TruncIOp::create(builder, loc, type, value)) : value;
  };
  if (!vector)
    return convert(b.load(element, b.address(base, element, b.widen(linear)), 0, true));
  int64_t lanes = vector.getNumElements();
  if (element.getIntOrFloatBitWidth() == 32) {
    Value offsets =
        arith::ExtUIOp::create(builder, loc, VectorType::get(lanes, builder.getI64Type()), linear);
    auto pointers = VectorType::get(lanes, b.pointer());
    Value addresses =
        LLVM::GEPOp::create(builder, loc, pointers, element, base, ValueRange{offsets});
    auto maskType = VectorType::get(lanes, builder.getI1Type());
    Value mask = arith::ConstantOp::create(builder, loc, DenseElementsAttr::get(maskType, true));
    auto result = VectorType::get(lanes, element);
    Value zero = arith::ConstantOp::create(builder, loc, builder.getZeroAttr(result));
    return LLVM::masked_gather::create(builder, loc, result, addresses, mask, ValueRange{zero}, 4u);
  }
  auto result = VectorType::get(lanes, type);
  Value gathered = arith::ConstantOp::create(builder, loc, builder.getZeroAttr(result));
  for (int64_t lane = 0; lane < lanes; ++lane) {
    Value at = vector::ExtractOp::create(builder, loc, linear, lane);
    Value value = convert(b.load(element, b.address(base, element, b.widen(at)), 0, true));
    gathered = vector::InsertOp::create(builder, loc, value, gathered, lane);
  }
  return gathered;
}
