// RUN: attn-opt %s -attn-to-tile="block-q=96 sort-rows" -attn-tile-to-vector="arch=avx512" -cse | FileCheck %s

// Rows of a picture 20 wide, tiles of 96: a key for each row, its lane by counting smaller
// keys, then the interval of each trait for a vector of 16.
// CHECK-LABEL: func.func @picture_f32(
// CHECK: vector.reduction <minsi>
// CHECK: vector.reduction <maxsi>
// CHECK: %[[SMALLER:.*]] = arith.cmpi slt, %{{.*}}, %{{.*}} : vector<16xi32>
// CHECK: %[[MORE:.*]] = arith.addi
// CHECK: arith.select %[[SMALLER]], %[[MORE]]
// CHECK: vector.reduction <minsi>
// CHECK: vector.reduction <maxsi>

// Rows of Q are read from where the list says.
// CHECK: %[[ROW:.*]] = llvm.load %{{.*}} : !llvm.ptr -> i32
// CHECK: arith.extui %[[ROW]] : i32 to i64
// CHECK: llvm.load %{{.*}} : !llvm.ptr -> vector<16xf32>
attn.attention @picture heads 0 kv_heads 0 qk_dim 32 v_dim 32 types <f32, f32, f32, f32>
    spaces [#attn.space<"im", <"y", stream, 0>, <"x", fixed, 20>>] query <"im", "im"> keys <"im", "im">
    mask {
^bb0(%q: !attn.position<query>, %k: !attn.position<key>, %head: i32, %batch: i32):
  %c0 = arith.constant 0 : i32
  %c1 = arith.constant 1 : i32
  %c5 = arith.constant 5 : i32
  %c20 = arith.constant 20 : i32
  %qy = attn.coord "im.y" of %q base %c0 divisor %c20 : !attn.position<query>
  %ky = attn.coord "im.y" of %k base %c0 divisor %c20 : !attn.position<key>
  %qx = attn.coord "im.x" of %q base %c0 divisor %c1 modulus %c20 : !attn.position<query>
  %kx = attn.coord "im.x" of %k base %c0 divisor %c1 modulus %c20 : !attn.position<key>
  %sy = arith.subi %qy, %ky : i32
  %sx = arith.subi %qx, %kx : i32
  %dy = math.absi %sy : i32
  %dx = math.absi %sx : i32
  %d = arith.addi %dy, %dx : i32
  %near = arith.cmpi sle, %d, %c5 : i32
  attn.yield %near : i1
}
