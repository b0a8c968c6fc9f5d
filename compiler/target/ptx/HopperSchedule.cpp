// Builds the schedule: a producer that copies, consumers that multiply; see
// HopperSchedule.h and the ops of dialects/tile/TileScheduleOps.td.
#include "compiler/target/ptx/HopperSchedule.h"

#include "compiler/target/ptx/Schedule.h"

#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/IRMapping.h"
#include "llvm/ADT/DenseSet.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace mlir::attn;

// Applies one word; false if it is none.
static bool change(HopperConfig &config, StringRef word) {
  auto number = [&](StringRef prefix, int64_t &to) {
    return word.consume_front(prefix) && !word.getAsInteger(10, to);
  };
  if (std::optional<tile::Pipeline> pipeline = tile::symbolizePipeline(word))
    config.pipeline = *pipeline;
  else if (word == "rescale")
    config.conditionalRescale = false;
  else
    return number("keys", config.blockK) || number("stages", config.stages);
  return true;
}

std::optional<HopperConfig> mlir::attn::hopperConfig(int64_t qkDim, int64_t vDim, StringRef changes,
                                                     StringRef *unknown) {
  static const std::pair<int64_t, HopperConfig> rows[] = {
#define ATTN_SM90A(dims, keys, stages, pipeline, producer, consumer)                               \
  {dims, {keys, stages, tile::Pipeline::pipeline, producer, consumer}},
#include "kernels-gen/sm_90a.def"
#undef ATTN_SM90A
  };
  auto *row = llvm::find_if(rows, [&](auto &row) { return std::max(qkDim, vDim) <= row.first; });
  if (row == std::end(rows))
    return std::nullopt;
  HopperConfig config = row->second;
  SmallVector<StringRef> words;
  changes.split(words, '.', -1, /*KeepEmpty=*/false);
  for (StringRef word : words)
    if (!change(config, word) && unknown)
      *unknown = word;
  return config;
}

namespace {

// The ops of one body of tile.for_keys, as attn-to-tile writes them.
struct KeyBody {
  tile::LoadKeysOp k, v;
  tile::DotQKOp scores;
  SmallVector<Operation *> between; ///< what rewrites the scores, in order
  tile::SoftmaxStepOp step;
  tile::DotPVOp values;

  // How much score functions and mask compute per score: what depends on more than the
  // head and the batch entry, the last two arguments.
  size_t opsPerScore() const {
    size_t ops = 0;
    for (Operation *rewrite : between) {
      Block &block = rewrite->getRegion(0).front();
      DenseSet<Value> varying;
      for (Value argument : block.getArguments().drop_back(2))
        varying.insert(argument);
      for (Operation &op : block.without_terminator())
        if (llvm::any_of(op.getOperands(), [&](Value v) { return varying.contains(v); })) {
          varying.insert(op.result_begin(), op.result_end());
          ++ops;
        }
    }
    return ops;
  }

  // Fills the members; false where the body has another shape.
  bool match(Block &block, Value queries) {
    for (Operation &op : block.without_terminator()) {
      if (auto load = dyn_cast<tile::LoadKeysOp>(op)) {
        bool ofScores = llvm::any_of(load->getUsers(), llvm::IsaPred<tile::DotQKOp>);
        (ofScores ? k : v) = load;
      } else if (auto dot = dyn_cast<tile::DotQKOp>(op)) {
        scores = dot;
      } else if (isa<tile::ScoreOp, tile::MaskOp>(op)) {
        between.push_back(&op);
      } else if (auto softmax = dyn_cast<tile::SoftmaxStepOp>(op)) {
        step = softmax;
      } else if (auto dot = dyn_cast<tile::DotPVOp>(op)) {
        values = dot;
      } else {
        return false;
      }
    }
    if (!k || !v || !scores || !step || !values || block.getNumArguments() != 4)
      return false;
    return scores.getQ() == queries && scores.getK() == k.getResult() &&
           values.getV() == v.getResult() && values.getP() == step.getP() &&
           step.getMax() == block.getArgument(1) && step.getSum() == block.getArgument(2) &&
           values.getO() == block.getArgument(3) && values.getAlpha() == step.getAlpha() &&
           block.getTerminator()->getOperand(0) == step.getNewMax() &&
           block.getTerminator()->getOperand(1) == step.getNewSum() &&
           block.getTerminator()->getOperand(2) == values.getResult();
  }
};

// Operations per score above which it is computed after a product instead of beside
// it, and above which fewer keys at a time spare registers.
constexpr size_t kOpsBesideProduct = 8, kOpsWhereTight = 3, kOpsOfFewKeys = 40;
constexpr int64_t kTightRegisters = 160;
constexpr int64_t kFewKeys = 96;
// Operations of classify above which the producer needs more registers.
constexpr size_t kOpsOfSimpleClassify = 60;

tile::LoadQueriesOp queriesOf(tile::KernelOp kernel) {
  auto loads = llvm::to_vector(kernel.getBody().front().getOps<tile::LoadQueriesOp>());
  return loads.size() == 1 ? loads[0] : tile::LoadQueriesOp();
}

tile::ForKeysOp walkOf(tile::KernelOp kernel) {
  auto walks = llvm::to_vector(kernel.getBody().front().getOps<tile::ForKeysOp>());
  return walks.size() == 1 ? walks[0] : tile::ForKeysOp();
}

tile::BindingAttr bindingOf(tile::KernelOp kernel, tile::Role role) {
  return cast<tile::BindingAttr>(kernel.getBindings()[static_cast<unsigned>(role)]);
}

// The widest panel that divides a row.
int64_t swizzleOf(int64_t rowBytes) {
  for (int64_t bytes : {128, 64, 32})
    if (rowBytes % bytes == 0)
      return bytes;
  return 0;
}

class Scheduler {
public:
  Scheduler(tile::KernelOp kernel, const HopperConfig &config)
      : kernel(kernel), config(config), walk(walkOf(kernel)), b(kernel.getContext()) {
    bodies[0].match(walk.getFull().front(), queriesOf(kernel).getResult());
    bodies[1].match(walk.getPartial().front(), queriesOf(kernel).getResult());
    kernel.setBlockQ(kHopperBlockQ);
    kernel.setBlockK(config.blockK);
    Type f32 = b.getF32Type();
    scoresType = tile::TileType::get(b.getContext(), {kHopperBlockQ, config.blockK}, f32);
    narrowType = tile::TileType::get(b.getContext(), {kHopperBlockQ, config.blockK}, element());
  }

  void run() {
    Block &old = kernel.getBody().front();
    SmallVector<Operation *> replaced;
    for (Operation &op : old)
      replaced.push_back(&op);
    b.setInsertionPointToEnd(&old);
    loc = walk.getLoc();
    int64_t rows = kernel.getBlockQ(), keys = kernel.getBlockK();
    q = ring(1, rows, kernel.getQkDim());
    k = ring(config.stages, keys, kernel.getQkDim());
    v = ring(config.stages, keys, kernel.getVDim());
    MLIRContext *context = b.getContext();
    auto schedule =
        tile::ScheduleAttr::get(context, config.pipeline, tile::ItemOrder::longest_first);
    Attribute roles[] = {
        tile::WarpRoleAttr::get(context, tile::RoleKind::producer, 4, config.producerRegisters),
        tile::WarpRoleAttr::get(context, tile::RoleKind::consumer, 8, config.consumerRegisters)};
    auto specialize =
        tile::WarpSpecializeOp::create(b, loc, schedule, b.getArrayAttr(roles), /*bodies=*/2);
    b.createBlock(&specialize.getBodies()[0]);
    buildProducer();
    b.createBlock(&specialize.getBodies()[1]);
    buildConsumer(replaced);
    for (Operation *op : llvm::reverse(replaced))
      op->erase();
  }

private:
  Value ring(int64_t stages, int64_t rows, int64_t dim) {
    auto tile = tile::TileType::get(b.getContext(), {rows, dim}, element());
    auto layout = tile::SwizzleAttr::get(b.getContext(), swizzleOf(dim * 2));
    return tile::RingOp::create(b, loc, tile::RingType::get(b.getContext(), stages, tile, layout));
  }
  Type element() { return bindingOf(kernel, tile::Role::k).getElementType(); }
  tile::SlotType slotType(Value ring) {
    auto type = cast<tile::RingType>(ring.getType());
    return tile::SlotType::get(b.getContext(), type.getTile(), type.getLayout());
  }
  Value receive(Value ring) { return tile::ReceiveOp::create(b, loc, slotType(ring), ring); }
  Value acquire(Value ring) { return tile::AcquireOp::create(b, loc, slotType(ring), ring); }

  void buildProducer() {
    Value slot = acquire(q);
    tile::CopyQueriesOp::create(b, loc, slot, static_cast<int64_t>(tile::Role::q));
    auto produce = tile::ProduceKeysOp::create(b, loc, k);
    IRMapping nothing;
    walk.getClassify().cloneInto(&produce.getClassify(), nothing);
    OpBuilder::InsertionGuard guard(b);
    Type arguments[] = {tile::KeysType::get(b.getContext()), slotType(k)};
    Block *body = b.createBlock(&produce.getBody(), {}, arguments, {loc, loc});
    tile::CopyKeysOp::create(b, loc, body->getArgument(1), body->getArgument(0),
                             static_cast<int64_t>(tile::Role::k));
    Value values = acquire(v);
    tile::CopyKeysOp::create(b, loc, values, body->getArgument(0),
                             static_cast<int64_t>(tile::Role::v));
    tile::YieldOp::create(b, loc, ValueRange());
  }

  // The kernel's own ops, with the walk replaced by the consumers' side of it.
  void buildConsumer(ArrayRef<Operation *> ops) {
    querySlot = receive(q);
    for (Operation *op : ops) {
      if (isa<tile::LoadQueriesOp>(op))
        continue;
      if (op == walk) {
        buildWalk();
        continue;
      }
      // The same op on this block's rows.
      for (Value result : b.clone(*op, mapping)->getResults())
        if (auto type = dyn_cast<tile::TileType>(result.getType())) {
          SmallVector<int64_t> shape(type.getShape());
          shape[0] = kHopperBlockQ;
          result.setType(tile::TileType::get(b.getContext(), shape, type.getElementType()));
        }
    }
  }

  void buildWalk() {
    SmallVector<Value> inits;
    for (Value init : walk.getInits())
      inits.push_back(mapping.lookup(init));
    bool pipelined = config.pipeline != tile::Pipeline::simple;
    SmallVector<Type> state = llvm::to_vector(ValueRange(inits).getTypes());
    auto consume = tile::ConsumeKeysOp::create(b, loc, state, k, inits,
                                               /*ends=*/pipelined ? 2 : 0);
    SmallVector<Type> block{tile::KeysType::get(b.getContext()), slotType(k)};
    auto region = [&](Region &to, ArrayRef<Type> types, auto build) {
      OpBuilder::InsertionGuard guard(b);
      SmallVector<Location> places(types.size(), loc);
      Block *body = b.createBlock(&to, {}, types, places);
      build(body);
    };
    if (pipelined) {
      region(consume.getEnds()[0], concat(block, state), [&](Block *body) { buildFirst(body); });
      state.append({narrowType, slotType(v)});
      region(consume.getEnds()[1], state, [&](Block *body) { buildLast(body); });
    }
    for (bool full : {true, false})
      region(full ? consume.getFull() : consume.getPartial(), concat(block, state),
             [&](Block *body) { pipelined ? buildOverlap(body, full) : buildSimple(body, full); });
    for (auto [from, to] : llvm::zip(walk.getResults(), consume.getResults()))
      mapping.map(from, to);
  }

  static SmallVector<Type> concat(ArrayRef<Type> a, ArrayRef<Type> c) {
    SmallVector<Type> all(a);
    llvm::append_range(all, c);
    return all;
  }

  Value startQK(Value slot) {
    auto type = tile::PendingType::get(b.getContext(), scoresType);
    return tile::StartQKOp::create(b, loc, type, querySlot, slot);
  }
  Value startPV(Value p, Value slot, Value o) {
    auto type = tile::PendingType::get(b.getContext(), cast<tile::TileType>(o.getType()));
    return tile::StartPVOp::create(b, loc, type, p, slot, o);
  }
  tile::WaitOp wait(Value pending, ValueRange tied = {}) {
    SmallVector<Type> types{cast<tile::PendingType>(pending.getType()).getTile()};
    llvm::append_range(types, tied.getTypes());
    return tile::WaitOp::create(b, loc, types[0], ArrayRef(types).drop_front(), pending, tied);
  }
  void release(Value slot) { tile::ReleaseOp::create(b, loc, slot); }
  Value narrow(Value p) { return tile::NarrowOp::create(b, loc, narrowType, p); }
  Value rescale(Value o, Value alpha) {
    UnitAttr conditional = config.conditionalRescale ? b.getUnitAttr() : UnitAttr();
    return tile::RescaleOp::create(b, loc, o.getType(), o, alpha, conditional);
  }
  void takeTurn() {
    if (config.pipeline == tile::Pipeline::pingpong)
      tile::TakeTurnOp::create(b, loc);
  }
  void passTurn() {
    if (config.pipeline == tile::Pipeline::pingpong)
      tile::PassTurnOp::create(b, loc);
  }

  // Score functions, mask and softmax of a block, as that body has them.
  tile::SoftmaxStepOp softmax(bool full, Value keys, Value scores, Value max, Value sum) {
    KeyBody &body = bodies[full ? 0 : 1];
    IRMapping inner(mapping);
    inner.map(body.scores.getResult(), scores);
    inner.map(body.k.getKeys(), keys);
    inner.map(body.step.getMax(), max);
    inner.map(body.step.getSum(), sum);
    for (Operation *op : body.between)
      b.clone(*op, inner)->getResult(0).setType(scoresType);
    auto step = cast<tile::SoftmaxStepOp>(b.clone(*body.step, inner));
    step.getP().setType(scoresType);
    for (Value rows : {step.getNewMax(), step.getNewSum(), step.getAlpha()})
      rows.setType(max.getType());
    return step;
  }

  // keys, K slot, max, sum, out.
  void buildSimple(Block *body, bool full) {
    Value keys = body->getArgument(0), slot = body->getArgument(1);
    Value scores = wait(startQK(slot)).getResult();
    release(slot);
    auto step = softmax(full, keys, scores, body->getArgument(2), body->getArgument(3));
    Value p = narrow(step.getP());
    Value o = rescale(body->getArgument(4), step.getAlpha());
    Value values = receive(v);
    if (!full)
      tile::ClearTailOp::create(b, loc, values, keys);
    o = wait(startPV(p, values, o)).getResult();
    release(values);
    tile::YieldOp::create(b, loc, ValueRange{step.getNewMax(), step.getNewSum(), o});
  }

  // keys, K slot, max, sum, out. Nothing is to be rescaled yet.
  void buildFirst(Block *body) {
    Value keys = body->getArgument(0), slot = body->getArgument(1);
    Value scores = wait(startQK(slot)).getResult();
    release(slot);
    auto step = softmax(/*full=*/false, keys, scores, body->getArgument(2), body->getArgument(3));
    Value p = narrow(step.getP()), values = receive(v);
    tile::ClearTailOp::create(b, loc, values, keys);
    tile::YieldOp::create(
        b, loc, ValueRange{step.getNewMax(), step.getNewSum(), body->getArgument(4), p, values});
  }

  // keys, K slot, max, sum, out, and probabilities and V slot of the block before.
  void buildOverlap(Block *body, bool full) {
    Value keys = body->getArgument(0), slot = body->getArgument(1);
    Value before = body->getArgument(6);
    takeTurn();
    Value pendingScores = startQK(slot);
    Value pendingOut = startPV(body->getArgument(5), before, body->getArgument(4));
    passTurn();
    Value scores = wait(pendingScores).getResult();
    release(slot);
    if (isHeavy(full)) {
      Value o = wait(pendingOut).getResult();
      release(before);
      auto step = softmax(full, keys, scores, body->getArgument(2), body->getArgument(3));
      yieldState(body, full, step, step.getP(), rescale(o, step.getAlpha()), receive(v));
      return;
    }
    auto step = softmax(full, keys, scores, body->getArgument(2), body->getArgument(3));
    // A wait for the next values stands between the exponentials and the wait for
    // the product, so that the assembler cannot move them behind it.
    Value values = receive(v);
    tile::WaitOp done = wait(pendingOut, step.getP());
    release(before);
    yieldState(body, full, step, done.getHeld()[0], rescale(done.getResult(), step.getAlpha()),
               values);
  }

  void yieldState(Block *body, bool full, tile::SoftmaxStepOp step, Value p, Value o,
                  Value values) {
    Value narrowed = narrow(p);
    if (!full)
      tile::ClearTailOp::create(b, loc, values, body->getArgument(0));
    tile::YieldOp::create(b, loc,
                          ValueRange{step.getNewMax(), step.getNewSum(), o, narrowed, values});
  }

  // Scores that take much arithmetic need the registers that a product in flight
  // holds, and hide nothing behind it: they take longer than it.
  bool isHeavy(bool full) {
    // Scores, probabilities and outputs that a thread of a consumer holds.
    int64_t held = config.blockK / 2 + config.blockK / 4 + kernel.getVDim() / 2;
    bool tight = full && held >= kTightRegisters;
    return bodies[full ? 0 : 1].opsPerScore() > (tight ? kOpsWhereTight : kOpsBesideProduct);
  }

  // max, sum, out, probabilities, V slot, which nobody waits for any more.
  void buildLast(Block *body) {
    Value slot = body->getArgument(4);
    Value o = wait(startPV(body->getArgument(3), slot, body->getArgument(2))).getResult();
    tile::YieldOp::create(b, loc, ValueRange{body->getArgument(0), body->getArgument(1), o});
  }

  tile::KernelOp kernel;
  const HopperConfig &config;
  tile::ForKeysOp walk;
  OpBuilder b;
  Location loc = kernel.getLoc();
  KeyBody bodies[2]; // full, partial
  IRMapping mapping; // from the kernel's values to the consumers'
  Value q, k, v, querySlot;
  tile::TileType scoresType, narrowType;
};

struct TileScheduleHopper : PassWrapper<TileScheduleHopper, OperationPass<ModuleOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(TileScheduleHopper)

  TileScheduleHopper() = default;
  explicit TileScheduleHopper(StringRef changes) { this->changes = changes.str(); }
  TileScheduleHopper(const TileScheduleHopper &other) : PassWrapper(other) {
    changes = other.changes;
  }

  StringRef getArgument() const override { return "tile-schedule-hopper"; }
  StringRef getDescription() const override {
    return "Schedule tile kernels for sm_90a: roles, rings, products in flight";
  }
  void getDependentDialects(DialectRegistry &registry) const override {
    registry.insert<tile::TileDialect>();
  }

  void runOnOperation() override {
    for (auto kernel : getOperation().getOps<tile::KernelOp>()) {
      if (!walkOf(kernel))
        continue; // a merge has no products
      StringRef unknown;
      std::optional<HopperConfig> config =
          hopperConfig(kernel.getQkDim(), kernel.getVDim(), changes, &unknown);
      if (!unknown.empty()) {
        kernel.emitError("schedule has '")
            << unknown
            << "'; it is made of keysN, stagesN, simple, overlap, pingpong and rescale, with dots "
               "between";
        return signalPassFailure();
      }
      if (config)
        adaptHopperConfig(kernel, changes, *config);
      std::string reason = config ? whyNotHopper(kernel, *config) : "its head dims exceed 256";
      if (reason.empty())
        scheduleForHopper(kernel, *config);
      else
        emitRemark(kernel.getLoc()) << "runs on mma.sync instead of wgmma products: " << reason;
    }
  }

  Option<std::string> changes{*this, "changes",
                              llvm::cl::desc("to the table's schedule, as in keys96.pingpong")};
};

} // namespace

std::string mlir::attn::whyNotHopper(tile::KernelOp kernel, const HopperConfig &config) {
  std::string reason;
  llvm::raw_string_ostream out(reason);
  Type type = bindingOf(kernel, tile::Role::k).getElementType();
  int64_t qk = kernel.getQkDim(), v = kernel.getVDim(), keys = config.blockK;
  if (!(type.isF16() || type.isBF16()) ||
      type != bindingOf(kernel, tile::Role::q).getElementType() ||
      type != bindingOf(kernel, tile::Role::v).getElementType()) {
    out << "its queries, keys and values are not all f16 or all bf16";
  } else if (qk % 16 != 0 || v % 16 != 0) {
    out << "its head dims are " << qk << " and " << v << ", no multiples of 16";
  } else if (keys <= 0 || keys % 16 != 0 || keys > 256) {
    out << "its blocks have " << keys << " keys, no multiple of 16 up to 256";
  } else if (!llvm::isPowerOf2_64(config.stages)) {
    out << "its rings have " << config.stages << " stages, no power of two";
  } else if (int64_t bytes = 2 * (kHopperBlockQ * qk + config.stages * keys * (qk + v)) + 2048;
             bytes > sharedMemoryLimit("sm_90a")) {
    out << "its rings need " << bytes << " bytes of shared memory";
  } else {
    tile::LoadQueriesOp queries = queriesOf(kernel);
    tile::ForKeysOp walk = walkOf(kernel);
    KeyBody full, partial;
    if (!queries || !walk || walk.getInits().size() != 3 ||
        !full.match(walk.getFull().front(), queries.getResult()) ||
        !partial.match(walk.getPartial().front(), queries.getResult()))
      out << "it does more than scores, softmax and values";
  }
  return reason;
}

void mlir::attn::adaptHopperConfig(tile::KernelOp kernel, StringRef changes, HopperConfig &config) {
  tile::ForKeysOp walk = walkOf(kernel);
  KeyBody body;
  if (!walk || !queriesOf(kernel) ||
      !body.match(walk.getPartial().front(), queriesOf(kernel).getResult()))
    return;
  if (body.opsPerScore() > kOpsOfFewKeys && !changes.contains("keys"))
    config.blockK = std::min(config.blockK, kFewKeys);
  if (walk.getClassify().front().getOperations().size() > kOpsOfSimpleClassify) {
    config.producerRegisters = std::max<int64_t>(config.producerRegisters, 40);
    config.consumerRegisters = std::min<int64_t>(config.consumerRegisters, 232);
  }
}

void mlir::attn::scheduleForHopper(tile::KernelOp kernel, const HopperConfig &config) {
  Scheduler(kernel, config).run();
}

std::unique_ptr<Pass> mlir::attn::createTileScheduleHopperPass(StringRef changes) {
  return std::make_unique<TileScheduleHopper>(changes);
}
