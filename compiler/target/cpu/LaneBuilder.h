// Emits rank-1 vector code over lanes of query rows: constants, address
// arithmetic, memory, loops and the few functions that softmax needs.
#pragma once

#include "compiler/target/cpu/CpuArch.h"

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinTypes.h"

#include <functional>

namespace mlir::attn {

class LaneBuilder {
public:
  LaneBuilder(OpBuilder &builder, Location loc, const CpuArch &arch)
      : builder(builder), loc(loc), arch(arch) {}

  OpBuilder &builder;
  Location loc;
  const CpuArch &arch;

  // Types.
  Type i8() { return builder.getI8Type(); }
  Type i32() { return builder.getI32Type(); }
  Type f32() { return builder.getF32Type(); }
  VectorType lanes(Type element) { return VectorType::get(arch.width, element); }
  Type pointer() { return LLVM::LLVMPointerType::get(builder.getContext()); }

  // Constants.
  Value constI64(int64_t value);
  Value constI32(int64_t value);
  Value constF32(double value);
  Value splatF32(double value);
  Value splatI32(int64_t value);

  // i64 index arithmetic.
  Value add(Value a, Value b);
  Value add(Value a, int64_t b) { return b ? add(a, constI64(b)) : a; }
  Value sub(Value a, Value b);
  Value mul(Value a, Value b);
  Value mul(Value a, int64_t b) { return b == 1 ? a : mul(a, constI64(b)); }
  Value min(Value a, Value b);
  Value less(Value a, Value b);
  /// The smallest multiple of `unit` (a power of two) that is at least `a`.
  Value roundUp(Value a, int64_t unit);
  /// An i32 that is never negative, as i64.
  Value widen(Value i32);
  Value narrow(Value i64);

  // Memory; indices count elements of `element`.
  Value address(Value base, Type element, Value index);
  Value address(Value base, Type element, int64_t index);
  Value load(Type type, Value address, unsigned alignment = 0, bool invariant = false);
  void store(Value value, Value address, unsigned alignment = 0);

  // Lanes.
  Value splat(Value scalar);
  Value bitcast(Value vector, Type element);
  Value addF(Value a, Value b);
  Value subF(Value a, Value b);
  Value mulF(Value a, Value b);
  Value divF(Value a, Value b);
  Value fma(Value a, Value b, Value c);
  /// a > b ? a : b; one vmaxps, and a NaN in `a` gives b.
  Value maxF(Value a, Value b);
  /// The larger of |a| and b >= 0, as bits, whose order puts NaN above all numbers:
  /// one NaN among many shows in their maximum.
  Value maxMagnitude(Value a, Value b);
  Value select(Value condition, Value a, Value b);
  /// 2^x for x <= 0, exactly 1 at 0 and exactly 0 below -127; within 1e-7, or
  /// 1e-4 where `coarse`, for what is rounded to bf16 next. NaN gives NaN.
  Value exp2(Value x, bool coarse = false);
  Value call(Type result, StringRef intrinsic, ValueRange operands);

  /// Any of f32, f16, bf16, i8 and i32 as f32 (scalar or vector), exactly.
  Value toF32(Value value);
  /// f32 rounded to nearest even in `element` (f32, f16 or bf16).
  Value fromF32(Value value, Type element);

  Value shuffle(Value a, Value b, ArrayRef<int64_t> lanes);
  /// The largest lane in every lane.
  Value laneMax(Value x);
  Value laneMaxMagnitude(Value x);
  /// The sum of all lanes in every lane.
  Value laneSum(Value x);
  /// Lane i holds the sum over the lanes of rows[i]; there are as many rows as lanes.
  Value rowSums(SmallVector<Value> rows);

  /// Transposes width x width lanes.
  SmallVector<Value> transpose(SmallVector<Value> rows);

  /// for (i = begin; i < end; i += step) with loop-carried values.
  SmallVector<Value>
  loop(Value begin, Value end, int64_t step, ValueRange state,
       llvm::function_ref<SmallVector<Value>(Value index, ValueRange state)> body);
  void loop(Value begin, Value end, int64_t step, llvm::function_ref<void(Value index)> body);
  void ifThen(Value condition, llvm::function_ref<void()> body);
};

} // namespace mlir::attn
