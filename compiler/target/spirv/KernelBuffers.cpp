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

BufferForm mlir::attn::bufferForm(tile::KernelOp kernel, tile::BindingAttr binding,
                                  const SpirvTier &tier) {
  MLIRContext *context = binding.getContext();
  Type type = binding.getElementType(), word = IntegerType::get(context, 32);
  tile::Role role = binding.getRole();
  auto vector = [](int64_t count, Type element) -> Type { return VectorType::get(count, element); };
  int64_t dim = role == tile::Role::q || role == tile::Role::k   ? kernel.getQkDim()
                : role == tile::Role::v || role == tile::Role::o ? kernel.getVDim()
                                                                 : 1;
  int64_t packed = int64_t(1) << packingShift(type);
  // Log-sum-exps are read and stored as bits, so that -inf survives drivers that
  // assume finite arithmetic.
  bool mayBeInfinite = role == tile::Role::lse || role == tile::Role::part_lse;
  if (dim == 1)
    return {type.isF32() && !mayBeInfinite ? type : word, packed, packed > 1};
  bool fours = dim % 4 == 0;
  switch (type.getIntOrFloatBitWidth()) {
  case 8: // four to a word already; more at once makes drivers compile for seconds
    return {word, 4, true};
  case 16:
    if (tier.narrowStorage) {
      Type half = IntegerType::get(context, 16);
      return fours ? BufferForm{vector(4, half), 4, false} : BufferForm{half, 1, false};
    }
    return fours ? BufferForm{vector(2, word), 4, true} : BufferForm{word, 2, true};
  default:
    return fours ? BufferForm{vector(4, type), 4, false} : BufferForm{type, 1, false};
  }
}

static bool isPerKvHead(tile::Role role) {
  return role == tile::Role::k || role == tile::Role::v || role == tile::Role::k_scale ||
         role == tile::Role::v_scale;
}

KernelBuffers::KernelBuffers(tile::KernelOp kernel, const SpirvTier &tier, gpu::GPUFuncOp func,
                             Value head, Value batch)
    : kernel(kernel), func(func), headIndex(head), batchIndex(batch) {
  // Everything that serves the whole kernel is read here, before any loop.
  OpBuilder b = OpBuilder::atBlockEnd(&func.getBody().front());
  Location loc = kernel.getLoc();
  int64_t bindings = kernel.getBindings().size(), params = kernel.getParams().size();
  for (auto binding : kernel.getBindings().getAsRange<tile::BindingAttr>())
    forms.push_back(bufferForm(kernel, binding, tier));
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

Value KernelBuffers::accessIndex(OpBuilder &b, Location loc, int64_t binding, Value element,
                                 int64_t offset) {
  int64_t shift = llvm::Log2_64(forms[binding].elements);
  Value first =
      shift ? Value(arith::ShRUIOp::create(b, loc, element, i32(b, loc, shift))) : element;
  return offset ? add(b, loc, first, i32(b, loc, offset >> shift)) : first;
}

// The scalars of an access.
static SmallVector<Value> scalarsOf(OpBuilder &b, Location loc, Value access) {
  auto type = dyn_cast<VectorType>(access.getType());
  if (!type)
    return {access};
  SmallVector<Value> scalars;
  for (int64_t i = 0; i < type.getNumElements(); ++i)
    scalars.push_back(vector::ExtractOp::create(b, loc, access, i));
  return scalars;
}

SmallVector<Value> KernelBuffers::loadWords(OpBuilder &b, Location loc, int64_t binding,
                                            Value element, int64_t width) {
  SmallVector<Value> words;
  for (int64_t i = 0; i < width; i += perAccess(binding))
    llvm::append_range(words, scalarsOf(b, loc,
                                        loadStorage(b, loc, binding,
                                                    accessIndex(b, loc, binding, element, i))));
  return words;
}

// An access as f32, a scalar or vector: conversion of whole vectors where the
// device has the type, else of each packed element.
static Value accessToFloat(OpBuilder &b, Location loc, Value access, const BufferForm &form,
                           Type type) {
  if (type.isF32())
    return access;
  if (!form.isPacked) // halves as i16
    return halfBitsToFloat(b, loc, access, type);
  SmallVector<Value> elements;
  for (Value word : scalarsOf(b, loc, access))
    for (int64_t lane = 0; lane < int64_t(1) << packingShift(type); ++lane)
      elements.push_back(unpackToFloat(b, loc, word, lane, type));
  return vector::FromElementsOp::create(
      b, loc, VectorType::get(int64_t(elements.size()), b.getF32Type()), elements);
}

Value KernelBuffers::load(OpBuilder &b, Location loc, int64_t binding, Value element,
                          int64_t width) {
  const BufferForm &form = forms[binding];
  assert(width % form.elements == 0 && "a piece begins and ends on an access");
  SmallVector<Value> elements;
  for (int64_t i = 0; i < width; i += form.elements) {
    Value access = loadStorage(b, loc, binding, accessIndex(b, loc, binding, element, i));
    Value numbers =
        accessToFloat(b, loc, access, form, this->binding(binding).getElementType());
    if (width == form.elements)
      return numbers;
    llvm::append_range(elements, scalarsOf(b, loc, numbers));
  }
  return vector::FromElementsOp::create(b, loc, VectorType::get(width, b.getF32Type()), elements);
}

void KernelBuffers::store(OpBuilder &b, Location loc, int64_t binding, Value element, Value value) {
  Type type = this->binding(binding).getElementType();
  const BufferForm &form = forms[binding];
  auto accessVector = dyn_cast<VectorType>(form.access);
  Type scalar = accessVector ? accessVector.getElementType() : form.access;
  SmallVector<Value> numbers = scalarsOf(b, loc, value);
  for (int64_t i = 0; i < int64_t(numbers.size()); i += form.elements) {
    SmallVector<Value> stored;
    for (int64_t j = i; j < i + form.elements; ++j) {
      Value bits = numbers[j];
      if (type.getIntOrFloatBitWidth() == 16) {
        bits = roundToHalfBits(b, loc, bits, type);
        if (form.isPacked) {
          Value high = roundToHalfBits(b, loc, numbers[++j], type);
          Value up = arith::ShLIOp::create(b, loc, high, i32(b, loc, 16));
          bits = arith::OrIOp::create(b, loc, bits, up);
        } else {
          bits = arith::TruncIOp::create(b, loc, scalar, bits);
        }
      } else if (bits.getType() != scalar) {
        bits = arith::BitcastOp::create(b, loc, scalar, bits);
      }
      stored.push_back(bits);
    }
    Value access = accessVector
                       ? vector::FromElementsOp::create(b, loc, accessVector, stored).getResult()
                       : stored.front();
    Value index = arith::IndexCastOp::create(b, loc, b.getIndexType(),
                                             accessIndex(b, loc, binding, element, i));
    memref::StoreOp::create(b, loc, access, func.getArgument(1 + binding), index);
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
  int64_t rank = indices.size();
  Value zero = i32(b, loc, 0), at;
  for (int64_t i = 0; i < rank; ++i) {
    Value extent = strideWord(binding, i);
    Value last = arith::SubIOp::create(b, loc, extent, i32(b, loc, 1));
    Value index = arith::MinSIOp::create(b, loc, arith::MaxSIOp::create(b, loc, indices[i], zero), last);
    at = at ? add(b, loc, mul(b, loc, at, extent), index) : index;
  }
  at = at ? at : zero;
  if (rank < 4)
    at = add(b, loc, at, strideWord(binding, 3));
  return loadElement(b, loc, binding, at, type);
}
