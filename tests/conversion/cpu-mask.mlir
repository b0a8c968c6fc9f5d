// RUN: attn-opt %S/inputs/causal.mlir -pass-pipeline='builtin.module(attn-tile-to-vector{arch=avx512},cse)' | FileCheck %s

// A mask compares the lanes' positions with one key's and selects the sentinel;
// nothing is added to a score.
// CHECK-LABEL: func.func @causal_f32(
// CHECK: %[[SENTINEL:.*]] = arith.constant dense<-1.000000e+30> : vector<16xf32>
// CHECK: %[[KEY:.*]] = vector.broadcast %{{.*}} : i32 to vector<16xi32>
// CHECK: %[[ADMITTED:.*]] = arith.cmpi sge, %{{.*}}, %[[KEY]] : vector<16xi32>
// CHECK: arith.select %[[ADMITTED]], %{{.*}}, %{{.*}} : vector<16xi1>, vector<16xf32>

// The walk asks about a block with scalars.
// CHECK-LABEL: func.func @causal_f32_ranges(
// CHECK: arith.cmpi sge, %{{.*}}, %{{.*}} : i32
// CHECK-NOT: vector
