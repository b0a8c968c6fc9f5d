// The two matrix products: rank-1 updates of a register tile of accumulators,
// carried through scf.for so that they never leave the registers.
#include "compiler/target/cpu/KernelLowering.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace mlir::attn;

// S[key][lane] for one sub-tile of queries.
LogicalResult CpuLowering::lowerDotQK(LaneBuilder &b, tile::DotQKOp op, const Body &body) {
  const CpuTileValue q = tiles[op.getQ()], k = tiles[op.getK()];
  if (q.kind != CpuTileValue::Kind::plane || k.kind != CpuTileValue::Kind::keys)
    return unsupported(*op, "operands are not queries and keys");
  DotKind kind = scoreDot(op);
  const int64_t unroll = unrollOf(body);
  tile::DequantizeScoresOp dequantize = fusedDequantize(op);
  bool floats = kind != DotKind::int8 || dequantize;
  const int64_t lanes = laneCount(), wholeRows = tileRows(body), vectors = vectorsOf(body);
  const BindingRows rows = keyBindings[k.keys.binding];
  bool inPlace = kind != DotKind::fma || (rows.element.isF32() && !k.keys.scale);
  Type unit = kind == DotKind::fma ? b.f32() : b.i32(),
       sumType = kind == DotKind::int8 ? b.i32() : b.f32();
  int64_t steps = k.keys.dim / elementsPerStep(kind);
  Value queries = planeAddress(b, kind == DotKind::fma ? q.plane : q.packed, body);
  Value scores = arenaAddress(b, scoresOffset), packed, sums;
  if (!inPlace)
    packed = arenaAddress(b, keyRowsOffset(k.keys.dim));
  if (kind == DotKind::int8)
    sums = arenaAddress(b, reserveOnce("key sums", kernel.getBlockK() * 4));

  // The maximum over keys comes free with the stores, unless scores change after that.
  bool masks = !body.full && isMaskedNext(dequantize ? dequantize.getResult() : op.getResult());
  bool maximum = floats && (body.full || masks);
  Value excluded = b.splatF32(-1e30);
  SmallVector<Value> largest;
  if (maximum)
    largest.assign(vectors, excluded);
  int64_t tileCount = kernel.getBlockK() / wholeRows, subTileCount = kernel.getBlockQ() / lanes;
  auto tile = [&](Value first, int64_t rowCount, ValueRange state) {
    if (body.full) {
      Value part = arith::DivUIOp::create(b.builder, b.loc, first, b.constI64(rowCount));
      prefetchNextKeys(b, k.keys, body, b.add(b.mul(body.subTile, tileCount), part),
                       subTileCount * tileCount);
    }
    SmallVector<Value> keys, address, sum;
    for (int64_t r = 0; r < rowCount; ++r) {
      Value key = keyOfRow(b, body, b.add(first, r));
      keys.push_back(key);
      address.push_back(inPlace ? keyRow(b, rows, body, key)
                                : b.address(packed, b.f32(), b.mul(key, k.keys.dim)));
      Value start = kind == DotKind::int8 ? b.splat(b.load(b.i32(), b.address(sums, b.i32(), key)))
                                          : b.splatF32(0);
      sum.append(vectors, start);
    }
    auto update = [&](Value step, int64_t count, ValueRange state) {
      SmallVector<Value> sum(state);
      Value at = b.address(queries, unit, b.mul(step, lanes));
      for (int64_t u = 0; u < count; ++u) {
        SmallVector<Value> x;
        for (int64_t j = 0; j < vectors; ++j)
          x.push_back(b.load(b.lanes(unit), b.address(at, unit, u * lanes + j * arch.width),
                             arch.width * 4));
        for (int64_t r = 0; r < rowCount; ++r) {
          Value from = b.address(b.address(address[r], unit, step), unit, u);
          Value element = b.splat(b.load(unit, from, inPlace && kind != DotKind::fma ? 1 : 4));
          for (int64_t j = 0; j < vectors; ++j) {
            Value &s = sum[r * vectors + j];
            s = dotStep(b, kind, x[j], element, s);
          }
        }
      }
      return sum;
    };
    int64_t even = steps / unroll * unroll;
    sum = b.loop(b.constI64(0), b.constI64(even), unroll, sum,
                 [&](Value step, ValueRange state) { return update(step, unroll, state); });
    if (even < steps)
      sum = update(b.constI64(even), steps - even, sum);
    Value to = b.address(scores, sumType, b.mul(first, lanesOf(body)));
    SmallVector<Value> next(state), rowScale;
    if (dequantize)
      rowScale = lanesOf(b, dequantize.getRowScale(), body);
    for (int64_t r = 0; r < rowCount; ++r) {
      Value keyScale, admitted;
      if (dequantize)
        keyScale = b.splat(keyNumber(b, dequantize.getKeyScale(), body, keys[r]));
      if (masks)
        admitted = admittedLanes(b, b.add(first, r));
      for (int64_t j = 0; j < vectors; ++j) {
        Value s = sum[r * vectors + j];
        if (dequantize)
          s = b.mulF(b.mulF(b.toF32(s), rowScale[j]), keyScale);
        if (masks)
          s = b.select(admitted, s, excluded);
        b.store(s, b.address(to, sumType, (r * vectors + j) * arch.width), arch.width * 4);
        if (maximum)
          next[j] = b.maxF(s, next[j]);
      }
    }
    return next;
  };
  auto tilesOf = [&](Value begin, Value end, int64_t rowCount) {
    largest = b.loop(begin, end, rowCount, largest,
                     [&](Value first, ValueRange state) { return tile(first, rowCount, state); });
  };
  if (body.full) {
    tilesOf(b.constI64(0), body.count, wholeRows);
  } else {
    // Half a tile at most is left: lists are short.
    int64_t half = wholeRows / 2;
    Value whole = b.roundUp(b.add(body.listed, -half), wholeRows);
    tilesOf(b.constI64(0), whole, wholeRows);
    tilesOf(whole, body.listed, half);
  }
  CpuTileValue &value = tiles[op.getResult()];
  value = CpuTileValue();
  value.kind = CpuTileValue::Kind::scores;
  value.vectors = largest;
  value.integer = !floats;
  value.masked = masks;
  return success();
}

// O[dim][lane] = O * alpha + V[key][dim] * P[key][lane] for one sub-tile.
LogicalResult CpuLowering::lowerDotPV(LaneBuilder &b, tile::DotPVOp op, const Body &body) {
  const CpuTileValue o = tiles[op.getO()], v = tiles[op.getV()];
  if (o.kind != CpuTileValue::Kind::plane || v.kind != CpuTileValue::Kind::keys)
    return unsupported(*op, "operands are not values and outputs");
  DotKind kind = outputDot(op);
  const int64_t unroll = unrollOf(body), vectors = vectorsOf(body);
  Type unit = kind == DotKind::fma ? b.f32() : b.i32();
  int64_t lanes = laneCount(), group = schedule.rows, step = elementsPerStep(kind);
  int64_t dim = llvm::alignTo(v.keys.dim, group), panelKeys = kernel.getBlockK() / step;
  // With one vector, the accumulators of several panels hide the latency of a product.
  int64_t panelCount = body.full ? 1 : std::max<int64_t>(1, arch.registers / 2 / group);
  while (dim % (group * panelCount) != 0)
    --panelCount;
  SmallVector<Value> alpha = lanesOf(b, op.getAlpha(), body);
  Value outputs = planeAddress(b, o.plane, body);
  bool inPlace = readsInPlace(op, body);
  Value panels = inPlace ? Value() : arenaAddress(b, valuePanelOffset(v.keys.dim));
  const BindingRows rows = keyBindings[v.keys.binding];
  Value probabilities = arenaAddress(b, kind == DotKind::fma ? scoresOffset : pairsOffset);
  Value steps = rowsOf(body);
  if (step > 1)
    steps = arith::DivUIOp::create(b.builder, b.loc, steps, b.constI64(step));
  int64_t groupCount = dim / group, subTileCount = kernel.getBlockQ() / lanes;
  b.loop(b.constI64(0), b.constI64(dim), group * panelCount, [&](Value d) {
    if (body.full) {
      Value part = arith::DivUIOp::create(b.builder, b.loc, d, b.constI64(group));
      prefetchNextKeys(b, v.keys, body, b.add(b.mul(body.subTile, groupCount), part),
                       subTileCount * groupCount);
    }
    Value at = b.address(outputs, b.f32(), b.mul(d, lanes));
    Value panel = inPlace ? Value() : b.address(panels, unit, b.mul(d, panelKeys));
    SmallVector<Value> sum;
    for (int64_t r = 0; r < group * panelCount; ++r)
      for (auto [j, x] : llvm::enumerate(loadRow(b, b.address(at, b.f32(), r * lanes), vectors)))
        sum.push_back(b.mulF(x, alpha[j]));
    sum = b.loop(b.constI64(0), steps, unroll, sum, [&](Value index, ValueRange state) {
      SmallVector<Value> sum(state);
      Value p = b.address(probabilities, unit, b.mul(index, lanesOf(body)));
      // Entry `r` of step `u` after this: of the key's row, or of a panel.
      Value from;
      if (inPlace) {
        from = b.address(keyRow(b, rows, body, keyOfRow(b, body, index)), unit, d);
      } else {
        Value entry = body.full ? index : keyOfRow(b, body, b.mul(index, step));
        if (!body.full && step > 1)
          entry = arith::DivUIOp::create(b.builder, b.loc, entry, b.constI64(step));
        from = b.address(panel, unit, b.mul(entry, group));
      }
      for (int64_t u = 0; u < unroll; ++u) {
        SmallVector<Value> x;
        for (int64_t j = 0; j < vectors; ++j)
          x.push_back(b.load(b.lanes(unit), b.address(p, unit, (u * vectors + j) * arch.width),
                             arch.width * 4));
        for (int64_t r = 0; r < group * panelCount; ++r) {
          int64_t entry = inPlace ? r : r / group * panelKeys * group + u * group + r % group;
          Value element = b.splat(b.load(unit, b.address(from, unit, entry), 4));
          for (int64_t j = 0; j < vectors; ++j) {
            Value &s = sum[r * vectors + j];
            s = dotStep(b, kind, x[j], element, s);
          }
        }
      }
      return sum;
    });
    for (int64_t r = 0; r < group * panelCount; ++r)
      storeRow(b, ArrayRef<Value>(sum).slice(r * vectors, vectors),
               b.address(at, b.f32(), r * lanes));
  });
  tiles[op.getResult()] = o;
  return success();
}
