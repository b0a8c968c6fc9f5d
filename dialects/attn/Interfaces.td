// The interface that every named pattern implements.
#ifndef ATTN_INTERFACES
#define ATTN_INTERFACES

include "mlir/IR/OpBase.td"

def Attn_PatternOpInterface : OpInterface<"PatternOpInterface"> {
  let cppNamespace = "::mlir::attn";
  let description = [{
    A named pattern: a predicate over coordinates, and what is known about it when
    each coordinate is only known to lie in an interval.
  }];
  let methods = [
    InterfaceMethod<[{
      Emits the predicate over the op's operands as scalar ops before `builder`'s
      insertion point, and returns it (i1).
    }], "::mlir::Value", "expandPredicate", (ins "::mlir::OpBuilder &":$builder)>,
    InterfaceMethod<[{
      Emits what the pattern is over the box of `operands`: any is false only if no
      point of the box satisfies it, all is true only if every point does. One
      interval per operand, in order.
    }], "::mlir::attn::Truth", "emitBounds",
      (ins "::mlir::attn::IntervalBuilder &":$intervals,
           "::llvm::ArrayRef<::mlir::attn::Interval>":$operands)>,
  ];
}

#endif
