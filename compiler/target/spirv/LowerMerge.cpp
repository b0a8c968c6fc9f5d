// Partial results: a loop over parts folds their rows into the state that the walk
// over keys would have left.
#include "compiler/target/spirv/KernelLowering.h"

using namespace mlir;
using namespace mlir::attn;

namespace {
constexpr double kInitialMaximum = -1e20, kMasked = -1e30, kMaskedBound = -5e29;
constexpr double kLog2E = 1.4426950408889634;
constexpr int64_t kMinusInfinityBits = int32_t(0xff800000);

/// What one part does to a row.
struct Fold {
  Value max, sum, alpha, weight;
};
} // namespace

static Fold fold(Emit e, Value max, Value sum, Value logSum) {
  Value newMax = e.max(max, logSum), log2e = e.f32(kLog2E);
  Value alpha = e.exp2(e.mul(e.sub(max, newMax), log2e));
  // Some devices clamp exp2 to the smallest normal number.
  Value weight = e.select(e.atMost(logSum, e.f32(kMaskedBound)), e.f32(0),
                          e.exp2(e.mul(e.sub(logSum, newMax), log2e)));
  return {newMax, e.fma(sum, alpha, weight), alpha, weight};
}

// Owners keep the state of their rows for softmax_finish; whoever has pieces of a
// row computes the row's weights by itself, so that no barrier is needed.
LogicalResult SpirvLowering::mergeParts(OpBuilder &b, tile::MergePartsOp op) {
  Location loc = op.getLoc();
  Emit e{b, loc};
  int64_t oBinding = op.getOBinding(), lseBinding = op.getLseBinding(), units = outputUnits();
  SmallVector<Row> rows(ownRows);
  llvm::append_range(rows, tileRows);
  size_t count = rows.size(), own = ownRows.size();
  auto rowOf = [&](int64_t binding) {
    return llvm::map_to_vector(
        rows, [&](const Row &row) { return buffers->row(b, loc, binding, row.token); });
  };
  SmallVector<Value> logRows = rowOf(lseBinding), oRows = rowOf(oBinding), dims;
  for (int64_t unit = 0; unit < units; ++unit)
    dims.push_back(outputDim(b, loc, unit).first);
  Type piece = f32Type();
  if (outputWidth > 1)
    piece = VectorType::get(outputWidth, piece);
  SmallVector<Value> state(count, e.f32(kInitialMaximum));
  state.append(count, e.f32(0));
  state.append(schedule.rows * units, e.constant(piece, 0));
  state =
      loop(b, loc, buffers->word(ATTN_W_SEGMENTS), 1, state,
           [&](OpBuilder &b, Value index, ValueRange carried) {
             Emit e{b, loc};
             SmallVector<Value> next(carried);
             Value record =
                 e.addI(buffers->word(ATTN_W_SEGMENT_BASE), e.mulI(index, e.i32(ATTN_SEG_WORDS)));
             Value oPart = buffers->wordAt(b, loc, e.addI(record, e.i32(ATTN_PART_O)));
             Value logPart = buffers->wordAt(b, loc, e.addI(record, e.i32(ATTN_PART_LSE)));
             for (size_t i = 0; i < count; ++i) {
               Value bits = buffers->loadElement(b, loc, lseBinding, e.addI(logRows[i], logPart),
                                                 b.getI32Type());
               Value nothing = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::eq, bits,
                                                     e.i32(kMinusInfinityBits));
               Value logSum = e.asFloat(e.select(nothing, e.bits(e.f32(kMasked)), bits));
               Fold part = fold(e, carried[i], carried[count + i], logSum);
               next[i] = part.max;
               next[count + i] = part.sum;
               if (i < own)
                 continue;
               Value counts =
                   arith::CmpFOp::create(b, loc, arith::CmpFPredicate::OGT, part.weight, e.f32(0));
               for (int64_t unit = 0; unit < units; ++unit) {
                 Value &o = next[2 * count + (i - own) * units + unit];
                 Value at = e.addI(e.addI(oRows[i], oPart), dims[unit]);
                 Value x = buffers->load(b, loc, oBinding, at, outputWidth);
                 x = e.select(counts, x, e.constant(piece, 0));
                 o = e.fma(e.splat(part.weight, piece), x, e.mul(o, e.splat(part.alpha, piece)));
               }
             }
             return next;
           });
  auto begin = state.begin();
  rowTiles[op.getMax()].values.assign(begin, begin + own);
  rowTiles[op.getSum()].values.assign(begin + count, begin + count + own);
  outputTiles[op.getOut()].pieces.assign(begin + 2 * count, state.end());
  return success();
}
