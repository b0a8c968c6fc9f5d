// RUN: attn-opt %s -attn-invert-divisors | FileCheck %s

// The inverse of what the call gives is computed once, at the beginning, for a
// divisor that may be 0 where nothing is divided.
// CHECK-LABEL: func.func @of_call
// CHECK-SAME: (%[[WORDS:.*]]: !llvm.ptr, %{{.*}}: i32
// CHECK: %[[EXTENT:.*]] = llvm.load %[[WORDS]] invariant
// CHECK: %[[D:.*]] = arith.maxui %[[EXTENT]]
// CHECK: math.ctlz
// CHECK: %[[WIDE:.*]] = arith.extui %[[D]] : i32 to i64
// CHECK: arith.divui %{{.*}}, %[[WIDE]] : i64
// CHECK: %[[FACTOR:.*]] = arith.trunci
// CHECK: %[[SHIFT:.*]] = arith.addi
// CHECK: scf.for
// CHECK: %[[X:.*]] = arith.extui %{{.*}} : i32 to i64
// CHECK: %[[F:.*]] = arith.extui %[[FACTOR]] : i32 to i64
// CHECK: %[[PRODUCT:.*]] = arith.muli %[[X]], %[[F]] : i64
// CHECK: %[[SHIFTED:.*]] = arith.shrui %[[PRODUCT]], %[[SHIFT]]
// CHECK: %[[QUOTIENT:.*]] = arith.trunci %[[SHIFTED]]
// CHECK-NOT: arith.divui
// CHECK-NOT: arith.remui
// CHECK: %[[TIMES:.*]] = arith.muli %{{.*}}, %{{.*}} : i32
// CHECK: arith.subi %{{.*}}, %[[TIMES]] : i32
// CHECK: return
func.func @of_call(%words: !llvm.ptr, %end: i32) -> i32 {
  %zero = arith.constant 0 : i32
  %one = arith.constant 1 : i32
  %sum = scf.for %x = %zero to %end step %one iter_args(%sum = %zero) -> i32 : i32 {
    %extent = llvm.load %words invariant : !llvm.ptr -> i32
    %row = arith.divui %x, %extent : i32
    %column = arith.remui %x, %extent : i32
    %both = arith.addi %row, %column : i32
    %next = arith.addi %sum, %both : i32
    scf.yield %next : i32
  }
  return %sum : i32
}

// Lanes are multiplied at once.
// CHECK-LABEL: func.func @lanes
// CHECK: scf.for
// CHECK: arith.muli %{{.*}}, %{{.*}} : vector<8xi64>
// CHECK: arith.shrui %{{.*}}, %{{.*}} : vector<8xi64>
// CHECK-NOT: arith.divui
// CHECK: return
func.func @lanes(%lanes: vector<8xi32>, %divisor: i32, %end: i32) -> vector<8xi32> {
  %zero = arith.constant 0 : i32
  %one = arith.constant 1 : i32
  %result = scf.for %i = %zero to %end step %one iter_args(%x = %lanes) -> vector<8xi32> : i32 {
    %all = vector.broadcast %divisor : i32 to vector<8xi32>
    %quotient = arith.divui %x, %all : vector<8xi32>
    scf.yield %quotient : vector<8xi32>
  }
  return %result : vector<8xi32>
}

// What changes in the loop, and what no loop repeats, is divided; constants are
// left to LLVM.
// CHECK-LABEL: func.func @divided
// CHECK-COUNT-3: arith.divui %{{.*}}, %{{.*}} : i32
// CHECK: return
func.func @divided(%end: i32, %outside: i32) -> i32 {
  %zero = arith.constant 0 : i32
  %one = arith.constant 1 : i32
  %seven = arith.constant 7 : i32
  %first = arith.divui %end, %outside : i32
  %sum = scf.for %x = %one to %end step %one iter_args(%sum = %first) -> i32 : i32 {
    %inner = arith.divui %end, %x : i32
    %week = arith.divui %inner, %seven : i32
    %next = arith.addi %sum, %week : i32
    scf.yield %next : i32
  }
  return %sum : i32
}
