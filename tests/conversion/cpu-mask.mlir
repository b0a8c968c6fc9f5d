// RUN: attn-opt %S/inputs/causal.mlir -pass-pipeline='builtin.module(attn-tile-to-vector{arch=avx512},cse)' | FileCheck %s

// Twelve groups of keys are asked about at once. In doubtful ones a mask compares the
// lanes' positions with one key's and keeps a bit for each lane. The product that
// computes the scores of listed keys selects the sentinel; nothing is added to a score.
// CHECK-LABEL: func.func @causal_f32(
// CHECK: arith.cmpi sge, %{{.*}}, %{{.*}} : vector<16xi32>
// CHECK: scf.for
// CHECK: %[[ADMITTED:.*]] = arith.cmpi sge, %{{.*}}, %{{.*}} : vector<16xi32>
// CHECK-NEXT: %[[BITS:.*]] = llvm.bitcast %[[ADMITTED]] : vector<16xi1> to i16
// CHECK: llvm.store %{{.*}}, %{{.*}} {alignment = 2 : i64} : i16
// CHECK: scf.for
// CHECK: %[[LANES:.*]] = llvm.bitcast %{{.*}} : i16 to vector<16xi1>
// CHECK-NEXT: %[[MASKED:.*]] = arith.select %[[LANES]], %{{.*}}, %{{.*}} : vector<16xi1>, vector<16xf32>
// CHECK-NEXT: llvm.store %[[MASKED]], %{{.*}} {alignment = 64 : i64} : vector<16xf32>

// The walk asks about a block with scalars.
// CHECK-LABEL: func.func @causal_f32_ranges(
// CHECK: arith.cmpi sge, %{{.*}}, %{{.*}} : i32
// CHECK-NOT: vector
