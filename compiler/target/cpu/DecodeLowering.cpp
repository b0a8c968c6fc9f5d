// The walk of one piece over its keys: scores, masks, the online softmax.
#include "compiler/target/cpu/DecodeLowering.h"

#include "compiler/target/cpu/TopScalars.h"
#include "runtime/bundle/kernel_abi.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace mlir::attn;

static constexpr double kMasked = -1e30, kStartMaximum = -1e20;

/// Of the keys in a block: with as many values that is what the first level holds.
static constexpr int64_t kBlockBytes = 16 << 10, kStreamedBytes = 4 << 10;
static constexpr int64_t kAheadBytes = 32 << 10;

//===-- Program ----------------------------------------------------------------------===//

static Type bindingElement(tile::KernelOp kernel, tile::Role role) {
  for (auto binding : kernel.getBindings().getAsRange<tile::BindingAttr>())
    if (binding.getRole() == role)
      return binding.getElementType();
  llvm_unreachable("a kernel of two products has keys and values");
}

// The accumulators of a product, its operands and a broadcast fill the registers.
static DecodeSchedule scheduleFor(tile::KernelOp kernel, const CpuArch &arch) {
  bool many = arch.registers >= 32;
  DecodeSchedule s;
  s.keys = many ? 4 : 2;
  s.maxQueries = arch.width; // longer tiles waste less in the form of whole tiles
  Type stored = bindingElement(kernel, tile::Role::k);
  int64_t keyBytes = kernel.getQkDim() * stored.getIntOrFloatBitWidth() / 8;
  // Powers of two from 16 to 128.
  auto keysOf = [&](int64_t bytes) {
    return std::clamp<int64_t>(llvm::bit_floor(uint64_t(bytes / keyBytes)), 16, 128);
  };
  s.blockK = keysOf(kBlockBytes), s.streamedK = keysOf(kStreamedBytes);
  s.ahead = kAheadBytes / keyBytes;
  return s;
}

DecodeLowering::DecodeLowering(tile::KernelOp kernel, const CpuArch &arch)
    : kernel(kernel), arch(arch), schedule(scheduleFor(kernel, arch)) {
  kernel.walk([&](Operation *op) {
    llvm::TypeSwitch<Operation *>(op)
        .Case([&](tile::ForKeysOp op) { walk = op; })
        .Case([&](tile::DotQKOp op) { dotQK = op; })
        .Case([&](tile::DotPVOp op) { dotPV = op; })
        .Case([&](tile::QuantizeOp op) { quantize = op; })
        .Case([&](tile::SoftmaxFinishOp op) { finish = op; });
  });
  scoreKind = scoreDotKind(dotQK, arch);
  Value q = quantize ? quantize.getX() : dotQK.getQ();
  queries = q.getDefiningOp<tile::LoadQueriesOp>();
  int64_t rows = schedule.maxRows, width = arch.width;
  int64_t padded = llvm::alignTo(std::max(kernel.getQkDim(), kernel.getVDim()), 2 * width);
  queryOffset = reserve(rows * queryChunks() * width * 4);
  scaleOffset = reserve(rows * width * 4);
  scoreOffset = reserve(rows * schedule.blockK * 4);
  alphaOffset = reserve(rows * width * 4);
  weightOffset = reserve(schedule.maxChunks * width * 4);
  rowOffset = reserve(padded * 4);
}

bool DecodeLowering::fits(tile::KernelOp kernel, const CpuArch &arch) {
  int walks = 0, products = 0, others = 0;
  kernel.walk([&](Operation *op) {
    walks += isa<tile::ForKeysOp>(op);
    products += isa<tile::DotQKOp>(op);
    others += isa<tile::MergePartsOp>(op);
    // A class is asked for with a head, not of the item's own.
    if (auto item = dyn_cast<tile::IndexOp>(op))
      others += item.getWhich() == 0 && isa<tile::ForKeysOp>(op->getParentOp());
  });
  if (walks != 1 || products != 2 || others)
    return false;
  for (Operation &op : kernel.getBody().front())
    if (!isTopScalar(op) &&
        !isa<tile::SortRowsOp, tile::LoadQueriesOp, tile::QuantizeOp, tile::SoftmaxInitOp,
             tile::ForKeysOp, tile::SoftmaxFinishOp, tile::OutputOp, tile::StoreQueriesOp>(op))
      return false;
  return true;
}

LogicalResult DecodeLowering::lower(OpBuilder &builder, StringRef symbol) {
  emitPlan(builder, symbol);
  if (failed(emitWalk(builder, symbol)))
    return failure();
  emitFinish(builder, symbol);
  return success();
}

//===-- Walk -------------------------------------------------------------------------===//

Block *DecodeLowering::beginFunction(LaneBuilder &b, StringRef name) {
  OpBuilder &builder = b.builder;
  Type pointer = b.pointer(), i32 = b.i32();
  auto func = func::FuncOp::create(
      builder, kernel.getLoc(), name,
      builder.getFunctionType({pointer, pointer, pointer, pointer, i32, i32}, {}));
  for (unsigned i = 0; i < 4; ++i)
    func.setArgAttr(i, "llvm.noalias", builder.getUnitAttr());
  Block *entry = func.addEntryBlock();
  builder.setInsertionPointToStart(entry);
  frame.emplace(kernel, entry->getArgument(0), entry->getArgument(1));
  arena = entry->getArgument(2);
  parts = entry->getArgument(3);
  return entry;
}

LogicalResult DecodeLowering::emitWalk(OpBuilder &builder, StringRef symbol) {
  Location loc = kernel.getLoc();
  LaneBuilder b(builder, loc, arch);
  OpBuilder::InsertionGuard guard(builder);
  Block *entry = beginFunction(b, (symbol + "_decode_walk").str());
  p = plan(b);
  for (Operation &op : kernel.getBody().front())
    if (auto factor = dyn_cast<tile::ScoreFactorOp>(op))
      lowerTopScalar(b, *factor, *frame, scalars);
  auto divide = [&](Value x, Value y) -> Value {
    return arith::DivUIOp::create(builder, loc, x, y);
  };
  auto remainder = [&](Value x, Value y) -> Value {
    return arith::RemUIOp::create(builder, loc, x, y);
  };
  LogicalResult result = success();
  Value begin = b.widen(entry->getArgument(4)), end = b.widen(entry->getArgument(5));
  b.loop(begin, end, 1, [&](Value piece) { // tiles that share a chunk are neighbours
    Value outer = divide(piece, p.rowTiles), chunk = remainder(outer, p.chunks);
    enterTile(b, divide(outer, p.chunks), remainder(piece, p.rowTiles));
    records = record(b, piece, b.constI64(0));
    // The last chunk ends where the keys do: other batch entries may have more of them.
    Value first = b.mul(chunk, p.chunkKeys), last = b.add(first, p.chunkKeys);
    Value isLast =
        arith::CmpIOp::create(builder, loc, arith::CmpIPredicate::eq, b.add(chunk, 1), p.chunks);
    frame->item.keyBegin = b.narrow(first);
    frame->item.keyEnd = b.narrow(b.select(isLast, b.constI64(INT32_MAX), last));
    loadQueries(b);
    startRows(b);
    keyBindings.clear();
    walk.walk([&](tile::LoadKeysOp load) {
      int64_t binding = load.getBinding();
      if (!keyBindings.contains(binding))
        keyBindings[binding] = frame->rows(b, binding);
    });
    KeyWalkHooks hooks;
    hooks.blocksAtOnce = true;
    hooks.loadWord = [&](OpBuilder &builder, Location loc, Value index) {
      LaneBuilder inner(builder, loc, arch);
      return frame->wordAt(inner, index);
    };
    hooks.body = [&](OpBuilder &builder, Location loc, bool full, const KeyBlock &block,
                     ValueRange) {
      LaneBuilder inner(builder, loc, arch);
      Body body{full, block, inner.widen(block.slot),
                full ? inner.constI64(schedule.blockK) : inner.widen(block.count)};
      Region &region = full ? walk.getFull() : walk.getPartial();
      if (succeeded(result))
        result = lowerParts(inner, region.front(), body);
      return SmallVector<Value>();
    };
    buildKeyWalk(b.builder, b.loc, walk, frame->item, schedule.blockK, /*skipBlocks=*/8, {},
                 frame->scalars(arch), hooks);
  });
  func::ReturnOp::create(builder, loc);
  return result;
}

// Every row of every group, so that those which pad a group stay finite.
void DecodeLowering::startRows(LaneBuilder &b) {
  int64_t width = arch.width;
  b.loop(b.constI64(0), b.mul(rowGroups, schedule.rowGroup), 1, [&](Value row) {
    Value at = b.address(records, b.i8(), b.mul(row, rowBytes()));
    b.store(b.splatF32(kStartMaximum), at, width * 4);
    b.loop(b.constI64(width), b.constI64((2 + outVectors()) * width), width,
           [&](Value i) { b.store(b.splatF32(0), b.address(at, b.f32(), i), width * 4); });
    b.store(b.splatF32(0), b.address(scratch(b, alphaOffset), b.f32(), b.mul(row, width)),
            width * 4);
  });
}

// Short parts let the processor overlap the softmax of one with the reading of the next.
LogicalResult DecodeLowering::lowerParts(LaneBuilder &b, Block &region, const Body &body) {
  if (!body.full || !streams())
    return lowerBody(b, region, body);
  Value part = b.select(memoryBound, b.constI64(schedule.streamedK), body.count);
  auto loop = scf::ForOp::create(b.builder, b.loc, b.constI64(0), body.count, part);
  OpBuilder::InsertionGuard guard(b.builder);
  b.builder.setInsertionPointToStart(loop.getBody());
  Body some = body;
  some.slot = b.add(body.slot, loop.getInductionVar());
  some.block.position = arith::AddIOp::create(b.builder, b.loc, body.block.position,
                                              b.narrow(loop.getInductionVar()));
  some.count = part;
  return lowerBody(b, region, some);
}

LogicalResult DecodeLowering::lowerBody(LaneBuilder &b, Block &region, const Body &body) {
  for (Operation &op : region.without_terminator()) {
    LaneBuilder at(b.builder, op.getLoc(), arch);
    if (auto load = dyn_cast<tile::LoadKeysOp>(op)) {
      ArrayRef<int64_t> shape = load.getType().getShape();
      keys[load.getResult()] = {int64_t(load.getBinding()), shape.size() == 2 ? shape[1] : 0,
                                Value()};
      if (shape.size() == 1)
        loadKeyNumbers(at, load.getResult(), body);
    } else if (auto scaled = dyn_cast<tile::DequantizeKeysOp>(op)) {
      KeyRows rows = keys[scaled.getX()];
      rows.scale = scaled.getScale();
      keys[scaled.getResult()] = rows;
    }
  }
  LogicalResult result = success();
  for (Operation &op : region.without_terminator()) {
    LaneBuilder at(b.builder, op.getLoc(), arch);
    llvm::TypeSwitch<Operation *>(&op)
        .Case<tile::LoadKeysOp, tile::DequantizeKeysOp>([](Operation *) {})
        .Case([&](tile::DotQKOp op) { lowerDotQK(at, op, body); })
        .Case([&](tile::DotPVOp op) { lowerDotPV(at, op, body); })
        .Case([&](tile::DequantizeScoresOp op) {
          rewriteScores(at, body, [&](LaneBuilder &b, Value row, Value key, Value s) {
            Value scale =
                b.load(b.lanes(b.f32()),
                       b.address(scratch(b, scaleOffset), b.f32(), b.mul(row, arch.width)),
                       arch.width * 4);
            return b.mulF(b.mulF(s, scale), keyNumbers(b, op.getKeyScale(), key));
          });
        })
        .Case([&](tile::MaskOp op) { lowerMask(at, op, body); })
        .Case([&](tile::ScoreOp op) { lowerScore(at, op, body); })
        .Case([&](tile::SoftmaxStepOp op) { lowerSoftmaxStep(at, op, body); })
        .Default([&](Operation *op) {
          result = op->emitOpError() << "is not known in a body of few rows for cpu:" << arch.name;
        });
  }
  return result;
}

//===-- Scores -----------------------------------------------------------------------===//

// Visits the keys of a block, a vector at a time: the last may reach past `count`.
SmallVector<Value> DecodeLowering::forKeyVectors(LaneBuilder &b, const Body &body, ValueRange state,
                                                 KeyVectorBody each) {
  int64_t width = arch.width;
  return b.loop(b.constI64(0), body.count, width, state,
                [&](Value key, ValueRange state) { return each(b, key, state); });
}

Value DecodeLowering::scoreAddress(LaneBuilder &b, Value row, Value key) {
  Value rowAddress = b.address(scratch(b, scoreOffset), b.f32(), b.mul(row, schedule.blockK));
  return b.address(rowAddress, b.f32(), key);
}

void DecodeLowering::rewriteScores(
    LaneBuilder &b, const Body &body,
    llvm::function_ref<Value(LaneBuilder &, Value, Value, Value)> each) {
  forRows(b, [&](Value row) {
    forKeyVectors(b, body, {}, [&](LaneBuilder &b, Value key, ValueRange) {
      Value at = scoreAddress(b, row, key);
      b.store(each(b, row, key, b.load(b.lanes(b.f32()), at, arch.width * 4)), at, arch.width * 4);
      return SmallVector<Value>();
    });
  });
}

// key + 0, 1, 2, ... as i32 lanes.
static Value countFrom(LaneBuilder &b, Value key) {
  SmallVector<int32_t> lanes;
  for (int32_t i = 0; i < b.arch.width; ++i)
    lanes.push_back(i);
  Value offsets = arith::ConstantOp::create(
      b.builder, b.loc, DenseElementsAttr::get(b.lanes(b.i32()), ArrayRef(lanes)));
  return arith::AddIOp::create(b.builder, b.loc, b.splat(key), offsets);
}

static Value positionsFrom(LaneBuilder &b, const KeyBlock &block, Value key) {
  return countFrom(b, arith::AddIOp::create(b.builder, b.loc, block.position, b.narrow(key)));
}

void DecodeLowering::lowerMask(LaneBuilder &b, tile::MaskOp op, const Body &body) {
  ScalarContext context = frame->scalars(arch);
  rewriteScores(b, body, [&](LaneBuilder &b, Value, Value key, Value s) {
    Value admitted = inlineScalarRegion(
        b.builder, op.getBody().front(),
        {queryPosition, positionsFrom(b, body.block, key), frame->head, frame->batch}, context)[0];
    return b.select(admitted, s, b.splatF32(kMasked));
  });
}

void DecodeLowering::lowerScore(LaneBuilder &b, tile::ScoreOp op, const Body &body) {
  ScalarContext context = frame->scalars(arch);
  Value scale = b.splat(frame->word(b, ATTN_W_SCALE, b.f32()));
  rewriteScores(b, body, [&](LaneBuilder &b, Value, Value key, Value s) {
    Value result =
        inlineScalarRegion(b.builder, op.getBody().front(),
                           {b.mulF(s, scale), queryPosition, positionsFrom(b, body.block, key),
                            frame->head, frame->batch},
                           context)[0];
    return isa<VectorType>(result.getType()) ? result : b.splat(result);
  });
}

//===-- Softmax ----------------------------------------------------------------------===//

// As in CpuLowering, with the keys of a row in lanes. Old and new maxima are rounded
// to exponents the same way, so that the factors alpha of successive blocks cancel
// exactly.
void DecodeLowering::lowerSoftmaxStep(LaneBuilder &b, tile::SoftmaxStepOp op, const Body &body) {
  int64_t width = arch.width;
  Value factor = b.splat(scalars.lookup(op.getFactor()));
  b.loop(b.constI64(0), rowCount, 1, [&](Value row) {
    auto load = [&](Value key) {
      return b.load(b.lanes(b.f32()), scoreAddress(b, row, key), width * 4);
    };
    Value maxAddress = b.address(records, b.i8(), b.mul(row, rowBytes()));
    Value sumAddress = b.address(maxAddress, b.f32(), width);
    Value oldMax = b.load(b.lanes(b.f32()), maxAddress, width * 4);
    Value largest = forKeyVectors(
        b, body, ValueRange{b.splatF32(kMasked)}, [&](LaneBuilder &b, Value key, ValueRange state) {
          Value s = load(key);
          if (!body.full) { // what lies past the end was never written
            Value inside =
                arith::CmpIOp::create(b.builder, b.loc, arith::CmpIPredicate::slt,
                                      countFrom(b, b.narrow(key)), b.splat(b.narrow(body.count)));
            s = b.select(inside, s, b.splatF32(kMasked));
            b.store(s, scoreAddress(b, row, key), width * 4);
          }
          return SmallVector<Value>{b.maxF(s, state[0])};
        })[0];
    Value newMax = b.maxF(b.laneMax(largest), oldMax);
    Value base = b.mulF(newMax, factor);
    Value alpha = b.exp2(b.subF(b.mulF(oldMax, factor), base));
    Value reference = arith::NegFOp::create(b.builder, b.loc, base);
    Value sum = b.load(b.lanes(b.f32()), sumAddress, width * 4);
    sum = forKeyVectors(b, body, ValueRange{b.mulF(sum, alpha)},
                        [&](LaneBuilder &b, Value key, ValueRange state) {
                          Value p = b.exp2(b.fma(load(key), factor, reference));
                          b.store(p, scoreAddress(b, row, key), width * 4);
                          return SmallVector<Value>{b.addF(state[0], p)};
                        })[0];
    b.store(newMax, maxAddress, width * 4);
    b.store(sum, sumAddress, width * 4);
    b.store(alpha, b.address(scratch(b, alphaOffset), b.f32(), b.mul(row, width)), width * 4);
  });
}
