// Emission of single operations; nothing here knows about attention.
#include "compiler/target/cpu/LaneBuilder.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace mlir::attn;

//===-- Constants and indices -----------------------------------------------===//

Value LaneBuilder::constI64(int64_t value) {
  return arith::ConstantIntOp::create(builder, loc, value, 64);
}
Value LaneBuilder::constI32(int64_t value) {
  return arith::ConstantIntOp::create(builder, loc, value, 32);
}
Value LaneBuilder::constF32(double value) {
  return arith::ConstantFloatOp::create(builder, loc, builder.getF32Type(),
                                        llvm::APFloat(float(value)));
}
Value LaneBuilder::splatF32(double value) {
  return arith::ConstantOp::create(builder, loc,
                                   DenseElementsAttr::get(lanes(f32()), float(value)));
}
Value LaneBuilder::splatI32(int64_t value) {
  return arith::ConstantOp::create(builder, loc,
                                   DenseElementsAttr::get(lanes(i32()), int32_t(value)));
}

Value LaneBuilder::add(Value a, Value b) { return builder.createOrFold<arith::AddIOp>(loc, a, b); }
Value LaneBuilder::sub(Value a, Value b) { return builder.createOrFold<arith::SubIOp>(loc, a, b); }
Value LaneBuilder::mul(Value a, Value b) { return builder.createOrFold<arith::MulIOp>(loc, a, b); }
Value LaneBuilder::min(Value a, Value b) { return builder.createOrFold<arith::MinSIOp>(loc, a, b); }
Value LaneBuilder::less(Value a, Value b) {
  return builder.createOrFold<arith::CmpIOp>(loc, arith::CmpIPredicate::slt, a, b);
}
Value LaneBuilder::roundUp(Value a, int64_t unit) {
  return builder.createOrFold<arith::AndIOp>(loc, add(a, unit - 1), constI64(-unit));
}
Value LaneBuilder::widen(Value value) {
  return builder.createOrFold<arith::ExtUIOp>(loc, builder.getI64Type(), value);
}
Value LaneBuilder::narrow(Value value) {
  return builder.createOrFold<arith::TruncIOp>(loc, i32(), value);
}

//===-- Memory ---------------------------------------------------------------===//

Value LaneBuilder::address(Value base, Type element, Value index) {
  return LLVM::GEPOp::create(builder, loc, pointer(), element, base, ValueRange{index});
}
Value LaneBuilder::address(Value base, Type element, int64_t index) {
  if (index == 0)
    return base;
  return LLVM::GEPOp::create(builder, loc, pointer(), element, base,
                             ArrayRef<LLVM::GEPArg>{LLVM::GEPArg(int32_t(index))});
}
Value LaneBuilder::load(Type type, Value address, unsigned alignment, bool invariant) {
  if (alignment == 0)
    alignment = std::max(1u, getElementTypeOrSelf(type).getIntOrFloatBitWidth() / 8);
  return LLVM::LoadOp::create(builder, loc, type, address, alignment, /*isVolatile=*/false,
                              /*isNonTemporal=*/false, invariant);
}
void LaneBuilder::store(Value value, Value address, unsigned alignment) {
  if (alignment == 0)
    alignment = std::max(1u, getElementTypeOrSelf(value.getType()).getIntOrFloatBitWidth() / 8);
  LLVM::StoreOp::create(builder, loc, value, address, alignment);
}

//===-- Lanes ----------------------------------------------------------------===//

Value LaneBuilder::splat(Value scalar) {
  return vector::BroadcastOp::create(builder, loc, lanes(scalar.getType()), scalar);
}
Value LaneBuilder::bitcast(Value vector, Type element) {
  auto type = cast<VectorType>(vector.getType());
  int64_t bits = type.getNumElements() * type.getElementTypeBitWidth();
  return vector::BitCastOp::create(
      builder, loc, VectorType::get(bits / element.getIntOrFloatBitWidth(), element), vector);
}
Value LaneBuilder::addF(Value a, Value b) { return arith::AddFOp::create(builder, loc, a, b); }
Value LaneBuilder::subF(Value a, Value b) { return arith::SubFOp::create(builder, loc, a, b); }
Value LaneBuilder::mulF(Value a, Value b) { return arith::MulFOp::create(builder, loc, a, b); }
Value LaneBuilder::divF(Value a, Value b) { return arith::DivFOp::create(builder, loc, a, b); }
Value LaneBuilder::fma(Value a, Value b, Value c) {
  return vector::FMAOp::create(builder, loc, a, b, c);
}
Value LaneBuilder::maxF(Value a, Value b) {
  return select(arith::CmpFOp::create(builder, loc, arith::CmpFPredicate::OGT, a, b), a, b);
}
Value LaneBuilder::maxMagnitude(Value a, Value b) {
  Value x = bitcast(math::AbsFOp::create(builder, loc, a), i32()), y = bitcast(b, i32());
  return bitcast(arith::MaxSIOp::create(builder, loc, x, y), f32());
}
Value LaneBuilder::select(Value condition, Value a, Value b) {
  return arith::SelectOp::create(builder, loc, condition, a, b);
}
Value LaneBuilder::call(Type result, StringRef intrinsic, ValueRange operands) {
  return LLVM::CallIntrinsicOp::create(builder, loc, result, builder.getStringAttr(intrinsic),
                                       operands)
      .getResult(0);
}

// Minimax polynomials for 2^x whose constant term is exactly 1: a
// factor of 1.0000001 on the running sum would grow with every block of keys.
static constexpr double kExp2Unit[] = {6.931512952e-01, 2.401644439e-01, 5.579991266e-02,
                                       9.017030708e-03, 1.867130050e-03}; // [0, 1), 8.3e-8
static constexpr double kExp2Coarse[] = {6.951168150e-01, 2.276448641e-01,
                                         7.706715866e-02}; // [0, 1), 8.6e-5
static constexpr double kExp2Centred[] = {6.931470037e-01, 2.402224243e-01, 5.550733581e-02,
                                          9.671512991e-03, 1.326472731e-03}; // [-.5, .5], 9.2e-8

static Value polynomial(LaneBuilder &b, ArrayRef<double> coefficients, Value x) {
  Value p = b.splatF32(coefficients.back());
  for (double c : llvm::reverse(coefficients.drop_back()))
    p = b.fma(p, x, b.splatF32(c));
  return b.fma(p, x, b.splatF32(1.0));
}

Value LaneBuilder::exp2(Value x, bool coarse) {
  Type type = lanes(f32());
  if (arch.scalef) {
    // x = floor(x) + f; vscalefps multiplies by 2^floor(x) and underflows to 0.
    Value all =
        LLVM::ConstantOp::create(builder, loc, builder.getI16Type(), builder.getI16IntegerAttr(-1));
    Value current = constI32(4), floor = constI32(9);
    Value f = call(type, "llvm.x86.avx512.mask.reduce.ps.512", {x, floor, x, all, current});
    Value p = polynomial(*this, coarse ? ArrayRef(kExp2Coarse) : ArrayRef(kExp2Unit), f);
    return call(type, "llvm.x86.avx512.mask.scalef.ps.512", {p, x, p, all, current});
  }
  // Adding 1.5 * 2^23 + 127 leaves round(x) + 127 in the low bits; shifted, they are
  // 2^round(x), and 0 at -127. A product, not a sum of exponents, keeps every NaN.
  Value magic = splatF32(12582912.0 + 127);
  x = maxF(splatF32(-127.0), x);
  Value shifted = addF(x, magic);
  Value f = subF(x, subF(shifted, magic));
  Value p = polynomial(*this, kExp2Centred, f);
  Value power = arith::ShLIOp::create(builder, loc, bitcast(shifted, i32()), splatI32(23));
  return mulF(p, bitcast(power, f32()));
}

static Type likeType(Value value, Type element) {
  if (auto type = dyn_cast<VectorType>(value.getType()))
    return VectorType::get(type.getShape(), element);
  return element;
}

// bf16 widens by a shift, which every ISA has.
Value LaneBuilder::toF32(Value value) {
  Type element = getElementTypeOrSelf(value.getType()), to = likeType(value, f32());
  if (element.isF32())
    return value;
  if (isa<IntegerType>(element))
    return arith::SIToFPOp::create(builder, loc, to, value);
  if (element.isF16())
    return arith::ExtFOp::create(builder, loc, to, value);
  Value bits = arith::BitcastOp::create(builder, loc, likeType(value, builder.getI16Type()), value);
  Type wide = likeType(value, i32());
  bits = arith::ExtUIOp::create(builder, loc, wide, bits);
  Value sixteen = arith::ConstantOp::create(
      builder, loc,
      isa<VectorType>(wide) ? TypedAttr(DenseElementsAttr::get(cast<VectorType>(wide), 16))
                            : TypedAttr(builder.getI32IntegerAttr(16)));
  bits = arith::ShLIOp::create(builder, loc, bits, sixteen);
  return arith::BitcastOp::create(builder, loc, to, bits);
}

// f32 -> bf16 in integers: LLVM would call a library function where the ISA has
// no conversion. A NaN stays a NaN.
Value LaneBuilder::fromF32(Value value, Type element) {
  if (element.isF32())
    return value;
  if (element.isF16())
    return arith::TruncFOp::create(builder, loc, likeType(value, element), value);
  Type wide = likeType(value, i32());
  auto constant = [&](int64_t c) -> Value {
    if (auto vector = dyn_cast<VectorType>(wide))
      return arith::ConstantOp::create(builder, loc, DenseElementsAttr::get(vector, int32_t(c)));
    return constI32(c);
  };
  Value bits = arith::BitcastOp::create(builder, loc, wide, value);
  Value high = arith::ShRUIOp::create(builder, loc, bits, constant(16));
  Value odd = arith::AndIOp::create(builder, loc, high, constant(1));
  Value rounded = arith::AddIOp::create(
      builder, loc, arith::AddIOp::create(builder, loc, bits, constant(0x7fff)), odd);
  rounded = arith::ShRUIOp::create(builder, loc, rounded, constant(16));
  Value isNan = arith::CmpFOp::create(builder, loc, arith::CmpFPredicate::UNO, value, value);
  rounded = select(isNan, constant(0x7fc0), rounded);
  Value half =
      arith::TruncIOp::create(builder, loc, likeType(value, builder.getI16Type()), rounded);
  return arith::BitcastOp::create(builder, loc, likeType(value, element), half);
}

// Exchanges blocks of 1, 2, 4, ... lanes between pairs of rows.
SmallVector<Value> LaneBuilder::transpose(SmallVector<Value> rows) {
  int64_t width = arch.width;
  for (int64_t block = 1; block < width; block *= 2) {
    SmallVector<int64_t> low, high;
    for (int64_t lane = 0; lane < width; ++lane) {
      bool odd = lane & block;
      low.push_back(odd ? width + lane - block : lane);
      high.push_back(odd ? width + lane : lane + block);
    }
    for (int64_t i = 0; i < width; ++i) {
      if (i & block)
        continue;
      Value a = rows[i], b = rows[i + block];
      rows[i] = vector::ShuffleOp::create(builder, loc, a, b, low);
      rows[i + block] = vector::ShuffleOp::create(builder, loc, a, b, high);
    }
  }
  return rows;
}

Value LaneBuilder::shuffle(Value a, Value b, ArrayRef<int64_t> lanes) {
  return vector::ShuffleOp::create(builder, loc, a, b, lanes);
}

// Combines each lane with the one `distance` away, for all powers of two.
static Value butterfly(LaneBuilder &b, Value x, llvm::function_ref<Value(Value, Value)> combine) {
  for (int64_t distance = b.arch.width / 2; distance > 0; distance /= 2) {
    SmallVector<int64_t> lanes;
    for (int64_t lane = 0; lane < b.arch.width; ++lane)
      lanes.push_back(lane ^ distance);
    x = combine(x, b.shuffle(x, x, lanes));
  }
  return x;
}

Value LaneBuilder::laneMax(Value x) {
  return butterfly(*this, x, [&](Value a, Value b) { return maxF(a, b); });
}
Value LaneBuilder::laneMaxMagnitude(Value x) {
  return butterfly(*this, x, [&](Value a, Value b) { return maxMagnitude(a, b); });
}
Value LaneBuilder::laneSum(Value x) {
  return butterfly(*this, x, [&](Value a, Value b) { return addF(a, b); });
}

// Adds pairs of rows until one is left: first within each four lanes, where
// shuffles are cheap, then whole fours.
Value LaneBuilder::rowSums(SmallVector<Value> rows) {
  int64_t width = arch.width;
  auto add = [&](Value a, Value b) -> Value {
    if (isa<IntegerType>(getElementTypeOrSelf(a.getType())))
      return arith::AddIOp::create(builder, loc, a, b);
    return addF(a, b);
  };
  auto halve = [&](llvm::function_ref<int64_t(int64_t lane, bool second)> from) {
    SmallVector<int64_t> first, second;
    for (int64_t lane = 0; lane < width; ++lane) {
      first.push_back(from(lane, false));
      second.push_back(from(lane, true));
    }
    SmallVector<Value> sums;
    for (size_t i = 0; i + 1 < rows.size(); i += 2)
      sums.push_back(
          add(shuffle(rows[i], rows[i + 1], first), shuffle(rows[i], rows[i + 1], second)));
    rows = sums;
  };
  // a0 b0 a1 b1 and a2 b2 a3 b3; then x0 x1 y0 y1 and x2 x3 y2 y3.
  halve([&](int64_t lane, bool second) {
    return lane / 4 * 4 + lane % 4 / 2 + 2 * second + (lane % 2) * width;
  });
  halve([&](int64_t lane, bool second) {
    return lane / 4 * 4 + lane % 2 + 2 * second + (lane % 4 / 2) * width;
  });
  while (rows.size() > 1)
    halve([&](int64_t lane, bool second) { return (2 * (lane / 4) + second) * 4 + lane % 4; });
  return rows[0];
}

//===-- Control ----------------------------------------------------------------===//

SmallVector<Value>
LaneBuilder::loop(Value begin, Value end, int64_t step, ValueRange state,
                  llvm::function_ref<SmallVector<Value>(Value, ValueRange)> body) {
  auto forOp = scf::ForOp::create(builder, loc, begin, end, constI64(step), state);
  OpBuilder::InsertionGuard guard(builder);
  if (state.empty()) {
    builder.setInsertionPointToStart(forOp.getBody());
    body(forOp.getInductionVar(), {});
  } else {
    builder.setInsertionPointToEnd(forOp.getBody());
    SmallVector<Value> next = body(forOp.getInductionVar(), forOp.getRegionIterArgs());
    scf::YieldOp::create(builder, loc, next);
  }
  return SmallVector<Value>(forOp.getResults());
}

void LaneBuilder::loop(Value begin, Value end, int64_t step, llvm::function_ref<void(Value)> body) {
  loop(begin, end, step, {}, [&](Value index, ValueRange) {
    body(index);
    return SmallVector<Value>();
  });
}

void LaneBuilder::ifThen(Value condition, llvm::function_ref<void()> body) {
  auto ifOp = scf::IfOp::create(builder, loc, condition, /*withElseRegion=*/false);
  OpBuilder::InsertionGuard guard(builder);
  builder.setInsertionPointToStart(ifOp.thenBlock());
  body();
}
