// Rows of queries and keys as vectors of dims: loading, quantisation, prefetching.
#include "compiler/target/cpu/DecodeLowering.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace mlir::attn;

// Dims [first, first + count) of a row of `dim`; those past its end are zero and are
// not touched in memory: the last `count` dims are loaded and moved to the front.
Value DecodeLowering::loadDims(LaneBuilder &b, Type element, Value row, int64_t first,
                               int64_t count, int64_t dim) {
  auto type = VectorType::get(count, element);
  if (first + count <= dim)
    return b.load(type, b.address(row, element, first));
  Value zero = arith::ConstantOp::create(b.builder, b.loc, b.builder.getZeroAttr(type));
  if (dim >= count) {
    SmallVector<int64_t> lanes;
    for (int64_t lane = first - (dim - count); lane < count; ++lane)
      lanes.push_back(lane);
    lanes.resize(count, count); // lane 0 of zero
    return b.shuffle(b.load(type, b.address(row, element, dim - count)), zero, lanes);
  }
  Value x = zero;
  for (int64_t i = first; i < dim; ++i)
    x = vector::InsertOp::create(b.builder, b.loc, b.load(element, b.address(row, element, i)), x,
                                 i - first);
  return x;
}

//===-- Queries --------------------------------------------------------------------===//

// The rows as their dot takes them: f32, pairs of bf16, or four bytes q + 128, in
// chunks of a vector. Rows that pad the last group are zero.
void DecodeLowering::loadQueries(LaneBuilder &b) {
  int64_t dim = kernel.getQkDim(), width = arch.width, chunks = queryChunks();
  Type element = queries.getType().getElementType();
  bool pairs = !quantize && scoreKind == DotKind::bf16;
  Value plane = scratch(b, queryOffset);
  forRows(b, [&](Value row) {
    const BindingRows rows = frame->rows(b, queries.getBinding());
    Value from = b.address(rows.base, element, b.mul(queryRow, rows.stride));
    Value to =
        quantize ? scratch(b, rowOffset) : b.address(plane, b.f32(), b.mul(row, chunks * width));
    int64_t step = pairs ? 2 * width : width;
    for (int64_t d = 0; d < dim; d += step) {
      Value x = loadDims(b, element, from, d, step, dim);
      b.store(pairs ? x : b.toF32(x), b.address(to, b.f32(), d / step * width), width * 4);
    }
    if (quantize)
      quantizeRow(b, row);
  });
  Value padded = b.mul(rowGroups, schedule.rowGroup * chunks * width);
  b.loop(b.mul(rowCount, chunks * width), padded, width,
         [&](Value i) { b.store(b.splatF32(0), b.address(plane, b.f32(), i), width * 4); });
}

// The row in rowOffset as int8 values in the query plane, with its scale.
void DecodeLowering::quantizeRow(LaneBuilder &b, Value row) {
  int64_t dim = kernel.getQkDim(), width = arch.width, vectors = llvm::divideCeil(dim, width);
  Value from = scratch(b, rowOffset);
  auto loadPart = [&](Value i) {
    return b.load(b.lanes(b.f32()), b.address(from, b.f32(), b.mul(i, width)), width * 4);
  };
  Value largest = b.loop(b.constI64(0), b.constI64(vectors), 1, ValueRange{b.splatF32(0)},
                         [&](Value i, ValueRange state) -> SmallVector<Value> {
                           return {b.maxMagnitude(loadPart(i), state[0])};
                         })[0];
  Value scale = b.divF(b.laneMaxMagnitude(largest), b.splatF32(127));
  b.store(scale, b.address(scratch(b, scaleOffset), b.f32(), b.mul(row, width)), width * 4);
  Value positive =
      arith::CmpFOp::create(b.builder, b.loc, arith::CmpFPredicate::OGT, scale, b.splatF32(0));
  Value divisor = b.select(positive, scale, b.splatF32(1));
  bool bytes = scoreKind == DotKind::int8;
  Type unit = bytes ? b.i8() : b.f32();
  int64_t rowSize = queryChunks() * width * (bytes ? 4 : 1);
  Value to = b.address(scratch(b, queryOffset), unit, b.mul(row, rowSize));
  b.loop(b.constI64(0), b.constI64(vectors), 1, [&](Value i) {
    Value x = math::RoundEvenOp::create(b.builder, b.loc, b.divF(loadPart(i), divisor));
    x = b.maxF(x, b.splatF32(-127));
    Value below =
        arith::CmpFOp::create(b.builder, b.loc, arith::CmpFPredicate::OLT, x, b.splatF32(127));
    x = b.select(below, x, b.splatF32(127));
    if (bytes) {
      x = arith::FPToSIOp::create(b.builder, b.loc, b.lanes(b.i32()), x);
      x = arith::AddIOp::create(b.builder, b.loc, x, b.splatI32(128));
      x = arith::TruncIOp::create(b.builder, b.loc, b.lanes(b.i8()), x);
    }
    b.store(x, b.address(to, unit, b.mul(i, width)));
  });
  // Keys are zero past their last dim; what stands here must only be finite.
  for (int64_t i = vectors * width; i < rowSize; i += width)
    b.store(arith::ConstantOp::create(b.builder, b.loc, b.builder.getZeroAttr(b.lanes(unit))),
            b.address(to, unit, i));
}

//===-- Keys -----------------------------------------------------------------------===//

// Rows past the end of a short block stay untouched: their addresses are those of
// the last row.
Value DecodeLowering::keyRow(LaneBuilder &b, int64_t binding, const Body &body, Value row) {
  const BindingRows &rows = keyBindings[binding];
  if (!body.full)
    row = b.min(row, b.add(body.count, -1));
  return b.address(rows.base, rows.element, b.mul(b.add(body.slot, row), rows.stride));
}

// One number per key, side by side in the arena, whatever the caller's stride.
void DecodeLowering::loadKeyNumbers(LaneBuilder &b, Value tile, const Body &body) {
  int64_t binding = keys[tile].binding;
  auto [entry, isNew] = numberOffsets.try_emplace(binding, 0);
  if (isNew)
    entry->second = reserve(schedule.blockK * 4);
  Value to = scratch(b, entry->second);
  Type element = keyBindings[binding].element;
  b.loop(b.constI64(0), body.count, 1, [&](Value row) {
    b.store(b.toF32(b.load(element, keyRow(b, binding, body, row))), b.address(to, b.f32(), row));
  });
}

Value DecodeLowering::keyNumbers(LaneBuilder &b, Value tile, Value key) {
  Value from = scratch(b, numberOffsets.lookup(keys[tile].binding));
  return b.load(b.lanes(b.f32()), b.address(from, b.f32(), key), arch.width * 4);
}

//===-- Prefetching ------------------------------------------------------------------===//

// Whether step `turn` of a product is the one at which `group` asks: groups of rows that
// make the same steps take turns.
Value DecodeLowering::hasTurn(LaneBuilder &b, Value group, Value turn) {
  int64_t most = schedule.maxRows / schedule.rowGroup;
  Value of = arith::AndIOp::create(b.builder, b.loc, turn, b.constI64(most - 1));
  of = arith::ShRUIOp::create(b.builder, b.loc, b.mul(of, rowGroups),
                              b.constI64(llvm::Log2_64(most)));
  return arith::CmpIOp::create(b.builder, b.loc, arith::CmpIPredicate::eq, of, group);
}

// Asks for the row `ahead` keys after row `row` of the block, into the second level: the
// first is for this block. Where it is not `wanted`, and past the end of the keys, this
// costs its instructions only.
void DecodeLowering::askAhead(LaneBuilder &b, const KeyRows &tile, const Body &body, Value row,
                              Value wanted) {
  constexpr int64_t kLineBytes = 64;
  const BindingRows &rows = keyBindings[tile.binding];
  Value slot = b.add(b.add(body.slot, row), schedule.ahead);
  Value address = b.address(rows.base, rows.element, b.mul(slot, rows.stride));
  address = b.select(wanted, address, arena);
  int64_t bytes = tile.dim * rows.element.getIntOrFloatBitWidth() / 8;
  for (int64_t at = 0; at < bytes; at += kLineBytes)
    LLVM::Prefetch::create(b.builder, b.loc, b.address(address, b.i8(), at),
                           /*rw=*/0, /*hint=*/2, /*cache=*/1);
}
