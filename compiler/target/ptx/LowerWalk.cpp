// Lowers tile.for_keys: the walk over admitted blocks, with the copies of a
// block's keys issued while the block before it is computed.
#include "compiler/target/ptx/KernelLowering.h"

#include "runtime/bundle/kernel_abi.h"

#include "mlir/Dialect/SCF/IR/SCF.h"

using namespace mlir;
using namespace mlir::attn;

namespace {

// What is carried from block to block besides the tiles: which block the keys
// in flight belong to, and in which stage they lie.
enum CarriedWord { kSegment = 0, kBegin = 1, kStage = 2, kCarriedWords = 3 };

} // namespace

LogicalResult PtxLowering::lowerForKeys(PtxBuilder &p, tile::ForKeysOp op) {
  SmallVector<Value> state = {p.i32(-1), p.i32(0), p.i32(0)};
  for (Value init : op.getInits())
    llvm::append_range(state, tiles.lookup(init).values);
  // Whoever still reads queries from shared memory must be done before keys enter.
  p.barrier();
  KeyWalkHooks hooks;
  hooks.loadWord = [this](OpBuilder &b, Location loc, Value index) {
    PtxBuilder p(b, loc);
    return word(p, index);
  };
  hooks.registersAreDear = true;
  hooks.body = [this, op](OpBuilder &b, Location loc, bool full, const KeyBlock &block,
                          ValueRange state) {
    PtxBuilder p(b, loc);
    return lowerKeyBlock(p, op, full, block, state);
  };
  SmallVector<Value> final =
      buildKeyWalk(p, p.loc, op, item, s.blockK, s.skipBlocks, state, scalarContext(), hooks);
  p.waitCopies(0);
  ArrayRef<Value> rest = ArrayRef(final).drop_front(kCarriedWords);
  for (auto [init, result] : llvm::zip(op.getInits(), op.getResults())) {
    PtxTileValue tile = tiles.lookup(init);
    tile.values.assign(rest.begin(), rest.begin() + tile.values.size());
    rest = rest.drop_front(tile.values.size());
    tiles[result] = tile;
  }
  return success();
}

static void ifThen(PtxBuilder &p, Value condition, function_ref<void(PtxBuilder &)> then) {
  scf::IfOp::create(p, p.loc, condition, [&](OpBuilder &b, Location loc) {
    PtxBuilder inner(b, loc);
    then(inner);
    scf::YieldOp::create(inner, loc);
  });
}

// One block, as a pipeline of copies (K n means keys and their scales of block n):
//
//   [K n unless in flight]  wait K n   copy V n, copy K n+1   Q K^T, softmax   wait V n   P V
//
// The first wait's barrier also says that every warp is done with V n-1 and K n-1,
// whose places the copies overwrite.
SmallVector<Value> PtxLowering::lowerKeyBlock(PtxBuilder &p, tile::ForKeysOp op, bool full,
                                                 const KeyBlock &block, ValueRange state) {
  Value stage = state[kStage];
  Value inFlight =
      p.andI(p.equal(state[kSegment], block.segment), p.equal(state[kBegin], block.begin));
  CopyRange range{block.slot, full ? Value() : block.count};
  ifThen(p, p.xorI(inFlight, p.i1(true)), [&](PtxBuilder &p) {
    p.waitCopies(0); // copies in flight to this stage would overtake
    for (const StagedKeys &keys : s.keys)
      if (keys.ahead)
        copyKeys(p, keys, stage, range);
    p.commitCopies();
  });
  p.waitCopies(0);
  p.barrier();
  for (const StagedKeys &keys : s.keys)
    if (!keys.ahead)
      copyKeys(p, keys, stage, range);
  p.commitCopies();
  SmallVector<Value> next;
  prefetch(p, op, block, stage, next);

  keyBlock = block;
  fullBlock = full;
  keyStage = stage;
  lateKeysReady = false;
  Block &body = full ? op.getFull().front() : op.getPartial().front();
  SmallVector<Value> carried(state);
  ArrayRef<Value> rest = ArrayRef(carried).drop_front(kCarriedWords);
  for (auto [init, argument] : llvm::zip(op.getInits(), body.getArguments().drop_front(1))) {
    PtxTileValue tile = tiles.lookup(init);
    tile.values.assign(rest.begin(), rest.begin() + tile.values.size());
    rest = rest.drop_front(tile.values.size());
    tiles[argument] = tile;
  }
  if (mlir::failed(lowerBlock(p, body))) {
    failed = true;
    return carried;
  }
  for (Value result : body.getTerminator()->getOperands())
    llvm::append_range(next, tiles.lookup(result).values);
  return next;
}

// Copies the keys of the block that the walk will visit next, if it is the next
// one of this segment: classify is asked about it here, so that keys that no
// query attends are never loaded. Every path commits one group of copies.
void PtxLowering::prefetch(PtxBuilder &p, tile::ForKeysOp op, const KeyBlock &block, Value stage,
                              SmallVectorImpl<Value> &nextState) {
  Value record =
      p.add(p.add(word(p, ATTN_W_SEGMENT_BASE), p.mul(batch, word(p, ATTN_W_SEGMENT_STRIDE))),
            p.mul(block.segment, ATTN_SEG_WORDS));
  Value length = word(p, p.add(record, ATTN_SEG_LENGTH));
  Value begin = p.add(block.begin, s.blockK);
  Value count = p.minS(p.sub(length, begin), p.i32(s.blockK));
  Value low = p.add(block.position, s.blockK);
  Value any = inlineScalarRegion(
      p, op.getClassify().front(),
      {item.qLow, item.qHigh, low, p.add(p.add(low, count), -1), head, batch}, scalarContext())[0];
  Value wanted = p.andI(p.lessS(begin, length), any);
  Value otherStage = p.xorI(stage, 1);
  ifThen(p, wanted, [&](PtxBuilder &p) {
    CopyRange range{p.add(block.slot, s.blockK), count};
    for (const StagedKeys &keys : s.keys)
      if (keys.ahead)
        copyKeys(p, keys, otherStage, range);
  });
  p.commitCopies();
  nextState.assign({p.select(wanted, block.segment, p.i32(-1)), begin, otherStage});
}

void PtxLowering::waitForLateKeys(PtxBuilder &p) {
  if (lateKeysReady)
    return;
  p.waitCopies(1); // the keys of the next block stay in flight
  p.barrier();
  lateKeysReady = true;
}
