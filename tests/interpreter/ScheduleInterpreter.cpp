// The schedule phase: roles that take turns, rings between them, products that are
// computed when they are waited for. What a schedule may not rely on is poisoned:
// stages before their copy has landed, rows behind a block's end.
#include "tests/interpreter/TileItem.h"

#include "runtime/base/half.h"

#include "llvm/ADT/TypeSwitch.h"

#include <cmath>
#include <limits>

namespace attn::interpreter {

static constexpr double kPoison = std::numeric_limits<double>::quiet_NaN();

void Item::specialize(tile::WarpSpecializeOp op) {
  Rings shared;
  for (auto ring : op->getBlock()->getOps<tile::RingOp>()) {
    auto type = cast<tile::RingType>(ring.getType());
    shared.rings[ring.getResult()].stages.resize(type.getStages());
  }
  Coroutines others(call.seed * 7919 + batch * 131 + head * 17 + firstRow);
  Item producer(kernel, call, result, batch, head, firstRow);
  Item consumer(kernel, call, result, batch, head, firstRow);
  others.run({[&] { producer.runRole(op.producer(), shared, others); },
              [&] { consumer.runRole(op.consumer(), shared, others); }},
             [&](std::mt19937_64 &random) {
               if (shared.copies.empty())
                 return false;
               size_t index = random() % shared.copies.size();
               auto land = std::move(shared.copies[index]);
               shared.copies.erase(shared.copies.begin() + index);
               land();
               return true;
             });
  if (!shared.copies.empty())
    throw Fault("the kernel ends while copies are in flight");
}

RingStage &Item::acquire(Value ring) {
  Ring &r = rings->rings[ring];
  RingStage &stage = r.stages[r.acquired++ % r.stages.size()];
  coroutines->waitFor([&] { return stage.free; });
  stage = RingStage();
  stage.free = false;
  return stage;
}

RingStage &Item::receive(Value ring) {
  Ring &r = rings->rings[ring];
  RingStage &stage = r.stages[r.received++ % r.stages.size()];
  coroutines->waitFor([&] { return stage.full; });
  stage.full = false; // until the next copy
  return stage;
}

void Item::copy(RingStage &stage, Tile tile) {
  stage.tile = Tile(tile.rows, tile.columns, kPoison);
  rings->copies.push_back([&stage, tile = std::move(tile)] {
    stage.tile = tile;
    stage.full = true;
  });
}

void Item::produce(tile::ProduceKeysOp op) {
  forBlocks(op, [&](const KeyBlock &block) {
    RingStage &stage = acquire(op.getRing());
    stage.note = block;
    keys[op.getBody().getArgument(0)] = block;
    slots[op.getBody().getArgument(1)] = &stage;
    runBlock(op.getBody().front());
  });
  RingStage &last = acquire(op.getRing());
  last.end = last.full = true;
}

// The values of `state` become the arguments behind `first`; what the body yields
// becomes the state.
void Item::runBody(Block &body, size_t first, std::vector<Value> &state) {
  // All are read before any is written: a body may yield its arguments in another order.
  auto move = [&](llvm::ArrayRef<Value> from, ValueRange to) {
    std::vector<Tile> moved;
    std::vector<RingStage *> held;
    for (Value value : from) {
      moved.push_back(tiles.lookup(value));
      held.push_back(slots.lookup(value));
    }
    for (auto [i, value] : llvm::enumerate(to)) {
      tiles[value] = moved[i];
      slots[value] = held[i];
    }
  };
  move(state, body.getArguments().drop_front(first));
  runBlock(body);
  state.assign(body.getTerminator()->operand_begin(), body.getTerminator()->operand_end());
}

void Item::consume(tile::ConsumeKeysOp op) {
  std::vector<Value> state(op.getInits().begin(), op.getInits().end());
  bool any = false;
  while (true) {
    RingStage &stage = receive(op.getRing());
    if (stage.end)
      break;
    bool first = op.isPipelined() && !any;
    Block &body = first             ? op.first()
                  : stage.note.full ? op.getFull().front()
                                    : op.getPartial().front();
    keys[body.getArgument(0)] = stage.note;
    slots[body.getArgument(1)] = &stage;
    runBody(body, 2, state);
    any = true;
  }
  if (op.isPipelined() && any)
    runBody(op.last(), 0, state);
  for (auto [from, to] : llvm::zip(state, op.getResults())) {
    Tile tile = tiles.lookup(from);
    tiles[to] = std::move(tile);
  }
}

bool Item::runScheduleOp(Operation &op) {
  return llvm::TypeSwitch<Operation *, bool>(&op)
      .Case([&](tile::RingOp) { return true; })
      .Case([&](tile::WarpSpecializeOp op) { return specialize(op), true; })
      .Case([&](tile::AcquireOp op) {
        slots[op.getSlot()] = &acquire(op.getRing());
        return true;
      })
      .Case([&](tile::CopyQueriesOp op) {
        Tile tile = tileOf(op.getSlot().getType().getTile());
        std::fill(tile.values.begin(), tile.values.end(), kPoison);
        for (int64_t row = 0; row < validRows; ++row)
          for (int64_t dim = 0; dim < tile.columns; ++dim)
            tile.at(row, dim) =
                call.q[((batch * call.heads + head) * call.rows + firstRow + row) * tile.columns +
                       dim];
        copy(*slots[op.getSlot()], std::move(tile));
        return true;
      })
      .Case([&](tile::CopyKeysOp op) {
        Tile tile = tileOf(op.getSlot().getType().getTile());
        std::fill(tile.values.begin(), tile.values.end(), kPoison);
        KeyBlock block = keys.lookup(op.getKeys());
        copyRows(tile, keysOf(op.getBinding()), block.slot, block.count);
        copy(*slots[op.getSlot()], std::move(tile));
        return true;
      })
      .Case([&](tile::ProduceKeysOp op) { return produce(op), true; })
      .Case([&](tile::ReceiveOp op) {
        slots[op.getSlot()] = &receive(op.getRing());
        return true;
      })
      .Case([&](tile::ReleaseOp op) {
        slots[op.getSlot()]->free = true;
        coroutines->waitFor([] { return true; }); // the producer may be fast
        return true;
      })
      .Case([&](tile::ConsumeKeysOp op) { return consume(op), true; })
      .Case([&](tile::StartQKOp op) {
        pending[op.getResult()] = [q = slots[op.getQ()], k = slots[op.getK()]] {
          Tile s(q->tile.rows, k->tile.rows);
          for (int64_t i = 0; i < s.rows; ++i)
            for (int64_t j = 0; j < s.columns; ++j)
              for (int64_t d = 0; d < q->tile.columns; ++d)
                s.at(i, j) += q->tile.at(i, d) * k->tile.at(j, d);
          return s;
        };
        return true;
      })
      .Case([&](tile::StartPVOp op) {
        pending[op.getResult()] = [p = tiles[op.getP()], v = slots[op.getV()],
                                   o = tiles[op.getO()]] {
          Tile out = o;
          for (int64_t i = 0; i < out.rows; ++i)
            for (int64_t d = 0; d < out.columns; ++d)
              for (int64_t j = 0; j < p.columns; ++j)
                out.at(i, d) += p.at(i, j) * v->tile.at(j, d);
          return out;
        };
        return true;
      })
      .Case([&](tile::WaitOp op) {
        coroutines->waitFor([] { return true; });
        tiles[op.getResult()] = pending[op.getPending()]();
        for (auto [tied, held] : llvm::zip(op.getTied(), op.getHeld())) {
          Tile tile = tiles.lookup(tied);
          tiles[held] = std::move(tile);
        }
        return true;
      })
      .Case([&](tile::NarrowOp op) {
        Tile tile = tiles.lookup(op.getX());
        bool bf16 = cast<tile::TileType>(op.getType()).getElementType().isBF16();
        for (double &x : tile.values) {
          float value = static_cast<float>(x);
          x = bf16 ? bf16_to_f32(f32_to_bf16(value)) : f16_to_f32(f32_to_f16(value));
        }
        tiles[op.getResult()] = std::move(tile);
        return true;
      })
      .Case([&](tile::RescaleOp op) {
        Tile tile = tiles.lookup(op.getO());
        for (int64_t i = 0; i < tile.rows; ++i)
          for (int64_t d = 0; d < tile.columns; ++d)
            tile.at(i, d) *= tiles[op.getAlpha()].at(i);
        tiles[op.getResult()] = std::move(tile);
        return true;
      })
      .Case([&](tile::ClearTailOp op) {
        Tile &tile = slots[op.getSlot()]->tile;
        for (int64_t row = keys.lookup(op.getKeys()).count; row < tile.rows; ++row)
          for (int64_t d = 0; d < tile.columns; ++d)
            tile.at(row, d) = 0;
        return true;
      })
      .Case([&](tile::TakeTurnOp) { return true; })
      .Case([&](tile::PassTurnOp) { return true; })
      .Default([](Operation *) { return false; });
}

} // namespace attn::interpreter
