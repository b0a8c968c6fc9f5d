// The output expression: finished pieces and inputs enter, rewritten pieces leave.
#include "compiler/target/spirv/KernelLowering.h"

using namespace mlir;
using namespace mlir::attn;

static constexpr double kNothingAttended = -1e30; // see tile.output
static constexpr int64_t kMinusInfinityBits = int32_t(0xff800000);

// Inputs are read where they are used, in the pieces that the outputs have.
LogicalResult SpirvLowering::loadInput(OpBuilder &b, tile::LoadQueriesOp op) {
  int64_t binding = op.getBinding();
  Location loc = op.getLoc();
  SmallVector<Value> rows = llvm::map_to_vector(
      tileRows, [&](const Row &row) { return buffers->row(b, loc, binding, row.token); });
  bool hasDim = op.getType().getShape().size() == 2;
  queryTiles[op.getResult()].piece = [=, this](OpBuilder &b, int64_t row, Value dim,
                                               int64_t width) -> Value {
    if (!hasDim)
      return buffers->loadElement(b, loc, binding, rows[row], f32Type());
    return buffers->load(b, loc, binding, arith::AddIOp::create(b, loc, rows[row], dim), width);
  };
  return success();
}

LogicalResult SpirvLowering::output(OpBuilder &b, tile::OutputOp op) {
  Location loc = op.getLoc();
  Emit e{b, loc};
  Block &body = op.getBody().front();
  // The owner of a row knows its log-sum-exp, as bits; whoever has a piece of the
  // row finds it in workgroup memory.
  Value logSums;
  if (!body.getArgument(tile::OutputOp::OutputLse).use_empty()) {
    logSums = shared("log_sums", kernel.getBlockQ(), f32Type());
    const RowTile lse = rowTiles.lookup(op.getLse());
    onOwners(b, loc, {}, [&](OpBuilder &b) {
      Emit e{b, loc};
      for (auto [row, bits] : llvm::zip(ownRows, lse.values)) {
        Value nothing = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::eq, bits,
                                              e.i32(kMinusInfinityBits));
        Value finite = e.asFloat(e.select(nothing, e.bits(e.f32(kNothingAttended)), bits));
        storeShared(b, loc, finite, logSums, row.index);
      }
      return SmallVector<Value>{};
    });
    barrier(b, loc);
  }
  OutputTile out = outputTiles.lookup(op.getO());
  int64_t units = outputUnits();
  for (auto [r, row] : llvm::enumerate(tileRows)) {
    Value lse = logSums ? loadShared(b, loc, logSums, row.index) : e.f32(0);
    SmallVector<Value> common{Value(), lse, row.position, item.head, item.batch};
    for (int64_t unit = 0; unit < units; ++unit) {
      Value &piece = out.pieces[r * units + unit];
      Value dim = outputDim(b, loc, unit).first;
      SmallVector<SmallVector<Value>> inputs;
      for (Value input : op.getInputs())
        inputs.push_back(elementsOf(b, loc, queryTiles[input].piece(b, r, dim, outputWidth)));
      SmallVector<Value> elements = elementsOf(b, loc, piece);
      for (auto [i, element] : llvm::enumerate(elements)) {
        SmallVector<Value> arguments = common;
        arguments[tile::OutputOp::OutputValue] = element;
        for (const SmallVector<Value> &input : inputs)
          arguments.push_back(input.size() == 1 ? input[0] : input[i]);
        element = inlineScalarRegion(b, body, arguments, context).front();
      }
      piece = isa<VectorType>(piece.getType())
                  ? vector::FromElementsOp::create(b, loc, piece.getType(), elements).getResult()
                  : elements.front();
    }
  }
  outputTiles[op.getResult()] = std::move(out);
  return success();
}
