// The two products of a tile of few rows. Q K: each accumulator is one row and one
// key, its lanes are summed at the end. P V: each accumulator is one row's dims.
#include "compiler/target/cpu/DecodeLowering.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace mlir::attn;

static Value divide(LaneBuilder &b, Value x, int64_t y) {
  return arith::DivUIOp::create(b.builder, b.loc, x, b.constI64(y));
}

// The compiler may not move loads past each other.
static Value inOrder(Value x) {
  Value loaded = x;
  if (auto cast = x.getDefiningOp<vector::BitCastOp>())
    loaded = cast.getSource();
  if (auto load = loaded.getDefiningOp<LLVM::LoadOp>())
    load.setVolatile_(true);
  return x;
}

// Values that lie as bf16 are multiplied so; others as f32, whatever the output is.
DotKind DecodeLowering::outputKind() {
  tile::DotPVOp op = dotPV;
  bool plain = isa_and_nonnull<tile::LoadKeysOp>(op.getV().getDefiningOp());
  bool narrow = plain && op.getV().getType().getElementType().isBF16();
  return arch.bf16Dot && narrow ? DotKind::bf16 : DotKind::fma;
}

// Whether memory may decide: values that are converted keep the multiplier busy, and
// shorter vectors need more registers than there are to take rows one by one.
bool DecodeLowering::streams() {
  Type stored = dotPV.getV().getType().getElementType();
  bool plain = isa_and_nonnull<tile::LoadKeysOp>(dotPV.getV().getDefiningOp());
  bool converted = outputKind() == DotKind::fma && !(plain && stored.isF32());
  return !converted && arch.width == 16 && arch.registers == 32;
}

int64_t DecodeLowering::queryChunks() {
  return llvm::divideCeil(int64_t(kernel.getQkDim()), arch.width * elementsPerStep(scoreKind));
}

// Where a single group of rows reads from memory, memory decides: rows of keys and values
// are read one after the other, in the order in which they lie, since what the processor
// fetches ahead by itself follows only that. Elsewhere multiplications decide: as many as
// possible share each load, and the next keys are asked for.
void DecodeLowering::byBound(LaneBuilder &b, const Body &body,
                             llvm::function_ref<void(bool streamed)> emit) {
  if (!body.full || !streams())
    return emit(false);
  b.ifThen(memoryBound, [&] { emit(true); });
  Value otherwise =
      arith::XOrIOp::create(b.builder, b.loc, memoryBound,
                            arith::ConstantIntOp::create(b.builder, b.loc, 1, /*width=*/1));
  b.ifThen(otherwise, [&] { emit(false); });
}

// S[row][key] for all rows of the tile.
void DecodeLowering::lowerDotQK(LaneBuilder &b, tile::DotQKOp op, const Body &body) {
  const KeyRows k = keys[op.getK()];
  byBound(b, body, [&](bool streamed) {
    b.loop(b.constI64(0), body.count, schedule.keys, [&](Value first) {
      ScoreTile tile(k, first);
      for (int64_t i = 0; i < schedule.keys; ++i)
        tile.address.push_back(keyRow(b, k.binding, body, b.add(first, i)));
      tile.start = startScores(b, tile);
      if (streamed)
        return multiplyKeys(b, tile, b.constI64(0), /*streamed=*/true);
      b.loop(b.constI64(0), rowGroups, 1, [&](Value rows) {
        if (body.full)
          for (int64_t i = 0; i < schedule.keys; ++i)
            askAhead(b, k, body, b.add(first, i), hasTurn(b, rows, b.constI64(i)));
        multiplyKeys(b, tile, rows, /*streamed=*/false);
      });
    });
  });
  if (k.scale)
    rewriteScores(b, body, [&](LaneBuilder &b, Value, Value at, Value s) {
      return b.mulF(s, keyNumbers(b, k.scale, at));
    });
}

Value DecodeLowering::loadKey(LaneBuilder &b, const ScoreTile &tile, int64_t i, int64_t chunk) {
  const int64_t dims = arch.width * elementsPerStep(scoreKind);
  Type element = keyBindings[tile.keys.binding].element;
  Value x = loadDims(b, element, tile.address[i], chunk * dims, dims, tile.keys.dim);
  return scoreKind == DotKind::fma ? b.toF32(x) : b.bitcast(x, b.i32());
}

// Zero; but vpdpbusd multiplies q + 128 with k, so such a score starts at -128 * (sum of k).
SmallVector<Value> DecodeLowering::startScores(LaneBuilder &b, const ScoreTile &tile) {
  Type type = b.lanes(scoreKind == DotKind::int8 ? b.i32() : b.f32());
  Value zero = arith::ConstantOp::create(b.builder, b.loc, b.builder.getZeroAttr(type));
  SmallVector<Value> start(schedule.keys, zero);
  if (scoreKind == DotKind::int8)
    for (int64_t i = 0; i < schedule.keys; ++i) {
      Value sum = zero, offset = b.splatI32(int32_t(0x80808080));
      for (int64_t chunk = 0; chunk < queryChunks(); ++chunk)
        sum = dotStep(b, scoreKind, offset, loadKey(b, tile, i, chunk), sum);
      start[i] = arith::SubIOp::create(b.builder, b.loc, zero, sum);
    }
  return start;
}

// The scores of a group of rows with the keys of the tile.
void DecodeLowering::multiplyKeys(LaneBuilder &b, const ScoreTile &tile, Value rows,
                                  bool streamed) {
  const int64_t width = arch.width, group = schedule.rowGroup, keyCount = schedule.keys;
  const int64_t chunks = queryChunks();
  Type unit = scoreKind == DotKind::fma ? b.f32() : b.i32();
  Value plane = b.address(scratch(b, queryOffset), b.f32(), b.mul(rows, group * chunks * width));
  auto query = [&](int64_t r, int64_t chunk) {
    Value at = b.address(plane, b.f32(), (r * chunks + chunk) * width);
    return b.load(b.lanes(unit), at, width * 4);
  };
  // Keys that are multiplied side by side: where the queries stay in registers, one.
  const int64_t held = group * chunks <= arch.registers / 2 ? 1 : std::min<int64_t>(2, keyCount);
  const int64_t together = streamed ? held : keyCount;
  SmallVector<SmallVector<Value>> sum(keyCount);
  for (int64_t first = 0; first < keyCount; first += together) {
    auto some = llvm::seq(first, first + together);
    llvm::SmallDenseMap<std::pair<int64_t, int64_t>, Value> x;
    if (streamed)
      for (int64_t i : some)
        for (int64_t chunk = 0; chunk < chunks; ++chunk)
          x[{i, chunk}] = inOrder(loadKey(b, tile, i, chunk));
    for (int64_t i : some)
      sum[i].assign(group, tile.start[i]);
    for (int64_t chunk = 0; chunk < chunks; ++chunk) {
      if (!streamed)
        for (int64_t i : some)
          x[{i, chunk}] = loadKey(b, tile, i, chunk);
      for (int64_t r = 0; r < group; ++r) {
        Value q = query(r, chunk);
        for (int64_t i : some)
          sum[i][r] = dotStep(b, scoreKind, q, x[{i, chunk}], sum[i][r]);
      }
    }
  }
  // As many accumulators as lanes become one vector; then each row gets its part.
  int64_t rowsPerVector = width / keyCount;
  for (int64_t r = 0; r < group; r += rowsPerVector) {
    SmallVector<Value> some;
    SmallVector<int64_t> byRow(width);
    for (int64_t i = 0; i < keyCount; ++i)
      for (int64_t n = 0; n < rowsPerVector; ++n) {
        byRow[n * keyCount + i] = some.size();
        some.push_back(sum[i][r + n]);
      }
    Value sums = b.toF32(b.rowSums(some));
    sums = b.shuffle(sums, sums, byRow);
    for (int64_t n = 0; n < rowsPerVector; ++n) {
      Value part = vector::ExtractStridedSliceOp::create(
          b.builder, b.loc, sums, ArrayRef<int64_t>{n * keyCount}, ArrayRef<int64_t>{keyCount},
          ArrayRef<int64_t>{1});
      b.store(part, scoreAddress(b, b.add(b.mul(rows, group), r + n), tile.first));
    }
  }
}

// O[row][dim] = O * alpha + P[row][key] * V[key][dim].
void DecodeLowering::lowerDotPV(LaneBuilder &b, tile::DotPVOp op, const Body &body) {
  const KeyRows v = keys[op.getV()];
  if (v.scale)
    rewriteScores(b, body, [&](LaneBuilder &b, Value, Value at, Value p) {
      return b.mulF(p, keyNumbers(b, v.scale, at));
    });
  if (outputKind() == DotKind::bf16)
    narrowProbabilities(b, body);
  rescaleOutputs(b);
  const int64_t all = outVectors(), unit = elementsPerStep(outputKind());
  const int64_t held = arch.registers / 2;
  byBound(b, body, [&](bool streamed) {
    OutTile tile;
    if (streamed) { // whole rows of values, a few keys at a time so that they are at hand
      constexpr int64_t kKeys = 8;
      tile.vectors = std::min(all, held);
      tile.rows =
          std::min<int64_t>(schedule.rowGroup, llvm::bit_floor(uint64_t(held / tile.vectors)));
      b.loop(b.constI64(0), body.count, kKeys, [&](Value begin) {
        tile.begin = begin, tile.end = b.add(begin, kKeys);
        b.loop(b.constI64(0), b.constI64(schedule.rowGroup), tile.rows, [&](Value row) {
          for (tile.row = row, tile.first = 0; tile.first < all; tile.first += held)
            addValues(b, v, body, tile, [](Value) {});
        });
      });
      return;
    }
    // Panels of about equal width. Each of the first few asks for an equal part of the
    // rows ahead, a whole number of them at each iteration.
    const int64_t count = llvm::divideCeil(all, held / schedule.rowGroup);
    tile.vectors = llvm::alignTo(llvm::divideCeil(all, count), unit);
    const int64_t panels = llvm::divideCeil(all, tile.vectors);
    const int64_t parts = std::min<int64_t>(llvm::bit_floor(uint64_t(panels)), 8);
    tile.rows = schedule.rowGroup, tile.begin = b.constI64(0), tile.end = body.count;
    tile.unroll = body.full ? std::max(2 * unit, parts) : unit;
    for (int64_t panel = 0; panel < panels; ++panel)
      b.loop(b.constI64(0), rowGroups, 1, [&](Value rows) {
        tile.row = b.mul(rows, schedule.rowGroup), tile.first = panel * tile.vectors;
        addValues(b, v, body, tile, [&](Value key) {
          if (!body.full || panel >= parts)
            return;
          Value turn = divide(b, key, tile.unroll), wanted = hasTurn(b, rows, turn);
          Value row = b.add(b.mul(turn, tile.unroll / parts), schedule.blockK / parts * panel);
          for (int64_t i = 0; i < tile.unroll / parts; ++i)
            askAhead(b, v, body, b.add(row, i), wanted);
        });
      });
  });
}

// Probabilities as bf16 in place of f32, in the front half of the row. Adding half of
// the last place rounds to nearest, ties away from zero.
void DecodeLowering::narrowProbabilities(LaneBuilder &b, const Body &body) {
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
}

// O * alpha, where the maximum of a row has grown.
void DecodeLowering::rescaleOutputs(LaneBuilder &b) {
  const int64_t width = arch.width;
  b.loop(b.constI64(0), rowCount, 1, [&](Value row) {
    Value at = b.address(scratch(b, alphaOffset), b.f32(), b.mul(row, width));
    Value grown = arith::CmpFOp::create(b.builder, b.loc, arith::CmpFPredicate::UNE,
                                        b.load(b.f32(), at), b.constF32(1));
    b.ifThen(grown, [&] {
      Value alpha = b.load(b.lanes(b.f32()), at, width * 4);
      Value out = b.address(b.address(records, b.i8(), b.mul(row, rowBytes())), b.f32(), 2 * width);
      b.loop(b.constI64(0), b.constI64(outVectors() * width), width, [&](Value i) {
        Value to = b.address(out, b.f32(), i);
        b.store(b.mulF(b.load(b.lanes(b.f32()), to, width * 4), alpha), to, width * 4);
      });
    });
  });
}

// Adds probabilities times values to a tile of outputs; `ask` precedes each step.
void DecodeLowering::addValues(LaneBuilder &b, const KeyRows &v, const Body &body,
                               const OutTile &tile, llvm::function_ref<void(Value key)> ask) {
  const int64_t width = arch.width, first = tile.first;
  const int64_t count = std::min(tile.vectors, outVectors() - first);
  const DotKind kind = outputKind();
  const int64_t step = elementsPerStep(kind), unroll = std::max(tile.unroll, step);
  Type element = keyBindings[v.binding].element, unit = kind == DotKind::fma ? b.f32() : b.i32();
  // Vectors of dims at one key, or at two side by side in each lane.
  auto values = [&](Value row) {
    SmallVector<Value> result;
    auto load = [&](Value address, int64_t i, int64_t vectors) {
      return loadDims(b, element, address, i * width, vectors * width, v.dim);
    };
    Value address = keyRow(b, v.binding, body, row);
    if (kind == DotKind::fma) {
      for (int64_t i = first; i < first + count; ++i)
        result.push_back(b.toF32(load(address, i, 1)));
      return result;
    }
    Value next = keyRow(b, v.binding, body, b.add(row, 1));
    SmallVector<Value> even, odd;
    for (int64_t i = first; i < first + count; i += 2)
      even.push_back(inOrder(load(address, i, 2)));
    for (int64_t i = first; i < first + count; i += 2)
      odd.push_back(inOrder(load(next, i, 2)));
    for (auto [x, y] : llvm::zip_equal(even, odd))
      for (int64_t half : {0, 4}) { // of each eight dims
        SmallVector<int64_t> lanes;
        for (int64_t lane = 0; lane < width; ++lane) {
          int64_t dim = lane / 4 * 8 + half + lane % 4;
          lanes.append({dim, 2 * width + dim});
        }
        result.push_back(b.bitcast(b.shuffle(x, y, lanes), b.i32()));
      }
    return result;
  };
  SmallVector<Value> out, probabilities, sum;
  for (int64_t r = 0; r < tile.rows; ++r) {
    Value at = b.add(tile.row, r);
    out.push_back(
        b.address(b.address(records, b.i8(), b.mul(at, rowBytes())), b.f32(), (2 + first) * width));
    probabilities.push_back(scoreAddress(b, at, b.constI64(0)));
    for (int64_t i = 0; i < count; ++i)
      sum.push_back(b.load(b.lanes(b.f32()), b.address(out[r], b.f32(), i * width), width * 4));
  }
  sum = b.loop(tile.begin, tile.end, unroll, sum, [&](Value key, ValueRange state) {
    ask(key);
    SmallVector<Value> sum(state);
    for (int64_t u = 0; u < unroll; u += step) {
      SmallVector<Value> x = values(b.add(key, u));
      for (int64_t r = 0; r < tile.rows; ++r) {
        Type stored = kind == DotKind::fma ? b.f32() : b.builder.getI16Type();
        Value at = b.address(b.address(probabilities[r], stored, key), stored, u);
        Value p = b.splat(b.load(unit, at, 4));
        for (int64_t i = 0; i < count; ++i)
          sum[r * count + i] = dotStep(b, kind, x[i], p, sum[r * count + i]);
      }
    }
    return sum;
  });
  for (int64_t r = 0; r < tile.rows; ++r)
    for (int64_t i = 0; i < count; ++i)
      b.store(sum[r * count + i], b.address(out[r], b.f32(), i * width), width * 4);
}
