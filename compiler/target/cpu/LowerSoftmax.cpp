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
SmallVector<Value> CpuLowering::queryPositions(LaneBuilder &b, Value firstLane, int64_t vectors) {
  SmallVector<Value> positions;
  for (int64_t j = 0; j < vectors; ++j) {
    Value lane = b.add(firstLane, j * arch.width), rows;
    if (sortRows)
      rows = b.load(b.lanes(b.i32()), rowAddress(b, lane), arch.width * 4);
    else
      rows = arith::AddIOp::create(b.builder, b.loc, b.splat(b.narrow(lane)), laneNumbers(b));
    positions.push_back(arith::AddIOp::create(b.builder, b.loc, b.splat(frame->item.qLow), rows));
  }
  return positions;
}

// Rewrites the scores where they lie, row by row, and takes their maximum along.
LogicalResult
CpuLowering::lowerScores(LaneBuilder &b, Value from, Value to, const Body &body,
                         llvm::function_ref<Value(LaneBuilder &, Value, Value, int64_t)> rewrite) {
  const CpuTileValue source = tiles[from];
  const int64_t vectors = vectorsOf(body);
  bool masks = !body.full && isMaskedNext(to);
  Type type = b.lanes(source.integer ? b.i32() : b.f32());
  Value scores = arenaAddress(b, scoresOffset), excluded = b.splatF32(kMasked);
  SmallVector<Value> largest(vectors, excluded);
  largest = b.loop(b.constI64(0), rowsOf(body), 1, largest, [&](Value row, ValueRange state) {
    Value at = b.address(scores, b.f32(), b.mul(row, lanesOf(body)));
    Value key = keyOfRow(b, body, row);
    Value admitted = masks ? admittedLanes(b, row) : Value();
    SmallVector<Value> next;
    for (int64_t j = 0; j < vectors; ++j) {
      Value address = b.address(at, b.f32(), j * arch.width);
      Value s = rewrite(b, b.load(type, address, arch.width * 4), key, j);
      if (masks)
        s = b.select(admitted, s, excluded);
      b.store(s, address, arch.width * 4);
      next.push_back(b.maxF(s, state[j]));
    }
    return next;
  });
  CpuTileValue value;
  value.kind = CpuTileValue::Kind::scores;
  value.vectors = largest;
  value.masked = masks;
  tiles[to] = value;
  return success();
}

bool CpuLowering::isMaskedNext(Value scores) {
  return scores.hasOneUse() && isa<tile::MaskOp>(*scores.user_begin());
}

// Whatever computed the scores has masked them, with the bits of the listed keys.
LogicalResult CpuLowering::lowerMask(LaneBuilder &b, tile::MaskOp op, const Body &body) {
  if (body.full || !tiles[op.getS()].masked)
    return unsupported(*op, "it does not follow the scores of a partial block at once");
  const CpuTileValue scores = tiles[op.getS()];
  tiles[op.getResult()] = scores;
  return success();
}

LogicalResult CpuLowering::lowerScore(LaneBuilder &b, tile::ScoreOp op, const Body &body) {
  SmallVector<ScalarRegionInliner> scores;
  for (Value query : queryPositions(b, firstLane(b, body), vectorsOf(body))) {
    scores.emplace_back(op.getBody().front(), frame->scalars(arch));
    scores.back().hoist(b.builder, {Value(), query, Value(), frame->head, frame->batch});
  }
  Value scale = b.splat(frame->word(b, ATTN_W_SCALE, b.f32()));
  return lowerScores(
      b, op.getS(), op.getResult(), body, [&](LaneBuilder &b, Value s, Value key, int64_t j) {
        Value position =
            arith::AddIOp::create(b.builder, b.loc, body.block.position, b.narrow(key));
        Value result =
            scores[j].finish(b.builder, {b.mulF(s, scale), Value(), position, Value(), Value()})[0];
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
  SmallVector<Value> rowScale = lanesOf(b, op.getRowScale(), body);
  return lowerScores(b, op.getS(), op.getResult(), body,
                     [&](LaneBuilder &b, Value s, Value key, int64_t j) {
                       Value keyScale = b.splat(keyNumber(b, op.getKeyScale(), body, key));
                       return b.mulF(b.mulF(b.toF32(s), rowScale[j]), keyScale);
                     });
}

//===-- Softmax ------------------------------------------------------------------===//

SmallVector<Value> CpuLowering::rowMaximum(LaneBuilder &b, const Body &body) {
  Value scores = arenaAddress(b, scoresOffset);
  SmallVector<Value> start(vectorsOf(body), b.splatF32(kMasked));
  return b.loop(b.constI64(0), rowsOf(body), 1, start, [&](Value row, ValueRange state) {
    Value at = b.address(scores, b.f32(), b.mul(row, lanesOf(body)));
    SmallVector<Value> next = loadRow(b, at, vectorsOf(body));
    for (auto [x, largest] : llvm::zip_equal(next, state))
      x = b.maxF(x, largest);
    return next;
  });
}

// P = exp2(S * factor - reference) in place of S, summed into `sum`.
void CpuLowering::exponentials(LaneBuilder &b, const Body &body, Value factor, ValueRange reference,
                               SmallVector<Value> &sum) {
  Value scores = arenaAddress(b, scoresOffset);
  const int64_t unroll = 2, vectors = vectorsOf(body);
  sum = b.loop(b.constI64(0), rowsOf(body), unroll, sum, [&](Value row, ValueRange state) {
    SmallVector<Value> sum(state);
    Value at = b.address(scores, b.f32(), b.mul(row, lanesOf(body)));
    for (int64_t u = 0; u < unroll; ++u) {
      Value address = b.address(at, b.f32(), u * lanesOf(body));
      SmallVector<Value> p = loadRow(b, address, vectors);
      for (int64_t j = 0; j < vectors; ++j) {
        p[j] = b.exp2(b.fma(p[j], factor, reference[j]));
        sum[j] = b.addF(sum[j], p[j]);
      }
      storeRow(b, p, address);
    }
    return sum;
  });
}

// The same, with the probabilities of two neighbouring keys as bf16 in one lane.
void CpuLowering::exponentialPairs(LaneBuilder &b, const Body &body, Value factor,
                                   ValueRange reference, SmallVector<Value> &sum) {
  Value scores = arenaAddress(b, scoresOffset), pairs = arenaAddress(b, pairsOffset);
  const int64_t vectors = vectorsOf(body), lanes = lanesOf(body);
  // Adding half of the last place rounds to nearest, ties away from zero.
  auto rounded = [&](Value p) -> Value {
    return arith::AddIOp::create(b.builder, b.loc, b.bitcast(p, b.i32()), b.splatI32(0x8000));
  };
  sum = b.loop(b.constI64(0), rowsOf(body), 2, sum, [&](Value row, ValueRange state) {
    SmallVector<Value> sum(state), packed;
    Value at = b.address(scores, b.f32(), b.mul(row, lanes));
    SmallVector<Value> even = loadRow(b, at, vectors);
    SmallVector<Value> odd = loadRow(b, b.address(at, b.f32(), lanes), vectors);
    for (int64_t j = 0; j < vectors; ++j) {
      Value p = b.exp2(b.fma(even[j], factor, reference[j]), /*coarse=*/true);
      Value q = b.exp2(b.fma(odd[j], factor, reference[j]), /*coarse=*/true);
      sum[j] = b.addF(sum[j], b.addF(p, q));
      Value low = arith::ShRUIOp::create(b.builder, b.loc, rounded(p), b.splatI32(16));
      Value high = arith::AndIOp::create(b.builder, b.loc, rounded(q), b.splatI32(-65536));
      packed.push_back(b.bitcast(arith::OrIOp::create(b.builder, b.loc, low, high), b.f32()));
    }
    // Row 2i of S and row i of the pairs are both 4 * lanes bytes.
    storeRow(b, packed, b.address(pairs, b.f32(), b.mul(row, lanes / 2)));
    return sum;
  });
}

// Old and new maxima are rounded to exponents the same way, so that the factors
// alpha of successive blocks cancel exactly.
LogicalResult CpuLowering::lowerSoftmaxStep(LaneBuilder &b, tile::SoftmaxStepOp op,
                                            const Body &body) {
  const CpuTileValue scores = tiles[op.getS()];
  if (scores.kind != CpuTileValue::Kind::scores || scores.integer)
    return unsupported(*op, "the operand is not a tile of float scores");
  Value factor = b.splat(scalars.lookup(op.getFactor()));
  const int64_t vectors = vectorsOf(body);
  SmallVector<Value> oldMax = lanesOf(b, op.getMax(), body);
  SmallVector<Value> oldSum = lanesOf(b, op.getSum(), body);
  SmallVector<Value> newMax = scores.vectors.empty() ? rowMaximum(b, body) : scores.vectors;
  SmallVector<Value> alpha, reference, sum(vectors, b.splatF32(0));
  for (int64_t j = 0; j < vectors; ++j) {
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
  for (int64_t j = 0; j < vectors; ++j)
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
      // Unordered: the sum of a row with a NaN is something, too.
      Value some =
          arith::CmpFOp::create(b.builder, b.loc, arith::CmpFPredicate::UGT, sum[j], b.splatF32(0));
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
