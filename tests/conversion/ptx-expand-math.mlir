// RUN: attn-opt %s --ptx-expand-math | FileCheck %s

// Angles are brought into one turn by three constants before the polynomial.
// CHECK-LABEL: func.func @sin_of_position
// CHECK: %[[TURNS:.*]] = math.roundeven
// CHECK: %[[MINUS:.*]] = arith.negf %[[TURNS]]
// CHECK: math.fma %[[MINUS]], {{.*}}, %arg0
// CHECK: math.fma %[[MINUS]]
// CHECK: math.fma %[[MINUS]]
// CHECK-NOT: math.sin
func.func @sin_of_position(%x: f32) -> f32 {
  %y = math.sin %x : f32
  return %y : f32
}

// CHECK-LABEL: func.func @nothing_is_left_to_call
// CHECK-NOT: math.{{(tanh|exp|exp2|log|log2|cos)}} %
// CHECK: return
func.func @nothing_is_left_to_call(%x: f32) -> (f32, f32, f32, f32, f32, f32) {
  %a = math.tanh %x : f32
  %b = math.exp %x : f32
  %c = math.exp2 %x : f32
  %d = math.log %x : f32
  %e = math.log2 %x : f32
  %f = math.cos %x : f32
  return %a, %b, %c, %d, %e, %f : f32, f32, f32, f32, f32, f32
}

// CHECK-LABEL: func.func @approximate_tanh
// CHECK: %[[POWER:.*]] = llvm.call_intrinsic "llvm.nvvm.ex2.approx.ftz.f32"
// CHECK: %[[SUM:.*]] = arith.addf %[[POWER]]
// CHECK: %[[INVERSE:.*]] = llvm.call_intrinsic "llvm.nvvm.rcp.approx.ftz.f"(%[[SUM]])
// CHECK-NEXT: %[[RESULT:.*]] = math.fma %[[INVERSE]]
// CHECK: return %[[RESULT]]
func.func @approximate_tanh(%x: f32) -> f32 {
  %y = math.tanh %x fastmath<afn> : f32
  return %y : f32
}

// CHECK-LABEL: func.func @approximate_exp
// CHECK: %[[SCALED:.*]] = arith.mulf %arg0
// CHECK: %[[POWER:.*]] = llvm.call_intrinsic "llvm.nvvm.ex2.approx.ftz.f32"(%[[SCALED]])
// CHECK: return %[[POWER]]
func.func @approximate_exp(%x: f32) -> f32 {
  %y = math.exp %x fastmath<afn> : f32
  return %y : f32
}

// CHECK-LABEL: func.func @approximate_log
// CHECK: %[[LOG2:.*]] = llvm.call_intrinsic "llvm.nvvm.lg2.approx.f"(%arg0)
// CHECK: %[[RESULT:.*]] = arith.mulf %[[LOG2]]
// CHECK: return %[[RESULT]]
func.func @approximate_log(%x: f32) -> f32 {
  %y = math.log %x fastmath<afn> : f32
  return %y : f32
}

// CHECK-LABEL: func.func @approximate_division
// CHECK-DAG: %[[THIRD:.*]] = arith.constant 0.333333343 : f32
// CHECK-DAG: %[[A:.*]] = arith.mulf %arg0, %[[THIRD]]
// CHECK-DAG: %[[INVERSE:.*]] = llvm.call_intrinsic "llvm.nvvm.rcp.approx.ftz.f"(%arg1)
// CHECK-DAG: %[[B:.*]] = arith.mulf %arg0, %[[INVERSE]]
// CHECK-DAG: %[[C:.*]] = llvm.call_intrinsic "llvm.nvvm.rcp.approx.ftz.f"(%arg0)
// CHECK: %[[D:.*]] = arith.divf %arg0, %arg1
// CHECK: return %[[A]], %[[B]], %[[C]], %[[D]]
func.func @approximate_division(%x: f32, %y: f32) -> (f32, f32, f32, f32) {
  %three = arith.constant 3.0 : f32
  %one = arith.constant 1.0 : f32
  %a = arith.divf %x, %three fastmath<afn> : f32
  %b = arith.divf %x, %y fastmath<afn> : f32
  %c = arith.divf %one, %x fastmath<afn> : f32
  %d = arith.divf %x, %y : f32
  return %a, %b, %c, %d : f32, f32, f32, f32
}

// The product with a cap is part of tanh's last step: 30 - 60 / (1 + e^2x).
// CHECK-LABEL: func.func @capped
// CHECK-DAG: %[[CAP:.*]] = arith.constant 3.000000e+01 : f32
// CHECK-DAG: %[[TWICE:.*]] = arith.constant -6.000000e+01 : f32
// CHECK: %[[INVERSE:.*]] = llvm.call_intrinsic "llvm.nvvm.rcp.approx.ftz.f"
// CHECK: %[[RESULT:.*]] = math.fma %[[INVERSE]], %[[TWICE]], %[[CAP]]
// CHECK: return %[[RESULT]]
func.func @capped(%x: f32) -> f32 {
  %cap = arith.constant 30.0 : f32
  %t = math.tanh %x fastmath<afn> : f32
  %y = arith.mulf %cap, %t : f32
  return %y : f32
}

// CHECK-LABEL: func.func @capped_by_a_parameter
// CHECK: %[[INVERSE:.*]] = llvm.call_intrinsic "llvm.nvvm.rcp.approx.ftz.f"
// CHECK: %[[TWICE:.*]] = arith.mulf %arg1
// CHECK: %[[RESULT:.*]] = math.fma %[[INVERSE]], %[[TWICE]], %arg1
// CHECK: return %[[RESULT]]
func.func @capped_by_a_parameter(%x: f32, %cap: f32) -> f32 {
  %t = math.tanh %x fastmath<afn> : f32
  %y = arith.mulf %t, %cap : f32
  return %y : f32
}

// A value that something else needs as well is left as it is.
// CHECK-LABEL: func.func @tanh_of_two_uses
// CHECK: %[[TANH:.*]] = math.fma
// CHECK: %[[SQUARE:.*]] = arith.mulf %[[TANH]], %[[TANH]]
// CHECK: return %[[SQUARE]]
func.func @tanh_of_two_uses(%x: f32) -> f32 {
  %t = math.tanh %x fastmath<afn> : f32
  %y = arith.mulf %t, %t : f32
  return %y : f32
}
