// What is done once per block of keys: rows widened to f32 where the ISA cannot
// multiply their type, values laid out in panels, key sums for unsigned dots.
#include "compiler/target/cpu/KernelLowering.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace mlir::attn;

static constexpr int64_t kLineBytes = 64;

// Rows past the end of a short block stay untouched: their addresses are those
// of the last row. Listed keys lie within the block.
Value CpuLowering::keyRow(LaneBuilder &b, const BindingRows &rows, const Body &body, Value row) {
  if (!body.full && !body.listed)
    row = b.min(row, b.add(body.count, -1));
  return b.address(rows.base, rows.element, b.mul(b.add(body.slot, row), rows.stride));
}

// Element `row` of a rank-1 tile of keys, as f32.
Value CpuLowering::keyNumber(LaneBuilder &b, Value tile, const Body &body, Value row) {
  const BindingRows &rows = keyBindings[tiles[tile].keys.binding];
  return b.toF32(b.load(rows.element, keyRow(b, rows, body, row)));
}

int64_t CpuLowering::keyRowsOffset(int64_t dim) {
  return reserveOnce("keys", kernel.getBlockK() * dim * 4);
}

int64_t CpuLowering::valuePanelOffset(int64_t dim) {
  int64_t padded = llvm::alignTo(dim, schedule.rows);
  return reserveOnce("values", kernel.getBlockK() * padded * 4);
}

// K as f32 rows [key][dim], unless the dot reads it where it lies.
void CpuLowering::packKeys(LaneBuilder &b, tile::DotQKOp op, const Body &body) {
  const CpuTileValue &k = tiles[op.getK()];
  DotKind kind = scoreDot(op);
  if (kind == DotKind::int8)
    return sumKeys(b, op, body);
  const BindingRows rows = keyBindings[k.keys.binding];
  if (kind == DotKind::bf16 || (rows.element.isF32() && !k.keys.scale))
    return;
  int64_t dim = k.keys.dim, width = std::min<int64_t>(arch.width, llvm::bit_floor(uint64_t(dim)));
  Value target = arenaAddress(b, keyRowsOffset(dim));
  b.loop(b.constI64(0), body.count, 1, [&](Value row) {
    Value from = keyRow(b, rows, body, row);
    Value to = b.address(target, b.f32(), b.mul(row, dim));
    Value scale = k.keys.scale ? keyNumber(b, k.keys.scale, body, row) : Value();
    for (int64_t d = 0; d < dim; d += width) {
      int64_t first = std::min(d, dim - width);
      Value x = b.toF32(
          b.load(VectorType::get(width, rows.element), b.address(from, rows.element, first)));
      if (scale)
        x = b.mulF(x, vector::BroadcastOp::create(b.builder, b.loc, x.getType(), scale));
      b.store(x, b.address(to, b.f32(), first));
    }
  });
}

// One vector of queries reads a value so seldom that packing it would not pay.
bool CpuLowering::readsInPlace(tile::DotPVOp op, const Body &body) {
  const CpuKeyTile &v = tiles[op.getV()].keys;
  return !body.full && outputDot(op) == DotKind::fma && !v.scale &&
         keyBindings[v.binding].element.isF32() && v.dim % schedule.rows == 0;
}

// V in panels of as many dims as the register tile has rows, so that dot_pv reads
// memory in order, whatever the caller's stride:
//
//   panel 0: key 0 [d0 .. d7], key 1 [d0 .. d7], ...
//   panel 1: key 0 [d8 .. d15], ...
//
// With bf16 dots an entry holds one dim of two neighbouring keys.
void CpuLowering::packValues(LaneBuilder &b, tile::DotPVOp op, const Body &body) {
  if (readsInPlace(op, body))
    return;
  const CpuTileValue &v = tiles[op.getV()];
  const BindingRows rows = keyBindings[v.keys.binding];
  DotKind kind = outputDot(op);
  int64_t dim = v.keys.dim, group = schedule.rows, step = elementsPerStep(kind);
  int64_t panelKeys = kernel.getBlockK() / step;
  Value target = arenaAddress(b, valuePanelOffset(dim));
  auto vector = [&](Type element) { return VectorType::get(group, element); };
  // `group` dims from d on; dims past the end are zero.
  auto loadGroup = [&](Value from, int64_t d) -> Value {
    if (d + group <= dim)
      return b.load(vector(rows.element), b.address(from, rows.element, d));
    Value x =
        arith::ConstantOp::create(b.builder, b.loc, b.builder.getZeroAttr(vector(rows.element)));
    for (int64_t i = d; i < dim; ++i)
      x = vector::InsertOp::create(
          b.builder, b.loc, b.load(rows.element, b.address(from, rows.element, i)), x, i - d);
    return x;
  };
  auto scaled = [&](Value x, Value scale) -> Value {
    if (!scale)
      return x;
    return b.mulF(x, vector::BroadcastOp::create(b.builder, b.loc, x.getType(), scale));
  };
  // bf16 in the low half of 32 bits.
  auto bits = [&](Value x, Value scale) -> Value {
    if (scale)
      x = b.fromF32(scaled(b.toF32(x), scale), b.builder.getBF16Type());
    Value half = arith::BitcastOp::create(b.builder, b.loc, vector(b.builder.getI16Type()), x);
    return arith::ExtUIOp::create(b.builder, b.loc, vector(b.i32()), half);
  };
  Value zero = arith::ConstantOp::create(b.builder, b.loc, b.builder.getZeroAttr(vector(b.i32())));
  Value sixteen = arith::ConstantOp::create(b.builder, b.loc,
                                            DenseElementsAttr::get(vector(b.i32()), int32_t(16)));
  b.loop(b.constI64(0), body.count, step, [&](Value row) {
    Value from = keyRow(b, rows, body, row), next, hasNext, scale, nextScale;
    if (v.keys.scale)
      scale = keyNumber(b, v.keys.scale, body, row);
    if (kind == DotKind::bf16) {
      next = keyRow(b, rows, body, b.add(row, 1));
      hasNext = b.less(b.add(row, 1), body.count);
      if (scale)
        nextScale = keyNumber(b, v.keys.scale, body, b.add(row, 1));
    }
    Value index =
        step == 1 ? row : Value(arith::DivUIOp::create(b.builder, b.loc, row, b.constI64(step)));
    Value to = b.address(target, b.i32(), b.mul(index, group));
    for (int64_t d = 0; d < dim; d += group) {
      Value x = loadGroup(from, d);
      if (kind == DotKind::bf16) {
        Value high = b.select(hasNext, bits(loadGroup(next, d), nextScale), zero);
        high = arith::ShLIOp::create(b.builder, b.loc, high, sixteen);
        x = arith::OrIOp::create(b.builder, b.loc, bits(x, scale), high);
      } else {
        x = scaled(b.toF32(x), scale);
      }
      b.store(x, b.address(to, b.i32(), d * panelKeys));
    }
  });
}

// vpdpbusd multiplies q + 128 with k, so a score starts at -128 * (sum of k).
void CpuLowering::sumKeys(LaneBuilder &b, tile::DotQKOp op, const Body &body) {
  const CpuTileValue &k = tiles[op.getK()];
  const BindingRows rows = keyBindings[k.keys.binding];
  int64_t dim = k.keys.dim, width = arch.width;
  Value target = arenaAddress(b, reserveOnce("key sums", kernel.getBlockK() * 4));
  b.loop(b.constI64(0), body.count, 1, [&](Value row) {
    Value from = keyRow(b, rows, body, row), sums = b.splatI32(0);
    for (int64_t d = 0; d + width <= dim; d += width) {
      Value x = b.load(b.lanes(b.i8()), b.address(from, b.i8(), d));
      x = arith::ExtSIOp::create(b.builder, b.loc, b.lanes(b.i32()), x);
      sums = arith::AddIOp::create(b.builder, b.loc, sums, x);
    }
    Value sum = vector::ReductionOp::create(b.builder, b.loc, vector::CombiningKind::ADD, sums);
    for (int64_t d = dim / width * width; d < dim; ++d) {
      Value x = b.load(b.i8(), b.address(from, b.i8(), d));
      sum = b.add(sum, arith::ExtSIOp::create(b.builder, b.loc, b.i32(), x));
    }
    sum = b.mul(sum, b.constI32(-128));
    b.store(sum, b.address(target, b.i32(), row));
  });
}

// Asks for the rows of the next block while this one is multiplied. The lines are
// spread evenly over `parts` places of the schedule, of which this is `part`: a
// burst would fill the line buffers and stall. Where the next block to visit lies
// elsewhere, or nowhere, this costs its instructions only.
void CpuLowering::prefetchNextKeys(LaneBuilder &b, const CpuKeyTile &keys, const Body &body,
                                   Value part, int64_t parts) {
  const BindingRows rows = keyBindings[keys.binding];
  int64_t rowLines =
      llvm::divideCeil(keys.dim * rows.element.getIntOrFloatBitWidth() / 8, kLineBytes);
  int64_t share = llvm::divideCeil(kernel.getBlockK() * rowLines, parts);
  auto divide = [&](Value x, int64_t y) -> Value {
    return arith::DivUIOp::create(b.builder, b.loc, x, b.constI64(y));
  };
  Value first = b.mul(part, share), next = b.add(body.slot, kernel.getBlockK());
  for (int64_t i = 0; i < share; ++i) {
    Value line = b.add(first, i), row = divide(line, rowLines);
    Value column = b.sub(line, b.mul(row, rowLines));
    Value address = b.address(rows.base, rows.element, b.mul(b.add(next, row), rows.stride));
    LLVM::Prefetch::create(b.builder, b.loc, b.address(address, b.i8(), b.mul(column, kLineBytes)),
                           /*rw=*/0, /*hint=*/2, /*cache=*/1);
  }
}

// The same for whole rows of all keys and values: one vector's share of the next block.
void CpuLowering::prefetchShare(LaneBuilder &b, Block &region, const Body &body) {
  int64_t share = llvm::divideCeil(kernel.getBlockK() * arch.width, kernel.getBlockQ());
  Value vector =
      arith::DivUIOp::create(b.builder, b.loc, firstLane(b, body), b.constI64(arch.width));
  Value first = b.add(b.add(body.slot, kernel.getBlockK()), b.mul(vector, share));
  for (auto load : region.getOps<tile::LoadKeysOp>()) {
    const CpuKeyTile &keys = tiles[load.getResult()].keys;
    const BindingRows rows = keyBindings[keys.binding];
    int64_t bytes = keys.dim * rows.element.getIntOrFloatBitWidth() / 8;
    if (bytes == 0)
      continue;
    b.loop(b.constI64(0), b.constI64(share), 1, [&](Value row) {
      Value address = b.address(rows.base, rows.element, b.mul(b.add(first, row), rows.stride));
      for (int64_t at = 0; at < bytes; at += kLineBytes)
        LLVM::Prefetch::create(b.builder, b.loc, b.address(address, b.i8(), at),
                               /*rw=*/0, /*hint=*/2, /*cache=*/1);
    });
  }
}
