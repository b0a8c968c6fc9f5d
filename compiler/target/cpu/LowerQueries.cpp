// Tiles of query rows between the caller's strided memory and lanes: load with
// transposition and packing, quantise, store.
#include "compiler/target/cpu/KernelLowering.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"

using namespace mlir;
using namespace mlir::attn;

// Calls `body` with the first dim of every chunk of `width` dims; the last chunk
// overlaps its neighbour where width does not divide dim.
static void forChunks(LaneBuilder &b, int64_t dim, int64_t width,
                      llvm::function_ref<void(Value first)> body) {
  b.loop(b.constI64(0), b.constI64(dim / width * width), width, body);
  if (dim % width)
    body(b.constI64(dim - width));
}

void CpuLowering::loadRows(LaneBuilder &b, const BindingRows &rows, const Plane &to, int64_t dim) {
  bool matrix = dim != 0;
  dim = std::max<int64_t>(dim, 1);
  int64_t width = arch.width, lanes = laneCount();
  Value first = b.widen(frame->qFirst), count = b.widen(frame->qCount);
  // Lanes without a row read the last one and become zero.
  auto rowAddress = [&](Value lane) {
    return b.address(rows.base, rows.element, b.mul(b.add(first, rowOfLane(b, lane)), rows.stride));
  };
  forSubTiles(b, [&](Value subTile) {
    Value plane = planeAddress(b, to, subTile);
    Value subTileRow = b.mul(subTile, lanes);
    if (!matrix || dim < width) {
      b.loop(b.constI64(0), b.constI64(lanes), 1, [&](Value lane) {
        Value row = b.add(subTileRow, lane), from = rowAddress(row), valid = b.less(row, count);
        for (int64_t d = 0; d < dim; ++d) {
          Value x = b.toF32(b.load(rows.element, b.address(from, rows.element, d)));
          x = b.select(valid, x, b.constF32(0));
          b.store(x, b.address(b.address(plane, b.f32(), lane), b.f32(), d * lanes));
        }
      });
      return;
    }
    b.loop(b.constI64(0), b.constI64(lanes), width, [&](Value lane) {
      forChunks(b, dim, width, [&](Value d) {
        SmallVector<Value> block;
        for (int64_t i = 0; i < width; ++i) {
          Value row = b.add(b.add(subTileRow, lane), i);
          Value from = b.address(rowAddress(row), rows.element, d);
          Value x = b.toF32(b.load(b.lanes(rows.element), from));
          block.push_back(b.select(b.less(row, count), x, b.splatF32(0)));
        }
        Value first = b.address(plane, b.f32(), b.add(b.mul(d, lanes), lane));
        for (auto [i, column] : llvm::enumerate(b.transpose(block)))
          b.store(column, b.address(first, b.f32(), int64_t(i) * lanes), width * 4);
      });
    });
  });
}

LogicalResult CpuLowering::lowerLoadQueries(LaneBuilder &b, tile::LoadQueriesOp op) {
  ArrayRef<int64_t> shape = op.getType().getShape();
  int64_t dim = shape.size() == 2 ? shape[1] : 0;
  CpuTileValue &value = tiles[op.getResult()];
  value.kind = CpuTileValue::Kind::plane;
  value.plane = newPlane(std::max<int64_t>(dim, 1));
  loadRows(b, frame->rows(b, op.getBinding()), value.plane, dim);
  bool pairs = llvm::any_of(op.getResult().getUsers(), [&](Operation *user) {
    auto dot = dyn_cast<tile::DotQKOp>(user);
    return dot && scoreDot(dot) == DotKind::bf16;
  });
  if (pairs) {
    value.packed = newPlane(dim / 2);
    packPairs(b, value.plane, value.packed);
  }
  return success();
}

// Two dims per lane as bf16, the even one in the low half. Exact: the values
// were bf16 before they were widened.
void CpuLowering::packPairs(LaneBuilder &b, const Plane &from, const Plane &to) {
  int64_t lanes = laneCount();
  forSubTiles(b, [&](Value subTile) {
    Value source = planeAddress(b, from, subTile), target = planeAddress(b, to, subTile);
    b.loop(b.constI64(0), b.constI64(to.rows), 1, [&](Value pair) {
      Value even = b.address(source, b.f32(), b.mul(pair, 2 * lanes));
      SmallVector<Value> low = loadRow(b, even);
      SmallVector<Value> high = loadRow(b, b.address(even, b.f32(), lanes));
      for (int64_t j = 0; j < schedule.vectors; ++j) {
        Value l =
            arith::ShRUIOp::create(b.builder, b.loc, b.bitcast(low[j], b.i32()), b.splatI32(16));
        Value h = arith::AndIOp::create(b.builder, b.loc, b.bitcast(high[j], b.i32()),
                                        b.splatI32(-65536));
        low[j] = arith::OrIOp::create(b.builder, b.loc, l, h);
      }
      storeRow(b, low, b.address(target, b.f32(), b.mul(pair, lanes)));
    });
  });
}

// Four dims per lane as bytes x + 128, the first in the lowest byte.
void CpuLowering::packQuads(LaneBuilder &b, const Plane &from, const Plane &to) {
  int64_t lanes = laneCount();
  forSubTiles(b, [&](Value subTile) {
    Value source = planeAddress(b, from, subTile), target = planeAddress(b, to, subTile);
    b.loop(b.constI64(0), b.constI64(to.rows), 1, [&](Value quad) {
      Value first = b.address(source, b.f32(), b.mul(quad, 4 * lanes));
      SmallVector<Value> packed;
      for (int64_t d = 0; d < 4; ++d) {
        SmallVector<Value> row = loadRow(b, b.address(first, b.f32(), d * lanes));
        for (int64_t j = 0; j < schedule.vectors; ++j) {
          Value x = arith::FPToSIOp::create(b.builder, b.loc, b.lanes(b.i32()), row[j]);
          x = arith::AddIOp::create(b.builder, b.loc, x, b.splatI32(128));
          if (d == 0) {
            packed.push_back(x);
            continue;
          }
          x = arith::ShLIOp::create(b.builder, b.loc, x, b.splatI32(8 * d));
          packed[j] = arith::OrIOp::create(b.builder, b.loc, packed[j], x);
        }
      }
      storeRow(b, packed, b.address(target, b.f32(), b.mul(quad, lanes)));
    });
  });
}

// Lanes are rows, so the amax of a row is an elementwise maximum over dims.
LogicalResult CpuLowering::lowerQuantize(LaneBuilder &b, tile::QuantizeOp op) {
  const CpuTileValue source = tiles[op.getX()];
  int64_t dim = source.plane.rows, lanes = laneCount();
  CpuTileValue &scale = tiles[op.getScale()];
  scale.kind = CpuTileValue::Kind::plane;
  scale.plane = newPlane(1);
  CpuTileValue value;
  value.kind = CpuTileValue::Kind::plane;
  value.plane = newPlane(dim);
  Plane scalePlane = scale.plane;
  forSubTiles(b, [&](Value subTile) {
    Value from = planeAddress(b, source.plane, subTile), to = planeAddress(b, value.plane, subTile);
    SmallVector<Value> zero(schedule.vectors, b.splatF32(0));
    SmallVector<Value> largest =
        b.loop(b.constI64(0), b.constI64(dim), 1, zero, [&](Value d, ValueRange state) {
          SmallVector<Value> row = loadRow(b, b.address(from, b.f32(), b.mul(d, lanes)));
          for (int64_t j = 0; j < schedule.vectors; ++j)
            row[j] = b.maxMagnitude(row[j], state[j]);
          return row;
        });
    SmallVector<Value> scales, divisors;
    for (Value amax : largest) {
      Value s = b.divF(amax, b.splatF32(127));
      Value positive =
          arith::CmpFOp::create(b.builder, b.loc, arith::CmpFPredicate::OGT, s, b.splatF32(0));
      scales.push_back(s);
      divisors.push_back(b.select(positive, s, b.splatF32(1)));
    }
    storeRow(b, scales, planeAddress(b, scalePlane, subTile));
    b.loop(b.constI64(0), b.constI64(dim), 1, [&](Value d) {
      Value at = b.mul(d, lanes);
      SmallVector<Value> row = loadRow(b, b.address(from, b.f32(), at));
      for (int64_t j = 0; j < schedule.vectors; ++j) {
        Value x = math::RoundEvenOp::create(b.builder, b.loc, b.divF(row[j], divisors[j]));
        x = b.maxF(x, b.splatF32(-127));
        row[j] = b.select(
            arith::CmpFOp::create(b.builder, b.loc, arith::CmpFPredicate::OLT, x, b.splatF32(127)),
            x, b.splatF32(127));
      }
      storeRow(b, row, b.address(to, b.f32(), at));
    });
  });
  bool quads = llvm::any_of(op.getResult().getUsers(), [&](Operation *user) {
    auto dot = dyn_cast<tile::DotQKOp>(user);
    return dot && scoreDot(dot) == DotKind::int8;
  });
  if (quads) {
    value.packed = newPlane(dim / 4);
    packQuads(b, value.plane, value.packed);
  }
  tiles[op.getResult()] = value;
  return success();
}

LogicalResult CpuLowering::lowerStoreQueries(LaneBuilder &b, tile::StoreQueriesOp op) {
  tile::TileType type = op.getValue().getType();
  const CpuTileValue value = tiles[op.getValue()];
  if (value.kind != CpuTileValue::Kind::plane)
    return unsupported(*op, "the stored tile is not a tile of queries");
  bool matrix = type.getShape().size() == 2;
  int64_t dim = matrix ? type.getShape()[1] : 1, width = arch.width, lanes = laneCount();
  BindingRows rows = frame->rows(b, op.getBinding());
  Value first = b.widen(frame->qFirst), count = b.widen(frame->qCount);
  auto rowAddress = [&](Value lane) {
    return b.address(rows.base, rows.element, b.mul(b.add(first, rowOfLane(b, lane)), rows.stride));
  };
  forSubTiles(b, [&](Value subTile) {
    Value plane = planeAddress(b, value.plane, subTile);
    Value subTileRow = b.mul(subTile, lanes);
    Value valid = b.min(b.sub(count, subTileRow), b.constI64(lanes));
    if (!matrix || dim < width) {
      b.loop(b.constI64(0), valid, 1, [&](Value lane) {
        Value to = rowAddress(b.add(subTileRow, lane));
        for (int64_t d = 0; d < dim; ++d) {
          Value x = b.load(b.f32(), b.address(b.address(plane, b.f32(), lane), b.f32(), d * lanes));
          b.store(b.fromF32(x, rows.element), b.address(to, rows.element, d));
        }
      });
      return;
    }
    b.loop(b.constI64(0), valid, width, [&](Value lane) {
      forChunks(b, dim, width, [&](Value d) {
        Value from = b.address(plane, b.f32(), b.add(b.mul(d, lanes), lane));
        SmallVector<Value> block;
        for (int64_t i = 0; i < width; ++i)
          block.push_back(b.load(b.lanes(b.f32()), b.address(from, b.f32(), i * lanes), width * 4));
        for (auto [i, row] : llvm::enumerate(b.transpose(block))) {
          Value inSubTile = b.add(lane, int64_t(i));
          b.ifThen(b.less(inSubTile, valid), [&, row = row] {
            Value to = b.address(rowAddress(b.add(subTileRow, inSubTile)), rows.element, d);
            b.store(b.fromF32(row, rows.element), to);
          });
        }
      });
    });
  });
  return success();
}
