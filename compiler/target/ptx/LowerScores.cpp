// Lowers what happens to scores between the two products: scales, score
// functions, masks and the online softmax, one register at a time.
#include "compiler/target/ptx/KernelLowering.h"

#include "runtime/bundle/kernel_abi.h"

#include "mlir/Dialect/Math/IR/Math.h"

using namespace mlir;
using namespace mlir::attn;

// See tile.mask and tile.softmax_init.
static constexpr double kMaskedScore = -1e30, kInitialMaximum = -1e20;
static constexpr double kLn2 = 0.6931471805599453, kLog2e = 1.4426950408889634;
static constexpr uint32_t kMinusInfinityBits = 0xff800000u;

Value PtxLowering::queryPosition(PtxBuilder &p, int64_t rowTile, int64_t half) {
  return p.add(p.add(p.add(item.qLow, warpRow), p.shrU(lane, 2)), rowTile * 16 + half * 8);
}

Value PtxLowering::laneColumn(PtxBuilder &p) { return p.shl(p.andI(lane, 3), 1); }

LogicalResult PtxLowering::lowerDequantizeScores(PtxBuilder &p, tile::DequantizeScoresOp op) {
  PtxTileValue scores = tiles.lookup(op.getS());
  const PtxTileValue rows = tiles.lookup(op.getRowScale()), keys = tiles.lookup(op.getKeyScale());
  if (scores.kind != PtxTileValue::accumulator || rows.kind != PtxTileValue::rows ||
      keys.kind != PtxTileValue::keyVector)
    return op.emitOpError("needs scores from tile.dot_qk, row scales and loaded key scales");
  for (int64_t j = 0; j < scores.columns; ++j) {
    auto [low, high] = loadScalePair(p, keys.base, j);
    for (int64_t m = 0; m < s.rowTiles; ++m)
      for (int64_t r = 0; r < 4; ++r) {
        Value value = arith::SIToFPOp::create(p, p.loc, p.getF32Type(), scores.at(m, j, r));
        value = p.fmul(value, rows.values[m * 2 + r / 2]);
        scores.at(m, j, r) = p.fmul(value, r % 2 ? high : low);
      }
  }
  tiles[op.getResult()] = scores;
  return success();
}

void PtxLowering::allowFastFunctions(Region &body) {
  if (s.singlePrecision)
    return;
  body.walk([](Operation *inner) {
    if (isa<arith::DivFOp, math::TanhOp, math::ExpOp, math::LogOp>(inner)) {
      auto op = cast<arith::ArithFastMathInterface>(inner);
      auto flags = op.getFastMathFlagsAttr().getValue() | arith::FastMathFlags::afn;
      inner->setAttr(op.getFastMathAttrName(),
                     arith::FastMathFlagsAttr::get(inner->getContext(), flags));
    }
  });
}

LogicalResult PtxLowering::lowerScore(PtxBuilder &p, tile::ScoreOp op) {
  PtxTileValue scores = tiles.lookup(op.getS());
  Value firstKey = p.add(keyBlock.position, laneColumn(p));
  allowFastFunctions(op.getBody());
  for (int64_t m = 0; m < s.rowTiles; ++m)
    for (int64_t j = 0; j < scores.columns; ++j)
      for (int64_t r = 0; r < 4; ++r) {
        Value key = p.add(firstKey, j * 8 + r % 2);
        Value scaled = p.fmul(scores.at(m, j, r), scale);
        scores.at(m, j, r) = inlineScalarRegion(
            p, op.getBody().front(), {scaled, queryPosition(p, m, r / 2), key, head, batch},
            scalarContext())[0];
      }
  tiles[op.getResult()] = scores;
  return success();
}

LogicalResult PtxLowering::lowerMask(PtxBuilder &p, tile::MaskOp op) {
  PtxTileValue scores = tiles.lookup(op.getS());
  Value masked = p.f32(kMaskedScore);
  // What differs by column is a constant added to what differs by lane and block:
  // nothing is left to be computed once and kept in registers for all blocks.
  Value firstKey = p.add(keyBlock.position, laneColumn(p));
  Value remaining = p.sub(keyBlock.count, laneColumn(p));
  for (int64_t m = 0; m < s.rowTiles; ++m)
    for (int64_t j = 0; j < scores.columns; ++j)
      for (int64_t r = 0; r < 4; ++r) {
        int64_t column = j * 8 + r % 2;
        Value admitted = inlineScalarRegion(
            p, op.getBody().front(),
            {queryPosition(p, m, r / 2), p.add(firstKey, column), head, batch}, scalarContext())[0];
        if (!fullBlock)
          admitted = p.andI(admitted, p.lessS(p.i32(column), remaining));
        scores.at(m, j, r) = p.select(admitted, scores.at(m, j, r), masked);
      }
  tiles[op.getResult()] = scores;
  return success();
}

LogicalResult PtxLowering::lowerSoftmaxInit(PtxBuilder &p, tile::SoftmaxInitOp op) {
  PtxTileValue max, sum, out;
  max.kind = sum.kind = PtxTileValue::rows;
  max.values.assign(s.rowTiles * 2, p.f32(kInitialMaximum));
  sum.values.assign(s.rowTiles * 2, p.f32(0));
  sum.partial = true;
  out.kind = PtxTileValue::accumulator;
  out.columns = s.outTiles;
  out.values.assign(s.rowTiles * out.columns * 4, p.f32(0));
  tiles[op.getMax()] = max;
  tiles[op.getSum()] = sum;
  tiles[op.getOut()] = out;
  return success();
}

// The four lanes of a quad share two rows. The maximum is agreed on at every
// step; each lane sums its own columns, and softmax_finish adds the four parts.
LogicalResult PtxLowering::lowerSoftmaxStep(PtxBuilder &p, tile::SoftmaxStepOp op) {
  PtxTileValue probabilities = tiles.lookup(op.getS()), max = tiles.lookup(op.getMax());
  PtxTileValue sum = tiles.lookup(op.getSum()), alpha = max;
  Value factor = scalars.lookup(op.getFactor());
  int64_t columns = probabilities.columns;
  for (int64_t m = 0; m < s.rowTiles; ++m)
    for (int64_t h = 0; h < 2; ++h) {
      int64_t row = m * 2 + h;
      Value old = max.values[row], largest;
      for (int64_t j = 0; j < columns; ++j) {
        Value pair = p.fmax(probabilities.at(m, j, h * 2), probabilities.at(m, j, h * 2 + 1));
        largest = largest ? p.fmax(largest, pair) : pair;
      }
      largest = p.fmax(largest, p.shuffleXor(largest, 1));
      largest = p.fmax(largest, p.shuffleXor(largest, 2));
      largest = p.fmax(largest, old);
      max.values[row] = largest;
      alpha.values[row] = p.exp2(p.fmul(p.fsub(old, largest), factor));
      // s * f - m * f in one instruction rounds m * f, which only single precision
      // would notice: there the difference comes first.
      Value minusScaled = s.singlePrecision ? Value() : p.fneg(p.fmul(largest, factor));
      Value parts[4];
      for (int64_t j = 0; j < columns; ++j)
        for (int64_t r = h * 2; r < h * 2 + 2; ++r) {
          Value score = probabilities.at(m, j, r);
          Value e = p.exp2(minusScaled ? p.fma(score, factor, minusScaled)
                                       : p.fmul(p.fsub(score, largest), factor));
          probabilities.at(m, j, r) = e;
          Value &part = parts[j % 2 * 2 + r % 2];
          part = part ? p.fadd(part, e) : e;
        }
      Value total = p.fadd(parts[0], parts[1]);
      if (columns > 1)
        total = p.fadd(total, p.fadd(parts[2], parts[3]));
      sum.values[row] = p.fma(sum.values[row], alpha.values[row], total);
    }
  tiles[op.getP()] = probabilities;
  tiles[op.getNewMax()] = max;
  tiles[op.getNewSum()] = sum;
  tiles[op.getAlpha()] = alpha;
  return success();
}

LogicalResult PtxLowering::lowerSoftmaxFinish(PtxBuilder &p, tile::SoftmaxFinishOp op) {
  PtxTileValue out = tiles.lookup(op.getO()), lse = tiles.lookup(op.getMax());
  const PtxTileValue sum = tiles.lookup(op.getSum());
  Value factor = scalars.lookup(op.getFactor());
  Value sink =
      op.getSinkLogit() ? p.fmul(scalars.lookup(op.getSinkLogit()), p.f32(kLog2e)) : Value();
  auto factorOp = op.getFactor().getDefiningOp<tile::ScoreFactorOp>();
  bool natural = factorOp && factorOp.getPlain();
  Value zero = p.f32(0), one = p.f32(1);
  for (int64_t m = 0; m < s.rowTiles; ++m)
    for (int64_t h = 0; h < 2; ++h) {
      Value total = sum.values[m * 2 + h];
      if (sum.partial) {
        total = p.fadd(total, p.shuffleXor(total, 1));
        total = p.fadd(total, p.shuffleXor(total, 2));
      }
      Value exponent = p.fmul(lse.values[m * 2 + h], factor); // base 2
      Value weight;
      if (sink) {
        Value shift = p.fmax(exponent, sink);
        Value keep = p.exp2(p.fsub(exponent, shift));
        total = p.fma(total, keep, p.exp2(p.fsub(sink, shift)));
        weight = p.fdiv(keep, total);
        exponent = shift;
      } else {
        Value empty = arith::CmpFOp::create(p, p.loc, arith::CmpFPredicate::OEQ, total, zero);
        weight = p.select(empty, zero, p.fdiv(one, p.select(empty, one, total)));
        // Scores in natural units are not scaled to and fro: one part merges to itself.
        Value logSum = natural ? p.fma(p.log2(total), p.f32(kLn2), lse.values[m * 2 + h])
                               : p.fmul(p.fadd(exponent, p.log2(total)), p.f32(kLn2));
        lse.values[m * 2 + h] = p.select(empty, p.f32Bits(kMinusInfinityBits), logSum);
      }
      if (sink)
        lse.values[m * 2 + h] = p.fmul(p.fadd(exponent, p.log2(total)), p.f32(kLn2));
      for (int64_t j = 0; j < out.columns; ++j)
        for (int64_t r = h * 2; r < h * 2 + 2; ++r)
          out.at(m, j, r) = p.fmul(out.at(m, j, r), weight);
    }
  tiles[op.getOut()] = out;
  tiles[op.getLse()] = lse;
  return success();
}
