// Elementwise work on scores, and the online softmax: maximum, exponentials,
// running sum, and what becomes of them at the end.
#include "compiler/target/cpu/KernelLowering.h"

#include "runtime/bundle/kernel_abi.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace mlir::attn;

static constexpr double kMasked = -1e30, kStartMaximum = -1e20;
static constexpr double kLn2 = 0.6931471805599453, kLog2E = 1.4426950408889634;

void CpuLowering::startSoftmax(LaneBuilder &b, Value maxTile, Value sumTile,
                               TypedValue<tile::TileType> outTile) {
  int64_t dim = llvm::alignTo(outTile.getType().getShape()[1], schedule.rows);
  Plane max = newPlane(1), sum = newPlane(1), out = newPlane(dim);
  for (auto [tile, plane] :
       {std::pair<Value, Plane>(maxTile, max), {sumTile, sum}, {outTile, out}}) {
    tiles[tile] = CpuTileValue();
    tiles[tile].kind = CpuTileValue::Kind::plane;
    tiles[tile].plane = plane;
  }
  SmallVector<Value> zero(schedule.vectors, b.splatF32(0)),
      start(schedule.vectors, b.splatF32(kStartMaximum));
  forSubTiles(b, [&](Value subTile) {
    storeRow(b, start, planeAddress(b, max, subTile));
    storeRow(b, zero, planeAddress(b, sum, subTile));
    Value plane = planeAddress(b, out, subTile);
    b.loop(b.constI64(0), b.constI64(dim), 1,
           [&](Value d) { storeRow(b, zero, b.address(plane, b.f32(), b.mul(d, laneCount()))); });
  });
}

//===-- Scores -------------------------------------------------------------------===//

// Position of each lane's query row.
SmallVector<Value> CpuLowering::queryPositions(LaneBuilder &b, Value subTile) {
  Value first = arith::AddIOp::create(b.builder, b.loc, frame->item.qLow,
                                      b.narrow(b.mul(subTile, laneCount())));
  SmallVector<Value> positions;
  for (int64_t j = 0; j < schedule.vectors; ++j) {
    SmallVector<int32_t> lane;
    for (int64_t i = 0; i < arch.width; ++i)
      lane.push_back(j * arch.width + i);
    Value offset = arith::ConstantOp::create(
        b.builder, b.loc, DenseElementsAttr::get(b.lanes(b.i32()), ArrayRef(lane)));
    positions.push_back(arith::AddIOp::create(b.builder, b.loc, b.splat(first), offset));
  }
  return positions;
}

// Rewrites the scores where they lie, row by row, and takes their maximum along.
LogicalResult
CpuLowering::lowerScores(LaneBuilder &b, Value from, Value to, const Body &body,
                         llvm::function_ref<Value(LaneBuilder &, Value, Value, int64_t)> rewrite) {
  const CpuTileValue source = tiles[from];
  Type type = b.lanes(source.integer ? b.i32() : b.f32());
  Value scores = arenaAddress(b, scoresOffset);
  SmallVector<Value> largest(schedule.vectors, b.splatF32(kMasked));
  largest = b.loop(b.constI64(0), body.count, 1, largest, [&](Value row, ValueRange state) {
    Value at = b.address(scores, b.f32(), b.mul(row, laneCount()));
    SmallVector<Value> next;
    for (int64_t j = 0; j < schedule.vectors; ++j) {
      Value address = b.address(at, b.f32(), j * arch.width);
      Value s = rewrite(b, b.load(type, address, arch.width * 4), row, j);
      b.store(s, address, arch.width * 4);
      next.push_back(b.maxF(s, state[j]));
    }
    return next;
  });
  CpuTileValue value;
  value.kind = CpuTileValue::Kind::scores;
  value.vectors = largest;
  tiles[to] = value;
  return success();
}

LogicalResult CpuLowering::lowerMask(LaneBuilder &b, tile::MaskOp op, const Body &body) {
  // What depends on the query alone stays outside of the loop over keys.
  SmallVector<ScalarRegionInliner> masks;
  for (Value query : queryPositions(b, body.subTile)) {
    masks.emplace_back(op.getBody().front(), frame->scalars(arch));
    masks.back().hoist(b.builder, {query, Value(), frame->head, frame->batch});
  }
  return lowerScores(
      b, op.getS(), op.getResult(), body, [&](LaneBuilder &b, Value s, Value row, int64_t j) {
        Value key = arith::AddIOp::create(b.builder, b.loc, body.block.position, b.narrow(row));
        Value admitted =
            masks[j].finish(b.builder, {Value(), key, Value(), Value()})[0];
        return b.select(admitted, s, b.splatF32(kMasked));
      });
}

LogicalResult CpuLowering::lowerScore(LaneBuilder &b, tile::ScoreOp op, const Body &body) {
  SmallVector<ScalarRegionInliner> scores;
  for (Value query : queryPositions(b, body.subTile)) {
    scores.emplace_back(op.getBody().front(), frame->scalars(arch));
    scores.back().hoist(b.builder, {Value(), query, Value(), frame->head, frame->batch});
  }
  Value scale = b.splat(frame->word(b, ATTN_W_SCALE, b.f32()));
  return lowerScores(
      b, op.getS(), op.getResult(), body, [&](LaneBuilder &b, Value s, Value row, int64_t j) {
        Value key = arith::AddIOp::create(b.builder, b.loc, body.block.position, b.narrow(row));
        Value result =
            scores[j].finish(b.builder, {b.mulF(s, scale), Value(), key, Value(), Value()})[0];
        return isa<VectorType>(result.getType()) ? result : b.splat(result);
      });
}

// Done already by the product that nothing else uses.
LogicalResult CpuLowering::lowerDequantizeScores(LaneBuilder &b, tile::DequantizeScoresOp op,
                                                 const Body &body) {
  if (fusedDequantize(op.getS().getDefiningOp<tile::DotQKOp>()) == op) {
    const CpuTileValue scores = tiles[op.getS()];
    tiles[op.getResult()] = scores;
    return success();
  }
  SmallVector<Value> rowScale = lanesOf(b, op.getRowScale(), body.subTile);
  return lowerScores(b, op.getS(), op.getResult(), body,
                     [&](LaneBuilder &b, Value s, Value row, int64_t j) {
                       Value keyScale = b.splat(keyNumber(b, op.getKeyScale(), body, row));
                       return b.mulF(b.mulF(b.toF32(s), rowScale[j]), keyScale);
                     });
}

//===-- Softmax ------------------------------------------------------------------===//

SmallVector<Value> CpuLowering::rowMaximum(LaneBuilder &b, const Body &body) {
  Value scores = arenaAddress(b, scoresOffset);
  SmallVector<Value> start(schedule.vectors, b.splatF32(kMasked));
  return b.loop(b.constI64(0), body.count, 1, start, [&](Value row, ValueRange state) {
    SmallVector<Value> next = loadRow(b, b.address(scores, b.f32(), b.mul(row, laneCount())));
    for (int64_t j = 0; j < schedule.vectors; ++j)
      next[j] = b.maxF(next[j], state[j]);
    return next;
  });
}

// P = exp2(S * factor - reference) in place of S, summed into `sum`.
void CpuLowering::exponentials(LaneBuilder &b, const Body &body, Value factor, ValueRange reference,
                               SmallVector<Value> &sum) {
  Value scores = arenaAddress(b, scoresOffset);
  int64_t unroll = body.full ? 2 : 1;
  sum = b.loop(b.constI64(0), body.count, unroll, sum, [&](Value row, ValueRange state) {
    SmallVector<Value> sum(state);
    Value at = b.address(scores, b.f32(), b.mul(row, laneCount()));
    for (int64_t u = 0; u < unroll; ++u) {
      Value address = b.address(at, b.f32(), u * laneCount());
      SmallVector<Value> p = loadRow(b, address);
      for (int64_t j = 0; j < schedule.vectors; ++j) {
        p[j] = b.exp2(b.fma(p[j], factor, reference[j]));
        sum[j] = b.addF(sum[j], p[j]);
      }
      storeRow(b, p, address);
    }
    return sum;
  });
  if (body.full)
    return;
  SmallVector<Value> zero(schedule.vectors, b.splatF32(0));
  b.loop(body.count, b.roundUp(body.count, 4), 1, [&](Value row) {
    storeRow(b, zero, b.address(scores, b.f32(), b.mul(row, laneCount())));
  });
}

// The same, with the probabilities of two neighbouring keys as bf16 in one lane.
void CpuLowering::exponentialPairs(LaneBuilder &b, const Body &body, Value factor,
                                   ValueRange reference, SmallVector<Value> &sum) {
  Value scores = arenaAddress(b, scoresOffset), pairs = arenaAddress(b, pairsOffset);
  auto pairAddress = [&](Value row) {
    // Row 2i of S and row i of the pairs are both 4 * lanes bytes.
    return b.address(pairs, b.f32(), b.mul(row, laneCount() / 2));
  };
  // Adding half of the last place rounds to nearest, ties away from zero.
  auto rounded = [&](Value p) -> Value {
    return arith::AddIOp::create(b.builder, b.loc, b.bitcast(p, b.i32()), b.splatI32(0x8000));
  };
  sum = b.loop(b.constI64(0), body.count, 2, sum, [&](Value row, ValueRange state) {
    SmallVector<Value> sum(state), packed;
    Value at = b.address(scores, b.f32(), b.mul(row, laneCount()));
    SmallVector<Value> even = loadRow(b, at);
    SmallVector<Value> odd = loadRow(b, b.address(at, b.f32(), laneCount()));
    Value hasOdd = body.full ? Value() : b.less(b.add(row, 1), body.count);
    for (int64_t j = 0; j < schedule.vectors; ++j) {
      Value p = b.exp2(b.fma(even[j], factor, reference[j]), /*coarse=*/true);
      Value s = hasOdd ? b.select(hasOdd, odd[j], b.splatF32(kMasked)) : odd[j];
      Value q = b.exp2(b.fma(s, factor, reference[j]), /*coarse=*/true);
      sum[j] = b.addF(sum[j], b.addF(p, q));
      Value low = arith::ShRUIOp::create(b.builder, b.loc, rounded(p), b.splatI32(16));
      Value high = arith::AndIOp::create(b.builder, b.loc, rounded(q), b.splatI32(-65536));
      packed.push_back(b.bitcast(arith::OrIOp::create(b.builder, b.loc, low, high), b.f32()));
    }
    storeRow(b, packed, pairAddress(row));
    return sum;
  });
  if (body.full)
    return;
  SmallVector<Value> zero(schedule.vectors, b.splatF32(0));
  b.loop(b.roundUp(body.count, 2), b.roundUp(body.count, 8), 2,
         [&](Value row) { storeRow(b, zero, pairAddress(row)); });
}

// Old and new maxima are rounded to exponents the same way, so that the factors
// alpha of successive blocks cancel exactly.
LogicalResult CpuLowering::lowerSoftmaxStep(LaneBuilder &b, tile::SoftmaxStepOp op,
                                            const Body &body) {
  const CpuTileValue scores = tiles[op.getS()];
  if (scores.kind != CpuTileValue::Kind::scores || scores.integer)
    return unsupported(*op, "the operand is not a tile of float scores");
  Value factor = b.splat(scalars.lookup(op.getFactor()));
  SmallVector<Value> oldMax = lanesOf(b, op.getMax(), body.subTile);
  SmallVector<Value> oldSum = lanesOf(b, op.getSum(), body.subTile);
  SmallVector<Value> newMax = scores.vectors.empty() ? rowMaximum(b, body) : scores.vectors;
  SmallVector<Value> alpha, reference, sum(schedule.vectors, b.splatF32(0));
  for (int64_t j = 0; j < schedule.vectors; ++j) {
    newMax[j] = b.maxF(newMax[j], oldMax[j]);
    Value base = b.mulF(newMax[j], factor);
    alpha.push_back(b.exp2(b.subF(b.mulF(oldMax[j], factor), base)));
    reference.push_back(arith::NegFOp::create(b.builder, b.loc, base));
  }
  bool pairs = llvm::any_of(op.getP().getUsers(), [&](Operation *user) {
    auto dot = dyn_cast<tile::DotPVOp>(user);
    return dot && outputDot(dot) == DotKind::bf16;
  });
  if (pairs) {
    pairsOffset = reserveOnce("pairs", kernel.getBlockK() / 2 * laneCount() * 4);
    exponentialPairs(b, body, factor, reference, sum);
  } else {
    exponentials(b, body, factor, reference, sum);
  }
  for (int64_t j = 0; j < schedule.vectors; ++j)
    sum[j] = b.fma(oldSum[j], alpha[j], sum[j]);
  auto lanes = [&](Value tile, ArrayRef<Value> vectors) {
    CpuTileValue value;
    value.kind = CpuTileValue::Kind::lanes;
    value.vectors.assign(vectors.begin(), vectors.end());
    tiles[tile] = value;
  };
  lanes(op.getNewMax(), newMax);
  lanes(op.getNewSum(), sum);
  lanes(op.getAlpha(), alpha);
  tiles[op.getP()] = scores;
  return success();
}

// With r = max * factor in powers of two: out = O / l and lse = (r + log2 l) ln 2.
// A sink logit c joins as one more key without a value.
void CpuLowering::lowerSoftmaxFinish(LaneBuilder &b, tile::SoftmaxFinishOp op) {
  Value factor = b.splat(scalars.lookup(op.getFactor()));
  const CpuTileValue o = tiles[op.getO()];
  CpuTileValue lse;
  lse.kind = CpuTileValue::Kind::plane;
  lse.plane = newPlane(1);
  tiles[op.getLse()] = lse;
  tiles[op.getOut()] = o;
  Value sink;
  if (op.getSinkLogit())
    sink = b.splat(b.mulF(scalars.lookup(op.getSinkLogit()), b.constF32(kLog2E)));
  auto factorOp = op.getFactor().getDefiningOp<tile::ScoreFactorOp>();
  bool natural = !sink && factorOp && factorOp.getPlain();
  Value negativeInfinity = arith::ConstantOp::create(
      b.builder, b.loc,
      DenseElementsAttr::get(b.lanes(b.f32()), -std::numeric_limits<float>::infinity()));
  forSubTiles(b, [&](Value subTile) {
    SmallVector<Value> max = lanesOf(b, op.getMax(), subTile),
                       sum = lanesOf(b, op.getSum(), subTile);
    SmallVector<Value> inverse, attends, logs;
    for (int64_t j = 0; j < schedule.vectors; ++j) {
      Value some =
          arith::CmpFOp::create(b.builder, b.loc, arith::CmpFPredicate::OGT, sum[j], b.splatF32(0));
      Value reference = b.mulF(max[j], factor), total = sum[j], weight;
      if (sink) {
        Value top = b.maxF(reference, sink);
        weight = b.exp2(b.subF(reference, top));
        total = b.fma(total, weight, b.exp2(b.subF(sink, top)));
        reference = top;
      }
      Value safe = sink ? total : b.select(some, total, b.splatF32(1));
      Value log = math::LogOp::create(b.builder, b.loc, safe);
      // Scores in natural units are not scaled to and fro: one part merges to itself.
      log = natural ? b.addF(max[j], log) : b.fma(reference, b.splatF32(kLn2), log);
      logs.push_back(sink ? log : b.select(some, log, negativeInfinity));
      inverse.push_back(sink ? b.divF(weight, safe) : b.divF(b.splatF32(1), safe));
      attends.push_back(some);
    }
    storeRow(b, logs, planeAddress(b, lse.plane, subTile));
    Value plane = planeAddress(b, o.plane, subTile);
    b.loop(b.constI64(0), b.constI64(o.plane.rows), 1, [&](Value d) {
      Value at = b.address(plane, b.f32(), b.mul(d, laneCount()));
      SmallVector<Value> row = loadRow(b, at);
      for (int64_t j = 0; j < schedule.vectors; ++j)
        row[j] = b.select(attends[j], b.mulF(row[j], inverse[j]), b.splatF32(0));
      storeRow(b, row, at);
    });
  });
}
