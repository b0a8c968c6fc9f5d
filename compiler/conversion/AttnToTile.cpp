// An attn.attention enters, the tile.kernel of one variant leaves: the online
// softmax over blocks of keys, with the mask's tile classes derived from it.
#include "compiler/conversion/KernelBuilder.h"

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

bool mlir::attn::hasDim(InputAttr input) {
  return llvm::any_of(input.getDims(), [](StringAttr dim) { return dim.getValue() == "dim"; });
}

void KernelBuilder::planBindings() {
  if (!merge) {
    plan.q = bind("q", tile::Role::q, qType, 4);
    plan.k = bind("k", tile::Role::k, kvType, 4);
    plan.v = bind("v", tile::Role::v, kvType, 4);
  }
  plan.o = bind("o", tile::Role::o, oType, 4);
  if (original.getEmitLse())
    plan.lse = bind("lse", tile::Role::lse, f32, 3);
  if (quantized && !merge) {
    plan.kScale = bind("k_scale", tile::Role::k_scale, f32, 3);
    plan.vScale = bind("v_scale", tile::Role::v_scale, f32, 3);
  }
  plan.firstTable = plan.bindings.size();
  if (original.getTables())
    for (auto table : original.getTables()->getAsRange<TableAttr>())
      bind(table.getName(), tile::Role::table, table.getElementType(), table.getRank());
  plan.firstInput = plan.bindings.size();
  if (original.getInputs() && isWhole())
    for (auto input : original.getInputs()->getAsRange<InputAttr>())
      bind(input.getName(), tile::Role::input, input.getElementType(), hasDim(input) ? 4 : 3);
  if (merge) {
    plan.partO = bind("part_o", tile::Role::part_o, oType, 4);
    plan.partLse = bind("part_lse", tile::Role::part_lse, f32, 3);
  }
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

FailureOr<SmallVector<Value>> KernelBuilder::buildWalk() {
  int64_t rows = options.blockQ, qkDim = original.getQkDim(), vDim = original.getVDim();
  Type row = tileType({rows}, f32), out = tileType({rows, vDim}, f32);
  if (!rowTraits.axes.empty() && failed(buildSortRows()))
    return failure();
  q = tile::LoadQueriesOp::create(builder, loc, tileType({rows, qkDim}, qType), plan.q);
  if (quantized) {
    auto op = tile::QuantizeOp::create(builder, loc, tileType({rows, qkDim}, kvType), row, q);
    q = op.getResult();
    qScale = op.getScale();
  }
  factor = tile::ScoreFactorOp::create(builder, loc, f32, /*plain=*/!original.getScore().empty());
  auto init = tile::SoftmaxInitOp::create(builder, loc, row, row, out);
  Cuts queryCuts(*mask, Side::query, original), keyCuts(*mask, Side::key, original);
  unsigned cutRegions = queryCuts.empty() && keyCuts.empty() ? 0 : 2;
  auto walk = tile::ForKeysOp::create(builder, loc, TypeRange{row, row, out}, init.getResults(),
                                      cutRegions);
  if (cutRegions && (failed(buildCuts(*walk.getQueryCuts(), queryCuts)) ||
                     failed(buildCuts(*walk.getKeyCuts(), keyCuts))))
    return failure();
  if (failed(buildClassify(walk.getClassify())) ||
      failed(buildStep(walk.getFull(), /*masked=*/false)) ||
      failed(buildStep(walk.getPartial(), /*masked=*/true)))
    return failure();
  return SmallVector<Value>(walk.getResults());
}

SmallVector<Value> KernelBuilder::buildMerge() {
  int64_t rows = options.blockQ, vDim = original.getVDim();
  Type row = tileType({rows}, f32), out = tileType({rows, vDim}, f32);
  factor = tile::ScoreFactorOp::create(builder, loc, f32, /*plain=*/true);
  auto parts = tile::MergePartsOp::create(builder, loc, row, row, out, plan.partO, plan.partLse);
  return SmallVector<Value>(parts.getResults());
}

LogicalResult KernelBuilder::buildBody() {
  FailureOr<SmallVector<Value>> state = merge ? buildMerge() : buildWalk();
  if (failed(state))
    return failure();
  auto sink = buildSink();
  if (failed(sink))
    return failure();
  Value max = (*state)[0], sum = (*state)[1], out = (*state)[2];
  auto finish = tile::SoftmaxFinishOp::create(builder, loc, out.getType(), max.getType(), max, sum,
                                              out, factor, *sink);
  auto output = buildOutput(finish.getOut(), finish.getLse());
  if (failed(output))
    return failure();
  tile::StoreQueriesOp::create(builder, loc, *output, plan.o);
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

FailureOr<tile::KernelOp> KernelBuilder::run(RecacheOp ofRecache, MergeOp ofMerge) {
  recache = ofRecache;
  merge = ofMerge;
  loc = recache ? recache.getLoc() : original.getLoc();
  f32 = builder.getF32Type();
  i32 = builder.getI32Type();
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
  if (options.sortRows && !merge) {
    rowTraits = findRowTraits(*mask, original, options.blockQ);
    if (!rowTraits.axes.empty())
      options.blockQ = rowTraits.tileRows;
  }
  planBindings();
  auto headCount = [&](int64_t count) {
    return count ? builder.getI64IntegerAttr(count) : IntegerAttr();
  };
  StringRef suffix = recache ? "_recache." : merge ? "_merge." : ".";
  std::string name = (original.getSymName() + suffix + options.variant).str();
  auto kernel = tile::KernelOp::create(
      builder, loc, name, builder.getArrayAttr(plan.bindings), params(), options.blockQ,
      options.blockK, original.getQkDim(), original.getVDim(), headCount(original.getHeads()),
      headCount(original.getKvHeads()));
  OpBuilder::InsertionGuard guard(builder);
  builder.createBlock(&kernel.getBody());
  if (failed(buildBody())) {
    kernel.erase();
    return failure();
  }
  tidy(kernel);
  return kernel;
}

FailureOr<tile::KernelOp> mlir::attn::lowerToTile(AttentionOp attention, RecacheOp recache,
                                                  OpBuilder &builder, const TileOptions &options) {
  return KernelBuilder(attention, builder, options).run(recache, {});
}

FailureOr<tile::KernelOp> mlir::attn::lowerMergeToTile(AttentionOp attention, MergeOp merge,
                                                       OpBuilder &builder,
                                                       const TileOptions &options) {
  return KernelBuilder(attention, builder, options).run({}, merge);
}

namespace {
struct AttnToTile : mlir::attn::impl::AttnToTileBase<AttnToTile> {
  using AttnToTileBase::AttnToTileBase;
  void runOnOperation() override {
    TileOptions options{blockQ, blockK, variant, floatType, sortRows};
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
    for (auto merge : module.getOps<MergeOp>()) {
      auto attention =
          SymbolTable::lookupNearestSymbolFrom<AttentionOp>(merge, merge.getAttentionAttr());
      if (failed(lowerMergeToTile(attention, merge, builder, options)))
        return signalPassFailure();
    }
    for (Operation &op : llvm::make_early_inc_range(*module.getBody()))
      if (isa<AttentionOp, RecacheOp, MergeOp, CacheAppendOp>(op))
        op.erase();
  }
};
} // namespace
