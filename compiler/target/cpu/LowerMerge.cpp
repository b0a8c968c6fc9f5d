// Partial results: a loop over parts folds their rows into the planes that the walk
// over keys would have left.
#include "compiler/target/cpu/KernelLowering.h"

#include "runtime/bundle/kernel_abi.h"

#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;
using namespace mlir::attn;

static constexpr double kMasked = -1e30, kLog2E = 1.4426950408889634;

LogicalResult CpuLowering::lowerMergeParts(LaneBuilder &b, tile::MergePartsOp op) {
  startSoftmax(b, op.getMax(), op.getSum(), op.getOut());
  int64_t dim = op.getOut().getType().getShape()[1], lanes = laneCount();
  Plane part = newPlane(dim), logs = newPlane(1);
  Plane max = tiles[op.getMax()].plane, sum = tiles[op.getSum()].plane,
        out = tiles[op.getOut()].plane;
  const BindingRows oRows = frame->rows(b, op.getOBinding()),
                    lseRows = frame->rows(b, op.getLseBinding());
  Value records = b.widen(frame->word(b, ATTN_W_SEGMENT_BASE));
  Value count = b.widen(frame->word(b, ATTN_W_SEGMENTS));
  b.loop(b.constI64(0), count, 1, [&](Value index) {
    Value record = b.narrow(b.add(records, b.mul(index, ATTN_SEG_WORDS)));
    auto ofPart = [&](BindingRows rows, int64_t word) {
      Value at = arith::AddIOp::create(b.builder, b.loc, record, b.constI32(word));
      rows.base = b.address(rows.base, rows.element, b.widen(frame->wordAt(b, at)));
      return rows;
    };
    loadRows(b, ofPart(oRows, ATTN_PART_O), part, dim);
    loadRows(b, ofPart(lseRows, ATTN_PART_LSE), logs, 0);
    forSubTiles(b, [&](Value subTile) {
      Value maxRow = planeAddress(b, max, subTile), sumRow = planeAddress(b, sum, subTile);
      SmallVector<Value> oldMax = loadRow(b, maxRow), total = loadRow(b, sumRow),
                         score = loadRow(b, planeAddress(b, logs, subTile)), newMax, alpha, weight;
      Value log2e = b.splatF32(kLog2E);
      for (int64_t j = 0; j < schedule.vectors; ++j) {
        score[j] = b.maxF(b.splatF32(kMasked), score[j]); // -inf of an empty part; NaN stays
        newMax.push_back(b.maxF(score[j], oldMax[j]));
        alpha.push_back(b.exp2(b.mulF(b.subF(oldMax[j], newMax[j]), log2e)));
        weight.push_back(b.exp2(b.mulF(b.subF(score[j], newMax[j]), log2e)));
        total[j] = b.fma(total[j], alpha[j], weight[j]);
      }
      storeRow(b, newMax, maxRow);
      storeRow(b, total, sumRow);
      Value from = planeAddress(b, part, subTile), to = planeAddress(b, out, subTile);
      b.loop(b.constI64(0), b.constI64(dim), 1, [&](Value d) {
        Value at = b.mul(d, lanes);
        SmallVector<Value> o = loadRow(b, b.address(to, b.f32(), at)),
                           x = loadRow(b, b.address(from, b.f32(), at));
        for (int64_t j = 0; j < schedule.vectors; ++j) {
          Value counts = arith::CmpFOp::create(b.builder, b.loc, arith::CmpFPredicate::OGT,
                                               weight[j], b.splatF32(0));
          o[j] = b.fma(weight[j], b.select(counts, x[j], b.splatF32(0)), b.mulF(o[j], alpha[j]));
        }
        storeRow(b, o, b.address(to, b.f32(), at));
      });
    });
  });
  return success();
}
