// Roles, rings and the walk over keys of a scheduled kernel; see HopperLowering.h.
#include "compiler/target/ptx/HopperLowering.h"

#include "runtime/bundle/kernel_abi.h"

#include "mlir/Dialect/SCF/IR/SCF.h"
#include "llvm/ADT/TypeSwitch.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace mlir::attn;

namespace {

// What a note of an announced block holds: its kind, first position and count.
enum NoteKind : int64_t { kEnd = 0, kFull = 1, kPartial = 2 };
constexpr int64_t kNoteBytes = 16;

void ifThen(PtxBuilder &p, Value condition, function_ref<void(PtxBuilder &)> then,
            function_ref<void(PtxBuilder &)> otherwise = {}) {
  auto build = [&](function_ref<void(PtxBuilder &)> part) {
    return [&p, part](OpBuilder &b, Location loc) {
      PtxBuilder inner(b, p.loc);
      if (part)
        part(inner);
      scf::YieldOp::create(inner, loc);
    };
  };
  scf::IfOp::create(p, p.loc, condition, build(then), build(otherwise));
}

} // namespace

tile::WarpSpecializeOp mlir::attn::rolesOf(tile::KernelOp kernel) {
  auto ops = kernel.getBody().front().getOps<tile::WarpSpecializeOp>();
  return ops.empty() ? tile::WarpSpecializeOp() : *ops.begin();
}

HopperLayout HopperLayout::of(tile::KernelOp kernel) {
  HopperLayout layout;
  int64_t offset = 0;
  for (auto op : kernel.getBody().front().getOps<tile::RingOp>()) {
    HopperRing ring;
    ring.type = cast<tile::RingType>(op.getType());
    tile::TileType tile = ring.type.getTile();
    ring.offset = offset;
    ring.stageBytes =
        tile.getShape()[0] * tile.getShape()[1] * tile.getElementType().getIntOrFloatBitWidth() / 8;
    offset = llvm::alignTo(offset + ring.stageBytes * ring.stages(), 1024);
    layout.rings.insert({op.getResult(), ring});
  }
  tile::WarpSpecializeOp roles = rolesOf(kernel);
  roles.producer().walk([&](tile::ProduceKeysOp op) {
    HopperRing &ring = layout.rings[op.getRing()];
    ring.notes = offset;
    ring.reused = true;
    offset += kNoteBytes * ring.stages();
    op.getBody().walk(
        [&](tile::AcquireOp acquire) { layout.rings[acquire.getRing()].reused = true; });
  });
  for (auto &[value, ring] : layout.rings) {
    ring.full = offset;
    ring.empty = offset + 8 * ring.stages();
    offset += 16 * ring.stages();
  }
  layout.sharedBytes = offset;
  for (auto role : roles.getRoles().getAsRange<tile::WarpRoleAttr>())
    layout.threads += role.getWarps() * 32;
  roles.producer().walk([&](Operation *op) {
    auto add = [&](Value slot, int64_t binding) {
      auto type = cast<tile::SlotType>(slot.getType());
      layout.maps.push_back({binding, type.getTile().getShape()[0], type.getLayout().getBytes()});
    };
    if (auto copy = dyn_cast<tile::CopyQueriesOp>(op))
      add(copy.getSlot(), copy.getBinding());
    else if (auto copy = dyn_cast<tile::CopyKeysOp>(op))
      add(copy.getSlot(), copy.getBinding());
  });
  llvm::sort(layout.maps,
             [](const HopperMap &a, const HopperMap &b) { return a.binding < b.binding; });
  return layout;
}

HopperLowering::HopperLowering(tile::KernelOp kernel, const HopperLayout &layout)
    : PtxLowering(kernel, schedule), layout(layout), schedule(scheduleOf(kernel, layout)) {}

// A consumer's warp holds 16 rows and all columns, as on sm_80.
PtxSchedule HopperLowering::scheduleOf(tile::KernelOp kernel, const HopperLayout &layout) {
  PtxSchedule s;
  s.blockQ = kernel.getBlockQ();
  s.blockK = kernel.getBlockK();
  s.qkDim = kernel.getQkDim();
  s.vDim = kernel.getVDim();
  s.warps = layout.threads / 32;
  s.rowTiles = 1;
  s.outTiles = s.vDim / 8;
  s.sharedBytes = layout.sharedBytes;
  return s;
}

void HopperLowering::addParameters(SmallVectorImpl<Type> &types) {
  types.append(layout.maps.size(), LLVM::LLVMPointerType::get(kernel.getContext()));
}

void HopperLowering::begin(PtxBuilder &p, LLVM::LLVMFuncOp function) {
  function->setAttr("nvvm.minctasm", p.getI32IntegerAttr(1));
  unsigned first = 1 + kernel.getBindings().size();
  auto map = LLVM::LLVMArrayType::get(p.getI64Type(), 16); // 128 bytes
  for (size_t i = 0; i < layout.maps.size(); ++i) {
    function.setArgAttr(first + i, LLVM::LLVMDialect::getByValAttrName(), TypeAttr::get(map));
    function.setArgAttr(first + i, LLVM::LLVMDialect::getAlignAttrName(), p.getI64IntegerAttr(64));
    function.setArgAttr(first + i, NVVM::NVVMDialect::getGridConstantAttrName(), p.getUnitAttr());
    maps.push_back(function.getArgument(first + i));
  }
  sharedInt = LLVM::PtrToIntOp::create(p, p.loc, p.getI32Type(), sharedBase);
  kvHead = p.divU(head, p.divU(word(p, ATTN_W_HEADS), word(p, ATTN_W_KV_HEADS)));
  HopperBuilder b(p);
  ifThen(p, p.equal(thread, p.i32(0)), [&](PtxBuilder &p) {
    HopperBuilder b(p);
    for (auto &[value, ring] : layout.rings)
      for (int64_t stage = 0; stage < ring.stages(); ++stage) {
        b.barrierInit(addressOf(b, ring.full + 8 * stage), 1);
        if (ring.reused)
          b.barrierInit(addressOf(b, ring.empty + 8 * stage), kConsumerWarps);
      }
    b.fenceBarrierInit();
  });
  p.barrier();
}

LogicalResult HopperLowering::lowerOp(PtxBuilder &p, Operation &op) {
  HopperBuilder b(p);
  bool known = true;
  llvm::TypeSwitch<Operation *>(&op)
      .Case([&](tile::RingOp) {})
      .Case([&](tile::WarpSpecializeOp op) { lowerRoles(b, op); })
      .Case([&](tile::AcquireOp op) { slots[op.getSlot()] = acquire(b, op.getRing()); })
      .Case([&](tile::CopyQueriesOp op) {
        copyPanels(b, op.getSlot(), op.getBinding(), firstRow, head);
      })
      .Case([&](tile::CopyKeysOp op) {
        copyPanels(b, op.getSlot(), op.getBinding(), produced.slot, kvHead);
      })
      .Case([&](tile::ProduceKeysOp op) { lowerProduceKeys(b, op); })
      .Case([&](tile::ReceiveOp op) { slots[op.getSlot()] = receive(b, op.getRing()); })
      .Case([&](tile::ReleaseOp op) {
        b.barrierArriveIf(isFirstLane, emptyBarrier(b, slots.lookup(op.getSlot())));
      })
      .Case([&](tile::ConsumeKeysOp op) { lowerConsumeKeys(b, op); })
      .Case([&](tile::StartQKOp op) { startQK(b, op); })
      .Case([&](tile::StartPVOp op) { startPV(b, op); })
      .Case([&](tile::WaitOp op) { lowerWait(b, op); })
      .Case([&](tile::NarrowOp op) { lowerNarrow(b, op); })
      .Case([&](tile::RescaleOp op) { lowerRescale(b, op); })
      .Case([&](tile::ClearTailOp op) { clearTail(b, op); })
      .Case([&](tile::TakeTurnOp) { b.namedSync(turnBarrier(b, true), kConsumerThreads); })
      .Case([&](tile::PassTurnOp) { b.namedArrive(turnBarrier(b, false), kConsumerThreads); })
      .Default([&](Operation *) { known = false; });
  return known ? failure(failed) : PtxLowering::lowerOp(p, op);
}

//===-- Roles ------------------------------------------------------------------===//

void HopperLowering::lowerRoles(PtxBuilder &p, tile::WarpSpecializeOp op) {
  // The same in all lanes, and the assembler is told so.
  Value warp = NVVM::ShflOp::create(p, p.loc, p.getI32Type(), p.i32(-1), p.shrU(thread, 5),
                                    p.i32(0), p.i32(31), NVVM::ShflKind::idx, UnitAttr());
  auto enter = [&](PtxBuilder &p) {
    visits.clear();
    for (auto &[value, ring] : layout.rings)
      visits[value] = p.i32(0);
  };
  Value isProducer = p.lessS(warp, p.i32(kProducerWarps));
  ifThen(
      p, isProducer,
      [&](PtxBuilder &p) {
        HopperBuilder(p).setMaxRegisters(op.role(0).getRegisters(), /*increase=*/false);
        enter(p);
        // One thread starts all copies.
        ifThen(p, p.equal(thread, p.i32(0)),
               [&](PtxBuilder &p) { failed |= mlir::failed(lowerBlock(p, op.producer())); });
      },
      [&](PtxBuilder &p) {
        HopperBuilder b(p);
        b.setMaxRegisters(op.role(1).getRegisters(), /*increase=*/true);
        enter(p);
        Value consumerWarp = p.sub(warp, p.i32(kProducerWarps));
        consumer = p.shrU(consumerWarp, 2);
        warpRow = p.mul(consumerWarp, s.warpRows());
        isFirstLane = p.equal(lane, p.i32(0));
        if (op.getSchedule().getPipeline() == tile::Pipeline::pingpong)
          ifThen(b, b.equal(consumer, b.i32(1)), [&](PtxBuilder &p) { // consumer 0 begins
            HopperBuilder(p).namedArrive(p.i32(kFirstTurn), kConsumerThreads);
          });
        failed |= mlir::failed(lowerBlock(b, op.consumer()));
      });
}

Value HopperLowering::turnBarrier(PtxBuilder &p, bool own) {
  Value whose = own ? consumer : p.xorI(consumer, 1);
  return p.add(whose, kFirstTurn);
}

//===-- Rings ------------------------------------------------------------------===//

std::pair<HopperLowering::Held, Value> HopperLowering::advance(PtxBuilder &p, Value ring) {
  const HopperRing &r = layout.rings.find(ring)->second;
  Value visit = visits.lookup(ring);
  Held held{&r, p.andI(visit, r.stages() - 1)};
  Value parity = p.andI(p.shrU(visit, llvm::Log2_64(r.stages())), 1);
  visits[ring] = p.add(visit, 1);
  return {held, parity};
}

// The first round finds every stage free: waiting for the parity before the first
// phase does not wait.
HopperLowering::Held HopperLowering::acquire(PtxBuilder &p, Value ring) {
  auto [held, parity] = advance(p, ring);
  HopperBuilder b(p);
  if (held.ring->reused)
    b.barrierWait(emptyBarrier(b, held), b.xorI(parity, 1));
  return held;
}

HopperLowering::Held HopperLowering::receive(PtxBuilder &p, Value ring) {
  auto [held, parity] = advance(p, ring);
  HopperBuilder b(p);
  b.barrierWait(fullBarrier(b, held), parity);
  return held;
}

SmallVector<Value> HopperLowering::positions() {
  SmallVector<Value> values;
  for (auto &[ring, info] : layout.rings)
    values.push_back(visits.lookup(ring));
  return values;
}

void HopperLowering::setPositions(ArrayRef<Value> values) {
  for (auto [entry, value] : llvm::zip(layout.rings, values))
    visits[entry.first] = value;
}

//===-- The walk, producer's side ------------------------------------------------===//

void HopperLowering::lowerProduceKeys(PtxBuilder &p, tile::ProduceKeysOp op) {
  const HopperRing &ring = layout.rings.find(op.getRing())->second;
  auto note = [&](PtxBuilder &p, const Held &held, Value kind, Value position, Value count) {
    Value address =
        LLVM::IntToPtrOp::create(p, p.loc, p.ptr(3), addressOf(p, held, ring.notes, kNoteBytes));
    Value words = LLVM::ZeroOp::create(p, p.loc, VectorType::get(4, p.getI32Type()));
    for (auto [i, word] : llvm::enumerate(ArrayRef<Value>{kind, position, count}))
      words = LLVM::InsertElementOp::create(p, p.loc, words, word, p.i32(i));
    p.store(words, address, 16);
  };
  KeyWalkHooks hooks;
  hooks.loadWord = [this](OpBuilder &b, Location loc, Value index) {
    PtxBuilder p(b, loc);
    return word(p, index);
  };
  hooks.sharedBody = [&](OpBuilder &builder, Location loc, Value full, const KeyBlock &block,
                         ValueRange state) {
    HopperBuilder p(PtxBuilder(builder, loc));
    setPositions(llvm::to_vector(state));
    produced = block;
    Held held = acquire(p, op.getRing());
    note(p, held, p.select(full, p.i32(kFull), p.i32(kPartial)), block.position, block.count);
    slots[op.getBody().getArgument(1)] = held;
    failed |= mlir::failed(lowerBlock(p, op.getBody().front()));
    return positions();
  };
  SmallVector<Value> end = buildKeyWalk(p, p.loc, op, item, s.blockK, s.skipBlocks,
                                        positions(), scalarContext(), hooks);
  setPositions(end);
  HopperBuilder b(p);
  Held last = acquire(b, op.getRing());
  note(b, last, b.i32(kEnd), b.i32(0), b.i32(0));
  b.barrierArrive(fullBarrier(b, last));
}

//===-- The walk, consumers' side --------------------------------------------------===//

SmallVector<Value> HopperLowering::flatten(ValueRange values) {
  SmallVector<Value> flat;
  for (Value value : values)
    if (isa<tile::SlotType>(value.getType()))
      flat.push_back(slots.lookup(value).stage);
    else
      llvm::append_range(flat, tiles.lookup(value).values);
  return flat;
}

// Gives `values`, whose tiles or slots are known in kind, the registers of `flat`.
size_t HopperLowering::unflatten(ValueRange values, ArrayRef<Value> flat) {
  size_t used = 0;
  for (Value value : values) {
    if (isa<tile::SlotType>(value.getType())) {
      slots[value].stage = flat[used++];
      continue;
    }
    PtxTileValue &tile = tiles[value];
    for (Value &v : tile.values)
      v = flat[used++];
  }
  return used;
}

SmallVector<Value> HopperLowering::lowerBody(PtxBuilder &p, Block &body, bool full, bool ofBlock,
                                             Value stage, ValueRange flat) {
  ValueRange arguments = body.getArguments();
  SmallVector<Value> state = llvm::to_vector(flat);
  size_t used = unflatten(arguments.drop_front(ofBlock ? 2 : 0), state);
  setPositions(ArrayRef(state).drop_front(used));
  if (ofBlock)
    slots[arguments[1]].stage = stage;
  fullBlock = full;
  failed |= mlir::failed(lowerBlock(p, body));
  SmallVector<Value> next = flatten(body.getTerminator()->getOperands());
  llvm::append_range(next, positions());
  return next;
}

void HopperLowering::lowerConsumeKeys(PtxBuilder &p, tile::ConsumeKeysOp op) {
  const HopperRing &ring = layout.rings.find(op.getRing())->second;
  // Waits for the next announcement: the stage it came on and the words of its note.
  auto next = [&](PtxBuilder &p) {
    Held held = receive(p, op.getRing());
    Value address =
        LLVM::IntToPtrOp::create(p, p.loc, p.ptr(3), addressOf(p, held, ring.notes, kNoteBytes));
    Value words = p.load(address, VectorType::get(4, p.getI32Type()), 16);
    SmallVector<Value> note;
    for (int64_t i = 0; i < 3; ++i)
      note.push_back(LLVM::ExtractElementOp::create(p, p.loc, words, p.i32(i)));
    note.push_back(held.stage);
    return note;
  };
  // What the arguments of the bodies hold: the kinds of the initial values, and of
  // what `first` adds to them.
  auto like = [&](ValueRange values, ValueRange models) {
    for (auto [value, model] : llvm::zip(values, models))
      if (isa<tile::SlotType>(value.getType()))
        slots[value] = slots.lookup(model);
      else
        tiles[value] = tiles.lookup(model);
  };
  auto takeBlock = [&](Block &body, ArrayRef<Value> note) {
    keyBlock.position = note[1];
    keyBlock.count = note[2];
    slots[body.getArgument(1)] = Held{&ring, note[3]};
  };
  auto loop = [&](PtxBuilder &p, ArrayRef<Value> note, ArrayRef<Value> state) {
    SmallVector<Value> carried(note);
    llvm::append_range(carried, state);
    auto types = llvm::to_vector(ValueRange(carried).getTypes());
    auto loop = scf::WhileOp::create(
        p, p.loc, types, carried,
        [&](OpBuilder &builder, Location loc, ValueRange args) {
          PtxBuilder p(builder, loc);
          Value more = p.cmp(arith::CmpIPredicate::ne, args[0], p.i32(kEnd));
          scf::ConditionOp::create(p, loc, more, args);
        },
        [&](OpBuilder &builder, Location loc, ValueRange args) {
          PtxBuilder p(builder, loc);
          SmallVector<Value> note(args.take_front(4));
          ValueRange state = args.drop_front(4);
          auto branch = [&](Region &region, bool full) {
            return [&, full](OpBuilder &builder, Location loc) {
              PtxBuilder p(builder, loc);
              Block &body = region.front();
              takeBlock(body, note);
              SmallVector<Value> result = lowerBody(p, body, full, true, note[3], state);
              scf::YieldOp::create(p, loc, result);
            };
          };
          auto choice =
              scf::IfOp::create(p, loc, p.equal(note[0], p.i32(kFull)), branch(op.getFull(), true),
                                branch(op.getPartial(), false));
          SmallVector<Value> result = llvm::to_vector(ValueRange(choice.getResults()));
          setPositions(ArrayRef(result).take_back(layout.rings.size()));
          SmallVector<Value> following = next(p);
          llvm::append_range(following, ArrayRef(result).drop_back(layout.rings.size()));
          llvm::append_range(following, positions());
          scf::YieldOp::create(p, loc, following);
        });
    return SmallVector<Value>(loop.getResults().drop_front(4));
  };

  like(op.getResults(), op.getInits());
  for (Region *region : {&op.getFull(), &op.getPartial()})
    like(region->front().getArguments().drop_front(2), op.getInits());
  SmallVector<Value> note = next(p), state = flatten(op.getInits());
  llvm::append_range(state, positions());
  if (!op.isPipelined()) {
    SmallVector<Value> end = loop(p, note, state);
    setPositions(ArrayRef(end).drop_front(unflatten(op.getResults(), end)));
    return;
  }
  like(op.first().getArguments().drop_front(2), op.getInits());
  auto any = scf::IfOp::create(
      p, p.loc, p.cmp(arith::CmpIPredicate::ne, note[0], p.i32(kEnd)),
      [&](OpBuilder &builder, Location loc) {
        PtxBuilder p(builder, loc);
        takeBlock(op.first(), note);
        SmallVector<Value> state2 = lowerBody(p, op.first(), false, true, note[3], state);
        ValueRange yielded = op.first().getTerminator()->getOperands();
        for (Block *body : {&op.getFull().front(), &op.getPartial().front()})
          like(body->getArguments().drop_front(2), yielded);
        like(op.last().getArguments(), yielded);
        SmallVector<Value> following = next(p);
        state2 = SmallVector<Value>(ArrayRef(state2).drop_back(layout.rings.size()));
        llvm::append_range(state2, positions());
        SmallVector<Value> end = loop(p, following, state2);
        SmallVector<Value> result = lowerBody(p, op.last(), false, false, Value(), end);
        scf::YieldOp::create(p, loc, result);
      },
      [&](OpBuilder &builder, Location loc) { scf::YieldOp::create(builder, loc, state); });
  SmallVector<Value> end(any.getResults());
  setPositions(ArrayRef(end).drop_front(unflatten(op.getResults(), end)));
}
