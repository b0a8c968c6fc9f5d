// RUN: attn-opt %S/inputs/causal.mlir -pass-pipeline='builtin.module(attn-tile-to-vector{arch=avx512},cse)' | FileCheck %s

// A mask compares the lanes' positions with one key's and selects the sentinel;
// nothing is added to a score.
// CHECK-LABEL: func.func @causal_f32(
// CHECK: %[[ADMITTED:.*]] = arith.cmpi sge, %{{.*}}, %{{.*}} : vector<16xi32>
// CHECK-NEXT: %[[MASKED:.*]] = arith.select %[[ADMITTED]], %{{.*}}, %{{.*}} : vector<16xi1>, vector<16xf32>
// CHECK-NEXT: llvm.store %[[MASKED]], %{{.*}} {alignment = 64 : i64} : vector<16xf32>

// The walk asks about a block with scalars.
// CHECK-LABEL: func.func @causal_f32_ranges(
// CHECK: arith.cmpi sge, %{{.*}}, %{{.*}} : i32
// CHECK-NOT: vector
