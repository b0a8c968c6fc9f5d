// The output expression: a finished output tile and its inputs enter, the same
// plane rewritten leaves.
#include "compiler/target/cpu/KernelLowering.h"

using namespace mlir;
using namespace mlir::attn;

static constexpr double kNothingAttended = -1e30; // see tile.output

LogicalResult CpuLowering::lowerOutput(LaneBuilder &b, tile::OutputOp op) {
  const CpuTileValue o = tiles[op.getO()];
  int64_t dim = op.getO().getType().getShape()[1];
  ScalarContext context = frame->scalars(arch);
  forSubTiles(b, [&](Value subTile) {
    SmallVector<Value> positions = queryPositions(b, b.mul(subTile, laneCount()), schedule.vectors);
    SmallVector<Value> lse = lanesOf(b, op.getLse(), subTile);
    for (Value &vector : lse)
      vector = b.maxF(b.splatF32(kNothingAttended), vector);
    // Inputs without a dim stay in registers, the others are read row by row.
    SmallVector<SmallVector<Value>> perRow(op.getInputs().size());
    SmallVector<Value> planes(op.getInputs().size());
    for (auto [i, input] : llvm::enumerate(op.getInputs())) {
      planes[i] = planeAddress(b, tiles[input].plane, subTile);
      if (cast<tile::TileType>(input.getType()).getShape().size() == 1)
        perRow[i] = loadRow(b, planes[i]);
    }
    Value plane = planeAddress(b, o.plane, subTile);
    b.loop(b.constI64(0), b.constI64(dim), 1, [&](Value d) {
      Value at = b.mul(d, laneCount());
      SmallVector<Value> row = loadRow(b, b.address(plane, b.f32(), at));
      SmallVector<SmallVector<Value>> inputs = perRow;
      for (auto [i, vectors] : llvm::enumerate(inputs))
        if (vectors.empty())
          vectors = loadRow(b, b.address(planes[i], b.f32(), at));
      for (int64_t j = 0; j < schedule.vectors; ++j) {
        SmallVector<Value> arguments{row[j], lse[j], positions[j], frame->head, frame->batch};
        for (const SmallVector<Value> &vectors : inputs)
          arguments.push_back(vectors[j]);
        Value result = inlineScalarRegion(b.builder, op.getBody().front(), arguments, context)[0];
        row[j] = isa<VectorType>(result.getType()) ? result : b.splat(result);
      }
      storeRow(b, row, b.address(plane, b.f32(), at));
    });
  });
  tiles[op.getResult()] = o;
  return success();
}
