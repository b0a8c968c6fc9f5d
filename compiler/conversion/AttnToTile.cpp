// An attn.attention enters, the tile.kernel of one variant leaves: the online
// softmax over blocks of keys, with the mask's tile classes derived from it.
#include "compiler/conversion/Classify.h"
#include "compiler/conversion/LowerScalars.h"
#include "compiler/conversion/Passes.h"

#include "mlir/IR/Dominance.h"
#include "mlir/IR/PatternMatch.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"
#include "mlir/Transforms/CSE.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"

#include <cmath>

using namespace mlir;
using namespace mlir::attn;

namespace mlir::attn {
#define GEN_PASS_DEF_ATTNTOTILE
#include "compiler/conversion/Passes.h.inc"
} // namespace mlir::attn

namespace {

/// Heads and batch entries are few; the bound keeps index arithmetic on them narrow.
constexpr IntRange kItemRange{0, (1 << 20) - 1};

/// The places of a kernel's bindings.
struct BindingPlan {
  SmallVector<Attribute> bindings;
  int64_t q = 0, k = 0, v = 0, o = 0, lse = -1, kScale = -1, vScale = -1, firstTable = 0;
};

class KernelBuilder {
public:
  KernelBuilder(AttentionOp attention, RecacheOp recache, OpBuilder &builder,
                const TileOptions &options)
      : original(attention), recache(recache), builder(builder), options(options) {}

  FailureOr<tile::KernelOp> run();

private:
  LogicalResult chooseTypes();
  void planBindings();
  int64_t bind(StringRef name, tile::Role role, Type type, unsigned rank);
  ArrayAttr params();

  tile::TileType tileType(ArrayRef<int64_t> shape, Type type) {
    return tile::TileType::get(builder.getContext(), shape, type);
  }
  KernelTables tables() { return {attention, plan.firstTable}; }

  LogicalResult buildBody(tile::KernelOp kernel);
  LogicalResult buildClassify(Region &region);
  LogicalResult buildStep(Region &region, bool masked);
  LogicalResult buildMask(Value &scores, Value keys);
  LogicalResult buildScore(Value &scores, Value keys);
  FailureOr<Value> buildSink();
  Value dotQK(Value keys);
  Value loadValues(Value keys);

  AttentionOp original;
  RecacheOp recache;
  OpBuilder &builder;
  const TileOptions &options;

  AttentionOp attention; // a copy whose patterns are expanded
  Block *mask = nullptr; // of the copy
  OwningOpRef<AttentionOp> attentionCopy;
  OwningOpRef<RecacheOp> recacheCopy;
  Location loc = builder.getUnknownLoc();
  Type f32, i32, qType, kvType, oType;
  bool quantized = false;
  BindingPlan plan;
  Value q, qScale, factor; // the query tile, its scales if quantised, the exponent factor
};

//===-- Types and bindings ----------------------------------------------------===//

static Type floatTypeNamed(StringRef name, Builder &builder) {
  return llvm::StringSwitch<Type>(name)
      .Case("f32", builder.getF32Type())
      .Case("bf16", builder.getBF16Type())
      .Case("f16", builder.getF16Type())
      .Default(Type());
}

LogicalResult KernelBuilder::chooseTypes() {
  if (options.variant == "int8") {
    quantized = true;
    kvType = builder.getI8Type();
    qType = oType = floatTypeNamed(options.floatType, builder);
    if (options.floatType.empty()) {
      qType = original.getTypes().getQ();
      oType = original.getTypes().getO();
    }
    if (!qType)
      return original.emitOpError("is asked for q of type '")
             << options.floatType << "'; must be f32, bf16 or f16";
    return success();
  }
  qType = kvType = oType = floatTypeNamed(options.variant, builder);
  if (!qType)
    return original.emitOpError("is asked for variant '")
           << options.variant << "'; must be f32, bf16, f16 or int8";
  return success();
}

int64_t KernelBuilder::bind(StringRef name, tile::Role role, Type type, unsigned rank) {
  plan.bindings.push_back(tile::BindingAttr::get(builder.getContext(), name, role, type, rank));
  return plan.bindings.size() - 1;
}

void KernelBuilder::planBindings() {
  plan.q = bind("q", tile::Role::q, qType, 4);
  plan.k = bind("k", tile::Role::k, kvType, 4);
  plan.v = bind("v", tile::Role::v, kvType, 4);
  plan.o = bind("o", tile::Role::o, oType, 4);
  if (original.getEmitLse())
    plan.lse = bind("lse", tile::Role::lse, f32, 3);
  if (quantized) {
    plan.kScale = bind("k_scale", tile::Role::k_scale, f32, 3);
    plan.vScale = bind("v_scale", tile::Role::v_scale, f32, 3);
  }
  plan.firstTable = plan.bindings.size();
  if (original.getTables())
    for (auto table : original.getTables()->getAsRange<TableAttr>())
      bind(table.getName(), tile::Role::table, table.getElementType(), table.getRank());
  if (original.getInputs())
    for (auto input : original.getInputs()->getAsRange<InputAttr>())
      bind(input.getName(), tile::Role::input, input.getElementType(), input.getDims().size());
}

ArrayAttr KernelBuilder::params() {
  SmallVector<Attribute> result;
  if (original.getParams())
    for (auto param : original.getParams()->getAsRange<attn::ParamAttr>()) {
      int64_t least, most;
      if (param.getType().isInteger(32)) {
        least = cast<IntegerAttr>(param.getMinimum()).getInt();
        most = cast<IntegerAttr>(param.getMaximum()).getInt();
      } else {
        // The record holds whole numbers: the range is rounded outwards.
        least = std::floor(cast<FloatAttr>(param.getMinimum()).getValueAsDouble());
        most = std::ceil(cast<FloatAttr>(param.getMaximum()).getValueAsDouble());
      }
      result.push_back(tile::ParamAttr::get(builder.getContext(), param.getName(), param.getType(),
                                            least, most));
    }
  return builder.getArrayAttr(result);
}

//===-- Scalar regions ------------------------------------------------------------===//

// The classify region: the mask over intervals of positions.
LogicalResult KernelBuilder::buildClassify(Region &region) {
  OpBuilder::InsertionGuard guard(builder);
  // Intervals are emitted as attn scalars into a scratch block, then lowered.
  Block scratch;
  SmallVector<Type> types(6, i32);
  SmallVector<Location> locs(6, loc);
  scratch.addArguments(types, locs);
  builder.setInsertionPointToEnd(&scratch);
  using Classify = tile::ForKeysOp::ClassifyArg;
  IntRange positions{0, kMaxPosition};
  IntRange heads = kItemRange;
  if (original.getHeads())
    heads.max = original.getHeads() - 1;
  auto argument = [&](Classify which) { return scratch.getArgument(which); };
  ClassifyBox box{{argument(Classify::QLow), argument(Classify::QHigh), positions},
                  {argument(Classify::KLow), argument(Classify::KHigh), positions},
                  {argument(Classify::Head), argument(Classify::Head), heads},
                  {argument(Classify::Batch), argument(Classify::Batch), kItemRange}};
  Block &source = recache ? recache.getMask().front() : original.getMask().front();
  Truth truth = emitClassification(builder, source, box, original);
  tile::YieldOp::create(builder, loc, ValueRange{truth.any, truth.all});

  Block *block = builder.createBlock(&region, {}, types, locs);
  SmallVector<LoweredValue> arguments;
  for (auto [index, value] : llvm::enumerate(block->getArguments()))
    arguments.push_back({value, index < 4                 ? positions
                                : index == Classify::Head ? heads
                                                          : kItemRange});
  auto results = lowerScalars(builder, scratch, arguments, tables());
  if (failed(results))
    return failure();
  tile::YieldOp::create(builder, loc, *results);
  return success();
}

LogicalResult KernelBuilder::buildMask(Value &scores, Value keys) {
  auto op =
      tile::MaskOp::create(builder, mask->getParentOp()->getLoc(), scores.getType(), scores, keys);
  OpBuilder::InsertionGuard guard(builder);
  Block *block =
      builder.createBlock(&op.getBody(), {}, {i32, i32, i32, i32}, SmallVector<Location>(4, loc));
  IntRange positions{0, kMaxPosition};
  IntRange ranges[] = {positions, positions, kItemRange, kItemRange};
  SmallVector<LoweredValue> arguments;
  for (auto [value, range] : llvm::zip_equal(block->getArguments(), ranges))
    arguments.push_back({value, range});
  auto results = lowerScalars(builder, *mask, arguments, tables());
  if (failed(results))
    return failure();
  tile::YieldOp::create(builder, loc, *results);
  scores = op.getResult();
  return success();
}

LogicalResult KernelBuilder::buildScore(Value &scores, Value keys) {
  Block &source = attention.getScore().front();
  auto op = tile::ScoreOp::create(builder, source.getTerminator()->getLoc(), scores.getType(),
                                  scores, keys);
  OpBuilder::InsertionGuard guard(builder);
  Block *block = builder.createBlock(&op.getBody(), {}, {f32, i32, i32, i32, i32},
                                     SmallVector<Location>(5, loc));
  IntRange positions{0, kMaxPosition};
  IntRange ranges[] = {IntRange::all(), positions, positions, kItemRange, kItemRange};
  SmallVector<LoweredValue> arguments;
  for (auto [value, range] : llvm::zip_equal(block->getArguments(), ranges))
    arguments.push_back({value, range});
  auto results = lowerScalars(builder, source, arguments, tables());
  if (failed(results))
    return failure();
  tile::YieldOp::create(builder, loc, *results);
  scores = op.getResult();
  return success();
}

FailureOr<Value> KernelBuilder::buildSink() {
  if (original.getSink().empty())
    return Value();
  Value head = tile::IndexOp::create(builder, loc, i32, 0);
  Value batch = tile::IndexOp::create(builder, loc, i32, 1);
  auto results = lowerScalars(builder, original.getSink().front(),
                              {{head, kItemRange}, {batch, kItemRange}}, tables());
  if (failed(results))
    return failure();
  return results->front();
}

//===-- The kernel ------------------------------------------------------------------===//

Value KernelBuilder::dotQK(Value keys) {
  int64_t rows = options.blockQ, columns = options.blockK, dim = original.getQkDim();
  Value k = tile::LoadKeysOp::create(builder, loc, tileType({columns, dim}, kvType), keys, plan.k);
  Type dots = tileType({rows, columns}, quantized ? i32 : f32);
  Value scores = tile::DotQKOp::create(builder, loc, dots, q, k);
  if (!quantized)
    return scores;
  Value kScale =
      tile::LoadKeysOp::create(builder, loc, tileType({columns}, f32), keys, plan.kScale);
  return tile::DequantizeScoresOp::create(builder, loc, tileType({rows, columns}, f32), scores,
                                          qScale, kScale);
}

Value KernelBuilder::loadValues(Value keys) {
  int64_t columns = options.blockK, dim = original.getVDim();
  Value v = tile::LoadKeysOp::create(builder, loc, tileType({columns, dim}, kvType), keys, plan.v);
  if (!quantized)
    return v;
  Value vScale =
      tile::LoadKeysOp::create(builder, loc, tileType({columns}, f32), keys, plan.vScale);
  return tile::DequantizeKeysOp::create(builder, loc, tileType({columns, dim}, f32), v, vScale);
}

// One body of the walk: scores, softmax step, values. `masked`: short blocks and
// blocks that some pairs of the mask leave out.
LogicalResult KernelBuilder::buildStep(Region &region, bool masked) {
  OpBuilder::InsertionGuard guard(builder);
  int64_t rows = options.blockQ;
  Type row = tileType({rows}, f32), out = tileType({rows, int64_t(original.getVDim())}, f32);
  Block *block =
      builder.createBlock(&region, {}, {tile::KeysType::get(builder.getContext()), row, row, out},
                          SmallVector<Location>(4, loc));
  Value keys = block->getArgument(0), max = block->getArgument(1), sum = block->getArgument(2),
        o = block->getArgument(3);
  Value scores = dotQK(keys);
  if (!original.getScore().empty() && failed(buildScore(scores, keys)))
    return failure();
  if (masked && failed(buildMask(scores, keys)))
    return failure();
  auto step = tile::SoftmaxStepOp::create(builder, loc, scores.getType(), row, row, row, scores,
                                          max, sum, factor);
  Value v = loadValues(keys);
  Value newOut = tile::DotPVOp::create(builder, loc, out, step.getP(), v, o, step.getAlpha());
  tile::YieldOp::create(builder, loc, ValueRange{step.getNewMax(), step.getNewSum(), newOut});
  return success();
}

LogicalResult KernelBuilder::buildBody(tile::KernelOp kernel) {
  int64_t rows = options.blockQ, qkDim = original.getQkDim(), vDim = original.getVDim();
  Type row = tileType({rows}, f32), out = tileType({rows, vDim}, f32);
  q = tile::LoadQueriesOp::create(builder, loc, tileType({rows, qkDim}, qType), plan.q);
  if (quantized) {
    auto op = tile::QuantizeOp::create(builder, loc, tileType({rows, qkDim}, kvType), row, q);
    q = op.getResult();
    qScale = op.getScale();
  }
  factor = tile::ScoreFactorOp::create(builder, loc, f32, /*plain=*/!original.getScore().empty());
  auto init = tile::SoftmaxInitOp::create(builder, loc, row, row, out);
  auto walk = tile::ForKeysOp::create(builder, loc, TypeRange{row, row, out}, init.getResults());
  if (failed(buildClassify(walk.getClassify())) ||
      failed(buildStep(walk.getFull(), /*masked=*/false)) ||
      failed(buildStep(walk.getPartial(), /*masked=*/true)))
    return failure();
  auto sink = buildSink();
  if (failed(sink))
    return failure();
  auto finish = tile::SoftmaxFinishOp::create(builder, loc, out, row, walk.getResult(0),
                                              walk.getResult(1), walk.getResult(2), factor, *sink);
  tile::StoreQueriesOp::create(builder, loc, finish.getOut(), plan.o);
  if (plan.lse >= 0)
    tile::StoreQueriesOp::create(builder, loc, finish.getLse(), plan.lse);
  return success();
}

// Folds, shares and drops scalar ops, so that a walk classifies at little cost.
static void tidy(tile::KernelOp kernel) {
  MLIRContext *context = kernel.getContext();
  RewritePatternSet patterns(context);
  for (StringRef name : {"arith", "math"})
    context->getOrLoadDialect(name)->getCanonicalizationPatterns(patterns);
  for (RegisteredOperationName op : context->getRegisteredOperations())
    if (op.getDialectNamespace() == "arith")
      op.getCanonicalizationPatterns(patterns, context);
  // Tile ops with effects or regions are not touched by these patterns.
  (void)applyPatternsGreedily(kernel, std::move(patterns));
  IRRewriter rewriter(context);
  DominanceInfo dominance(kernel);
  eliminateCommonSubExpressions(rewriter, dominance, kernel);
}

FailureOr<tile::KernelOp> KernelBuilder::run() {
  loc = recache ? recache.getLoc() : original.getLoc();
  f32 = builder.getF32Type();
  i32 = builder.getI32Type();
  if (!original.getOutput().empty())
    return emitError(original.getOutput().front().getTerminator()->getLoc(),
                     "kernels cannot apply an output expression yet; leave it out of the spec "
                     "and apply it to the kernel's output");
  if (failed(chooseTypes()))
    return failure();
  attentionCopy = original.clone();
  attention = *attentionCopy;
  expandPatterns(attention);
  mask = &attention.getMask().front();
  if (recache) {
    recacheCopy = recache.clone();
    expandPatterns(*recacheCopy);
    mask = &recacheCopy->getMask().front();
  }
  planBindings();
  auto headCount = [&](int64_t count) {
    return count ? builder.getI64IntegerAttr(count) : IntegerAttr();
  };
  std::string name =
      (original.getSymName() + (recache ? "_recache." : ".") + options.variant).str();
  auto kernel = tile::KernelOp::create(
      builder, loc, name, builder.getArrayAttr(plan.bindings), params(), options.blockQ,
      options.blockK, original.getQkDim(), original.getVDim(), headCount(original.getHeads()),
      headCount(original.getKvHeads()));
  OpBuilder::InsertionGuard guard(builder);
  builder.createBlock(&kernel.getBody());
  if (failed(buildBody(kernel))) {
    kernel.erase();
    return failure();
  }
  tidy(kernel);
  return kernel;
}

} // namespace

FailureOr<tile::KernelOp> mlir::attn::lowerToTile(AttentionOp attention, RecacheOp recache,
                                                  OpBuilder &builder, const TileOptions &options) {
  return KernelBuilder(attention, recache, builder, options).run();
}

namespace {
struct AttnToTile : mlir::attn::impl::AttnToTileBase<AttnToTile> {
  using AttnToTileBase::AttnToTileBase;
  void runOnOperation() override {
    TileOptions options{blockQ, blockK, variant, floatType};
    ModuleOp module = getOperation();
    OpBuilder builder(&getContext());
    builder.setInsertionPointToEnd(module.getBody());
    for (auto attention : llvm::make_early_inc_range(module.getOps<AttentionOp>()))
      if (failed(lowerToTile(attention, {}, builder, options)))
        return signalPassFailure();
    for (auto recache : module.getOps<RecacheOp>()) {
      auto attention =
          SymbolTable::lookupNearestSymbolFrom<AttentionOp>(recache, recache.getAttentionAttr());
      if (failed(lowerToTile(attention, recache, builder, options)))
        return signalPassFailure();
    }
    for (Operation &op : llvm::make_early_inc_range(*module.getBody()))
      if (isa<AttentionOp, RecacheOp, CacheAppendOp>(op))
        op.erase();
  }
};
} // namespace
