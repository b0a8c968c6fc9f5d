// What becomes of the records of a tile's chunks: one row of outputs and its lse.
#include "compiler/target/cpu/DecodeLowering.h"

#include "compiler/target/cpu/TopScalars.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace mlir::attn;

static constexpr double kStartMaximum = -1e20, kNothingAttended = -1e30;
static constexpr double kLn2 = 0.6931471805599453, kLog2E = 1.4426950408889634;

void DecodeLowering::emitFinish(OpBuilder &builder, StringRef symbol) {
  Location loc = kernel.getLoc();
  LaneBuilder b(builder, loc, arch);
  OpBuilder::InsertionGuard guard(builder);
  Block *entry = beginFunction(b, (symbol + "_decode_finish").str());
  scalars.clear();
  p = plan(b);
  Value begin = b.widen(entry->getArgument(4)), end = b.widen(entry->getArgument(5));
  b.loop(begin, end, 1, [&](Value tile) {
    Value group = arith::DivUIOp::create(builder, loc, tile, p.rowTiles);
    Value rowTile = arith::RemUIOp::create(builder, loc, tile, p.rowTiles);
    enterTile(b, group, rowTile);
    // Pieces of a tile lie rowTiles apart.
    Value firstPiece = b.add(b.mul(b.mul(group, p.chunks), p.rowTiles), rowTile);
    forRows(b, [&](Value row) { finishRow(b, firstPiece, row); });
  });
  func::ReturnOp::create(builder, loc);
}

// With r = max * factor in powers of two: out = O / l and lse = (r + log2 l) ln 2.
// A sink logit c joins as one more key without a value.
void DecodeLowering::finishRow(LaneBuilder &b, Value firstPiece, Value row) {
  for (Operation &op : kernel.getBody().front()) // a row has its own head
    if (isTopScalar(op))
      lowerTopScalar(b, op, *frame, scalars);
  int64_t width = arch.width;
  Value factor = b.splat(scalars.lookup(finish.getFactor()));
  auto addressOf = [&](Value chunk) {
    return record(b, b.add(firstPiece, b.mul(chunk, p.rowTiles)), row);
  };
  Value max = b.loop(b.constI64(0), p.chunks, 1, ValueRange{b.splatF32(kStartMaximum)},
                     [&](Value chunk, ValueRange state) -> SmallVector<Value> {
                       Value m = b.load(b.lanes(b.f32()), addressOf(chunk), width * 4);
                       return {b.maxF(m, state[0])};
                     })[0];
  Value total = b.laneSum(mergeChunks(b, firstPiece, row, factor, max));
  naturalOrder(b);

  // Unordered: the sum of a row with a NaN is something, too.
  Value some =
      arith::CmpFOp::create(b.builder, b.loc, arith::CmpFPredicate::UGT, total, b.splatF32(0));
  Value reference = b.mulF(max, factor), weight;
  bool hasSink = bool(finish.getSinkLogit());
  auto factorOp = finish.getFactor().getDefiningOp<tile::ScoreFactorOp>();
  bool natural = !hasSink && factorOp && factorOp.getPlain();
  if (hasSink) {
    Value sink = b.splat(b.mulF(scalars.lookup(finish.getSinkLogit()), b.constF32(kLog2E)));
    Value top = b.maxF(reference, sink);
    weight = b.exp2(b.subF(reference, top));
    total = b.fma(total, weight, b.exp2(b.subF(sink, top)));
    reference = top;
  }
  Value safe = hasSink ? total : b.select(some, total, b.splatF32(1));
  Value log = math::LogOp::create(b.builder, b.loc, safe);
  Value lse = natural ? b.addF(max, log) : b.fma(reference, b.splatF32(kLn2), log);
  if (!hasSink)
    lse = b.select(
        some, lse,
        arith::ConstantOp::create(
            b.builder, b.loc,
            DenseElementsAttr::get(b.lanes(b.f32()), -std::numeric_limits<float>::infinity())));
  Value inverse = hasSink ? b.divF(weight, safe) : b.divF(b.splatF32(1), safe);
  b.loop(b.constI64(0), b.constI64(outVectors() * width), width, [&](Value d) {
    Value at = b.address(scratch(b, rowOffset), b.f32(), d);
    Value x = b.mulF(b.load(b.lanes(b.f32()), at, width * 4), inverse);
    b.store(b.select(some, x, b.splatF32(0)), at, width * 4);
  });
  for (Operation &op : kernel.getBody().front()) {
    LaneBuilder inner(b.builder, op.getLoc(), arch);
    if (auto output = dyn_cast<tile::OutputOp>(op))
      lowerOutput(inner, output, lse);
    else if (auto store = dyn_cast<tile::StoreQueriesOp>(op))
      storeRow(inner, store, lse);
  }
}

// Folds the outputs of all chunks into rowOffset; gives the sum, lane by lane.
Value DecodeLowering::mergeChunks(LaneBuilder &b, Value firstPiece, Value row, Value factor,
                                  Value max) {
  int64_t width = arch.width;
  Type lanes = b.lanes(b.f32());
  auto addressOf = [&](Value chunk) {
    return record(b, b.add(firstPiece, b.mul(chunk, p.rowTiles)), row);
  };
  auto weightOf = [&](Value chunk) {
    return b.address(scratch(b, weightOffset), b.f32(), b.mul(chunk, width));
  };
  Value base = b.mulF(max, factor), none = b.splatF32(0);
  Value sum = b.loop(b.constI64(0), p.chunks, 1, ValueRange{none},
                     [&](Value chunk, ValueRange state) -> SmallVector<Value> {
                       Value m = b.load(lanes, addressOf(chunk), width * 4);
                       Value l =
                           b.load(lanes, b.address(addressOf(chunk), b.f32(), width), width * 4);
                       Value weight = b.exp2(b.subF(b.mulF(m, factor), base));
                       b.store(weight, weightOf(chunk), width * 4);
                       return {b.fma(weight, l, state[0])};
                     })[0];
  b.loop(b.constI64(0), b.constI64(outVectors() * width), width, [&](Value d) {
    Value out = b.loop(b.constI64(0), p.chunks, 1, ValueRange{none},
                       [&](Value chunk, ValueRange state) -> SmallVector<Value> {
                         Value at =
                             b.address(b.address(addressOf(chunk), b.f32(), 2 * width), b.f32(), d);
                         return {b.fma(b.load(lanes, weightOf(chunk), width * 4),
                                       b.load(lanes, at, width * 4), state[0])};
                       })[0];
    b.store(out, b.address(scratch(b, rowOffset), b.f32(), d), width * 4);
  });
  return sum;
}

// Pairing leaves the fours of 2 * width dims as 0 2 4 6 ... 1 3 5 7 ...
void DecodeLowering::naturalOrder(LaneBuilder &b) {
  if (outputKind() != DotKind::bf16)
    return;
  int64_t width = arch.width;
  for (int64_t i = 0; i < outVectors(); i += 2) {
    Value at = b.address(scratch(b, rowOffset), b.f32(), i * width);
    Value next = b.address(at, b.f32(), width);
    Value even = b.load(b.lanes(b.f32()), at, width * 4);
    Value odd = b.load(b.lanes(b.f32()), next, width * 4);
    for (int64_t half : {0, 1}) {
      SmallVector<int64_t> lanes;
      for (int64_t lane = 0; lane < width; ++lane) {
        int64_t four = half * (width / 4) + lane / 4;
        lanes.push_back(four / 2 * 4 + lane % 4 + (four % 2) * width);
      }
      b.store(b.shuffle(even, odd, lanes), half ? next : at, width * 4);
    }
  }
}

void DecodeLowering::lowerOutput(LaneBuilder &b, tile::OutputOp op, Value lse) {
  int64_t width = arch.width, dim = op.getO().getType().getShape()[1];
  ScalarContext context = frame->scalars(arch);
  lse = b.maxF(b.splatF32(kNothingAttended), lse);
  struct Input {
    Value row;
    Type element;
    bool perDim;
  };
  SmallVector<Input> inputs;
  for (Value input : op.getInputs()) {
    auto load = input.getDefiningOp<tile::LoadQueriesOp>();
    const BindingRows rows = frame->rows(b, load.getBinding());
    inputs.push_back({b.address(rows.base, rows.element, b.mul(queryRow, rows.stride)),
                      rows.element, load.getType().getShape().size() == 2});
  }
  for (int64_t d = 0; d < dim; d += width) {
    Value at = b.address(scratch(b, rowOffset), b.f32(), d);
    SmallVector<Value> arguments{b.load(b.lanes(b.f32()), at, width * 4), lse, queryPosition,
                                 frame->head, frame->batch};
    for (const Input &input : inputs)
      arguments.push_back(b.toF32(input.perDim
                                      ? loadDims(b, input.element, input.row, d, width, dim)
                                      : b.load(input.element, input.row)));
    Value result = inlineScalarRegion(b.builder, op.getBody().front(), arguments, context)[0];
    b.store(isa<VectorType>(result.getType()) ? result : b.splat(result), at, width * 4);
  }
}

void DecodeLowering::storeRow(LaneBuilder &b, tile::StoreQueriesOp op, Value lse) {
  const BindingRows rows = frame->rows(b, op.getBinding());
  Value to = b.address(rows.base, rows.element, b.mul(queryRow, rows.stride));
  ArrayRef<int64_t> shape = op.getValue().getType().getShape();
  if (shape.size() == 1) {
    Value first = vector::ExtractOp::create(b.builder, b.loc, lse, 0);
    b.store(b.fromF32(first, rows.element), to);
    return;
  }
  int64_t width = arch.width, dim = shape[1], whole = dim / width * width;
  Value from = scratch(b, rowOffset);
  b.loop(b.constI64(0), b.constI64(whole), width, [&](Value d) {
    Value x = b.load(b.lanes(b.f32()), b.address(from, b.f32(), d), width * 4);
    b.store(b.fromF32(x, rows.element), b.address(to, rows.element, d));
  });
  b.loop(b.constI64(whole), b.constI64(dim), 1, [&](Value d) {
    Value x = b.load(b.f32(), b.address(from, b.f32(), d));
    b.store(b.fromF32(x, rows.element), b.address(to, rows.element, d));
  });
}
