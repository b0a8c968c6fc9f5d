// The two products of a tile of few rows. Q K: each accumulator is one row and one
// key, its lanes are summed at the end. P V: each accumulator is one row's dims.
#include "compiler/target/cpu/DecodeLowering.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace mlir::attn;

// Values that lie as bf16 are multiplied so; others as f32, whatever the output is.
DotKind DecodeLowering::outputKind() {
  tile::DotPVOp op = dotPV;
  bool plain = isa_and_nonnull<tile::LoadKeysOp>(op.getV().getDefiningOp());
  bool narrow = plain && op.getV().getType().getElementType().isBF16();
  return arch.bf16Dot && narrow ? DotKind::bf16 : DotKind::fma;
}

int64_t DecodeLowering::queryChunks() {
  return llvm::divideCeil(int64_t(kernel.getQkDim()), arch.width * elementsPerStep(scoreKind));
}

// S[row][key] for all rows of the tile.
void DecodeLowering::lowerDotQK(LaneBuilder &b, tile::DotQKOp op, const Body &body) {
  const KeyRows k = keys[op.getK()];
  const int64_t width = arch.width, group = schedule.rowGroup, keyCount = schedule.keys;
  const int64_t chunks = queryChunks(), dims = width * elementsPerStep(scoreKind);
  Type element = keyBindings[k.binding].element;
  Type unit = scoreKind == DotKind::fma ? b.f32() : b.i32();
  Type sumType = b.lanes(scoreKind == DotKind::int8 ? b.i32() : b.f32());
  auto key = [&](Value row, int64_t chunk) {
    Value x = loadDims(b, element, row, chunk * dims, dims, k.dim);
    return scoreKind == DotKind::fma ? b.toF32(x) : b.bitcast(x, unit);
  };
  Value zero = arith::ConstantOp::create(b.builder, b.loc, b.builder.getZeroAttr(sumType));
  b.loop(b.constI64(0), body.count, keyCount, [&](Value first) {
    SmallVector<Value> address, start(keyCount, zero);
    for (int64_t i = 0; i < keyCount; ++i) {
      Value row = b.add(first, i);
      address.push_back(keyRow(b, k.binding, body, row));
    }
    // vpdpbusd multiplies q + 128 with k, so a score starts at -128 * (sum of k).
    if (scoreKind == DotKind::int8)
      for (int64_t i = 0; i < keyCount; ++i) {
        Value sum = zero, offset = b.splatI32(int32_t(0x80808080));
        for (int64_t chunk = 0; chunk < chunks; ++chunk)
          sum = dotStep(b, scoreKind, offset, key(address[i], chunk), sum);
        start[i] = arith::SubIOp::create(b.builder, b.loc, zero, sum);
      }
    b.loop(b.constI64(0), rowGroups, 1, [&](Value rows) {
      Value plane =
          b.address(scratch(b, queryOffset), b.f32(), b.mul(rows, group * chunks * width));
      SmallVector<Value> sum;
      for (int64_t r = 0; r < group; ++r)
        sum.append(start.begin(), start.end());
      // Once, not for each group of rows; and a few lines at a time, or the loads wait
      // behind them.
      Value isFirst =
          arith::CmpIOp::create(b.builder, b.loc, arith::CmpIPredicate::eq, rows, b.constI64(0));
      for (int64_t chunk = 0; chunk < chunks; ++chunk) {
        SmallVector<Value> x;
        for (int64_t i = 0; i < keyCount; ++i) {
          x.push_back(key(address[i], chunk));
          if (body.full)
            prefetchNext(b, k, body, b.add(first, i), chunk * dims,
                         std::min(dims, k.dim - chunk * dims), isFirst);
        }
        for (int64_t r = 0; r < group; ++r) {
          Value q = b.load(b.lanes(unit), b.address(plane, b.f32(), (r * chunks + chunk) * width),
                           width * 4);
          for (int64_t i = 0; i < keyCount; ++i) {
            Value &s = sum[r * keyCount + i];
            s = dotStep(b, scoreKind, q, x[i], s);
          }
        }
      }
      // As many accumulators as lanes become one vector; then each row gets its part.
      int64_t rowsPerVector = width / keyCount;
      for (int64_t r = 0; r < group; r += rowsPerVector) {
        auto some = ArrayRef<Value>(sum).slice(r * keyCount, width);
        Value sums = b.toF32(b.rowSums(SmallVector<Value>(some)));
        for (int64_t i = 0; i < rowsPerVector; ++i) {
          Value part = vector::ExtractStridedSliceOp::create(
              b.builder, b.loc, sums, ArrayRef<int64_t>{i * keyCount}, ArrayRef<int64_t>{keyCount},
              ArrayRef<int64_t>{1});
          b.store(part, scoreAddress(b, b.add(b.mul(rows, group), r + i), first));
        }
      }
    });
  });
  if (k.scale)
    rewriteScores(b, body, [&](LaneBuilder &b, Value, Value at, Value s) {
      return b.mulF(s, keyNumbers(b, k.scale, at));
    });
}

// O[row][dim] = O * alpha + P[row][key] * V[key][dim].
void DecodeLowering::lowerDotPV(LaneBuilder &b, tile::DotPVOp op, const Body &body) {
  const KeyRows v = keys[op.getV()];
  bool pairs = outputKind() == DotKind::bf16;
  if (v.scale)
    rewriteScores(b, body, [&](LaneBuilder &b, Value, Value at, Value p) {
      return b.mulF(p, keyNumbers(b, v.scale, at));
    });
  // bf16 in place of f32, in the front half of the row. Adding half of the last place
  // rounds to nearest, ties away from zero.
  if (pairs)
    b.loop(b.constI64(0), rowCount, 1, [&](Value row) {
      forKeyVectors(b, body, {}, [&](LaneBuilder &b, Value at, ValueRange) {
        Value p = b.load(b.lanes(b.f32()), scoreAddress(b, row, at), arch.width * 4);
        Value bits =
            arith::AddIOp::create(b.builder, b.loc, b.bitcast(p, b.i32()), b.splatI32(0x8000));
        bits = arith::ShRUIOp::create(b.builder, b.loc, bits, b.splatI32(16));
        Type half = b.builder.getI16Type();
        bits = arith::TruncIOp::create(b.builder, b.loc, b.lanes(half), bits);
        b.store(bits, b.address(scoreAddress(b, row, b.constI64(0)), half, at));
        return SmallVector<Value>();
      });
    });
  // Panels of about equal width.
  int64_t all = outVectors(), unit = pairs ? 2 : 1;
  int64_t panels = llvm::divideCeil(all, schedule.vectors);
  int64_t size = llvm::alignTo(llvm::divideCeil(all, panels), unit);
  for (int64_t first = 0; first < all; first += size)
    addValues(b, v, body, first, std::min(size, all - first));
}

// The panel of `count` vectors of O from `first` on.
void DecodeLowering::addValues(LaneBuilder &b, const KeyRows &v, const Body &body, int64_t first,
                               int64_t count) {
  const int64_t width = arch.width, group = schedule.rowGroup;
  const DotKind kind = outputKind();
  const int64_t step = elementsPerStep(kind), unroll = body.full ? 2 * step : step;
  Type element = keyBindings[v.binding].element, unit = kind == DotKind::fma ? b.f32() : b.i32();
  // Vectors of the panel at one key, or at two side by side in each lane.
  auto values = [&](Value row) {
    SmallVector<Value> result;
    Value address = keyRow(b, v.binding, body, row);
    if (kind == DotKind::fma) {
      for (int64_t i = first; i < first + count; ++i)
        result.push_back(b.toF32(loadDims(b, element, address, i * width, width, v.dim)));
      return result;
    }
    Value next = keyRow(b, v.binding, body, b.add(row, 1));
    for (int64_t i = first; i < first + count; i += 2) {
      Value even = loadDims(b, element, address, i * width, 2 * width, v.dim);
      Value odd = loadDims(b, element, next, i * width, 2 * width, v.dim);
      for (int64_t half : {0, 4}) { // of each eight dims
        SmallVector<int64_t> lanes;
        for (int64_t lane = 0; lane < width; ++lane) {
          int64_t dim = lane / 4 * 8 + half + lane % 4;
          lanes.append({dim, 2 * width + dim});
        }
        result.push_back(b.bitcast(b.shuffle(even, odd, lanes), b.i32()));
      }
    }
    return result;
  };
  b.loop(b.constI64(0), rowGroups, 1, [&](Value rows) {
    Value row = b.mul(rows, group);
    Value isFirst =
        arith::CmpIOp::create(b.builder, b.loc, arith::CmpIPredicate::eq, rows, b.constI64(0));
    SmallVector<Value> out, probabilities, sum;
    for (int64_t r = 0; r < group; ++r) {
      Value at = b.add(row, r);
      out.push_back(b.address(b.address(records, b.i8(), b.mul(at, rowBytes())), b.f32(),
                              (2 + first) * width));
      probabilities.push_back(scoreAddress(b, at, b.constI64(0)));
      Value alpha =
          b.load(b.lanes(b.f32()), b.address(scratch(b, alphaOffset), b.f32(), b.mul(at, width)),
                 width * 4);
      for (int64_t i = 0; i < count; ++i) {
        Value x = b.load(b.lanes(b.f32()), b.address(out[r], b.f32(), i * width), width * 4);
        sum.push_back(b.mulF(x, alpha));
      }
    }
    sum = b.loop(b.constI64(0), body.count, unroll, sum, [&](Value key, ValueRange state) {
      SmallVector<Value> sum(state);
      if (body.full)
        for (int64_t u = 0; u < unroll; ++u)
          prefetchNext(b, v, body, b.add(key, u), first * width,
                       std::min(count * width, v.dim - first * width), isFirst);
      for (int64_t u = 0; u < unroll; u += step) {
        SmallVector<Value> x = values(b.add(key, u));
        for (int64_t r = 0; r < group; ++r) {
          Type stored = kind == DotKind::fma ? b.f32() : b.builder.getI16Type();
          Value at = b.address(b.address(probabilities[r], stored, key), stored, u);
          Value p = b.splat(b.load(unit, at, 4));
          for (int64_t i = 0; i < count; ++i)
            sum[r * count + i] = dotStep(b, kind, x[i], p, sum[r * count + i]);
        }
      }
      return sum;
    });
    for (int64_t r = 0; r < group; ++r)
      for (int64_t i = 0; i < count; ++i)
        b.store(sum[r * count + i], b.address(out[r], b.f32(), i * width), width * 4);
  });
}
