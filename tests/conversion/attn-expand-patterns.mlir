// RUN: attn-opt %s -attn-expand-patterns -canonicalize | FileCheck %s

func.func private @use(i1)

// CHECK-LABEL: func @causal
// CHECK-SAME: (%[[Q:.*]]: i32, %[[K:.*]]: i32)
func.func @causal(%q: i32, %k: i32) {
  // CHECK-NOT: attn.
  // CHECK: %[[M:.*]] = arith.cmpi sle, %[[K]], %[[Q]] : i32
  // CHECK: call @use(%[[M]])
  %m = attn.causal %q, %k
  call @use(%m) : (i1) -> ()
  return
}

// CHECK-LABEL: func @prefix_lm
// CHECK-SAME: (%[[Q:.*]]: i32, %[[K:.*]]: i32, %[[N:.*]]: i32)
func.func @prefix_lm(%q: i32, %k: i32, %n: i32) {
  // CHECK-DAG: %[[PREFIX:.*]] = arith.cmpi slt, %[[K]], %[[N]] : i32
  // CHECK-DAG: %[[CAUSAL:.*]] = arith.cmpi sle, %[[K]], %[[Q]] : i32
  // CHECK: arith.ori %[[PREFIX]], %[[CAUSAL]] : i1
  %m = attn.prefix_lm %q, %k size %n
  call @use(%m) : (i1) -> ()
  return
}

// CHECK-LABEL: func @window
// CHECK-SAME: (%[[Q:.*]]: i32, %[[K:.*]]: i32, %[[N:.*]]: i32)
func.func @window(%q: i32, %k: i32, %n: i32) {
  // CHECK: %[[D:.*]] = arith.subi %[[Q]], %[[K]] : i32
  // CHECK: arith.cmpi slt, %[[D]], %[[N]] : i32
  %m = attn.window %q, %k size %n
  call @use(%m) : (i1) -> ()
  return
}

// CHECK-LABEL: func @band
// CHECK-SAME: (%[[Q:.*]]: i32, %[[K:.*]]: i32, %[[B:.*]]: i32, %[[A:.*]]: i32)
func.func @band(%q: i32, %k: i32, %b: i32, %a: i32) {
  // CHECK-DAG: %[[BEHIND:.*]] = arith.subi %[[Q]], %[[K]] : i32
  // CHECK-DAG: %[[AHEAD:.*]] = arith.subi %[[K]], %[[Q]] : i32
  // CHECK-DAG: %[[X:.*]] = arith.cmpi sle, %[[BEHIND]], %[[B]] : i32
  // CHECK-DAG: %[[Y:.*]] = arith.cmpi sle, %[[AHEAD]], %[[A]] : i32
  // CHECK: arith.andi %[[X]], %[[Y]] : i1
  %m = attn.band %q, %k before %b after %a
  call @use(%m) : (i1) -> ()
  return
}

// CHECK-LABEL: func @sink
// CHECK-SAME: (%[[K:.*]]: i32, %[[N:.*]]: i32)
func.func @sink(%k: i32, %n: i32) {
  // CHECK: arith.cmpi slt, %[[K]], %[[N]] : i32
  %m = attn.sink %k size %n
  call @use(%m) : (i1) -> ()
  return
}

// CHECK-LABEL: func @same
// CHECK-SAME: (%[[Q:.*]]: i32, %[[K:.*]]: i32)
func.func @same(%q: i32, %k: i32) {
  // CHECK: arith.cmpi eq, %[[Q]], %[[K]] : i32
  %m = attn.same %q, %k
  call @use(%m) : (i1) -> ()
  return
}

// A window of 7 on an axis of n: the centre is kept 3 away from both ends.
// CHECK-LABEL: func @neighborhood
// CHECK-SAME: (%[[Q:.*]]: i32, %[[K:.*]]: i32, %[[N:.*]]: i32)
func.func @neighborhood(%q: i32, %k: i32, %n: i32) {
  // CHECK-DAG: %[[C3:.*]] = arith.constant 3 : i32
  // CHECK: %[[LEADER:.*]] = arith.minsi %[[Q]], %{{.*}} : i32
  // CHECK: %[[LOW:.*]] = arith.maxsi %[[LEADER]], %[[C3]] : i32
  // CHECK: %[[CENTRE:.*]] = arith.minsi %[[LOW]], %{{.*}} : i32
  // CHECK: %[[OFFSET:.*]] = arith.subi %[[K]], %[[CENTRE]] : i32
  // CHECK: arith.andi
  %m = attn.neighborhood %q, %k size 7 stride 1 dilation 1 extent %n
  call @use(%m) : (i1) -> ()
  return
}
