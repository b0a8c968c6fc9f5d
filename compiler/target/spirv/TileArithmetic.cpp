// Products, softmax, scores and masks of one step: a few keys against the rows
// of this invocation.
#include "compiler/target/spirv/Emit.h"
#include "compiler/target/spirv/KernelLowering.h"

#include "mlir/Dialect/SCF/IR/SCF.h"

using namespace mlir;
using namespace mlir::attn;

namespace {
constexpr double kInitialMaximum = -1e20; // of a row that has seen no key
constexpr double kMasked = -1e30;         // score of a pair that is not admitted
constexpr double kMaskedBound = -5e29;    // above the sentinel, below every score
constexpr double kLog2E = 1.4426950408889634, kLn2 = 0.6931471805599453;
constexpr int64_t kMinusInfinityBits = int32_t(0xff800000);
} // namespace

static int64_t widthOf(Value piece) {
  auto type = dyn_cast<VectorType>(piece.getType());
  return type ? type.getNumElements() : 1;
}

//===-- Products ---------------------------------------------------------------===//

// Integer products are computed in f32 too: at most 127 * 127 * qk_dim < 2^24,
// every partial sum is exact.
LogicalResult KernelLowering::dotQK(OpBuilder &b, tile::DotQKOp op) {
  if (op.getResult().getType().getElementType().isInteger(32) && kernel.getQkDim() > 1040)
    return op.emitOpError() << "sums " << kernel.getQkDim()
                            << " int8 products; spirv allows up to 1040";
  const RowTile &q = rowTiles.find(op.getQ())->second;
  const KeyTile k = keyTiles.find(op.getK())->second;
  Location loc = op.getLoc();
  scoreTiles[op.getResult()].at = [rows = q.rows, k, loc](OpBuilder &b, const Key &key) {
    Emit e{b, loc};
    PieceLoader load = k.open(b, key);
    SmallVector<Value> sums(rows.size());
    int64_t dim = 0;
    for (size_t i = 0; i < rows.front().size(); ++i) {
      int64_t width = widthOf(rows.front()[i]);
      Value piece = load(b, dim, width);
      for (size_t r = 0; r < rows.size(); ++r)
        sums[r] = i == 0 ? e.mul(rows[r][i], piece) : e.fma(rows[r][i], piece, sums[r]);
      dim += width;
    }
    for (Value &sum : sums)
      sum = e.sum(sum);
    return sums;
  };
  return success();
}

LogicalResult KernelLowering::dotPV(OpBuilder &b, tile::DotPVOp op) {
  const ProbabilityTile &p = probabilityTiles.find(op.getP())->second;
  const RowTile &alpha = rowTiles.find(op.getAlpha())->second;
  const KeyTile &v = keyTiles.find(op.getV())->second;
  RowTile o = rowTiles.lookup(op.getO());
  Location loc = op.getLoc();
  Emit e{b, loc};

  // Carried from key to key: O, then the probabilities, turned so that those of
  // the key at hand come first.
  SmallVector<Value> carried;
  for (auto [pieces, scale] : llvm::zip(o.rows, alpha.rows))
    for (Value piece : pieces)
      carried.push_back(e.mul(piece, e.splat(scale.front(), piece.getType())));
  int64_t outputs = carried.size(), keys = schedule.keys;
  for (const SmallVector<Value> &row : p.rows)
    llvm::append_range(carried, row);

  int64_t rows = o.rows.size(), pieces = o.rows.front().size();
  carried = forEachKey(b, loc, carried, [&](OpBuilder &b, Value index, ValueRange carried) {
    Emit e{b, loc};
    PieceLoader load = v.open(b, keyAt(b, loc, index));
    SmallVector<Value> next(carried);
    for (int64_t i = 0, dim = 0; i < pieces; ++i) {
      Type type = carried[i].getType();
      int64_t width = widthOf(carried[i]);
      Value piece = load(b, dim, width);
      dim += width;
      for (int64_t r = 0; r < rows; ++r) {
        Value probability = carried[outputs + r * keys];
        next[r * pieces + i] = e.fma(e.splat(probability, type), piece, carried[r * pieces + i]);
      }
    }
    for (int64_t r = 0; r < rows; ++r)
      std::rotate(next.begin() + outputs + r * keys, next.begin() + outputs + r * keys + 1,
                  next.begin() + outputs + (r + 1) * keys);
    return next;
  });
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t i = 0; i < pieces; ++i)
      o.rows[r][i] = carried[r * pieces + i];
  setRows(op.getResult(), std::move(o));
  return success();
}

//===-- Quantisation -----------------------------------------------------------===//

LogicalResult KernelLowering::quantize(OpBuilder &b, tile::QuantizeOp op) {
  Emit e{b, op.getLoc()};
  RowTile x = rowTiles.lookup(op.getX()), scales;
  for (SmallVector<Value> &pieces : x.rows) {
    Value largest;
    for (Value piece : pieces)
      for (int64_t i = 0; i < widthOf(piece); ++i) {
        Value element = isa<VectorType>(piece.getType())
                            ? vector::ExtractOp::create(b, op.getLoc(), piece, i).getResult()
                            : piece;
        Value magnitude = math::AbsFOp::create(b, op.getLoc(), element);
        largest = largest ? e.max(largest, magnitude) : magnitude;
      }
    Value scale = e.mul(largest, e.f32(1.0 / 127));
    // A row of zeros has scale 0: dividing by 1 keeps it zero.
    Value zero = e.atMost(largest, e.f32(0));
    Value divisor = e.select(zero, e.f32(1), scale);
    for (Value &piece : pieces) {
      Value quotient = e.div(piece, e.splat(divisor, piece.getType()));
      piece = math::RoundEvenOp::create(b, op.getLoc(), quotient);
    }
    scales.rows.push_back({scale});
  }
  setRows(op.getResult(), std::move(x));
  setRows(op.getScale(), std::move(scales));
  return success();
}

LogicalResult KernelLowering::dequantizeScores(OpBuilder &b, tile::DequantizeScoresOp op) {
  const ScoreTile s = scoreTiles.find(op.getS())->second;
  const KeyTile keyScale = keyTiles.find(op.getKeyScale())->second;
  const RowTile rowScale = rowTiles.find(op.getRowScale())->second;
  Location loc = op.getLoc();
  scoreTiles[op.getResult()].at = [=](OpBuilder &b, const Key &key) {
    Emit e{b, loc};
    Value scale = keyScale.open(b, key)(b, 0, 1);
    SmallVector<Value> scores = s.at(b, key);
    for (auto [score, row] : llvm::zip(scores, rowScale.rows))
      score = e.mul(score, e.mul(row.front(), scale));
    return scores;
  };
  return success();
}

LogicalResult KernelLowering::dequantizeKeys(OpBuilder &b, tile::DequantizeKeysOp op) {
  const KeyTile x = keyTiles.find(op.getX())->second;
  const KeyTile scale = keyTiles.find(op.getScale())->second;
  Location loc = op.getLoc();
  keyTiles[op.getResult()].open = [=](OpBuilder &b, const Key &key) -> PieceLoader {
    PieceLoader load = x.open(b, key);
    Value factor = scale.open(b, key)(b, 0, 1);
    return [=](OpBuilder &b, int64_t dim, int64_t width) {
      Emit e{b, loc};
      Value piece = load(b, dim, width);
      return e.mul(piece, e.splat(factor, piece.getType()));
    };
  };
  return success();
}

//===-- Scores and masks --------------------------------------------------------===//

LogicalResult KernelLowering::score(OpBuilder &b, tile::ScoreOp op) {
  const ScoreTile s = scoreTiles.find(op.getS())->second;
  ScoreTile &result = scoreTiles[op.getResult()];
  result.masked = s.masked;
  result.at = [=, this](OpBuilder &b, const Key &key) mutable {
    Emit e{b, op.getLoc()};
    Value scale = e.asFloat(buffers->word(ATTN_W_SCALE));
    SmallVector<Value> scores = s.at(b, key);
    for (auto [score, position] : llvm::zip(scores, rowPosition))
      score = inlineScalarRegion(
                  b, op.getBody().front(),
                  {e.mul(score, scale), position, key.position, item.head, item.batch}, context)
                  .front();
    return scores;
  };
  return success();
}

LogicalResult KernelLowering::mask(OpBuilder &b, tile::MaskOp op) {
  const ScoreTile s = scoreTiles.find(op.getS())->second;
  ScoreTile &result = scoreTiles[op.getResult()];
  result.masked = true;
  result.at = [=, this](OpBuilder &b, const Key &key) mutable {
    SmallVector<Value> scores = s.at(b, key);
    auto masked = scf::IfOp::create(
        b, op.getLoc(), key.full,
        [&](OpBuilder &b, Location loc) { scf::YieldOp::create(b, loc, scores); },
        [&](OpBuilder &b, Location loc) {
          Emit e{b, loc};
          SmallVector<Value> selected;
          for (auto [score, position] : llvm::zip(scores, rowPosition)) {
            Value admitted =
                inlineScalarRegion(b, op.getBody().front(),
                                   {position, key.position, item.head, item.batch}, context)
                    .front();
            admitted = arith::AndIOp::create(b, loc, admitted, key.valid);
            selected.push_back(e.select(admitted, score, e.f32(kMasked)));
          }
          scf::YieldOp::create(b, loc, selected);
        });
    return SmallVector<Value>(masked.getResults());
  };
  return success();
}

//===-- Online softmax -----------------------------------------------------------===//

LogicalResult KernelLowering::softmaxInit(OpBuilder &b, tile::SoftmaxInitOp op) {
  Emit e{b, op.getLoc()};
  int64_t dim = kernel.getVDim(), width = dim % 4 == 0 ? 4 : dim % 2 == 0 ? 2 : 1;
  Type type = b.getF32Type();
  if (width > 1)
    type = VectorType::get(width, type);
  RowTile max, sum, out;
  for (int64_t r = 0; r < schedule.rows; ++r) {
    max.rows.push_back({e.f32(kInitialMaximum)});
    sum.rows.push_back({e.f32(0)});
    out.rows.push_back(SmallVector<Value>(dim / width, e.constant(type, 0)));
  }
  setRows(op.getMax(), std::move(max));
  setRows(op.getSum(), std::move(sum));
  setRows(op.getOut(), std::move(out));
  return success();
}

LogicalResult KernelLowering::softmaxStep(OpBuilder &b, tile::SoftmaxStepOp op) {
  const ScoreTile &s = scoreTiles.find(op.getS())->second;
  RowTile max = rowTiles.lookup(op.getMax()), sum = rowTiles.lookup(op.getSum()), alpha;
  Value factor = scalars.lookup(op.getFactor());
  Location loc = op.getLoc();
  Emit e{b, loc};
  int64_t rows = schedule.rows, keys = schedule.keys;

  // Each key's scores enter at the end of their row and push the others left;
  // after the last key they stand in order.
  SmallVector<Value> scores(rows * keys, e.f32(0));
  scores = forEachKey(b, loc, scores, [&](OpBuilder &b, Value index, ValueRange carried) {
    SmallVector<Value> next(carried), fresh = s.at(b, keyAt(b, loc, index));
    for (int64_t r = 0; r < rows; ++r) {
      std::rotate(next.begin() + r * keys, next.begin() + r * keys + 1,
                  next.begin() + (r + 1) * keys);
      next[(r + 1) * keys - 1] = fresh[r];
    }
    return next;
  });

  ProbabilityTile probabilities;
  for (int64_t r = 0; r < rows; ++r) {
    ArrayRef<Value> row = ArrayRef<Value>(scores).slice(r * keys, keys);
    Value old = max.rows[r].front(), largest = old;
    for (Value score : row)
      largest = e.max(largest, score);
    Value rescale = e.exp2(e.mul(e.sub(old, largest), factor)), total;
    SmallVector<Value> &p = probabilities.rows.emplace_back();
    for (Value score : row) {
      Value exponential = e.exp2(e.mul(e.sub(score, largest), factor));
      // Some devices clamp exp2 to the smallest normal number.
      if (s.masked)
        exponential = e.select(e.atMost(score, e.f32(kMaskedBound)), e.f32(0), exponential);
      p.push_back(exponential);
      total = total ? e.add(total, exponential) : exponential;
    }
    sum.rows[r].front() = e.fma(sum.rows[r].front(), rescale, total);
    max.rows[r].front() = largest;
    alpha.rows.push_back({rescale});
  }
  probabilityTiles[op.getP()] = std::move(probabilities);
  setRows(op.getNewMax(), std::move(max));
  setRows(op.getNewSum(), std::move(sum));
  setRows(op.getAlpha(), std::move(alpha));
  return success();
}

LogicalResult KernelLowering::softmaxFinish(OpBuilder &b, tile::SoftmaxFinishOp op) {
  Emit e{b, op.getLoc()};
  const RowTile &max = rowTiles.find(op.getMax())->second,
                &sum = rowTiles.find(op.getSum())->second;
  RowTile out = rowTiles.lookup(op.getO()), lse;
  Value factor = scalars.lookup(op.getFactor()), sink;
  if (op.getSinkLogit())
    sink = e.mul(scalars.lookup(op.getSinkLogit()), e.f32(kLog2E));
  for (int64_t r = 0; r < schedule.rows; ++r) {
    Value m = max.rows[r].front(), l = sum.rows[r].front();
    Value empty = e.atMost(m, e.f32(kInitialMaximum)); // no key raised the maximum
    Value exponent = e.mul(m, factor), scale, logSum;
    if (sink) {
      Value largest = e.max(exponent, sink), down = e.exp2(e.sub(exponent, largest));
      Value kept = e.select(empty, e.f32(0), e.mul(l, down));
      Value total = e.add(kept, e.exp2(e.sub(sink, largest)));
      scale = e.div(down, total);
      logSum = e.bits(e.fma(largest, e.f32(kLn2), e.log(total)));
    } else {
      scale = e.div(e.f32(1), l);
      logSum = e.select(empty, e.i32(kMinusInfinityBits),
                        e.bits(e.fma(exponent, e.f32(kLn2), e.log(l))));
    }
    lse.rows.push_back({logSum});
    for (Value &piece : out.rows[r]) {
      Type type = piece.getType();
      piece = e.select(empty, e.constant(type, 0), e.mul(piece, e.splat(scale, type)));
    }
  }
  setRows(op.getOut(), std::move(out));
  setRows(op.getLse(), std::move(lse));
  return success();
}
