// Verifiers of the schedule phase: the border between what is computed and how.
#include "dialects/tile/Verify.h"

#include "mlir/IR/Builders.h"

using namespace mlir;
using namespace mlir::tile;

//===-- Types and attributes -------------------------------------------------===//

LogicalResult SwizzleAttr::verify(function_ref<InFlightDiagnostic()> emitError, int64_t bytes) {
  if (bytes != 32 && bytes != 64 && bytes != 128)
    return emitError() << "swizzle is " << bytes << " bytes wide; must be 32, 64 or 128";
  return success();
}

LogicalResult WarpRoleAttr::verify(function_ref<InFlightDiagnostic()> emitError, RoleKind kind,
                                   int64_t warps, int64_t registers) {
  if (warps <= 0 || warps % 4 != 0)
    return emitError() << "role has " << warps << " warps; must be a multiple of 4";
  if (registers < 24 || registers > 256 || registers % 8 != 0)
    return emitError() << "role has " << registers
                       << " registers per thread; must be a multiple of 8 from 24 to 256";
  return success();
}

LogicalResult RingType::verify(function_ref<InFlightDiagnostic()> emitError, int64_t stages,
                               TileType tile, SwizzleAttr layout) {
  if (stages < 1)
    return emitError() << "ring has " << stages << " stages; must have at least 1";
  ArrayRef<int64_t> shape = tile.getShape();
  if (shape.size() != 2 || shape[0] % 8 != 0)
    return emitError() << "ring of " << tile
                       << "; its tiles must have rank 2 and a multiple of 8 rows";
  int64_t rowBytes = shape[1] * tile.getElementType().getIntOrFloatBitWidth() / 8;
  if (rowBytes % layout.getBytes() != 0)
    return emitError() << "ring has rows of " << rowBytes
                       << " bytes; must be a multiple of its swizzle, " << layout.getBytes();
  return success();
}

//===-- Helpers --------------------------------------------------------------------===//

static TileType tileOf(Value slot) { return cast<SlotType>(slot.getType()).getTile(); }

static SlotType slotOf(RingType ring) {
  return SlotType::get(ring.getContext(), ring.getTile(), ring.getLayout());
}

// The op stands in a region of this role, or outside of any (a fragment).
static LogicalResult expectRole(Operation *op, RoleKind kind) {
  auto parent = op->getParentOfType<WarpSpecializeOp>();
  if (!parent)
    return success();
  Region *region = op->getParentRegion();
  while (region->getParentOp() != parent)
    region = region->getParentOp()->getParentRegion();
  RoleKind found = parent.role(region->getRegionNumber()).getKind();
  if (found == kind)
    return success();
  return op->emitOpError("stands in a ")
         << stringifyRoleKind(found) << "; only a " << stringifyRoleKind(kind) << " may do this";
}

static LogicalResult expectSlot(Operation *op, Value ring, Value slot) {
  SlotType expected = slotOf(cast<RingType>(ring.getType()));
  if (slot.getType() == expected)
    return success();
  return op->emitOpError("gives ") << slot.getType() << "; must be " << expected;
}

// Where a slot is given up: the ops that release or carry it on.
static SmallVector<Operation *> endsOf(Value slot) {
  SmallVector<Operation *> ends;
  for (Operation *user : slot.getUsers())
    if (isa<ReleaseOp, YieldOp>(user))
      ends.push_back(user);
  return ends;
}

// A slot that a consumer's body holds is released or carried on exactly once.
static LogicalResult expectReleased(Operation *op, Value slot) {
  size_t ends = endsOf(slot).size();
  if (ends == 1)
    return success();
  return op->emitOpError("holds a slot that is released or carried on ")
         << ends << " times; must be once";
}

//===-- Roles -----------------------------------------------------------------------===//

LogicalResult WarpSpecializeOp::verify() {
  if (getRoles().size() != 2 || getBodies().size() != 2 ||
      role(0).getKind() != RoleKind::producer || role(1).getKind() != RoleKind::consumer)
    return emitOpError("has ") << getRoles().size() << " roles and " << getBodies().size()
                               << " regions; must have a producer, then a consumer";
  int64_t registers = 0;
  for (auto role : getRoles().getAsRange<WarpRoleAttr>())
    registers += role.getWarps() * 32 * role.getRegisters();
  if (registers > 65536)
    return emitOpError("uses ") << registers << " registers; a block of threads has 65536";
  for (Region &body : getBodies())
    if (body.getNumArguments() != 0)
      return emitOpError("has a region with arguments; roles take none");
  return success();
}

//===-- The producer -------------------------------------------------------------------===//

static LogicalResult expectOneCopy(Operation *op, Value slot) {
  size_t copies = llvm::count_if(slot.getUsers(), llvm::IsaPred<CopyKeysOp, CopyQueriesOp>);
  if (copies == 1)
    return success();
  return op->emitOpError("takes a slot that ") << copies << " copies fill; must be 1";
}

// A ring is filled by the blocks of one walk, or, outside of any, each stage once.
static LogicalResult expectFilledOnce(AcquireOp op) {
  int64_t within = 0, outside = 0, stages = cast<RingType>(op.getRing().getType()).getStages();
  for (Operation *user : op.getRing().getUsers())
    if (isa<AcquireOp>(user))
      ++(user->getParentOfType<ProduceKeysOp>() ? within : outside);
    else if (isa<ProduceKeysOp>(user))
      ++within;
  if (outside <= (within ? 0 : stages))
    return success();
  return op.emitOpError("fills a ring of ")
         << stages << " stages " << outside << " times outside of a walk"
         << (within ? ", and in one" : "")
         << "; must fill each stage at most once, or in a walk alone";
}

LogicalResult AcquireOp::verify() {
  if (failed(expectRole(*this, RoleKind::producer)) ||
      failed(expectSlot(*this, getRing(), getSlot())) || failed(expectFilledOnce(*this)))
    return failure();
  return expectOneCopy(*this, getSlot());
}

LogicalResult CopyQueriesOp::verify() {
  auto kernel = (*this)->getParentOfType<KernelOp>();
  if (failed(expectRole(*this, RoleKind::producer)) || !kernel)
    return failure(kernel != nullptr);
  BindingAttr binding = bindingOf(*this, kernel, getBinding());
  if (!binding)
    return failure();
  if (binding.getRole() != Role::q)
    return wrongRole(*this, binding, "q");
  auto expected =
      TileType::get(getContext(), {int64_t(kernel.getBlockQ()), int64_t(kernel.getQkDim())},
                    binding.getElementType());
  if (tileOf(getSlot()) != expected)
    return emitOpError("fills a slot of ") << tileOf(getSlot()) << "; must be " << expected;
  return success();
}

LogicalResult CopyKeysOp::verify() {
  auto kernel = (*this)->getParentOfType<KernelOp>();
  if (failed(expectRole(*this, RoleKind::producer)) || !kernel)
    return failure(kernel != nullptr);
  BindingAttr binding = bindingOf(*this, kernel, getBinding());
  if (!binding)
    return failure();
  if (binding.getRole() != Role::k && binding.getRole() != Role::v)
    return wrongRole(*this, binding, "k or v");
  int64_t dim = binding.getRole() == Role::k ? kernel.getQkDim() : kernel.getVDim();
  auto expected =
      TileType::get(getContext(), {int64_t(kernel.getBlockK()), dim}, binding.getElementType());
  if (tileOf(getSlot()) != expected)
    return emitOpError("fills a slot of ") << tileOf(getSlot()) << "; must be " << expected;
  return success();
}

LogicalResult ProduceKeysOp::verify() {
  Builder b(getContext());
  SmallVector<Type> positions(6, b.getI32Type()), truths(2, b.getI1Type());
  SmallVector<Type> arguments{KeysType::get(getContext()), slotOf(getRing().getType())};
  if (failed(expectRole(*this, RoleKind::producer)) ||
      failed(expectRegion(*this, "classify", getClassify(), positions, truths)) ||
      failed(expectScalarOps("classify", getClassify())) ||
      failed(expectRegion(*this, "body", getBody(), arguments, {})))
    return failure();
  return expectOneCopy(*this, getBody().getArgument(1));
}

//===-- Consumers ------------------------------------------------------------------------===//

LogicalResult ReceiveOp::verify() {
  if (failed(expectRole(*this, RoleKind::consumer)) ||
      failed(expectSlot(*this, getRing(), getSlot())))
    return failure();
  // Outside of a walk a slot may be kept to the end.
  if (!(*this)->getParentOfType<ConsumeKeysOp>() && endsOf(getSlot()).empty())
    return success();
  return expectReleased(*this, getSlot());
}

static WaitOp waitOf(Value pending) {
  return pending.hasOneUse() ? dyn_cast<WaitOp>(*pending.user_begin()) : WaitOp();
}

LogicalResult ReleaseOp::verify() {
  if (failed(expectRole(*this, RoleKind::consumer)))
    return failure();
  for (Operation *user : getSlot().getUsers()) {
    if (!isa<StartQKOp, StartPVOp>(user) || user->getBlock() != (*this)->getBlock())
      continue;
    WaitOp wait = waitOf(user->getResult(0));
    if (wait && wait->getBlock() == (*this)->getBlock() && !wait->isBeforeInBlock(*this)) {
      auto diagnostic = emitOpError("gives a slot back while a product that reads it is in flight");
      diagnostic.attachNote(wait.getLoc()) << "it is waited for here";
      return diagnostic;
    }
  }
  return success();
}

LogicalResult ConsumeKeysOp::verify() {
  if (failed(expectRole(*this, RoleKind::consumer)))
    return failure();
  if (getInits().getTypes() != getResultTypes())
    return emitOpError("has results of other types than its initial values");
  if (!getEnds().empty() && getEnds().size() != 2)
    return emitOpError("has ") << getEnds().size()
                               << " end regions; must have none, or first and last";
  SmallVector<Type> inits(getInits().getTypes());
  SmallVector<Type> state = inits;
  SmallVector<Type> block{KeysType::get(getContext()), slotOf(getRing().getType())};
  auto withBlock = [&](ArrayRef<Type> types) {
    SmallVector<Type> all = block;
    llvm::append_range(all, types);
    return all;
  };
  if (isPipelined()) {
    // What `first` yields is the state.
    if (!isa_and_present<YieldOp>(first().empty() ? nullptr : &first().back()))
      return emitOpError("first region must end with tile.yield");
    state.assign(first().back().getOperandTypes().begin(), first().back().getOperandTypes().end());
    if (failed(expectRegion(*this, "first", getEnds()[0], withBlock(inits), state)) ||
        failed(expectRegion(*this, "last", getEnds()[1], state, inits)))
      return failure();
  }
  if (failed(expectRegion(*this, "full", getFull(), withBlock(state), state)) ||
      failed(expectRegion(*this, "partial", getPartial(), withBlock(state), state)))
    return failure();
  // The slots that a body is given are released or carried on by it.
  // The last one may keep them: no block comes after it.
  SmallVector<Region *> bodies{&getFull(), &getPartial()};
  if (isPipelined())
    bodies.push_back(&getEnds()[0]);
  for (Region *body : bodies)
    for (BlockArgument argument : body->getArguments())
      if (isa<SlotType>(argument.getType()) && failed(expectReleased(*this, argument)))
        return failure();
  return success();
}

// A product is waited for in its block, by one op: nobody else sees it unfinished.
static LogicalResult expectWaited(Operation *op, Value pending) {
  WaitOp wait = waitOf(pending);
  if (wait && wait.getPending() == pending && wait->getBlock() == op->getBlock())
    return success();
  return op->emitOpError("must be waited for by exactly one tile.wait of the same block");
}

LogicalResult StartQKOp::verify() {
  if (failed(expectRole(*this, RoleKind::consumer)))
    return failure();
  TileType q = tileOf(getQ()), k = tileOf(getK());
  Type type = q.getElementType();
  if (type != k.getElementType() || !(type.isF16() || type.isBF16()))
    return emitOpError("multiplies ")
           << type << " with " << k.getElementType() << "; must both be f16 or bf16";
  if (q.getShape()[1] != k.getShape()[1])
    return emitOpError("has query head dim ")
           << q.getShape()[1] << " and key head dim " << k.getShape()[1] << "; must agree";
  auto expected = TileType::get(getContext(), {q.getShape()[0], k.getShape()[0]},
                                Float32Type::get(getContext()));
  if (getResult().getType().getTile() != expected)
    return emitOpError("gives ") << getResult().getType().getTile() << "; must be " << expected;
  return expectWaited(*this, getResult());
}

LogicalResult StartPVOp::verify() {
  if (failed(expectRole(*this, RoleKind::consumer)) ||
      failed(expectRank(*this, "probabilities", getP(), 2)))
    return failure();
  TileType v = tileOf(getV());
  Type type = v.getElementType();
  int64_t rows = cast<TileType>(getP().getType()).getShape()[0];
  if (!(type.isF16() || type.isBF16()))
    return emitOpError("has values of ") << type << "; must be f16 or bf16";
  Type f32 = Float32Type::get(getContext());
  if (failed(expectTile(*this, "probabilities", getP(), {rows, v.getShape()[0]}, type)) ||
      failed(expectTile(*this, "output", getO(), {rows, v.getShape()[1]}, f32)))
    return failure();
  if (getResult().getType().getTile() != getO().getType())
    return emitOpError("gives ") << getResult().getType().getTile() << "; must be "
                                 << getO().getType();
  return expectWaited(*this, getResult());
}

LogicalResult WaitOp::verify() {
  if (failed(expectRole(*this, RoleKind::consumer)))
    return failure();
  SmallVector<Type> expected{getPending().getType().getTile()};
  llvm::append_range(expected, getTied().getTypes());
  if (getResultTypes() != TypeRange(expected))
    return emitOpError("gives other types than its product and what is tied to it");
  // Products started before this one are done before it.
  Operation *product = getPending().getDefiningOp();
  if (!product || product->getBlock() != (*this)->getBlock())
    return success();
  for (Operation *op = product->getPrevNode(); op; op = op->getPrevNode())
    if (isa<StartQKOp, StartPVOp>(op))
      if (WaitOp earlier = waitOf(op->getResult(0)); earlier && (*this)->isBeforeInBlock(earlier)) {
        auto diagnostic = emitOpError("waits for a product before one that was started earlier");
        diagnostic.attachNote(op->getLoc()) << "the earlier product";
        return diagnostic;
      }
  return success();
}

LogicalResult NarrowOp::verify() {
  auto from = cast<TileType>(getX().getType()), to = cast<TileType>(getResult().getType());
  if (!from.getElementType().isF32() ||
      !(to.getElementType().isF16() || to.getElementType().isBF16()) ||
      from.getShape() != to.getShape())
    return emitOpError("turns ") << from << " into " << to
                                 << "; must turn f32 into f16 or bf16 of the same shape";
  return success();
}

LogicalResult RescaleOp::verify() {
  if (failed(expectRank(*this, "output", getO(), 2)))
    return failure();
  auto type = cast<TileType>(getO().getType());
  Type f32 = Float32Type::get(getContext());
  if (failed(expectTile(*this, "output", getO(), type.getShape(), f32)))
    return failure();
  return expectTile(*this, "factors", getAlpha(), {type.getShape()[0]}, f32);
}

LogicalResult ClearTailOp::verify() {
  if (failed(expectRole(*this, RoleKind::consumer)))
    return failure();
  for (Operation *user : getSlot().getUsers())
    if (isa<StartPVOp, StartQKOp>(user) && user->getBlock() == (*this)->getBlock() &&
        user->isBeforeInBlock(*this))
      return emitOpError("clears a slot that a product has read already");
  return success();
}

// Turns are taken and passed in pairs within a block.
static LogicalResult expectPair(Operation *op) {
  auto parent = op->getParentOfType<WarpSpecializeOp>();
  if (parent && parent.getSchedule().getPipeline() != Pipeline::pingpong)
    return op->emitOpError("needs the schedule pingpong; it is ")
           << stringifyPipeline(parent.getSchedule().getPipeline());
  if (failed(expectRole(op, RoleKind::consumer)))
    return failure();
  int balance = 0;
  for (Operation &other : *op->getBlock()) {
    balance += isa<TakeTurnOp>(other) ? 1 : isa<PassTurnOp>(other) ? -1 : 0;
    if (balance < 0 || balance > 1)
      break;
  }
  if (balance != 0)
    return op->emitOpError("has no partner; a body takes the turn, then passes it");
  return success();
}

LogicalResult TakeTurnOp::verify() { return expectPair(*this); }
LogicalResult PassTurnOp::verify() { return expectPair(*this); }
