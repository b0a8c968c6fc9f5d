// Moves tiles between global memory, shared memory and registers: staged copies,
// query fragments, int8 queries, stores. See PtxTileValue for the layouts.
#include "compiler/target/ptx/KernelLowering.h"

#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

using namespace mlir;
using namespace mlir::attn;

static void ifThen(PtxBuilder &p, Value condition, function_ref<void(PtxBuilder &)> then,
                   function_ref<void(PtxBuilder &)> otherwise = {}) {
  auto build = [&](function_ref<void(PtxBuilder &)> part) {
    return [&p, part](OpBuilder &b, Location loc) {
      PtxBuilder inner(b, p.loc);
      part(inner);
      scf::YieldOp::create(inner, loc);
    };
  };
  if (otherwise)
    scf::IfOp::create(p, p.loc, condition, build(then), build(otherwise));
  else
    scf::IfOp::create(p, p.loc, condition, build(then));
}

Value PtxLowering::swizzledBytes(PtxBuilder &p, const SharedLayout &layout, Value row,
                                    Value chunk) {
  Value f = p.andI(p.shrU(row, layout.swizzleShift()), layout.swizzleMask());
  return p.shl(p.xorI(chunk, f), 4);
}

ChunkAddress::ChunkAddress(PtxBuilder &p, PtxLowering &kernel, const PtxTileValue &tile, Value row,
                           Value chunk, Value rowAbove)
    : layout(tile.layout) {
  Value rows = rowAbove ? p.add(rowAbove, row) : row;
  Value bytes = p.add(p.add(tile.base, p.mul(rows, layout.rowBytes())),
                      kernel.swizzledBytes(p, layout, row, chunk));
  variants.assign((layout.swizzleMask() + 1) / 2, Value());
  variants[0] = kernel.sharedAt(p, bytes);
}

Value ChunkAddress::at(PtxBuilder &p, int64_t chunk, int64_t row) {
  int64_t low = chunk & layout.swizzleMask(), high = chunk - low;
  Value &variant = variants[low / 2];
  if (!variant) {
    Value address = LLVM::PtrToIntOp::create(p, p.loc, p.getI32Type(), variants[0]);
    variant = LLVM::IntToPtrOp::create(p, p.loc, p.ptr(3), p.xorI(address, low * 16));
  }
  return p.offset(variant, p.i32(high * 16 + row * layout.rowBytes()));
}

//===-- Copies to shared memory ----------------------------------------------===//

// Thread i copies chunk i mod chunks of row i div chunks, then goes on `step` rows
// below, so that every address is the one before plus something uniform.
void PtxLowering::copyTile(PtxBuilder &p, const Buffer &buffer, const SharedLayout &layout,
                              Value base, const CopyRange &range) {
  int64_t step = s.threads() / layout.chunks;
  auto copyChunks = [&](PtxBuilder &p) {
    Value row = p.divU(thread, layout.chunks), chunk = p.remU(thread, layout.chunks);
    Value token = p.wide(p.add(range.first, row));
    Value source = p.offset(buffer.base, arith::MulIOp::create(p, p.loc, token, buffer.tokenBytes));
    source = p.offset(source, p.wide(p.shl(chunk, 4)));
    Value stepBytes = arith::MulIOp::create(p, p.loc, buffer.tokenBytes, p.i64(step));
    Value rowTarget = p.add(base, p.mul(row, layout.rowBytes()));
    Value used = layout.padded() ? p.lessS(chunk, p.i32(layout.usedChunks())) : Value();
    Value remaining = range.count ? p.sub(range.count, row) : Value();
    DenseMap<int64_t, Value> targets; // by what the swizzle sees of the row
    for (int64_t start = 0; start < layout.rows; start += step) {
      Value &target = targets[start % 8];
      if (!target)
        target =
            sharedAt(p, p.add(rowTarget, swizzledBytes(p, layout, p.add(row, start % 8), chunk)));
      Value valid = used;
      if (remaining) {
        Value exists = p.lessS(p.i32(start), remaining);
        valid = valid ? p.andI(valid, exists) : exists;
      }
      Value bytes = valid ? p.select(valid, p.i32(16), p.i32(0)) : Value();
      auto copy = [&](PtxBuilder &p) {
        p.copyAsync(p.offset(target, p.i32(start * layout.rowBytes())), source, 16, bytes);
      };
      if (start + step <= layout.rows)
        copy(p);
      else
        ifThen(p, p.lessS(row, p.i32(layout.rows - start)), copy);
      source = p.offset(source, stepBytes);
    }
  };
  ifThen(
      p, buffer.vectorized,
      [&](PtxBuilder &p) {
        if (step * layout.chunks == s.threads())
          copyChunks(p);
        else
          ifThen(p, p.lessS(thread, p.i32(step * layout.chunks)), copyChunks);
      },
      [&](PtxBuilder &p) { copyTileByElements(p, buffer, layout, base, range); });
}

void PtxLowering::copyTileByElements(PtxBuilder &p, const Buffer &buffer,
                                        const SharedLayout &layout, Value base,
                                        const CopyRange &range) {
  int64_t elements = 16 / layout.elementBytes;
  Type word = p.getIntegerType(layout.elementBytes * 8);
  auto chunkType = VectorType::get(elements, word);
  auto loop =
      scf::ForOp::create(p, p.loc, thread, p.i32(layout.rows * layout.chunks), p.i32(s.threads()));
  PtxBuilder b(OpBuilder::atBlockTerminator(loop.getBody()), p.loc);
  Value row = b.divU(loop.getInductionVar(), layout.chunks);
  Value chunk = b.remU(loop.getInductionVar(), layout.chunks);
  Value exists = b.lessS(chunk, b.i32(layout.usedChunks()));
  if (range.count)
    exists = b.andI(exists, b.lessS(row, range.count));
  Value zero = LLVM::ZeroOp::create(b, b.loc, chunkType);
  auto loaded = scf::IfOp::create(
      b, b.loc, exists,
      [&](OpBuilder &inner, Location loc) {
        PtxBuilder b(inner, loc);
        Value token = b.wide(b.add(range.first, row));
        Value source =
            b.offset(buffer.base, arith::MulIOp::create(b, loc, token, buffer.tokenBytes));
        source = b.offset(source, b.wide(b.shl(chunk, 4)));
        Value vector = LLVM::UndefOp::create(b, loc, chunkType);
        for (int64_t e = 0; e < elements; ++e) {
          Value element =
              b.load(b.offset(source, b.i64(e * layout.elementBytes)), word, layout.elementBytes);
          vector = LLVM::InsertElementOp::create(b, loc, vector, element, b.i32(e));
        }
        scf::YieldOp::create(b, loc, vector);
      },
      [&](OpBuilder &inner, Location loc) { scf::YieldOp::create(inner, loc, zero); });
  Value target =
      b.add(b.add(base, b.mul(row, layout.rowBytes())), swizzledBytes(b, layout, row, chunk));
  b.store(loaded.getResult(0), sharedAt(b, target), 16);
}

void PtxLowering::copyVector(PtxBuilder &p, const Buffer &buffer, int64_t rows, Value base,
                                const CopyRange &range) {
  for (int64_t start = 0; start < rows; start += s.threads()) {
    Value row = p.add(thread, start);
    ifThen(p, p.lessS(row, p.i32(rows)), [&](PtxBuilder &p) {
      Value bytes = range.count ? p.select(p.lessS(row, range.count), p.i32(4), p.i32(0)) : Value();
      Value token = p.wide(p.add(range.first, row));
      Value source =
          p.offset(buffer.base, arith::MulIOp::create(p, p.loc, token, buffer.tokenBytes));
      p.copyAsync(sharedAt(p, p.add(base, p.shl(row, 2))), source, 4, bytes);
    });
  }
}

void PtxLowering::copyKeys(PtxBuilder &p, const StagedKeys &keys, Value stage,
                              const CopyRange &range) {
  Value base = p.i32(keys.offset);
  if (keys.ahead)
    base = p.add(base, p.mul(stage, keys.stageBytes));
  if (keys.vector)
    copyVector(p, buffers[keys.binding], s.blockK, base, range);
  else
    copyTile(p, buffers[keys.binding], keys.layout, base, range);
}

LogicalResult PtxLowering::lowerLoadKeys(PtxBuilder &p, tile::LoadKeysOp op) {
  const StagedKeys &keys = s.keysOf(op.getBinding());
  PtxTileValue tile;
  tile.kind = keys.vector ? PtxTileValue::keyVector : PtxTileValue::shared;
  tile.layout = keys.layout;
  tile.element = buffers[op.getBinding()].element;
  tile.base = p.i32(keys.offset);
  if (keys.ahead)
    tile.base = p.add(tile.base, p.mul(keyStage, keys.stageBytes));
  tiles[op.getResult()] = tile;
  return success();
}

//===-- Queries ----------------------------------------------------------------===//

LogicalResult PtxLowering::lowerLoadQueries(PtxBuilder &p, tile::LoadQueriesOp op) {
  auto type = cast<tile::TileType>(op.getType());
  if (cast<tile::BindingAttr>(kernel.getBindings()[op.getBinding()]).getRole() ==
      tile::Role::input) {
    PtxTileValue input;
    input.kind = PtxTileValue::input;
    input.binding = op.getBinding();
    tiles[op.getResult()] = input;
    prepareBuffer(p, op.getBinding(), /*kvHead=*/Value());
    return success();
  }
  const Buffer &buffer = buffers[op.getBinding()];
  PtxTileValue staged;
  staged.kind = PtxTileValue::shared;
  staged.element = buffer.element;
  staged.layout =
      SharedLayout::get(s.blockQ, type.getShape()[1], buffer.element.getIntOrFloatBitWidth() / 8);
  staged.base = p.i32(s.queryOffset);
  copyTile(p, buffer, staged.layout, staged.base, {firstRow, rowCount});
  p.commitCopies();
  p.waitCopies(0);
  p.barrier();
  bool quantized = llvm::any_of(op->getUsers(), llvm::IsaPred<tile::QuantizeOp>);
  tiles[op.getResult()] = quantized ? staged : queryFragments(p, staged);
  return success();
}

// Lane 8 i + r names row r of matrix i; the matrices are (rows 0-7, first chunk),
// (rows 8-15, first), (rows 0-7, second), (rows 8-15, second): operand A.
SmallVector<Value> PtxLowering::loadQueryFragment(PtxBuilder &p, const PtxTileValue &q,
                                                     int64_t rowTile, int64_t step) {
  Value row = p.andI(lane, 15);
  ChunkAddress address(p, *this, q, row, p.shrU(lane, 4), p.add(warpRow, rowTile * 16));
  return p.ldmatrix(address.at(p, step * 2, 0), /*transposed=*/false);
}

PtxTileValue PtxLowering::queryFragments(PtxBuilder &p, const PtxTileValue &staged) {
  PtxTileValue q = staged;
  q.kind = PtxTileValue::queries;
  if (!s.queriesInRegisters)
    return q;
  for (int64_t m = 0; m < s.rowTiles; ++m)
    for (int64_t step = 0; step < staged.layout.chunks / 2; ++step)
      llvm::append_range(q.values, loadQueryFragment(p, staged, m, step));
  return q;
}

// Two lanes share a row. Each finds the maximum of its half, then writes it as
// int8 to shared memory, from where the fragments are read.
LogicalResult PtxLowering::lowerQuantize(PtxBuilder &p, tile::QuantizeOp op) {
  const PtxTileValue x = tiles.lookup(op.getX());
  if (x.kind != PtxTileValue::shared)
    return op.emitOpError("quantises a tile that no load_queries made");
  SharedLayout packed = SharedLayout::get(s.blockQ, s.qkDim, 1);
  int64_t scales = s.quantizedOffset + packed.bytes();
  int64_t perChunk = 16 / x.layout.elementBytes;
  auto element = cast<FloatType>(x.element);
  auto chunkType = VectorType::get(perChunk, element);
  Value half = p.andI(lane, 1);

  // The element e of chunk c of a row, as f32.
  auto loadChunk = [&](PtxBuilder &p, Value row, Value chunk) {
    Value address = p.add(p.add(x.base, p.mul(row, x.layout.rowBytes())),
                          swizzledBytes(p, x.layout, row, chunk));
    Value vector = p.load(sharedAt(p, address), chunkType, 16);
    SmallVector<Value> elements;
    for (int64_t e = 0; e < perChunk; ++e) {
      Value v = LLVM::ExtractElementOp::create(p, p.loc, vector, p.i32(e));
      elements.push_back(
          element.isF32() ? v : Value(arith::ExtFOp::create(p, p.loc, p.getF32Type(), v)));
    }
    return elements;
  };
  // Row chunks of 16 int8 values, alternating between the two lanes.
  int64_t sourceChunks = 16 / perChunk, rounds = llvm::divideCeil(packed.chunks, 2);
  for (int64_t pass = 0; pass < s.warpRows() / 16; ++pass) {
    Value row = p.add(p.add(warpRow, pass * 16), p.shrU(lane, 1));
    auto chunksOf = [&](PtxBuilder &p, Value round) { return p.add(p.shl(round, 1), half); };
    auto maxima = scf::ForOp::create(
        p, p.loc, p.i32(0), p.i32(rounds), p.i32(1), ValueRange{p.f32(0)},
        [&](OpBuilder &b, Location loc, Value round, ValueRange state) {
          PtxBuilder p(b, loc);
          Value largest = state[0], first = p.mul(chunksOf(p, round), sourceChunks);
          for (int64_t c = 0; c < sourceChunks; ++c) {
            Value chunk = p.add(first, c);
            Value exists = p.lessS(chunk, p.i32(x.layout.chunks));
            chunk = p.select(exists, chunk, p.i32(0)); // another maximum of this row is harmless
            for (Value v : loadChunk(p, row, chunk))
              largest = p.maxMagnitude(v, largest);
          }
          scf::YieldOp::create(p, loc, largest);
        });
    Value largest = p.maxMagnitude(maxima.getResult(0), p.shuffleXor(maxima.getResult(0), 1));
    Value scaleOfRow = p.fdiv(largest, p.f32(127));
    Value empty = arith::CmpFOp::create(p, p.loc, arith::CmpFPredicate::OEQ, scaleOfRow, p.f32(0));
    Value divisor = p.select(empty, p.f32(1), scaleOfRow);
    ifThen(p, p.equal(half, p.i32(0)), [&](PtxBuilder &p) {
      p.store(scaleOfRow, sharedAt(p, p.add(p.i32(scales), p.shl(row, 2))), 4);
    });
    auto loop = scf::ForOp::create(p, p.loc, p.i32(0), p.i32(rounds), p.i32(1));
    PtxBuilder b(OpBuilder::atBlockTerminator(loop.getBody()), p.loc);
    Value target = chunksOf(b, loop.getInductionVar());
    auto words = VectorType::get(16, b.getI8Type());
    Value vector = LLVM::ZeroOp::create(b, b.loc, words);
    for (int64_t c = 0; c < sourceChunks; ++c) {
      Value chunk = b.add(b.mul(target, sourceChunks), c);
      Value exists = b.lessS(chunk, b.i32(x.layout.chunks));
      chunk = b.select(exists, chunk, b.i32(0));
      for (auto [e, v] : llvm::enumerate(loadChunk(b, row, chunk))) {
        Value q = math::RoundEvenOp::create(b, b.loc, b.fdiv(v, divisor));
        q = arith::MinNumFOp::create(b, b.loc, b.fmax(q, b.f32(-127)), b.f32(127));
        q = b.select(exists, q, b.f32(0)); // past the head dim
        Value integer = arith::FPToSIOp::create(b, b.loc, b.getI32Type(), q);
        integer = arith::TruncIOp::create(b, b.loc, b.getI8Type(), integer);
        vector = LLVM::InsertElementOp::create(b, b.loc, vector, integer, b.i32(c * perChunk + e));
      }
    }
    Value address = b.add(b.add(b.i32(s.quantizedOffset), b.mul(row, packed.rowBytes())),
                          swizzledBytes(b, packed, row, target));
    b.store(vector, sharedAt(b, address), 16);
  }
  p.warpSync(); // a warp reads the rows that it wrote
  PtxTileValue staged;
  staged.layout = packed;
  staged.base = p.i32(s.quantizedOffset);
  staged.element = p.getI8Type();
  tiles[op.getResult()] = queryFragments(p, staged);
  PtxTileValue rows;
  rows.kind = PtxTileValue::rows;
  for (int64_t m = 0; m < s.rowTiles; ++m)
    for (int64_t h = 0; h < 2; ++h) {
      Value row = p.add(p.add(warpRow, m * 16 + h * 8), p.shrU(lane, 2));
      rows.values.push_back(
          p.load(sharedAt(p, p.add(p.i32(scales), p.shl(row, 2))), p.getF32Type(), 4));
    }
  tiles[op.getScale()] = rows;
  return success();
}

//===-- Stores -------------------------------------------------------------------===//

LogicalResult PtxLowering::lowerStoreQueries(PtxBuilder &p, tile::StoreQueriesOp op) {
  PtxTileValue tile = tiles.lookup(op.getValue());
  prepareBuffer(p, op.getBinding(), /*kvHead=*/Value());
  const Buffer &buffer = buffers[op.getBinding()];
  int64_t bytes = buffer.element.getIntOrFloatBitWidth() / 8;
  if (!isa<FloatType>(buffer.element))
    return op.emitOpError("stores to a binding of ")
           << buffer.element << "; ptx kernels store floats";
  Value group = p.shrU(lane, 2), t = p.andI(lane, 3);
  auto narrow = [&](PtxBuilder &p, Value v) -> Value {
    return bytes == 4 ? v : Value(arith::TruncFOp::create(p, p.loc, buffer.element, v));
  };
  for (int64_t m = 0; m < s.rowTiles; ++m)
    for (int64_t h = 0; h < 2; ++h) {
      Value row = p.add(p.add(warpRow, m * 16 + h * 8), group);
      Value inside = p.lessS(row, rowCount);
      Value token = p.wide(p.add(firstRow, row));
      Value target =
          p.offset(buffer.base, arith::MulIOp::create(p, p.loc, token, buffer.tokenBytes));
      if (tile.kind == PtxTileValue::rows) {
        Value once = p.andI(inside, p.equal(t, p.i32(0)));
        ifThen(p, once,
               [&](PtxBuilder &p) { p.store(narrow(p, tile.values[m * 2 + h]), target, bytes); });
        continue;
      }
      target = p.offset(target, p.wide(p.mul(t, 2 * bytes)));
      auto storeRow = [&](PtxBuilder &p, bool paired) {
        for (int64_t j = 0; j < tile.columns && j * 8 < s.vDim; ++j) {
          Value low = tile.at(m, j, h * 2), high = tile.at(m, j, h * 2 + 1);
          Value at = p.offset(target, p.i64(j * 8 * bytes));
          if (!paired) {
            p.store(narrow(p, low), at, bytes);
            p.store(narrow(p, high), p.offset(at, p.i64(bytes)), bytes);
          } else if (bytes == 2) {
            p.store(p.pack2(low, high, buffer.element), at, 4);
          } else {
            Value pair = LLVM::UndefOp::create(p, p.loc, VectorType::get(2, p.getF32Type()));
            pair = LLVM::InsertElementOp::create(p, p.loc, pair, low, p.i32(0));
            pair = LLVM::InsertElementOp::create(p, p.loc, pair, high, p.i32(1));
            p.store(pair, at, 8);
          }
        }
      };
      ifThen(p, inside, [&](PtxBuilder &p) {
        ifThen(
            p, buffer.paired, [&](PtxBuilder &p) { storeRow(p, true); },
            [&](PtxBuilder &p) { storeRow(p, false); });
      });
    }
  return success();
}
