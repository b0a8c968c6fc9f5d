// What surrounds the tiles: how a call is cut into pieces, which rows a tile has,
// where its scratch lies.
#include "compiler/target/cpu/DecodeLowering.h"

#include "runtime/bundle/kernel_abi.h"

#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;
using namespace mlir::attn;

static Value divide(LaneBuilder &b, Value x, Value y) {
  return arith::DivUIOp::create(b.builder, b.loc, x, y);
}
static Value remainder(LaneBuilder &b, Value x, Value y) {
  return arith::RemUIOp::create(b.builder, b.loc, x, y);
}
static Value divideUp(LaneBuilder &b, Value x, Value y) {
  return divide(b, b.add(x, b.sub(y, b.constI64(1))), y);
}
static Value max(LaneBuilder &b, Value x, Value y) { return b.select(b.less(x, y), y, x); }

//===-- Scratch --------------------------------------------------------------------===//

int64_t DecodeLowering::reserve(int64_t bytes) {
  int64_t offset = arenaSize;
  arenaSize += llvm::alignTo(bytes, 64);
  return offset;
}

Value DecodeLowering::scratch(LaneBuilder &b, int64_t offset) {
  return b.address(arena, b.i8(), offset);
}

// Two neighbouring vectors hold 2 * width dims, in the order that pairing leaves.
int64_t DecodeLowering::outVectors() {
  int64_t dim = kernel.getVDim(), width = arch.width;
  return outputKind() == DotKind::bf16 ? 2 * llvm::divideCeil(dim, 2 * width)
                                       : llvm::divideCeil(dim, width);
}

Value DecodeLowering::record(LaneBuilder &b, Value of, Value row) {
  return b.address(parts, b.i8(), b.add(b.mul(of, p.recordBytes), b.mul(row, rowBytes())));
}

//===-- Plan -----------------------------------------------------------------------===//

// Keys are cut where there are too few tiles for the threads of a machine, but never
// into chunks so short that folding them together costs more than a hundredth.
DecodeLowering::Plan DecodeLowering::plan(LaneBuilder &b) {
  Plan p;
  auto word = [&](int64_t index) { return b.widen(frame->word(b, index)); };
  p.queries = word(ATTN_W_Q_LEN);
  p.kvHeads = word(ATTN_W_KV_HEADS);
  p.heads = divide(b, word(ATTN_W_HEADS), p.kvHeads);
  p.groups = b.mul(word(ATTN_W_BATCH), p.kvHeads);
  p.rows = b.mul(p.queries, p.heads);
  p.tileRows = b.min(b.roundUp(p.rows, schedule.rowGroup), b.constI64(schedule.maxRows));
  p.rowTiles = divideUp(b, p.rows, p.tileRows);
  p.recordBytes = b.mul(p.tileRows, rowBytes());
  Value length = word(ATTN_W_KV_LEN), one = b.constI64(1);
  Value tiles = max(b, b.mul(p.groups, p.rowTiles), one);
  Value wanted =
      b.min(divideUp(b, b.constI64(schedule.pieces), tiles), b.constI64(schedule.maxChunks));
  p.chunks = max(b, b.min(divide(b, length, b.constI64(schedule.minChunk)), wanted), one);
  int64_t keyBytes = 0;
  for (auto binding : kernel.getBindings().getAsRange<tile::BindingAttr>()) {
    int64_t size = binding.getElementType().getIntOrFloatBitWidth() / 8;
    keyBytes += binding.getRole() == tile::Role::k   ? size * kernel.getQkDim()
                : binding.getRole() == tile::Role::v ? size * kernel.getVDim()
                                                     : 0;
  }
  p.streams = b.less(b.constI64(schedule.cacheBytes / keyBytes), b.mul(p.groups, length));
  Value block = b.constI64(schedule.blockK);
  p.chunkKeys = b.mul(divideUp(b, divideUp(b, length, p.chunks), block), block);
  return p;
}

void DecodeLowering::emitPlan(OpBuilder &builder, StringRef symbol) {
  Location loc = kernel.getLoc();
  LaneBuilder b(builder, loc, arch);
  auto func = func::FuncOp::create(builder, loc, (symbol + "_decode_plan").str(),
                                   builder.getFunctionType({b.pointer(), b.pointer()}, {b.i32()}));
  OpBuilder::InsertionGuard guard(builder);
  Block *entry = func.addEntryBlock();
  builder.setInsertionPointToStart(entry);
  frame.emplace(kernel, entry->getArgument(0), Value());
  p = plan(b);
  Value tiles = b.mul(p.groups, p.rowTiles);
  Value numbers[] = {b.mul(tiles, p.chunks), tiles, p.recordBytes};
  for (auto [i, number] : llvm::enumerate(numbers))
    b.store(b.narrow(number), b.address(entry->getArgument(1), b.i32(), int64_t(i)));
  Value few = b.less(p.queries, b.constI64(schedule.maxQueries + 1));
  func::ReturnOp::create(
      builder, loc, ValueRange{arith::ExtUIOp::create(builder, loc, b.i32(), few).getResult()});
}

//===-- Tiles ----------------------------------------------------------------------===//

void DecodeLowering::enterTile(LaneBuilder &b, Value group, Value rowTile) {
  frame->batch = b.narrow(divide(b, group, p.kvHeads));
  Value kvHead = remainder(b, group, p.kvHeads), heads = p.heads;
  frame->kvHead = b.narrow(kvHead);
  frame->head = b.narrow(b.mul(kvHead, heads));
  tileStart = b.mul(rowTile, p.tileRows);
  rowCount = b.min(b.sub(p.rows, tileStart), p.tileRows);
  rowGroups = divideUp(b, rowCount, b.constI64(schedule.rowGroup));
  Value single =
      arith::CmpIOp::create(b.builder, b.loc, arith::CmpIPredicate::eq, rowGroups, b.constI64(1));
  memoryBound = arith::AndIOp::create(b.builder, b.loc, single, p.streams);
  auto position = [&](Value row) -> Value {
    return arith::AddIOp::create(b.builder, b.loc, frame->word(b, ATTN_W_Q_POSITION),
                                 b.narrow(divide(b, row, heads)));
  };
  frame->item = {position(tileStart), position(b.add(b.add(tileStart, rowCount), -1)), frame->head,
                 frame->batch};
  frame->item.headEnd = b.narrow(b.mul(b.add(kvHead, 1), heads));
}

// Within `body` the frame's head is the row's.
void DecodeLowering::forRows(LaneBuilder &b, llvm::function_ref<void(Value)> body) {
  Value firstHead = frame->item.head, outer = frame->head;
  b.loop(b.constI64(0), rowCount, 1, [&](Value row) {
    Value all = b.add(tileStart, row), head = remainder(b, all, p.heads);
    queryRow = divide(b, all, p.heads);
    queryPosition = arith::AddIOp::create(b.builder, b.loc, frame->word(b, ATTN_W_Q_POSITION),
                                          b.narrow(queryRow));
    frame->head = arith::AddIOp::create(b.builder, b.loc, firstHead, b.narrow(head));
    body(row);
  });
  frame->head = outer;
}
