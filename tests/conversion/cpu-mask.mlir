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

// The walk asks about eight blocks at once, and visits those that are not empty.
// CHECK-LABEL: func.func @causal_f32_ranges(
// CHECK: arith.constant dense<[0, 96, 192, 288, 384, 480, 576, 672]> : vector<8xi32>
// CHECK: %[[INSIDE:.*]] = arith.cmpi slt, %{{.*}}, %{{.*}} : vector<8xi32>
// CHECK: %[[ANY:.*]] = arith.cmpi sge, %{{.*}}, %{{.*}} : vector<8xi32>
// CHECK: %[[ALL:.*]] = arith.cmpi sge, %{{.*}}, %{{.*}} : vector<8xi32>
// CHECK: arith.andi %[[INSIDE]], %[[ANY]] : vector<8xi1>
// CHECK: vector.bitcast %[[ALL]] : vector<8xi1> to vector<1xi8>
// CHECK: %[[VISITS:.*]] = math.ctpop
// CHECK: scf.for %{{.*}} = %{{.*}} to %[[VISITS]]
// CHECK: math.cttz
// CHECK-NOT: vector
