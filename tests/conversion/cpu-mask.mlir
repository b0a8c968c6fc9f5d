// RUN: attn-opt %S/inputs/causal.mlir -pass-pipeline='builtin.module(attn-tile-to-vector{arch=avx512},cse)' | FileCheck %s

// A mask compares the lanes' positions with one key's and selects the sentinel;
// nothing is added to a score.
// CHECK-LABEL: func.func @causal_f32(
// CHECK: %[[SCORE:.*]] = llvm.load %[[PLACE:.*]] {alignment = 64 : i64} : !llvm.ptr -> vector<16xf32>
// CHECK-NEXT: arith.trunci
// CHECK-NEXT: %[[POSITION:.*]] = arith.addi %{{.*}} : i32
// CHECK-NEXT: %[[KEY:.*]] = vector.broadcast %[[POSITION]] : i32 to vector<16xi32>
// CHECK-NEXT: %[[ADMITTED:.*]] = arith.cmpi sge, %{{.*}}, %[[KEY]] : vector<16xi32>
// CHECK-NEXT: %[[MASKED:.*]] = arith.select %[[ADMITTED]], %[[SCORE]], %{{.*}} : vector<16xi1>, vector<16xf32>
// CHECK-NEXT: llvm.store %[[MASKED]], %[[PLACE]]

// The walk asks about a block with scalars.
// CHECK-LABEL: func.func @causal_f32_ranges(
// CHECK: arith.cmpi sge, %{{.*}}, %{{.*}} : i32
// CHECK-NOT: vector
