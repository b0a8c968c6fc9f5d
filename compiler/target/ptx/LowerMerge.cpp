// Partial results: a loop over parts folds their rows into the accumulators that
// the walk over keys would have left.
#include "compiler/target/ptx/KernelLowering.h"

#include "runtime/bundle/kernel_abi.h"

#include "mlir/Dialect/SCF/IR/SCF.h"

using namespace mlir;
using namespace mlir::attn;

static constexpr double kMaskedScore = -1e30, kInitialMaximum = -1e20;
static constexpr double kLog2e = 1.4426950408889634;

LogicalResult PtxLowering::lowerMergeParts(PtxBuilder &p, tile::MergePartsOp op) {
  PtxTileValue max, sum, out;
  max.kind = sum.kind = PtxTileValue::rows;
  max.values.assign(s.rowTiles * 2, p.f32(kInitialMaximum));
  sum.values.assign(s.rowTiles * 2, p.f32(0));
  out.kind = PtxTileValue::accumulator;
  out.columns = s.vDim / 8;
  out.values.assign(s.rowTiles * out.columns * 4, p.f32(0));

  auto flatten = [&] {
    SmallVector<Value> state(max.values);
    llvm::append_range(state, sum.values);
    llvm::append_range(state, out.values);
    return state;
  };
  auto unflatten = [&](ValueRange state) {
    for (PtxTileValue *tile : {&max, &sum, &out}) {
      tile->values.assign(state.begin(), state.begin() + tile->values.size());
      state = state.drop_front(tile->values.size());
    }
  };
  Value records = word(p, ATTN_W_SEGMENT_BASE);
  auto loop = scf::ForOp::create(
      p, p.loc, p.i32(0), word(p, ATTN_W_SEGMENTS), p.i32(1), flatten(),
      [&](OpBuilder &builder, Location loc, Value index, ValueRange state) {
        PtxBuilder p(builder, loc);
        unflatten(state);
        Value record = p.add(records, p.mul(index, ATTN_SEG_WORDS));
        Value oPart = word(p, p.add(record, ATTN_PART_O));
        Value logPart = word(p, p.add(record, ATTN_PART_LSE));
        Value log2e = p.f32(kLog2e), zero = p.f32(0);
        for (int64_t m = 0; m < s.rowTiles; ++m)
          for (int64_t h = 0; h < 2; ++h) {
            Value row = validRow(p, m, h);
            Value logSum = loadRow(p, op.getLseBinding(), /*hasDim=*/false, row, logPart)[0];
            logSum = p.atLeast(logSum, kMaskedScore); // -inf of an empty part
            Value &largest = max.values[m * 2 + h], &total = sum.values[m * 2 + h];
            Value newMax = p.fmax(largest, logSum);
            Value alpha = p.exp2(p.fmul(p.fsub(largest, newMax), log2e));
            Value weight = p.exp2(p.fmul(p.fsub(logSum, newMax), log2e));
            Value counts = arith::CmpFOp::create(p, loc, arith::CmpFPredicate::OGT, weight, zero);
            largest = newMax;
            total = p.fma(total, alpha, weight);
            SmallVector<Value> part = loadRow(p, op.getOBinding(), /*hasDim=*/true, row, oPart);
            for (int64_t j = 0; j < out.columns; ++j)
              for (int64_t r = 0; r < 2; ++r) {
                Value &o = out.at(m, j, h * 2 + r);
                o = p.fma(weight, p.select(counts, part[j * 2 + r], zero), p.fmul(o, alpha));
              }
          }
        scf::YieldOp::create(p, loc, flatten());
      });
  unflatten(loop.getResults());
  tiles[op.getMax()] = max;
  tiles[op.getSum()] = sum;
  tiles[op.getOut()] = out;
  return success();
}
