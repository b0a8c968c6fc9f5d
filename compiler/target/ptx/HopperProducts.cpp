// Bulk copies and warpgroup products of a scheduled kernel; see HopperLowering.h.
#include "compiler/target/ptx/HopperLowering.h"

#include "mlir/Dialect/SCF/IR/SCF.h"

using namespace mlir;
using namespace mlir::attn;

// One copy per panel; the stage is full when the bytes of all have landed. The map's
// dims are (dim, token, head, batch entry).
void HopperLowering::copyPanels(PtxBuilder &p, Value slot, int64_t binding, Value row,
                                Value ofHead) {
  HopperBuilder b(p);
  Held held = slots.lookup(slot);
  const HopperRing &ring = *held.ring;
  int64_t elements = ring.span() * 8 / ring.type.getTile().getElementType().getIntOrFloatBitWidth();
  auto at = llvm::find_if(layout.maps, [&](const HopperMap &m) { return m.binding == binding; });
  Value map = maps[at - layout.maps.begin()], barrier = fullBarrier(b, held);
  b.barrierExpect(barrier, ring.stageBytes);
  for (int64_t panel = 0; panel < ring.panels(); ++panel)
    b.copyBulk(addressOf(b, held, ring.offset + panel * ring.panelBytes(), ring.stageBytes), map,
               {b.i32(panel * elements), row, ofHead, batch}, barrier);
}

Value HopperLowering::descriptor(PtxBuilder &p, const Held &held, uint64_t constant) {
  Value address = addressOf(p, held, held.ring->offset, held.ring->stageBytes);
  Value low = p.andI(p.shrU(address, 4), 0x3fff);
  Value wide = p.wide(low);
  return p.orI(wide, p.i64(static_cast<int64_t>(constant)));
}

// Offsets of the k steps of an operand whose rows are `bytes` long, / 16: 32 bytes
// within a panel, then the next panel.
static SmallVector<int64_t> alongRows(const HopperRing &ring, int64_t bytes) {
  SmallVector<int64_t> offsets;
  for (int64_t at = 0; at < bytes; at += 32)
    offsets.push_back((at / ring.span() * ring.panelBytes() + at % ring.span()) / 16);
  return offsets;
}

void HopperLowering::startQK(PtxBuilder &p, tile::StartQKOp op) {
  HopperBuilder b(p);
  Held q = slots.lookup(op.getQ()), k = slots.lookup(op.getK());
  HopperBuilder::Product product;
  product.element = k.ring->type.getTile().getElementType();
  product.columns = s.blockK;
  // Eight rows of a panel are one unit of the swizzle. This consumer's 64 rows.
  Value a = descriptor(b, q, operandDescriptor(q.ring->span(), 16, 8 * q.ring->span()));
  Value rows = b.wide(b.mul(consumer, 64 * q.ring->span() / 16));
  a = arith::AddIOp::create(b, b.loc, a, rows);
  product.a = a;
  product.aOffsets = alongRows(*q.ring, s.qkDim * 2);
  product.b = descriptor(b, k, operandDescriptor(k.ring->span(), 16, 8 * k.ring->span()));
  product.bOffsets = alongRows(*k.ring, s.qkDim * 2);
  PtxTileValue scores;
  scores.kind = PtxTileValue::accumulator;
  scores.columns = s.blockK / 8;
  scores.values = b.startProduct(product, {});
  tiles[op.getResult()] = scores;
  inFlight.push_back(op.getResult());
}

void HopperLowering::startPV(PtxBuilder &p, tile::StartPVOp op) {
  HopperBuilder b(p);
  Held v = slots.lookup(op.getV());
  PtxTileValue out = tiles.lookup(op.getO());
  const PtxTileValue probabilities = tiles.lookup(op.getP());
  HopperBuilder::Product product;
  product.element = v.ring->type.getTile().getElementType();
  product.columns = s.vDim;
  product.a = probabilities.values;
  product.b =
      descriptor(b, v, operandDescriptor(v.ring->span(), v.ring->panelBytes(), 8 * v.ring->span()));
  for (int64_t key = 0; key < s.blockK; key += 16)
    product.bOffsets.push_back(key * v.ring->span() / 16);
  product.transposedB = true;
  out.values = b.startProduct(product, out.values);
  tiles[op.getResult()] = out;
  inFlight.push_back(op.getResult());
}

void HopperLowering::lowerWait(PtxBuilder &p, tile::WaitOp op) {
  HopperBuilder b(p);
  auto at = llvm::find(inFlight, op.getPending());
  inFlight.erase(inFlight.begin(), at + 1);
  PtxTileValue result = tiles.lookup(op.getPending());
  SmallVector<Value> values = result.values;
  for (Value tied : op.getTied())
    llvm::append_range(values, tiles.lookup(tied).values);
  values = b.waitProducts(inFlight.size(), values);
  ArrayRef<Value> rest = values;
  auto take = [&](PtxTileValue tile, Value to) {
    tile.values.assign(rest.begin(), rest.begin() + tile.values.size());
    rest = rest.drop_front(tile.values.size());
    tiles[to] = tile;
  };
  take(result, op.getResult());
  for (auto [tied, held] : llvm::zip(op.getTied(), op.getHeld()))
    take(tiles.lookup(tied), held);
}

// Two column tiles of 8 are one operand A of 16 keys, in the order of its words.
void HopperLowering::lowerNarrow(PtxBuilder &p, tile::NarrowOp op) {
  PtxTileValue x = tiles.lookup(op.getX());
  PtxTileValue packed = x;
  packed.values.clear();
  Type element = cast<tile::TileType>(op.getResult().getType()).getElementType();
  for (size_t i = 0; i < x.values.size(); i += 2)
    packed.values.push_back(p.pack2(x.values[i], x.values[i + 1], element));
  tiles[op.getResult()] = packed;
}

void HopperLowering::lowerRescale(PtxBuilder &p, tile::RescaleOp op) {
  PtxTileValue out = tiles.lookup(op.getO());
  const PtxTileValue alpha = tiles.lookup(op.getAlpha());
  auto scaled = [&](PtxBuilder &p) {
    SmallVector<Value> values;
    for (auto [i, v] : llvm::enumerate(out.values))
      values.push_back(p.fmul(v, alpha.values[i / 2 % 2]));
    return values;
  };
  if (!op.getConditional()) {
    out.values = scaled(p);
    tiles[op.getResult()] = out;
    return;
  }
  Value grew = arith::CmpFOp::create(
      p, p.loc, arith::CmpFPredicate::UNE,
      arith::MinNumFOp::create(p, p.loc, alpha.values[0], alpha.values[1]), p.f32(1));
  Value any =
      NVVM::VoteSyncOp::create(p, p.loc, p.getI1Type(), p.i32(-1), grew, NVVM::VoteSyncKind::any);
  auto choice = scf::IfOp::create(
      p, p.loc, any,
      [&](OpBuilder &builder, Location loc) {
        PtxBuilder inner(builder, loc);
        scf::YieldOp::create(inner, loc, scaled(inner));
      },
      [&](OpBuilder &builder, Location loc) { scf::YieldOp::create(builder, loc, out.values); });
  out.values.assign(choice.getResults().begin(), choice.getResults().end());
  tiles[op.getResult()] = out;
}

// The rows behind the block's last key are consecutive in each panel. They are
// written as 16-byte chunks by all consumers, who then wait for each other.
void HopperLowering::clearTail(PtxBuilder &p, tile::ClearTailOp op) {
  Held held = slots.lookup(op.getSlot());
  const HopperRing &ring = *held.ring;
  Value count = keyBlock.count;
  scf::IfOp::create(
      p, p.loc, p.lessS(count, p.i32(ring.rows())), [&](OpBuilder &builder, Location loc) {
        HopperBuilder p(PtxBuilder(builder, loc));
        Value first =
            p.add(p.mul(count, ring.span() / 16), p.sub(thread, p.i32(kProducerWarps * 32)));
        auto loop = scf::ForOp::create(p, loc, first, p.i32(ring.panelBytes() / 16),
                                       p.i32(kConsumerThreads));
        PtxBuilder b(OpBuilder::atBlockTerminator(loop.getBody()), loc);
        Value chunk = b.shl(loop.getInductionVar(), 4);
        Value zero = LLVM::ZeroOp::create(b, loc, VectorType::get(4, b.getI32Type()));
        for (int64_t panel = 0; panel < ring.panels(); ++panel) {
          Value address =
              addressOf(b, held, ring.offset + panel * ring.panelBytes(), ring.stageBytes);
          b.store(zero, LLVM::IntToPtrOp::create(b, loc, b.ptr(3), b.add(address, chunk)), 16);
        }
        p.fenceAsync();
        p.namedSync(p.i32(kAllConsumers), kConsumerThreads);
        scf::YieldOp::create(p, loc);
      });
}
