// Index arithmetic of the kernel ABI in i32, over 1-D buffers.
#include "compiler/target/spirv/KernelBuffers.h"

#include "compiler/target/spirv/NarrowTypes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace mlir::attn;

static Value i32(OpBuilder &b, Location loc, int64_t value) {
  return arith::ConstantIntOp::create(b, loc, value, 32);
}
static Value add(OpBuilder &b, Location loc, Value x, Value y) {
  return arith::AddIOp::create(b, loc, x, y);
}
static Value mul(OpBuilder &b, Location loc, Value x, Value y) {
  return arith::MulIOp::create(b, loc, x, y);
}

Type mlir::attn::storageType(tile::BindingAttr binding) {
  // Log-sum-exps are read and stored as bits, so that -inf survives drivers that
  // assume finite arithmetic.
  bool mayBeInfinite =
      binding.getRole() == tile::Role::lse || binding.getRole() == tile::Role::part_lse;
  if (binding.getElementType().isF32() && !mayBeInfinite)
    return binding.getElementType();
  return IntegerType::get(binding.getContext(), 32);
}

// log2 of how many elements of `type` a 32-bit word packs.
static int64_t packingShift(Type type) {
  switch (type.getIntOrFloatBitWidth()) {
  case 8:
    return 2;
  case 16:
    return 1;
  default:
    return 0;
  }
}

static bool isPerKvHead(tile::Role role) {
  return role == tile::Role::k || role == tile::Role::v || role == tile::Role::k_scale ||
         role == tile::Role::v_scale;
}

KernelBuffers::KernelBuffers(tile::KernelOp kernel, gpu::GPUFuncOp func, Value head, Value batch)
    : kernel(kernel), func(func), headIndex(head), batchIndex(batch) {
  // Everything that serves the whole kernel is read here, before any loop.
  OpBuilder b = OpBuilder::atBlockEnd(&func.getBody().front());
  Location loc = kernel.getLoc();
  int64_t bindings = kernel.getBindings().size(), params = kernel.getParams().size();
  for (int64_t i = 0; i < ATTN_W_BINDINGS + ATTN_BINDING_WORDS * bindings; ++i)
    words[i] = wordAt(b, loc, i32(b, loc, i));
  for (int64_t i = 0; i < params; ++i)
    words[-1 - i] = wordAt(b, loc, add(b, loc, word(ATTN_W_PARAMS), i32(b, loc, i)));
  Value group = arith::DivUIOp::create(b, loc, word(ATTN_W_HEADS), word(ATTN_W_KV_HEADS));
  kvHead = arith::DivUIOp::create(b, loc, head, group);
  for (int64_t i = 0; i < bindings; ++i) {
    tile::Role role = binding(i).getRole();
    if (role == tile::Role::table)
      continue;
    Value at = add(b, loc, strideWord(i, 3), mul(b, loc, batch, strideWord(i, 0)));
    bases[i] = add(b, loc, at, mul(b, loc, isPerKvHead(role) ? kvHead : head, strideWord(i, 1)));
  }
}

Value KernelBuffers::word(int64_t index) { return words.at(index); }

Value KernelBuffers::wordAt(OpBuilder &b, Location loc, Value index) {
  Value at = arith::IndexCastOp::create(b, loc, b.getIndexType(), index);
  return memref::LoadOp::create(b, loc, func.getArgument(0), at);
}

Value KernelBuffers::param(int64_t index, Type type) {
  Value bits = words.at(-1 - index);
  if (!type.isF32())
    return bits;
  OpBuilder b(func.getContext());
  b.setInsertionPointAfterValue(bits);
  return arith::BitcastOp::create(b, kernel.getLoc(), type, bits);
}

Value KernelBuffers::row(OpBuilder &b, Location loc, int64_t binding, Value token) {
  return add(b, loc, bases.at(binding), mul(b, loc, token, strideWord(binding, 2)));
}

Value KernelBuffers::loadStorage(OpBuilder &b, Location loc, int64_t binding, Value index) {
  Value at = arith::IndexCastOp::create(b, loc, b.getIndexType(), index);
  return memref::LoadOp::create(b, loc, func.getArgument(1 + binding), at);
}

int64_t KernelBuffers::perWord(int64_t binding) {
  return int64_t(1) << packingShift(this->binding(binding).getElementType());
}

Value KernelBuffers::load(OpBuilder &b, Location loc, int64_t binding, Value element,
                          int64_t width) {
  Type type = this->binding(binding).getElementType();
  int64_t shift = packingShift(type), perWord = int64_t(1) << shift;
  assert(width % perWord == 0 && "a piece begins and ends on words");
  Value first =
      shift ? Value(arith::ShRUIOp::create(b, loc, element, i32(b, loc, shift))) : element;
  SmallVector<Value> elements;
  for (int64_t i = 0; i < width; i += perWord) {
    Value at = i ? add(b, loc, first, i32(b, loc, i >> shift)) : first;
    Value word = loadStorage(b, loc, binding, at);
    if (shift == 0)
      elements.push_back(word);
    else
      for (int64_t lane = 0; lane < perWord; ++lane)
        elements.push_back(unpackToFloat(b, loc, word, lane, type));
  }
  if (width == 1)
    return elements.front();
  return vector::FromElementsOp::create(b, loc, VectorType::get(width, b.getF32Type()), elements);
}

void KernelBuffers::store(OpBuilder &b, Location loc, int64_t binding, Value element, Value value) {
  Type type = this->binding(binding).getElementType();
  Type storage = storageType(this->binding(binding));
  SmallVector<Value> elements;
  if (auto vector = dyn_cast<VectorType>(value.getType()))
    for (int64_t i = 0; i < vector.getNumElements(); ++i)
      elements.push_back(vector::ExtractOp::create(b, loc, value, i));
  else
    elements.push_back(value);
  int64_t shift = packingShift(type), perWord = int64_t(1) << shift;
  Value first =
      shift ? Value(arith::ShRUIOp::create(b, loc, element, i32(b, loc, shift))) : element;
  for (int64_t i = 0; i < int64_t(elements.size()); i += perWord) {
    Value word = elements[i];
    if (shift == 1) {
      Value low = roundToHalfBits(b, loc, elements[i], type);
      Value high = roundToHalfBits(b, loc, elements[i + 1], type);
      word =
          arith::OrIOp::create(b, loc, low, arith::ShLIOp::create(b, loc, high, i32(b, loc, 16)));
    } else if (word.getType() != storage) {
      word = arith::BitcastOp::create(b, loc, storage, word);
    }
    Value at = i ? add(b, loc, first, i32(b, loc, i >> shift)) : first;
    Value index = arith::IndexCastOp::create(b, loc, b.getIndexType(), at);
    memref::StoreOp::create(b, loc, word, func.getArgument(1 + binding), index);
  }
}

Value KernelBuffers::loadElement(OpBuilder &b, Location loc, int64_t binding, Value element,
                                 Type type) {
  tile::BindingAttr attr = this->binding(binding);
  Type stored = attr.getElementType();
  int64_t bits = stored.getIntOrFloatBitWidth();
  if (bits == 64) // the low word holds every value that fits the i32 the op yields
    return loadStorage(b, loc, binding, mul(b, loc, element, i32(b, loc, 2)));
  int64_t shift = packingShift(stored);
  if (shift == 0) {
    Value value = loadStorage(b, loc, binding, element);
    return value.getType() == type ? value
                                   : arith::BitcastOp::create(b, loc, type, value).getResult();
  }
  Value word =
      loadStorage(b, loc, binding, arith::ShRUIOp::create(b, loc, element, i32(b, loc, shift)));
  Value lane = arith::AndIOp::create(b, loc, element, i32(b, loc, (1 << shift) - 1));
  Value at = mul(b, loc, lane, i32(b, loc, bits));
  if (isa<FloatType>(stored) || type.isF32())
    return unpackToFloatAt(b, loc, word, at, stored);
  // Sign- or zero-extend a byte: move it to the top, then back.
  Value up = arith::SubIOp::create(b, loc, i32(b, loc, 32 - bits), at);
  Value top = arith::ShLIOp::create(b, loc, word, up);
  if (stored.isUnsignedInteger())
    return arith::ShRUIOp::create(b, loc, top, i32(b, loc, 32 - bits));
  return arith::ShRSIOp::create(b, loc, top, i32(b, loc, 32 - bits));
}

Value KernelBuffers::tableElement(OpBuilder &b, Location loc, int64_t binding, ValueRange indices,
                                  Type type) {
  // Stride words hold the extents from the outermost; of rank 4 the outermost
  // is not known, and only its lower bound is kept.
  int64_t rank = indices.size(), unknown = rank > 3 ? rank - 3 : 0;
  Value zero = i32(b, loc, 0), at;
  for (int64_t i = 0; i < rank; ++i) {
    Value index = arith::MaxSIOp::create(b, loc, indices[i], zero);
    if (i < unknown) {
      at = index;
      continue;
    }
    Value extent = strideWord(binding, i - unknown);
    Value last = arith::SubIOp::create(b, loc, extent, i32(b, loc, 1));
    index = arith::MinSIOp::create(b, loc, index, last);
    at = at ? add(b, loc, mul(b, loc, at, extent), index) : index;
  }
  at = at ? at : zero;
  return loadElement(b, loc, binding, add(b, loc, at, strideWord(binding, 3)), type);
}
