// RUN: attn-opt %s -attn-expand-patterns -canonicalize -attn-to-tile="block-q=96 sort-rows" | FileCheck %s
// RUN: attn-opt %s -attn-expand-patterns -canonicalize -attn-to-tile="block-q=15 sort-rows" | FileCheck %s --check-prefix=SHORT
// RUN: attn-opt %s -attn-expand-patterns -canonicalize -attn-to-tile="block-q=1536 sort-rows" | FileCheck %s --check-prefix=SHORT
// RUN: attn-opt %s -attn-expand-patterns -canonicalize -attn-to-tile="block-q=96" | FileCheck %s --check-prefix=SHORT

// A window of 15 in rows of 24 tokens, clamped at the picture's edges: what the mask reads
// of a query row are the middles of its windows, and classes follow from their intervals.

// CHECK-LABEL: tile.kernel @picture.f32
// CHECK: tile.sort_rows by [0, 1] traits {
// CHECK-NEXT: ^bb0(%[[Q:[a-z0-9_]+]]: i32, %{{.*}}: i32, %{{.*}}: i32):
// CHECK-DAG: %[[FIRST:.*]] = arith.constant 7 : i32
// CHECK-DAG: %[[LAST:.*]] = arith.constant 16 : i32
// CHECK-DAG: arith.divui %[[Q]],
// CHECK-DAG: arith.remui %[[Q]],
// CHECK: arith.maxsi %{{.*}}, %[[FIRST]] : i32
// CHECK: %[[Y:.*]] = arith.minsi %{{.*}}, %[[LAST]] : i32
// CHECK: arith.maxsi %{{.*}}, %[[FIRST]] : i32
// CHECK: %[[X:.*]] = arith.minsi %{{.*}}, %[[LAST]] : i32
// CHECK-NEXT: tile.yield %[[Y]], %[[X]] : i32, i32
// CHECK-NEXT: } classify {
// CHECK-NEXT: ^bb0(%[[YLO:[a-z0-9_]+]]: i32, %[[YHI:[a-z0-9_]+]]: i32, %[[XLO:[a-z0-9_]+]]: i32, %[[XHI:[a-z0-9_]+]]: i32, %{{.*}}: i32, %{{.*}}: i32, %{{.*}}: i32, %{{.*}}: i32):
// CHECK: arith.subi %{{.*}}, %[[YHI]] : i32
// CHECK-NEXT: arith.subi %{{.*}}, %[[YLO]] : i32
// CHECK: arith.subi %{{.*}}, %[[XHI]] : i32
// CHECK-NEXT: arith.subi %{{.*}}, %[[XLO]] : i32
// CHECK: tile.yield %{{.*}}, %{{.*}} : i1, i1
// CHECK: tile.load_queries

// Runs of rows are as good as patches where a tile ends before the second row of the
// picture does, and without a second axis.
// SHORT-NOT: tile.sort_rows
attn.attention @picture heads 0 kv_heads 0 qk_dim 32 v_dim 32 types <f32, f32, f32, f32>
    spaces [#attn.space<"im", <"y", fixed, 24>, <"x", fixed, 24>>] query <"im", "im"> keys <"im", "im">
    mask {
^bb0(%q: !attn.position<query>, %k: !attn.position<key>, %head: i32, %batch: i32):
  %c0 = arith.constant 0 : i32
  %c1 = arith.constant 1 : i32
  %c24 = arith.constant 24 : i32
  %qy = attn.coord "im.y" of %q base %c0 divisor %c24 : !attn.position<query>
  %ky = attn.coord "im.y" of %k base %c0 divisor %c24 : !attn.position<key>
  %qx = attn.coord "im.x" of %q base %c0 divisor %c1 modulus %c24 : !attn.position<query>
  %kx = attn.coord "im.x" of %k base %c0 divisor %c1 modulus %c24 : !attn.position<key>
  %y = attn.neighborhood %qy, %ky size 15 stride 1 dilation 1 extent %c24
  %x = attn.neighborhood %qx, %kx size 15 stride 1 dilation 1 extent %c24
  %both = arith.andi %y, %x : i1
  attn.yield %both : i1
}

// CHECK-LABEL: tile.kernel @columns.f32
// CHECK-NOT: tile.sort_rows
attn.attention @columns heads 0 kv_heads 0 qk_dim 32 v_dim 32 types <f32, f32, f32, f32>
    spaces [#attn.space<"im", <"y", fixed, 24>, <"x", fixed, 24>>] query <"im", "im"> keys <"im", "im">
    mask {
^bb0(%q: !attn.position<query>, %k: !attn.position<key>, %head: i32, %batch: i32):
  %c0 = arith.constant 0 : i32
  %c1 = arith.constant 1 : i32
  %c24 = arith.constant 24 : i32
  %qx = attn.coord "im.x" of %q base %c0 divisor %c1 modulus %c24 : !attn.position<query>
  %kx = attn.coord "im.x" of %k base %c0 divisor %c1 modulus %c24 : !attn.position<key>
  %x = attn.neighborhood %qx, %kx size 15 stride 1 dilation 1 extent %c24
  attn.yield %x : i1
}
