// RUN: attn-opt %s -canonicalize | FileCheck %s

// CHECK-LABEL: func @by_one
// CHECK-SAME: (%[[X:.*]]: i32)
func.func @by_one(%x: i32) -> (i32, i32) {
  // CHECK-DAG: %[[ZERO:.*]] = arith.constant 0 : i32
  // CHECK: return %[[X]], %[[ZERO]]
  %one = arith.constant 1 : i32
  %a = attn.floor_div %x, %one
  %b = attn.floor_mod %x, %one
  return %a, %b : i32, i32
}

// CHECK-LABEL: func @by_zero
func.func @by_zero(%x: i32) -> (i32, i32) {
  // CHECK: %[[ZERO:.*]] = arith.constant 0 : i32
  // CHECK: return %[[ZERO]], %[[ZERO]]
  %zero = arith.constant 0 : i32
  %a = attn.floor_div %x, %zero
  %b = attn.floor_mod %x, %zero
  return %a, %b : i32, i32
}

// -7 = -2 * 4 + 1, and -7 = 1 * -4 - 3.
// CHECK-LABEL: func @constants
func.func @constants() -> (i32, i32, i32, i32) {
  // CHECK-DAG: %[[M2:.*]] = arith.constant -2 : i32
  // CHECK-DAG: %[[P1:.*]] = arith.constant 1 : i32
  // CHECK-DAG: %[[M3:.*]] = arith.constant -3 : i32
  // CHECK: return %[[M2]], %[[P1]], %[[P1]], %[[M3]]
  %m7 = arith.constant -7 : i32
  %p4 = arith.constant 4 : i32
  %m4 = arith.constant -4 : i32
  %a = attn.floor_div %m7, %p4
  %b = attn.floor_mod %m7, %p4
  %c = attn.floor_div %m7, %m4
  %d = attn.floor_mod %m7, %m4
  return %a, %b, %c, %d : i32, i32, i32, i32
}
