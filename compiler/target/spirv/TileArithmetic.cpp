// Products, softmax, scores and masks of one step, in three phases parted by
// barriers: S = Q K^T into workgroup memory, softmax there, O += P V.
#include "compiler/target/spirv/KernelLowering.h"
#include "compiler/target/spirv/NarrowTypes.h"

#include "mlir/Dialect/SCF/IR/SCF.h"

using namespace mlir;
using namespace mlir::attn;

namespace {
constexpr double kInitialMaximum = -1e20; // of a row that has seen no key
constexpr double kMasked = -1e30;         // score of a pair that is not admitted
constexpr double kMaskedBound = -5e29;    // above the sentinel, below every score
constexpr double kLog2E = 1.4426950408889634, kLn2 = 0.6931471805599453;
constexpr int64_t kMinusInfinityBits = int32_t(0xff800000);
constexpr int64_t kExactInt8Dims = 1040; // 127 * 127 * 1040 < 2^24
} // namespace

//===-- Products ---------------------------------------------------------------===//

// Integer products are computed in f32 where the tier has no integer dot
// product: every partial sum is exact.
LogicalResult SpirvLowering::dotQK(OpBuilder &b, tile::DotQKOp op) {
  const QueryTile q = queryTiles.lookup(op.getQ());
  const SpirvKeyTile k = keyTiles.lookup(op.getK());
  bool integers = op.getResult().getType().getElementType().isInteger(32);
  bool words = integers && schedule.tier.integerDot;
  if (integers && int64_t(kernel.getQkDim()) > kExactInt8Dims)
    return op.emitOpError() << "sums " << kernel.getQkDim() << " int8 products; spirv allows up to "
                            << kExactInt8Dims;
  int64_t width = std::max({dotWidth, q.width, k.width});
  if (kernel.getQkDim() % width != 0)
    return op.emitOpError() << "has qk_dim " << kernel.getQkDim() << "; spirv allows multiples of "
                            << width;
  Location loc = op.getLoc();
  Emit e{b, loc};

  // Keys of this invocation: column, column + columns, ... Past the end of the
  // step the last one is read again, and its scores are never looked at.
  int64_t rows = schedule.rows, keys = schedule.keyTile();
  Value last = e.subI(step->count, e.i32(1));
  SmallVector<Value> keyIndex;
  SmallVector<PieceLoader> keyRows;
  SmallVector<WordLoader> keyWords;
  for (int64_t j = 0; j < keys; ++j) {
    keyIndex.push_back(e.addI(column, e.i32(j * schedule.columns)));
    Value slot = e.addI(step->slot, e.minI(keyIndex.back(), last));
    if (words)
      keyWords.push_back(k.openWords(b, slot));
    else
      keyRows.push_back(k.open(b, slot));
  }
  auto addProducts = [&](OpBuilder &b, Value dim, ValueRange carried) {
    Emit e{b, loc};
    SmallVector<Value> next(carried);
    SmallVector<SmallVector<Value>> queries;
    for (int64_t i = 0; i < rows; ++i)
      queries.push_back(words ? q.words(b, i, dim, width)
                              : elementsOf(b, loc, q.piece(b, i, dim, width)));
    for (int64_t j = 0; j < keys; ++j) {
      SmallVector<Value> key =
          words ? keyWords[j](b, dim, width) : elementsOf(b, loc, keyRows[j](b, dim, width));
      for (int64_t i = 0; i < rows; ++i)
        for (auto [x, y] : llvm::zip(queries[i], key)) {
          Value &sum = next[i * keys + j];
          sum = words ? e.addI(sum, e.dot4(x, y)) : e.fma(x, y, sum);
        }
    }
    return next;
  };
  SmallVector<Value> sums(rows * keys, words ? e.i32(0) : e.f32(0));
  sums = loop(b, loc, e.i32(kernel.getQkDim()), width, sums, addProducts);
  if (words)
    for (Value &sum : sums)
      sum = arith::SIToFPOp::create(b, loc, f32Type(), sum);
  for (int64_t j = 0; j < keys; ++j) {
    auto store = [&](OpBuilder &b) {
      for (int64_t i = 0; i < rows; ++i)
        storeShared(b, loc, sums[i * keys + j], scores(),
                    scoreIndex(b, loc, tileRows[i].index, keyIndex[j]));
    };
    if ((j + 1) * schedule.columns <= schedule.keys) {
      store(b);
      continue;
    }
    auto inStep = scf::IfOp::create(b, loc, e.less(keyIndex[j], e.i32(schedule.keys)), false);
    OpBuilder then = inStep.getThenBodyBuilder();
    store(then);
  }
  barrier(b, loc);
  scoreTiles[op.getResult()].asStored = true;
  scoreTiles[op.getResult()].at = [=, this](OpBuilder &b, int64_t ownRow, const Key &key, bool) {
    return loadShared(b, loc, scores(), scoreIndex(b, loc, ownRows[ownRow].index, key.index));
  };
  return success();
}

LogicalResult SpirvLowering::dotPV(OpBuilder &b, tile::DotPVOp op) {
  const SpirvKeyTile v = keyTiles.lookup(op.getV());
  OutputTile o = outputTiles.lookup(op.getO());
  Location loc = op.getLoc();
  int64_t rows = schedule.rows, units = outputUnits();
  for (int64_t i = 0; i < rows; ++i) {
    Emit e{b, loc};
    Value alpha = ofRow(
        b, loc, i, [&](const Row &row) { return loadShared(b, loc, factors(), row.index); });
    for (int64_t u = 0; u < units; ++u) {
      Value &piece = o.pieces[i * units + u];
      piece = e.mul(piece, e.splat(alpha, piece.getType()));
    }
  }
  SmallVector<Value> dims;
  for (int64_t u = 0; u < units; ++u)
    dims.push_back(outputDim(b, loc, u).first);
  o.pieces =
      loop(b, loc, step->count, 1, o.pieces, [&](OpBuilder &b, Value key, ValueRange carried) {
        Emit e{b, loc};
        SmallVector<Value> next(carried), probabilities;
        for (int64_t i = 0; i < rows; ++i)
          probabilities.push_back(ofRow(b, loc, i, [&](const Row &row) {
            return loadShared(b, loc, scores(), scoreIndex(b, loc, row.index, key));
          }));
        PieceLoader load = v.open(b, e.addI(step->slot, key));
        for (int64_t u = 0; u < units; ++u) {
          Value piece = load(b, dims[u], outputWidth);
          for (int64_t i = 0; i < rows; ++i) {
            Value &sum = next[i * units + u];
            sum = e.fma(e.splat(probabilities[i], piece.getType()), piece, sum);
          }
        }
        return next;
      });
  barrier(b, loc);
  outputTiles[op.getResult()] = std::move(o);
  return success();
}

//===-- Quantisation -----------------------------------------------------------===//

// Each owner of a row packs it into workgroup memory, four numbers to a word.
LogicalResult SpirvLowering::quantize(OpBuilder &b, tile::QuantizeOp op) {
  const QueryTile x = queryTiles.lookup(op.getX());
  int64_t dim = kernel.getQkDim();
  if (dim % 4 != 0)
    return op.emitOpError() << "has qk_dim " << dim << "; spirv allows multiples of 4";
  Location loc = op.getLoc();
  int64_t rowWords = dim / 4;
  Value packed = shared("queries", kernel.getBlockQ() * rowWords, b.getI32Type());
  auto wordIndex = [=](OpBuilder &b, Value row, Value dim, int64_t word) {
    Emit e{b, loc};
    Value first = arith::ShRUIOp::create(b, loc, dim, e.i32(2));
    return e.addI(e.mulI(row, e.i32(rowWords)), word ? e.addI(first, e.i32(word)) : first);
  };
  SmallVector<Type> types(schedule.ownRows, f32Type());
  rowTiles[op.getScale()].values = onOwners(b, loc, types, [&](OpBuilder &b) {
    Emit e{b, loc};
    SmallVector<Value> scales;
    for (auto [r, row] : llvm::enumerate(ownRows)) {
      Value largest =
          loop(b, loc, e.i32(dim), 4, {e.f32(0)}, [&](OpBuilder &b, Value d, ValueRange carried) {
            Emit e{b, loc};
            Value most = carried.front();
            for (Value x : elementsOf(b, loc, x.ownPiece(b, r, d, 4)))
              most = e.maxMagnitude(x, most);
            return SmallVector<Value>{most};
          }).front();
      Value scale = e.div(largest, e.f32(127));
      // A row of zeros has scale 0; dividing by 1 keeps it zero.
      Value divisor = e.select(e.atMost(largest, e.f32(0)), e.f32(1), scale);
      loop(b, loc, e.i32(dim), 4, {}, [&](OpBuilder &b, Value d, ValueRange) {
        Emit e{b, loc};
        Value word = e.i32(0);
        for (auto [i, x] : llvm::enumerate(elementsOf(b, loc, x.ownPiece(b, r, d, 4)))) {
          Value rounded = math::RoundEvenOp::create(b, loc, e.div(x, divisor));
          Value byte = arith::AndIOp::create(
              b, loc, arith::FPToSIOp::create(b, loc, b.getI32Type(), rounded), e.i32(255));
          word =
              arith::OrIOp::create(b, loc, word, arith::ShLIOp::create(b, loc, byte, e.i32(8 * i)));
        }
        storeShared(b, loc, word, packed, wordIndex(b, row.index, d, 0));
        return SmallVector<Value>{};
      });
      scales.push_back(scale);
    }
    return scales;
  });
  barrier(b, loc);
  QueryTile &tile = queryTiles[op.getResult()];
  tile.width = 4;
  auto words = [=, this](OpBuilder &b, int64_t row, Value d, int64_t width) {
    SmallVector<Value> words;
    for (int64_t i = 0; i < width / 4; ++i)
      words.push_back(ofRow(b, loc, row, [&](const Row &row) {
        return loadShared(b, loc, packed, wordIndex(b, row.index, d, i));
      }));
    return words;
  };
  tile.words = words;
  tile.piece = [=, this](OpBuilder &b, int64_t row, Value d, int64_t width) -> Value {
    SmallVector<Value> elements;
    for (Value word : words(b, row, d, width))
      for (int64_t i = 0; i < 4; ++i)
        elements.push_back(unpackToFloat(b, loc, word, i, b.getI8Type()));
    return vector::FromElementsOp::create(b, loc, VectorType::get(width, f32Type()), elements);
  };
  return success();
}

LogicalResult SpirvLowering::dequantizeScores(OpBuilder &b, tile::DequantizeScoresOp op) {
  const ScoreTile s = scoreTiles.lookup(op.getS());
  const SpirvKeyTile keyScale = keyTiles.lookup(op.getKeyScale());
  const RowTile rowScale = rowTiles.lookup(op.getRowScale());
  Location loc = op.getLoc();
  ScoreTile &result = scoreTiles[op.getResult()];
  result = s;
  result.asStored = false;
  result.at = [=](OpBuilder &b, int64_t ownRow, const Key &key, bool full) {
    Emit e{b, loc};
    Value scale = keyScale.open(b, key.slot)(b, Value(), 1);
    return e.mul(s.at(b, ownRow, key, full), e.mul(rowScale.values[ownRow], scale));
  };
  return success();
}

LogicalResult SpirvLowering::dequantizeKeys(OpBuilder &b, tile::DequantizeKeysOp op) {
  const SpirvKeyTile x = keyTiles.lookup(op.getX());
  const SpirvKeyTile scale = keyTiles.lookup(op.getScale());
  Location loc = op.getLoc();
  SpirvKeyTile &result = keyTiles[op.getResult()];
  result.width = x.width;
  result.open = [=](OpBuilder &b, Value slot) -> PieceLoader {
    PieceLoader load = x.open(b, slot);
    Value factor = scale.open(b, slot)(b, Value(), 1);
    return [=](OpBuilder &b, Value dim, int64_t width) {
      Emit e{b, loc};
      Value piece = load(b, dim, width);
      return e.mul(piece, e.splat(factor, piece.getType()));
    };
  };
  return success();
}

//===-- Scores and masks --------------------------------------------------------===//

LogicalResult SpirvLowering::score(OpBuilder &b, tile::ScoreOp op) {
  const ScoreTile s = scoreTiles.lookup(op.getS());
  ScoreTile &result = scoreTiles[op.getResult()];
  result = s;
  result.asStored = false;
  result.at = [=, this](OpBuilder &b, int64_t ownRow, const Key &key, bool full) mutable {
    Emit e{b, op.getLoc()};
    Value scaled = e.mul(s.at(b, ownRow, key, full), e.asFloat(buffers->word(ATTN_W_SCALE)));
    return inlineScalarRegion(
               b, op.getBody().front(),
               {scaled, ownRows[ownRow].position, key.position, item.head, item.batch}, context)
        .front();
  };
  return success();
}

LogicalResult SpirvLowering::mask(OpBuilder &b, tile::MaskOp op) {
  const ScoreTile s = scoreTiles.lookup(op.getS());
  ScoreTile &result = scoreTiles[op.getResult()];
  result.asStored = s.asStored;
  result.masked = true;
  result.at = [=, this](OpBuilder &b, int64_t ownRow, const Key &key, bool full) mutable {
    Value score = s.at(b, ownRow, key, full);
    if (full)
      return score;
    Emit e{b, op.getLoc()};
    Value admitted =
        inlineScalarRegion(b, op.getBody().front(),
                           {ownRows[ownRow].position, key.position, item.head, item.batch}, context)
            .front();
    return e.select(admitted, score, e.f32(kMasked));
  };
  return success();
}

//===-- Online softmax -----------------------------------------------------------===//

LogicalResult SpirvLowering::softmaxInit(OpBuilder &b, tile::SoftmaxInitOp op) {
  Emit e{b, op.getLoc()};
  Type type = f32Type();
  if (outputWidth > 1)
    type = VectorType::get(outputWidth, type);
  rowTiles[op.getMax()].values.assign(schedule.ownRows, e.f32(kInitialMaximum));
  rowTiles[op.getSum()].values.assign(schedule.ownRows, e.f32(0));
  outputTiles[op.getOut()].pieces.assign(schedule.rows * outputUnits(), e.constant(type, 0));
  return success();
}

LogicalResult SpirvLowering::softmaxStep(OpBuilder &b, tile::SoftmaxStepOp op) {
  const ScoreTile s = scoreTiles.lookup(op.getS());
  const RowTile max = rowTiles.lookup(op.getMax()), sum = rowTiles.lookup(op.getSum());
  Value factor = scalars.lookup(op.getFactor());
  Location loc = op.getLoc();

  // Leaves the final scores of a row in workgroup memory, gives their maximum.
  auto maximum = [&](OpBuilder &b, int64_t r, bool full) {
    return loop(b, loc, step->count, 1, {max.values[r]},
                [&](OpBuilder &b, Value index, ValueRange carried) {
                  Emit e{b, loc};
                  Key key{index, e.addI(step->slot, index), e.addI(step->position, index)};
                  Value score = s.at(b, r, key, full);
                  if (!(full && s.asStored))
                    storeShared(b, loc, score, scores(),
                                scoreIndex(b, loc, ownRows[r].index, index));
                  return SmallVector<Value>{e.max(carried.front(), score)};
                });
  };
  // Turns a row's scores into probabilities, gives their sum.
  auto exponentials = [&](OpBuilder &b, int64_t r, Value largest) {
    Emit e{b, loc};
    return loop(b, loc, step->count, 1, {e.f32(0)},
                [&](OpBuilder &b, Value index, ValueRange carried) {
                  Emit e{b, loc};
                  Value at = scoreIndex(b, loc, ownRows[r].index, index);
                  Value score = loadShared(b, loc, scores(), at);
                  Value p = e.exp2(e.mul(e.sub(score, largest), factor));
                  // Some devices clamp exp2 to the smallest normal number.
                  if (s.masked)
                    p = e.select(e.atMost(score, e.f32(kMaskedBound)), e.f32(0), p);
                  storeShared(b, loc, p, scores(), at);
                  return SmallVector<Value>{e.add(carried.front(), p)};
                });
  };

  SmallVector<Type> types(2 * schedule.ownRows, f32Type());
  SmallVector<Value> next = onOwners(b, loc, types, [&](OpBuilder &b) {
    SmallVector<Value> maxima, sums;
    for (int64_t r = 0; r < schedule.ownRows; ++r) {
      Emit e{b, loc};
      Value largest;
      if (s.masked)
        largest = scf::IfOp::create(
                      b, loc, step->full,
                      [&](OpBuilder &b, Location loc) {
                        scf::YieldOp::create(b, loc, maximum(b, r, true));
                      },
                      [&](OpBuilder &b, Location loc) {
                        scf::YieldOp::create(b, loc, maximum(b, r, false));
                      })
                      .getResult(0);
      else
        largest = maximum(b, r, true).front();
      Value alpha = e.exp2(e.mul(e.sub(max.values[r], largest), factor));
      storeShared(b, loc, alpha, factors(), ownRows[r].index);
      Value total = exponentials(b, r, largest).front();
      maxima.push_back(largest);
      sums.push_back(e.fma(sum.values[r], alpha, total));
    }
    llvm::append_range(maxima, sums);
    return maxima;
  });
  barrier(b, loc);
  rowTiles[op.getNewMax()].values.assign(next.begin(), next.begin() + schedule.ownRows);
  rowTiles[op.getNewSum()].values.assign(next.begin() + schedule.ownRows, next.end());
  rowTiles[op.getAlpha()]; // lies in factors()
  return success();
}

LogicalResult SpirvLowering::softmaxFinish(OpBuilder &b, tile::SoftmaxFinishOp op) {
  Location loc = op.getLoc();
  const RowTile max = rowTiles.lookup(op.getMax()), sum = rowTiles.lookup(op.getSum());
  Value factor = scalars.lookup(op.getFactor()), sink;
  if (op.getSinkLogit()) {
    Emit e{b, loc};
    sink = e.mul(scalars.lookup(op.getSinkLogit()), e.f32(kLog2E));
  }
  auto factorOp = op.getFactor().getDefiningOp<tile::ScoreFactorOp>();
  bool natural = factorOp && factorOp.getPlain();
  // A row's factor is what its output is divided by; 0 stands for "no key".
  SmallVector<Type> types(schedule.ownRows, b.getI32Type());
  rowTiles[op.getLse()].values = onOwners(b, loc, types, [&](OpBuilder &b) {
    Emit e{b, loc};
    SmallVector<Value> logSums;
    for (int64_t r = 0; r < schedule.ownRows; ++r) {
      Value m = max.values[r], l = sum.values[r];
      // No key raised the maximum, and none was NaN, which only the sum keeps.
      Value empty = arith::AndIOp::create(b, loc, e.atMost(m, e.f32(kInitialMaximum)),
                                          e.atMost(l, e.f32(std::numeric_limits<float>::max())));
      Value exponent = e.mul(m, factor), scale;
      if (sink) {
        Value largest = e.max(exponent, sink), down = e.exp2(e.sub(exponent, largest));
        Value kept = e.select(empty, e.f32(0), e.mul(l, down));
        Value total = e.add(kept, e.exp2(e.sub(sink, largest)));
        scale = e.div(down, total);
        logSums.push_back(e.bits(e.fma(largest, e.f32(kLn2), e.log(total))));
      } else {
        scale = e.div(e.f32(1), l);
        // Scores in natural units are not scaled to and fro: one part merges to itself.
        Value logSum = natural ? e.add(m, e.log(l)) : e.fma(exponent, e.f32(kLn2), e.log(l));
        logSums.push_back(e.select(empty, e.i32(kMinusInfinityBits), e.bits(logSum)));
      }
      storeShared(b, loc, e.select(empty, e.f32(0), scale), factors(), ownRows[r].index);
    }
    return logSums;
  });
  barrier(b, loc);
  OutputTile out = outputTiles.lookup(op.getO());
  int64_t units = outputUnits();
  Emit e{b, loc};
  for (int64_t i = 0; i < schedule.rows; ++i) {
    Value scale = ofRow(
        b, loc, i, [&](const Row &row) { return loadShared(b, loc, factors(), row.index); });
    Value empty = e.atMost(scale, e.f32(0));
    for (int64_t u = 0; u < units; ++u) {
      Value &piece = out.pieces[i * units + u];
      Type type = piece.getType();
      piece = e.select(empty, e.constant(type, 0), e.mul(piece, e.splat(scale, type)));
    }
  }
  outputTiles[op.getOut()] = std::move(out);
  return success();
}
