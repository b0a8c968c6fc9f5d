// The output expression: finished accumulators enter, rewritten ones leave. Inputs
// are read from global memory in the accumulators' own layout.
#include "compiler/target/ptx/KernelLowering.h"

#include "mlir/Dialect/SCF/IR/SCF.h"

using namespace mlir;
using namespace mlir::attn;

static constexpr double kNothingAttended = -1e30; // see tile.output

Value PtxLowering::validRow(PtxBuilder &p, int64_t rowTile, int64_t half) {
  Value row = p.add(p.add(warpRow, rowTile * 16 + half * 8), p.shrU(lane, 2));
  return p.minS(row, p.add(rowCount, -1));
}

SmallVector<Value> PtxLowering::loadRow(PtxBuilder &p, int64_t binding, bool hasDim, Value row,
                                        Value elements) {
  const Buffer &buffer = buffers[binding];
  int64_t bytes = buffer.element.getIntOrFloatBitWidth() / 8;
  Value token = p.wide(p.add(firstRow, row));
  Value source = p.offset(buffer.base, arith::MulIOp::create(p, p.loc, token, buffer.tokenBytes));
  Value paired = buffer.paired;
  if (elements) {
    source = p.offset(source, arith::MulIOp::create(p, p.loc, p.wide(elements), p.i64(bytes)));
    paired = p.andI(paired, p.equal(p.andI(elements, 1), p.i32(0)));
  }
  auto widen = [&](PtxBuilder &p, Value v) -> Value {
    return bytes == 4 ? v : Value(arith::ExtFOp::create(p, p.loc, p.getF32Type(), v));
  };
  if (!hasDim)
    return {widen(p, p.load(source, buffer.element, bytes))};
  source = p.offset(source, p.wide(p.mul(laneColumn(p), bytes)));
  auto load = [&](bool paired) {
    return [&, paired](OpBuilder &b, Location loc) {
      PtxBuilder p(b, loc);
      SmallVector<Value> values;
      for (int64_t j = 0; j < s.vDim / 8; ++j) { // the rest is padding
        Value at = p.offset(source, p.i64(j * 8 * bytes));
        if (paired) {
          Value pair = p.load(at, VectorType::get(2, buffer.element), 2 * bytes);
          for (int64_t i = 0; i < 2; ++i)
            values.push_back(widen(p, LLVM::ExtractElementOp::create(p, loc, pair, p.i32(i))));
        } else {
          for (int64_t i = 0; i < 2; ++i)
            values.push_back(
                widen(p, p.load(p.offset(at, p.i64(i * bytes)), buffer.element, bytes)));
        }
      }
      scf::YieldOp::create(b, loc, values);
    };
  };
  auto loaded = scf::IfOp::create(p, p.loc, paired, load(true), load(false));
  return SmallVector<Value>(loaded.getResults());
}

LogicalResult PtxLowering::lowerOutput(PtxBuilder &p, tile::OutputOp op) {
  PtxTileValue out = tiles.lookup(op.getO());
  const PtxTileValue lse = tiles.lookup(op.getLse());
  ScalarContext context = scalarContext();
  allowFastFunctions(op.getBody());
  for (int64_t m = 0; m < s.rowTiles; ++m)
    for (int64_t h = 0; h < 2; ++h) {
      Value row = validRow(p, m, h);
      SmallVector<SmallVector<Value>> inputs;
      for (Value input : op.getInputs()) {
        bool hasDim = cast<tile::TileType>(input.getType()).getShape().size() == 2;
        inputs.push_back(loadRow(p, tiles.lookup(input).binding, hasDim, row));
      }
      Value finite = p.atLeast(lse.values[m * 2 + h], kNothingAttended);
      for (int64_t j = 0; j < s.vDim / 8; ++j)
        for (int64_t r = h * 2; r < h * 2 + 2; ++r) {
          SmallVector<Value> arguments{out.at(m, j, r), finite, queryPosition(p, m, h), head,
                                       batch};
          for (const SmallVector<Value> &values : inputs)
            arguments.push_back(values.size() == 1 ? values[0] : values[j * 2 + r % 2]);
          out.at(m, j, r) = inlineScalarRegion(p, op.getBody().front(), arguments, context).front();
        }
    }
  tiles[op.getResult()] = out;
  return success();
}
