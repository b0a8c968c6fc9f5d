// Checked declarations enter, the attributes and regions of attn.attention,
// attn.recache and attn.cache_append leave.
#include "compiler/import/ImportSpec.h"

#include "compiler/import/ImportExpr.h"

#include "mlir/IR/Verifier.h"

using namespace mlir;
using namespace mlir::attn;
namespace spec = ::attn::spec;

namespace {

class SpecImporter {
public:
  SpecImporter(OpBuilder &builder, const spec::AttentionSpec &spec, const std::string &fileName)
      : builder(builder), spec(spec), fileName(fileName),
        loc(importLocation(builder.getContext(), fileName, spec.range)) {}

  void run();

private:
  Location at(spec::SourceRange range) {
    return range.valid() ? importLocation(builder.getContext(), fileName, range) : loc;
  }
  Type elementType(spec::Element element);
  SpaceAttr space(const spec::SpaceInfo &info);
  TokensAttr tokens(const spec::TokensInfo &info);
  ArrayAttr params();
  ArrayAttr tables();
  ArrayAttr inputs();
  RopeAttr rope();
  CacheAttr cache();
  /// Fills `region` with one block of `types`, in which `expr` is yielded.
  void fill(Region &region, ArrayRef<Type> types, const spec::ExprPtr &expr,
            function_ref<RegionArguments(Block &)> name);
  void fillMask(Region &region, const spec::ExprPtr &expr);

  OpBuilder &builder;
  const spec::AttentionSpec &spec;
  const std::string &fileName;
  Location loc;
};

Type SpecImporter::elementType(spec::Element element) {
  switch (element) {
  case spec::Element::F32:
    return builder.getF32Type();
  case spec::Element::BF16:
    return builder.getBF16Type();
  case spec::Element::F16:
    return builder.getF16Type();
  case spec::Element::Int8:
    return builder.getI8Type();
  case spec::Element::Int32:
    return builder.getI32Type();
  case spec::Element::UInt8:
    return builder.getIntegerType(8, /*isSigned=*/false);
  }
  return {};
}

SpaceAttr SpecImporter::space(const spec::SpaceInfo &info) {
  SmallVector<AxisAttr> axes;
  for (const spec::SpaceAxis &axis : info.axes) {
    bool bounded = axis.kind == spec::AxisKind::Fixed || axis.kind == spec::AxisKind::Ragged;
    int64_t extent = bounded && axis.extent.isStatic() ? axis.extent.value : 0;
    axes.push_back(AxisAttr::get(builder.getContext(), axis.name,
                                 static_cast<mlir::attn::AxisKind>(axis.kind), extent));
  }
  return SpaceAttr::get(builder.getContext(), info.name, axes);
}

TokensAttr SpecImporter::tokens(const spec::TokensInfo &info) {
  SmallVector<StringAttr> spaces;
  for (const spec::TokenGroup &group : info.groups)
    spaces.push_back(builder.getStringAttr(spec.spaces[group.space].name));
  return TokensAttr::get(builder.getContext(), info.name, spaces);
}

ArrayAttr SpecImporter::params() {
  SmallVector<Attribute> result;
  for (const spec::ParamInfo &param : spec.params) {
    bool isFloat = param.type == spec::Type::Float;
    auto bound = [&](double value) {
      return isFloat ? cast<TypedAttr>(Attribute(builder.getF32FloatAttr(value)))
                     : cast<TypedAttr>(Attribute(builder.getI32IntegerAttr(value)));
    };
    result.push_back(mlir::attn::ParamAttr::get(builder.getContext(), param.name,
                                                bound(param.minimum), bound(param.maximum)));
  }
  return result.empty() ? ArrayAttr() : builder.getArrayAttr(result);
}

ArrayAttr SpecImporter::tables() {
  SmallVector<Attribute> result;
  // The implicit tables of a packed space number its documents in order.
  for (const spec::TableInfo &table : spec.tables)
    result.push_back(TableAttr::get(builder.getContext(), table.name, elementType(table.element),
                                    table.dims.size(), /*sorted=*/table.implicit));
  return result.empty() ? ArrayAttr() : builder.getArrayAttr(result);
}

ArrayAttr SpecImporter::inputs() {
  SmallVector<Attribute> result;
  for (const spec::InputInfo &input : spec.inputs) {
    SmallVector<StringAttr> dims;
    for (const std::string &dim : input.dims)
      dims.push_back(builder.getStringAttr(dim));
    result.push_back(
        InputAttr::get(builder.getContext(), input.name, elementType(input.element), dims));
  }
  return result.empty() ? ArrayAttr() : builder.getArrayAttr(result);
}

RopeAttr SpecImporter::rope() {
  if (!spec.rope)
    return {};
  SmallVector<RopeAxisAttr> axes;
  for (const auto &axis : spec.rope->axes)
    axes.push_back(RopeAxisAttr::get(builder.getContext(), axis.axis, axis.dims));
  return RopeAttr::get(builder.getContext(), static_cast<mlir::attn::RopeKind>(spec.rope->kind),
                       builder.getF64FloatAttr(spec.rope->theta),
                       static_cast<mlir::attn::RopeOrigin>(spec.rope->origin), axes);
}

CacheAttr SpecImporter::cache() {
  if (!spec.cache)
    return {};
  const spec::CacheInfo &info = *spec.cache;
  return CacheAttr::get(builder.getContext(), info.whole ? info.tokens : info.axis.name, info.pin,
                        info.ring, elementType(info.element.value_or(spec.types.k)),
                        static_cast<mlir::attn::Granularity>(info.granularity),
                        static_cast<mlir::attn::WritePolicy>(info.write), info.storeRoped);
}

void SpecImporter::fill(Region &region, ArrayRef<Type> types, const spec::ExprPtr &expr,
                        function_ref<RegionArguments(Block &)> name) {
  OpBuilder::InsertionGuard guard(builder);
  Block *block =
      builder.createBlock(&region, {}, types, SmallVector<Location>(types.size(), at(expr->range)));
  ExprImporter importer(builder, spec, fileName, name(*block));
  Value value = importer.import(expr);
  mlir::attn::YieldOp::create(builder, at(expr->range), value);
}

void SpecImporter::fillMask(Region &region, const spec::ExprPtr &expr) {
  Type query = PositionType::get(builder.getContext(), mlir::attn::Side::query);
  Type key = PositionType::get(builder.getContext(), mlir::attn::Side::key);
  Type i32 = builder.getI32Type();
  fill(region, {query, key, i32, i32}, expr, [](Block &block) {
    RegionArguments arguments;
    arguments.query = block.getArgument(AttentionOp::MaskQuery);
    arguments.key = block.getArgument(AttentionOp::MaskKey);
    arguments.head = block.getArgument(AttentionOp::MaskHead);
    arguments.batch = block.getArgument(AttentionOp::MaskBatch);
    return arguments;
  });
}

void SpecImporter::run() {
  MLIRContext *context = builder.getContext();
  Type i32 = builder.getI32Type(), f32 = builder.getF32Type();
  SmallVector<Attribute> spaces;
  for (const spec::SpaceInfo &info : spec.spaces)
    spaces.push_back(space(info));
  QueryBlockAttr queryBlock;
  if (spec.queryBlock)
    queryBlock = QueryBlockAttr::get(context, spec.queryBlock->axis.name, spec.queryBlock->minimum,
                                     spec.queryBlock->maximum);
  auto types = TypesAttr::get(context, elementType(spec.types.q), elementType(spec.types.k),
                              elementType(spec.types.v), elementType(spec.types.o));
  auto op = AttentionOp::create(
      builder, loc, spec.name, spec.heads, spec.kvHeads, spec.qkDim, spec.vDim, types,
      builder.getArrayAttr(spaces), tokens(spec.query), tokens(spec.keys), queryBlock, params(),
      tables(), inputs(), rope(), cache(),
      spec.scale ? builder.getF64FloatAttr(*spec.scale) : FloatAttr(), spec.emitLse, spec.partial);
  fillMask(op.getMask(), spec.mask);
  if (spec.score) {
    Type query = PositionType::get(context, mlir::attn::Side::query);
    Type key = PositionType::get(context, mlir::attn::Side::key);
    fill(op.getScore(), {f32, query, key, i32, i32}, spec.score, [](Block &block) {
      RegionArguments arguments;
      arguments.score = block.getArgument(AttentionOp::ScoreValue);
      arguments.query = block.getArgument(AttentionOp::ScoreQuery);
      arguments.key = block.getArgument(AttentionOp::ScoreKey);
      arguments.head = block.getArgument(AttentionOp::ScoreHead);
      arguments.batch = block.getArgument(AttentionOp::ScoreBatch);
      return arguments;
    });
  }
  if (spec.sinkLogit)
    fill(op.getSink(), {i32, i32}, spec.sinkLogit, [](Block &block) {
      RegionArguments arguments;
      arguments.head = block.getArgument(AttentionOp::SinkHead);
      arguments.batch = block.getArgument(AttentionOp::SinkBatch);
      return arguments;
    });
  if (spec.output) {
    Type query = PositionType::get(context, mlir::attn::Side::query);
    fill(op.getOutput(), {f32, f32, query, i32, i32}, spec.output, [](Block &block) {
      RegionArguments arguments;
      arguments.output = block.getArgument(AttentionOp::OutputValue);
      arguments.logSumExp = block.getArgument(AttentionOp::OutputLse);
      arguments.query = block.getArgument(AttentionOp::OutputQuery);
      arguments.head = block.getArgument(AttentionOp::OutputHead);
      arguments.batch = block.getArgument(AttentionOp::OutputBatch);
      return arguments;
    });
  }
  if (spec.recache) {
    auto recache = RecacheOp::create(
        builder, at(spec.recache->range), spec.name + "_" + spec.recache->event, spec.name,
        spec.recache->event, spec.recache->replay, spec.recache->pin == spec::PinRecache::Keep);
    fillMask(recache.getMask(), spec.recache->mask);
  }
  if (spec.partial)
    MergeOp::create(builder, loc, spec.name + "_merge", spec.name);
  auto source = dyn_cast<FloatType>(elementType(spec.types.k));
  if (spec.cache && source)
    CacheAppendOp::create(builder, at(spec.cache->range), spec.name + "_append", spec.name, source);
}

} // namespace

static OwningOpRef<ModuleOp> importAll(MLIRContext *context, const spec::CheckedSpec &spec,
                                       ArrayRef<const spec::AttentionSpec *> attentions) {
  context->loadDialect<AttnDialect, arith::ArithDialect, math::MathDialect>();
  OwningOpRef<ModuleOp> module =
      ModuleOp::create(FileLineColLoc::get(context, spec.fileName, 1, 1));
  OpBuilder builder(context);
  builder.setInsertionPointToEnd(module->getBody());
  for (const spec::AttentionSpec *attention : attentions)
    SpecImporter(builder, *attention, spec.fileName).run();
  if (failed(verify(*module)))
    return nullptr;
  return module;
}

OwningOpRef<ModuleOp> mlir::attn::importAttention(MLIRContext *context,
                                                  const spec::CheckedSpec &spec,
                                                  const spec::AttentionSpec &attention) {
  return importAll(context, spec, {&attention});
}

OwningOpRef<ModuleOp> mlir::attn::importSpec(MLIRContext *context, const spec::CheckedSpec &spec) {
  SmallVector<const spec::AttentionSpec *> attentions;
  for (const spec::AttentionSpec &attention : spec.attentions)
    attentions.push_back(&attention);
  return importAll(context, spec, attentions);
}
