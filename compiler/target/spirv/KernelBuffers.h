// Reads and writes a kernel's words and buffers by the rules of kernel_abi.h:
// what enters are tokens and dims, what leaves are memref accesses.
#pragma once

#include "dialects/tile/TileDialect.h"
#include "runtime/bundle/kernel_abi.h"

#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/IR/Builders.h"

namespace mlir::attn {

/// How a buffer is declared. Every device has 32-bit storage, so buffers are
/// runtime arrays of 32-bit elements; narrower elements are packed in words,
/// the first in the lowest bits.
Type storageType(tile::BindingAttr binding);

class KernelBuffers {
public:
  /// `func` has the words and then one buffer per binding as arguments. Reads
  /// that serve the whole kernel are placed at its beginning.
  KernelBuffers(tile::KernelOp kernel, gpu::GPUFuncOp func, Value head, Value batch);

  /// The call's word `index`, read once.
  Value word(int64_t index);
  /// The call's word at a computed index.
  Value wordAt(OpBuilder &b, Location loc, Value index);
  Value param(int64_t index, Type type);
  Value head() const { return headIndex; }
  Value batch() const { return batchIndex; }

  /// Element index of (batch, head, token, dim 0) of `binding`.
  Value row(OpBuilder &b, Location loc, int64_t binding, Value token);

  /// Elements [element, element + width) of a binding as f32 numbers (int8 and
  /// f16 too): a vector, or a scalar for width 1. Narrow elements must begin and
  /// end on words.
  Value load(OpBuilder &b, Location loc, int64_t binding, Value element, int64_t width);
  /// One element as `type`; a narrow one may lie anywhere in its word.
  Value loadElement(OpBuilder &b, Location loc, int64_t binding, Value element, Type type);
  /// Stores f32 numbers, rounded to nearest even. `value` may also be an i32:
  /// the bits of an f32 number.
  void store(OpBuilder &b, Location loc, int64_t binding, Value element, Value value);
  /// How many elements of a binding a word holds.
  int64_t perWord(int64_t binding);

  /// One element of a table, indices clamped.
  Value tableElement(OpBuilder &b, Location loc, int64_t binding, ValueRange indices, Type type);

  tile::BindingAttr binding(int64_t index) {
    return cast<tile::BindingAttr>(kernel.getBindings()[index]);
  }

private:
  Value loadStorage(OpBuilder &b, Location loc, int64_t binding, Value index);
  Value strideWord(int64_t binding, int64_t which) {
    return word(ATTN_W_BINDINGS + ATTN_BINDING_WORDS * binding + which);
  }

  tile::KernelOp kernel;
  gpu::GPUFuncOp func;
  Value headIndex, batchIndex, kvHead;
  DenseMap<int64_t, Value> words, bases;
};

} // namespace mlir::attn
