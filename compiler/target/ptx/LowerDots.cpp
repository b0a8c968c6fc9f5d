// Lowers the two products of attention to mma.sync: 16-bit floats and int8
// directly, f32 as three tf32 products. See PtxTileValue for the layouts.
#include "compiler/target/ptx/KernelLowering.h"

#include "mlir/Dialect/SCF/IR/SCF.h"

using namespace mlir;
using namespace mlir::attn;

namespace {

// f32 operands as tf32 pairs: value = high + low to 21 bits of mantissa. The
// product of two lows is below the rounding of the accumulator.
struct SplitOperand {
  SmallVector<Value> high, low;
};

SplitOperand splitTf32(PtxBuilder &p, ArrayRef<Value> bits) {
  SplitOperand split;
  for (Value word : bits) {
    Value value = p.bitcast(word, p.getF32Type());
    Value high = p.toTf32(value);
    split.high.push_back(high);
    split.low.push_back(p.toTf32(p.fsub(value, p.bitcast(high, p.getF32Type()))));
  }
  return split;
}

// Small products first, so that they are not lost against the large one.
SmallVector<Value> mma3xTf32(PtxBuilder &p, const SplitOperand &a, const SplitOperand &b,
                             ValueRange acc) {
  SmallVector<Value> sum = p.mma(MmaKind::tf32, a.low, b.high, acc);
  sum = p.mma(MmaKind::tf32, a.high, b.low, sum);
  return p.mma(MmaKind::tf32, a.high, b.high, sum);
}

std::optional<MmaKind> mmaKindOf(Type element) {
  if (element.isF16())
    return MmaKind::f16;
  if (element.isBF16())
    return MmaKind::bf16;
  if (element.isF32())
    return MmaKind::tf32;
  if (element.isInteger(8))
    return MmaKind::s8;
  return std::nullopt;
}

void assign(PtxTileValue &tile, int64_t m, int64_t j, ValueRange values) {
  for (int64_t r = 0; r < 4; ++r)
    tile.at(m, j, r) = values[r];
}

SmallVector<Value> registersOf(PtxTileValue &tile, int64_t m, int64_t j) {
  return {tile.at(m, j, 0), tile.at(m, j, 1), tile.at(m, j, 2), tile.at(m, j, 3)};
}

} // namespace

// Keys are operand B: lane 8 i + r names key r of matrix i; the matrices are
// (keys 0-7, first chunk), (keys 0-7, second), (keys 8-15, first), (keys 8-15, second).
LogicalResult PtxLowering::lowerDotQK(PtxBuilder &p, tile::DotQKOp op) {
  const PtxTileValue q = tiles.lookup(op.getQ()), k = tiles.lookup(op.getK());
  if (q.kind != PtxTileValue::queries || k.kind != PtxTileValue::shared || q.element != k.element ||
      q.layout.chunks != k.layout.chunks)
    return op.emitOpError("multiplies ")
           << op.getQ().getType() << " with " << op.getK().getType()
           << "; ptx kernels multiply query rows with key rows of the same element type";
  std::optional<MmaKind> kind = mmaKindOf(k.element);
  if (!kind)
    return op.emitOpError("has no tensor-core instruction for ") << k.element;
  PtxTileValue scores;
  scores.kind = PtxTileValue::accumulator;
  scores.columns = s.blockK / 8;
  Value zero = *kind == MmaKind::s8 ? p.i32(0) : p.f32(0);
  scores.values.assign(s.rowTiles * scores.columns * 4, zero);

  Value key = p.add(p.andI(lane, 7), p.shl(p.shrU(lane, 4), 3));
  Value second = p.andI(p.shrU(lane, 3), 1);
  ChunkAddress address(p, *this, k, key, second);
  int64_t steps = k.layout.chunks / 2;
  for (int64_t step = 0; step < steps; ++step) {
    SmallVector<SmallVector<Value>> a;
    SmallVector<SplitOperand> aSplit;
    for (int64_t m = 0; m < s.rowTiles; ++m) {
      if (q.values.empty())
        a.push_back(loadQueryFragment(p, q, m, step));
      else
        a.push_back(SmallVector<Value>(ArrayRef(q.values).slice((m * steps + step) * 4, 4)));
      if (*kind == MmaKind::tf32)
        aSplit.push_back(splitTf32(p, a.back()));
    }
    for (int64_t j = 0; j < scores.columns; j += 2) {
      SmallVector<Value> b = p.ldmatrix(address.at(p, step * 2, j * 8), /*transposed=*/false);
      for (int64_t side = 0; side < 2; ++side) {
        ArrayRef<Value> pair = ArrayRef(b).slice(side * 2, 2);
        SplitOperand bSplit;
        if (*kind == MmaKind::tf32)
          bSplit = splitTf32(p, pair);
        for (int64_t m = 0; m < s.rowTiles; ++m) {
          SmallVector<Value> acc = registersOf(scores, m, j + side);
          assign(scores, m, j + side,
                 *kind == MmaKind::tf32 ? mma3xTf32(p, aSplit[m], bSplit, acc)
                                        : p.mma(*kind, a[m], pair, acc));
        }
      }
    }
  }
  tiles[op.getResult()] = scores;
  return success();
}

LogicalResult PtxLowering::lowerDotPV(PtxBuilder &p, tile::DotPVOp op) {
  PtxTileValue probabilities = tiles.lookup(op.getP()), out = tiles.lookup(op.getO());
  const PtxTileValue v = tiles.lookup(op.getV()), alpha = tiles.lookup(op.getAlpha());
  std::optional<MmaKind> kind = v.element ? mmaKindOf(v.element) : std::nullopt;
  if (v.kind != PtxTileValue::shared || !kind || *kind == MmaKind::s8)
    return op.emitOpError("multiplies with ")
           << op.getV().getType() << "; ptx kernels take loaded f32, f16 or bf16 rows, or int8 "
           << "rows through tile.dequantize_keys";
  waitForLateKeys(p);
  for (int64_t m = 0; m < s.rowTiles; ++m) {
    for (int64_t j = 0; j < out.columns; ++j)
      for (int64_t r = 0; r < 4; ++r)
        out.at(m, j, r) = p.fmul(out.at(m, j, r), alpha.values[m * 2 + r / 2]);
    if (!v.scaleBase)
      continue;
    // int8 values are exact in bf16; their scales go to the probabilities, in f32.
    for (int64_t j = 0; j < probabilities.columns; ++j) {
      auto [low, high] = loadScalePair(p, v.scaleBase, j);
      for (int64_t r = 0; r < 4; ++r)
        probabilities.at(m, j, r) = p.fmul(probabilities.at(m, j, r), r % 2 ? high : low);
    }
  }
  if (*kind == MmaKind::tf32)
    multiplySingle(p, out, probabilities, v);
  else
    multiplyHalf(p, out, probabilities, v, *kind);
  tiles[op.getResult()] = out;
  return success();
}

// Two column tiles of probabilities are one operand A of 16 keys. Value rows are
// operand B, transposed while they are read: lane 8 i + r names key r of matrix i;
// the matrices are (keys 0-7, first chunk), (keys 8-15, first), and both of the second.
void PtxLowering::multiplyHalf(PtxBuilder &p, PtxTileValue &out, PtxTileValue &probabilities,
                                  const PtxTileValue &v, MmaKind kind) {
  ChunkAddress address(p, *this, v, p.andI(lane, 15), p.shrU(lane, 4));
  for (int64_t step = 0; step < s.blockK / 16; ++step) {
    SmallVector<SmallVector<Value>> a(s.rowTiles);
    for (int64_t m = 0; m < s.rowTiles; ++m)
      for (int64_t side = 0; side < 2; ++side)
        for (int64_t half = 0; half < 2; ++half)
          a[m].push_back(p.pack2(probabilities.at(m, step * 2 + side, half * 2),
                                 probabilities.at(m, step * 2 + side, half * 2 + 1), v.element));
    for (int64_t j = 0; j < out.columns; j += 2) {
      SmallVector<Value> b = p.ldmatrix(address.at(p, j, step * 16), /*transposed=*/true);
      for (int64_t side = 0; side < 2; ++side)
        for (int64_t m = 0; m < s.rowTiles; ++m)
          assign(out, m, j + side,
                 p.mma(kind, a[m], ArrayRef(b).slice(side * 2, 2), registersOf(out, m, j + side)));
    }
  }
}

// One column tile of probabilities is one operand A of 8 keys, if k index t means
// key 2t and k index t + 4 means key 2t + 1: the order of a sum is free.
void PtxLowering::multiplySingle(PtxBuilder &p, PtxTileValue &out, PtxTileValue &probabilities,
                                    const PtxTileValue &v) {
  Value group = p.shrU(lane, 2), key = p.shl(p.andI(lane, 3), 1);
  Value inChunk = p.shl(p.andI(group, 3), 2);
  ChunkAddress addresses[2] = {ChunkAddress(p, *this, v, key, p.shrU(group, 2)),
                               ChunkAddress(p, *this, v, p.add(key, 1), p.shrU(group, 2))};
  for (int64_t step = 0; step < s.blockK / 8; ++step) {
    SmallVector<SplitOperand> a;
    for (int64_t m = 0; m < s.rowTiles; ++m) {
      SmallVector<Value> bits;
      for (int64_t r : {0, 2, 1, 3})
        bits.push_back(p.bitcast(probabilities.at(m, step, r), p.getI32Type()));
      a.push_back(splitTf32(p, bits));
    }
    for (int64_t j = 0; j < out.columns; ++j) {
      SmallVector<Value> b;
      for (int64_t side = 0; side < 2; ++side) {
        Value address = p.offset(addresses[side].at(p, j * 2, step * 8), inChunk);
        b.push_back(p.load(address, p.getI32Type(), 4));
      }
      SplitOperand bSplit = splitTf32(p, b);
      for (int64_t m = 0; m < s.rowTiles; ++m)
        assign(out, m, j, mma3xTf32(p, a[m], bSplit, registersOf(out, m, j)));
    }
  }
}

std::pair<Value, Value> PtxLowering::loadScalePair(PtxBuilder &p, Value base,
                                                      int64_t columnTile) {
  Value address = p.add(p.add(base, p.shl(p.andI(lane, 3), 3)), columnTile * 32);
  Value pair = p.load(sharedAt(p, address), VectorType::get(2, p.getF32Type()), 8);
  return {LLVM::ExtractElementOp::create(p, p.loc, pair, p.i32(0)),
          LLVM::ExtractElementOp::create(p, p.loc, pair, p.i32(1))};
}

// Writes the int8 rows as bf16 to their own place in shared memory; the scale
// stays with the tile until the product.
LogicalResult PtxLowering::lowerDequantizeKeys(PtxBuilder &p, tile::DequantizeKeysOp op) {
  const PtxTileValue x = tiles.lookup(op.getX()), scale = tiles.lookup(op.getScale());
  if (x.kind != PtxTileValue::shared || scale.kind != PtxTileValue::keyVector || !x.element.isInteger(8))
    return op.emitOpError("dequantises ")
           << op.getX().getType() << "; ptx kernels take loaded int8 rows";
  waitForLateKeys(p);
  PtxTileValue tile;
  tile.layout = SharedLayout::get(s.blockK, x.layout.dim, 2);
  tile.element = p.getBF16Type();
  tile.base = p.i32(s.expandedOffset);
  tile.scaleBase = scale.base;
  int64_t total = s.blockK * x.layout.chunks;
  auto loop = scf::ForOp::create(p, p.loc, thread, p.i32(total), p.i32(s.threads()));
  PtxBuilder b(OpBuilder::atBlockTerminator(loop.getBody()), p.loc);
  Value row = b.divU(loop.getInductionVar(), x.layout.chunks);
  Value chunk = b.remU(loop.getInductionVar(), x.layout.chunks);
  Value source =
      b.add(b.add(x.base, b.mul(row, x.layout.rowBytes())), swizzledBytes(b, x.layout, row, chunk));
  Value bytes = b.load(sharedAt(b, source), VectorType::get(4, b.getI32Type()), 16);
  for (int64_t side = 0; side < 2; ++side) {
    Value words = LLVM::UndefOp::create(b, b.loc, VectorType::get(4, b.getI32Type()));
    for (int64_t w = 0; w < 4; ++w) {
      Value packed = LLVM::ExtractElementOp::create(b, b.loc, bytes, b.i32(side * 2 + w / 2));
      Value pair[2];
      for (int64_t e = 0; e < 2; ++e) {
        Value top = b.shl(packed, 24 - 8 * (w % 2 * 2 + e));
        Value integer = arith::ShRSIOp::create(b, b.loc, top, b.i32(24));
        pair[e] = arith::SIToFPOp::create(b, b.loc, b.getF32Type(), integer);
      }
      words = LLVM::InsertElementOp::create(b, b.loc, words,
                                            b.pack2(pair[0], pair[1], tile.element), b.i32(w));
    }
    Value target = b.add(b.shl(chunk, 1), side);
    Value address = b.add(b.add(tile.base, b.mul(row, tile.layout.rowBytes())),
                          swizzledBytes(b, tile.layout, row, target));
    // int8 rows may be padded further than bf16 rows.
    if (tile.layout.chunks == x.layout.chunks * 2) {
      b.store(words, sharedAt(b, address), 16);
      continue;
    }
    scf::IfOp::create(b, b.loc, b.lessS(target, b.i32(tile.layout.chunks)),
                      [&](OpBuilder &inner, Location loc) {
                        PtxBuilder b(inner, loc);
                        b.store(words, sharedAt(b, address), 16);
                        scf::YieldOp::create(b, loc);
                      });
  }
  p.barrier();
  tiles[op.getResult()] = tile;
  return success();
}
