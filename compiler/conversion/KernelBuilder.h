// Builds one tile.kernel from an attn.attention: its state, shared by the files that
// build the frame (AttnToTile.cpp) and the scalar regions (BuildRegions.cpp).
#pragma once

#include "compiler/conversion/Cuts.h"
#include "compiler/conversion/LowerScalars.h"
#include "compiler/conversion/Passes.h"
#include "compiler/conversion/RowTraits.h"

namespace mlir::attn {

/// Heads and batch entries are few; the bound keeps index arithmetic on them narrow.
inline constexpr IntRange kItemRange{0, (1 << 20) - 1};

/// The places of a kernel's bindings.
struct BindingPlan {
  SmallVector<Attribute> bindings;
  int64_t q = 0, k = 0, v = 0, o = 0, lse = -1, kScale = -1, vScale = -1, firstTable = 0,
          firstInput = 0, partO = -1, partLse = -1;
};

class KernelBuilder {
public:
  KernelBuilder(AttentionOp attention, OpBuilder &builder, const TileOptions &options)
      : original(attention), builder(builder), options(options) {}

  /// The kernel of the attention, or of `recache`, or of `merge`.
  FailureOr<tile::KernelOp> run(RecacheOp recache, MergeOp merge);

private:
  LogicalResult chooseTypes();
  void planBindings();
  int64_t bind(StringRef name, tile::Role role, Type type, unsigned rank);
  ArrayAttr params();

  tile::TileType tileType(ArrayRef<int64_t> shape, Type type) {
    return tile::TileType::get(builder.getContext(), shape, type);
  }
  KernelTables tables() { return {attention, plan.firstTable, DenseMap<int64_t, Value>()}; }

  LogicalResult buildBody();
  FailureOr<SmallVector<Value>> buildWalk();
  SmallVector<Value> buildMerge();
  /// A part has neither sink logit nor output expression: its merge applies them.
  bool isWhole() { return merge || !original.getPartial(); }
  LogicalResult buildClassify(Region &region);
  LogicalResult buildSortRows();
  LogicalResult lowerInto(Region &region, Block &scratch, ArrayRef<IntRange> ranges);
  IntRange headRange();
  LogicalResult buildCuts(Region &region, const Cuts &cuts);
  LogicalResult buildStep(Region &region, bool masked);
  LogicalResult buildMask(Value &scores, Value keys);
  LogicalResult buildScore(Value &scores, Value keys);
  FailureOr<Value> buildSink();
  FailureOr<Value> buildOutput(Value o, Value lse);
  Value dotQK(Value keys);
  Value loadValues(Value keys);

  AttentionOp original;
  RecacheOp recache;
  MergeOp merge;
  OpBuilder &builder;
  TileOptions options;
  RowTraits rowTraits; // where the target sorts rows

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

/// Whether an input differs by dim. It is (batch, head, row) otherwise; what else a
/// declaration leaves out is a stride of 0.
bool hasDim(InputAttr input);

} // namespace mlir::attn
