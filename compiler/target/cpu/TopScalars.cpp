// One case per scalar op of the tile dialect; the others are copied.
#include "compiler/target/cpu/TopScalars.h"

#include "runtime/bundle/kernel_abi.h"

#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace mlir::attn;

bool mlir::attn::isTopScalar(Operation &op) {
  return op.getNumRegions() == 0 &&
         llvm::none_of(op.getOperandTypes(), llvm::IsaPred<tile::TileType>) &&
         llvm::none_of(op.getResultTypes(), llvm::IsaPred<tile::TileType>);
}

void mlir::attn::lowerTopScalar(LaneBuilder &b, Operation &op, CallFrame &frame,
                                IRMapping &scalars) {
  ScalarContext context = frame.scalars(b.arch);
  llvm::TypeSwitch<Operation *>(&op)
      .Case([&](tile::ScoreFactorOp op) {
        Value factor = b.constF32(1.4426950408889634);
        if (!op.getPlain())
          factor = b.mulF(frame.word(b, ATTN_W_SCALE, b.f32()), factor);
        scalars.map(op.getResult(), factor);
      })
      .Case([&](tile::ParamOp op) {
        scalars.map(op.getResult(), context.param(b.builder, b.loc, op.getIndex(), op.getType()));
      })
      .Case([&](tile::IndexOp op) {
        scalars.map(op.getResult(), context.item(b.builder, b.loc, op.getWhich()));
      })
      .Case([&](tile::TableLoadOp op) {
        SmallVector<Value> indices;
        for (Value index : op.getIndices())
          indices.push_back(scalars.lookup(index));
        scalars.map(op.getResult(),
                    context.tableLoad(b.builder, b.loc, op.getBinding(), indices, op.getType()));
      })
      .Default([&](Operation *op) { b.builder.clone(*op, scalars); });
}
