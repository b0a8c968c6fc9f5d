// The instructions of sm_90a that kernels are made of: mbarriers, bulk tensor
// copies, warpgroup products. Most have no op, so that they are inline PTX.
#pragma once

#include "compiler/target/ptx/PtxBuilder.h"

namespace mlir::attn {

/// How a product reads an operand in shared memory: the constant part of its
/// 64-bit descriptor. Strides are bytes.
///
///   bits 0-13   address / 16          bits 32-45  stride / 16 (8 rows further)
///   bits 16-29  leading / 16          bits 62-63  1, 2, 3: swizzle 128, 64, 32
///
/// Operands with consecutive k have panels of one swizzle width along k, and
/// `leading` is unused; a transposed B has panels along n, `leading` bytes apart.
uint64_t operandDescriptor(int64_t swizzle, int64_t leading, int64_t stride);

class HopperBuilder : public PtxBuilder {
public:
  using PtxBuilder::PtxBuilder;
  HopperBuilder(const PtxBuilder &p) : PtxBuilder(p) {}

  /// Inline PTX with side effects; `$0`, `$1`.. are the results, then the operands.
  /// Constraint letters are derived from the types.
  SmallVector<Value> inlinePtx(StringRef text, TypeRange results, ValueRange operands,
                               unsigned tied = 0);

  // Barriers in shared memory; addresses are i32.
  void barrierInit(Value barrier, int64_t arrivals);
  void fenceBarrierInit();
  /// Waits until the phase with this parity (i32) is complete.
  void barrierWait(Value barrier, Value parity);
  /// Arrives; `condition` is i1.
  void barrierArriveIf(Value condition, Value barrier);
  /// Arrives and adds `bytes` to what the phase waits for.
  void barrierExpect(Value barrier, int64_t bytes);
  void barrierArrive(Value barrier);

  /// Copies the box at `coordinates` (innermost first) of the tensor map.
  void copyBulk(Value shared, Value map, ValueRange coordinates, Value barrier);
  /// Writes by threads become visible to copies and products.
  void fenceAsync();

  // Barriers among `threads` threads.
  void namedSync(Value id, int64_t threads);
  void namedArrive(Value id, int64_t threads);

  void setMaxRegisters(int64_t count, bool increase);

  /// Starts acc + A * B with 64 rows and `columns` columns as one group of products;
  /// acc empty: A * B. A is a descriptor (i64), or four words for each of the steps;
  /// offsets (bytes / 16) are added to the descriptors step by step.
  struct Product {
    Type element;
    int64_t columns = 0;
    ValueRange a;
    SmallVector<int64_t> aOffsets; ///< of a descriptor; empty: registers
    Value b;
    SmallVector<int64_t> bOffsets;
    bool transposedB = false;
  };
  SmallVector<Value> startProduct(const Product &product, ValueRange acc);
  /// Waits until at most `inFlight` groups are in flight, and ties `values` through.
  SmallVector<Value> waitProducts(int64_t inFlight, ValueRange values);
};

} // namespace mlir::attn
