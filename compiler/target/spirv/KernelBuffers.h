// Reads and writes a kernel's words and buffers by the rules of kernel_abi.h:
// what enters are tokens and dims, what leaves are memref accesses.
#pragma once

#include "compiler/target/spirv/SpirvSchedule.h"
#include "dialects/tile/TileDialect.h"
#include "runtime/bundle/kernel_abi.h"

#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/IR/Builders.h"

namespace mlir::attn {

/// How a buffer is declared: a runtime array of `access`, each of which holds
/// `elements` elements, four where the head dim allows. Every device has 32-bit
/// storage, so on T0 narrower elements are packed in words, the first in the
/// lowest bits; with narrow storage halves are declared as i16.
struct BufferForm {
  Type access;
  int64_t elements;
  bool isPacked; ///< several elements to a word
};
BufferForm bufferForm(tile::KernelOp kernel, tile::BindingAttr binding, const SpirvTier &tier);

class KernelBuffers {
public:
  /// `func` has the words and then one buffer per binding as arguments. Reads
  /// that serve the whole kernel are placed at its beginning.
  KernelBuffers(tile::KernelOp kernel, const SpirvTier &tier, gpu::GPUFuncOp func, Value head,
                Value batch);

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
  /// f16 too): a vector, or a scalar for width 1. They must begin and end on an
  /// access.
  Value load(OpBuilder &b, Location loc, int64_t binding, Value element, int64_t width);
  /// One element as `type`; a narrow one may lie anywhere in its word.
  Value loadElement(OpBuilder &b, Location loc, int64_t binding, Value element, Type type);
  /// Stores f32 numbers, rounded to nearest even. `value` may also be an i32:
  /// the bits of an f32 number.
  void store(OpBuilder &b, Location loc, int64_t binding, Value element, Value value);
  /// The words that hold elements [element, element + width) of an int8 binding.
  SmallVector<Value> loadWords(OpBuilder &b, Location loc, int64_t binding, Value element,
                               int64_t width);
  /// How many elements of a binding one access reads.
  int64_t perAccess(int64_t binding) { return forms[binding].elements; }

  /// One element of a table, indices clamped.
  Value tableElement(OpBuilder &b, Location loc, int64_t binding, ValueRange indices, Type type);

  tile::BindingAttr binding(int64_t index) {
    return cast<tile::BindingAttr>(kernel.getBindings()[index]);
  }

private:
  Value loadStorage(OpBuilder &b, Location loc, int64_t binding, Value index);
  Value accessIndex(OpBuilder &b, Location loc, int64_t binding, Value element, int64_t offset);
  Value strideWord(int64_t binding, int64_t which) {
    return word(ATTN_W_BINDINGS + ATTN_BINDING_WORDS * binding + which);
  }

  tile::KernelOp kernel;
  gpu::GPUFuncOp func;
  Value headIndex, batchIndex, kvHead;
  DenseMap<int64_t, Value> words, bases;
  SmallVector<BufferForm> forms;
};

} // namespace mlir::attn
