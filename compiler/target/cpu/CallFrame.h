// Reads the words and buffers of a call (runtime/bundle/kernel_abi.h): emits the
// loads once per kernel or per work item and hands out the values.
#pragma once

#include "compiler/conversion/KeyWalk.h"
#include "compiler/target/cpu/LaneBuilder.h"
#include "dialects/tile/TileDialect.h"

namespace mlir::attn {

/// The rows of a binding for one head of one batch entry.
struct BindingRows {
  Value base;   ///< address of token 0, dim 0
  Value stride; ///< elements from token to token, i64
  Type element;
};

class CallFrame {
public:
  CallFrame(tile::KernelOp kernel, Value words, Value buffers)
      : kernel(kernel), words(words), buffers(buffers) {}

  Value word(LaneBuilder &b, int64_t index, Type type = {});
  Value wordAt(LaneBuilder &b, Value index);

  /// Emits what depends on the call alone.
  void enterCall(LaneBuilder &b);
  /// Emits what depends on the work item; `item` is an i32.
  void enterItem(LaneBuilder &b, Value item);
  void enterItem(LaneBuilder &b, Value batch, Value head, Value qTile);

  BindingRows rows(LaneBuilder &b, int64_t binding);
  ScalarContext scalars(const CpuArch &arch);

  // i32 each.
  Value qLen, qTiles, heads, headsPerKv;
  Value batch, head, kvHead;
  Value qFirst;  ///< the item's first query row
  Value qCount;  ///< its number of valid query rows
  WalkItem item; ///< positions of its first and last row, head, batch

private:
  Value bindingWord(LaneBuilder &b, int64_t binding, int64_t word);
  Value tableLoad(LaneBuilder &b, int64_t binding, ValueRange indices, Type type);
  tile::BindingAttr binding(int64_t index);

  tile::KernelOp kernel;
  Value words, buffers;
};

} // namespace mlir::attn
