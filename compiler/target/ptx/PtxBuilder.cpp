// Builds arith, llvm and nvvm ops; see PtxBuilder.h.
#include "compiler/target/ptx/PtxBuilder.h"

#include "mlir/Dialect/Math/IR/Math.h"

using namespace mlir;
using namespace mlir::attn;

Value PtxBuilder::f32(double v) {
  return arith::ConstantOp::create(*this, loc, getF32FloatAttr(static_cast<float>(v)));
}

Value PtxBuilder::f32Bits(uint32_t bits) {
  return bitcast(i32(static_cast<int32_t>(bits)), getF32Type());
}

Value PtxBuilder::fma(Value a, Value b, Value c) {
  return math::FmaOp::create(*this, loc, a, b, c);
}

Value PtxBuilder::intrinsic(StringRef name, Type type, ValueRange args) {
  return LLVM::CallIntrinsicOp::create(*this, loc, type, getStringAttr(name), args).getResult(0);
}

Value PtxBuilder::exp2(Value a) {
  return intrinsic("llvm.nvvm.ex2.approx.ftz.f32", getF32Type(), a);
}

Value PtxBuilder::log2(Value a) { return intrinsic("llvm.nvvm.lg2.approx.ftz.f", getF32Type(), a); }

Value PtxBuilder::pack2(Value low, Value high, Type element) {
  // The instruction's first operand is the high half.
  StringRef name = element.isBF16() ? "llvm.nvvm.ff2bf16x2.rn" : "llvm.nvvm.ff2f16x2.rn";
  Value pair = intrinsic(name, VectorType::get(2, element), {high, low});
  return bitcast(pair, getI32Type());
}

Value PtxBuilder::offset(Value pointer, Value bytes) {
  return LLVM::GEPOp::create(*this, loc, pointer.getType(), getI8Type(), pointer,
                             ArrayRef<LLVM::GEPArg>{bytes});
}

Value PtxBuilder::load(Value pointer, Type type, unsigned align, bool invariant) {
  return LLVM::LoadOp::create(*this, loc, type, pointer, align, /*isVolatile=*/false,
                              /*isNonTemporal=*/false, invariant);
}

void PtxBuilder::store(Value value, Value pointer, unsigned align) {
  LLVM::StoreOp::create(*this, loc, value, pointer, align);
}

Value PtxBuilder::shuffleXor(Value v, int lanes) {
  return NVVM::ShflOp::create(*this, loc, v.getType(), i32(-1), v, i32(lanes), i32(31),
                              NVVM::ShflKind::bfly, UnitAttr());
}

void PtxBuilder::copyAsync(Value shared, Value global, int bytes, Value valid) {
  // Only 16-byte copies can bypass L1.
  auto cache = bytes == 16 ? NVVM::LoadCacheModifierKind::CG : NVVM::LoadCacheModifierKind::CA;
  NVVM::CpAsyncOp::create(*this, loc, shared, global, bytes, cache, valid);
}

SmallVector<Value> PtxBuilder::ldmatrix(Value shared, bool transposed) {
  Type word = getI32Type();
  auto type = LLVM::LLVMStructType::getLiteral(getContext(), {word, word, word, word});
  auto shape = NVVM::LdStMatrixShapeAttr::get(getContext(), 8, 8);
  Value loaded = NVVM::LdMatrixOp::create(*this, loc, type, shared, 4,
                                          transposed ? NVVM::MMALayout::col : NVVM::MMALayout::row,
                                          shape, NVVM::LdStMatrixEltType::B16);
  SmallVector<Value> words;
  for (int i = 0; i < 4; ++i)
    words.push_back(LLVM::ExtractValueOp::create(*this, loc, loaded, i));
  return words;
}

SmallVector<Value> PtxBuilder::mma(MmaKind kind, ValueRange a, ValueRange b, ValueRange acc) {
  int64_t k = kind == MmaKind::s8 ? 32 : kind == MmaKind::tf32 ? 8 : 16;
  NVVM::MMATypes type = kind == MmaKind::s8     ? NVVM::MMATypes::s8
                        : kind == MmaKind::tf32 ? NVVM::MMATypes::tf32
                        : kind == MmaKind::bf16 ? NVVM::MMATypes::bf16
                                                : NVVM::MMATypes::f16;
  Type accType = kind == MmaKind::s8 ? Type(getI32Type()) : Type(getF32Type());
  auto resultType = LLVM::LLVMStructType::getLiteral(getContext(), SmallVector<Type>(4, accType));
  auto operands = [&](ValueRange words) {
    SmallVector<Value> cast(words);
    if (kind == MmaKind::f16) // the only kind whose op wants vectors
      for (Value &word : cast)
        word = bitcast(word, VectorType::get(2, getF16Type()));
    return cast;
  };
  std::optional<NVVM::MMAIntOverflow> overflow;
  if (kind == MmaKind::s8)
    overflow = NVVM::MMAIntOverflow::wrapped;
  Value result = NVVM::MmaOp::create(
      *this, loc, resultType, operands(a), operands(b), acc, ArrayRef<int64_t>{16, 8, k},
      std::nullopt, overflow, std::array<NVVM::MMATypes, 2>{type, type},
      std::array<NVVM::MMALayout, 2>{NVVM::MMALayout::row, NVVM::MMALayout::col});
  SmallVector<Value> values;
  for (int i = 0; i < 4; ++i)
    values.push_back(LLVM::ExtractValueOp::create(*this, loc, result, i));
  return values;
}

Value PtxBuilder::toTf32(Value v) { return intrinsic("llvm.nvvm.f2tf32.rna", getI32Type(), v); }
