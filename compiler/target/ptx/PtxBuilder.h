// Builds the scalar and warp-level ops that PTX kernels are made of. Takes an
// insertion point, leaves arith, llvm and nvvm ops there.
#pragma once

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/IR/Builders.h"

namespace mlir::attn {

/// Tensor-core instructions of the sm_80 path; every k step is 32 bytes of a row.
enum class MmaKind { f16, bf16, tf32, s8 };

class PtxBuilder : public OpBuilder {
public:
  PtxBuilder(const OpBuilder &builder, Location loc) : OpBuilder(builder), loc(loc) {}
  Location loc;

  // Constants.
  Value i1(bool v) { return arith::ConstantIntOp::create(*this, loc, v, 1); }
  Value i32(int64_t v) { return arith::ConstantIntOp::create(*this, loc, v, 32); }
  Value i64(int64_t v) { return arith::ConstantIntOp::create(*this, loc, v, 64); }
  Value f32(double v);
  /// The f32 with these bits (an infinity never appears as a float constant).
  Value f32Bits(uint32_t bits);

  // Integers.
  Value add(Value a, Value b) { return createOrFold<arith::AddIOp>(loc, a, b); }
  Value add(Value a, int64_t b) { return b == 0 ? a : add(a, i32(b)); }
  Value sub(Value a, Value b) { return createOrFold<arith::SubIOp>(loc, a, b); }
  Value mul(Value a, Value b) { return createOrFold<arith::MulIOp>(loc, a, b); }
  Value mul(Value a, int64_t b) { return mul(a, i32(b)); }
  Value divU(Value a, Value b) { return createOrFold<arith::DivUIOp>(loc, a, b); }
  Value divU(Value a, int64_t b) { return divU(a, i32(b)); }
  Value remU(Value a, int64_t b) { return createOrFold<arith::RemUIOp>(loc, a, i32(b)); }
  Value andI(Value a, Value b) { return createOrFold<arith::AndIOp>(loc, a, b); }
  Value andI(Value a, int64_t b) { return andI(a, i32(b)); }
  Value orI(Value a, Value b) { return createOrFold<arith::OrIOp>(loc, a, b); }
  Value xorI(Value a, Value b) { return createOrFold<arith::XOrIOp>(loc, a, b); }
  Value xorI(Value a, int64_t b) { return b == 0 ? a : xorI(a, i32(b)); }
  Value shl(Value a, int64_t b) { return createOrFold<arith::ShLIOp>(loc, a, i32(b)); }
  Value shrU(Value a, int64_t b) { return createOrFold<arith::ShRUIOp>(loc, a, i32(b)); }
  Value minS(Value a, Value b) { return arith::MinSIOp::create(*this, loc, a, b); }
  Value maxS(Value a, Value b) { return arith::MaxSIOp::create(*this, loc, a, b); }
  Value cmp(arith::CmpIPredicate pred, Value a, Value b) {
    return arith::CmpIOp::create(*this, loc, pred, a, b);
  }
  Value lessS(Value a, Value b) { return cmp(arith::CmpIPredicate::slt, a, b); }
  Value equal(Value a, Value b) { return cmp(arith::CmpIPredicate::eq, a, b); }
  Value select(Value c, Value a, Value b) { return arith::SelectOp::create(*this, loc, c, a, b); }
  /// Widens an i32 as unsigned.
  Value wide(Value a) { return createOrFold<arith::ExtUIOp>(loc, getI64Type(), a); }

  // Floats.
  Value fadd(Value a, Value b) { return arith::AddFOp::create(*this, loc, a, b); }
  Value fsub(Value a, Value b) { return arith::SubFOp::create(*this, loc, a, b); }
  Value fmul(Value a, Value b) { return arith::MulFOp::create(*this, loc, a, b); }
  Value fdiv(Value a, Value b) { return arith::DivFOp::create(*this, loc, a, b); }
  /// Of a number and a NaN it is the number.
  Value fmax(Value a, Value b) { return arith::MaxNumFOp::create(*this, loc, a, b); }
  /// The larger of |a| and b >= 0, as bits, whose order puts NaN above all numbers.
  Value maxMagnitude(Value a, Value b) {
    Value x = bitcast(math::AbsFOp::create(*this, loc, a), getI32Type());
    return bitcast(maxS(x, bitcast(b, getI32Type())), getF32Type());
  }
  /// At least `low`; NaN stays NaN.
  Value atLeast(Value v, double low) {
    Value below = arith::CmpFOp::create(*this, loc, arith::CmpFPredicate::OLT, v, f32(low));
    return select(below, f32(low), v);
  }
  Value fma(Value a, Value b, Value c);
  Value fneg(Value a) { return arith::NegFOp::create(*this, loc, a); }
  Value exp2(Value a); ///< ex2.approx.ftz
  Value log2(Value a); ///< lg2.approx.ftz
  Value intrinsic(StringRef name, Type type, ValueRange args);
  Value bitcast(Value a, Type type) { return LLVM::BitcastOp::create(*this, loc, type, a); }
  /// Two f32 rounded to nearest even as bf16 or f16; `low` in the low half.
  Value pack2(Value low, Value high, Type element);

  // Memory. Offsets are bytes.
  Type ptr(unsigned space) { return LLVM::LLVMPointerType::get(getContext(), space); }
  Value offset(Value pointer, Value bytes);
  Value load(Value pointer, Type type, unsigned align, bool invariant = false);
  void store(Value value, Value pointer, unsigned align);

  // Threads, warps and asynchronous copies.
  Value threadId() { return NVVM::ThreadIdXOp::create(*this, loc, getI32Type()); }
  void barrier() { NVVM::BarrierOp::create(*this, loc); }
  void warpSync() { NVVM::SyncWarpOp::create(*this, loc, i32(-1)); }
  Value shuffleXor(Value v, int lanes);
  /// Copies `bytes` (4 or 16) from global to shared memory; with `valid`, only the
  /// first `valid` of them (0 or all), and the rest becomes zero.
  void copyAsync(Value shared, Value global, int bytes, Value valid = {});
  void commitCopies() { NVVM::CpAsyncCommitGroupOp::create(*this, loc); }
  void waitCopies(int pending) { NVVM::CpAsyncWaitGroupOp::create(*this, loc, pending); }

  // Tensor cores.
  /// Four 8x8 matrices of 16-bit elements (or 8 rows of 16 bytes of any type).
  SmallVector<Value> ldmatrix(Value shared, bool transposed);
  /// acc + A * B for one m16n8 tile; operands are i32 words, acc 4 values.
  SmallVector<Value> mma(MmaKind kind, ValueRange a, ValueRange b, ValueRange acc);
  /// The tf32 nearest to `v`, as i32 bits.
  Value toTf32(Value v);
};

} // namespace mlir::attn
