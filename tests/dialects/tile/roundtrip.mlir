// RUN: attn-opt %s -verify-roundtrip | FileCheck %s

// CHECK-LABEL: tile.kernel @quantized.int8
// CHECK-SAME: #tile.binding<"k_scale", k_scale, f32, 3>
// CHECK-SAME: params [#tile.param<"n", i32, 0, 8>]
// CHECK-SAME: block_q 8 block_k 16 qk_dim 32 v_dim 64 heads 4 kv_heads 2
tile.kernel @quantized.int8 bindings [#tile.binding<"q", q, f32, 4>, #tile.binding<"k", k, i8, 4>,
    #tile.binding<"v", v, i8, 4>, #tile.binding<"o", o, f32, 4>, #tile.binding<"lse", lse, f32, 3>,
    #tile.binding<"k_scale", k_scale, f32, 3>, #tile.binding<"v_scale", v_scale, f32, 3>,
    #tile.binding<"sink", table, f32, 1>, #tile.binding<"gate", input, bf16, 4>]
    params [#tile.param<"n", i32, 0, 8>]
    block_q 8 block_k 16 qk_dim 32 v_dim 64 heads 4 kv_heads 2 {
  // CHECK: tile.load_queries 0
  %rows = tile.load_queries 0 : !tile.tile<8x32xf32>
  %gate = tile.load_queries 8 : !tile.tile<8x64xbf16>
  // CHECK: tile.quantize
  %q, %q_scale = tile.quantize %rows : !tile.tile<8x32xf32> -> !tile.tile<8x32xi8>, !tile.tile<8xf32>
  // CHECK: tile.score_factor plain
  %f = tile.score_factor plain
  // CHECK: tile.sort_rows by [0, 1] traits {
  tile.sort_rows by [0, 1] traits {
  ^bb0(%row: i32, %h: i32, %batch: i32):
    %c24 = arith.constant 24 : i32
    %y = arith.divui %row, %c24 : i32
    %x = arith.remui %row, %c24 : i32
    // CHECK: tile.yield %{{.*}}, %{{.*}} : i32, i32
    tile.yield %y, %x : i32, i32
  // CHECK: classify {
  } classify {
  ^bb0(%y_lo: i32, %y_hi: i32, %x_lo: i32, %x_hi: i32, %k_lo: i32, %k_hi: i32, %h: i32, %batch: i32):
    %any = arith.cmpi sge, %y_hi, %k_lo : i32
    %all = arith.cmpi sge, %x_lo, %k_hi : i32
    tile.yield %any, %all : i1, i1
  }
  // CHECK: tile.softmax_init
  %m0, %l0, %o0 = tile.softmax_init : !tile.tile<8xf32>, !tile.tile<8xf32>, !tile.tile<8x64xf32>
  // CHECK: tile.for_keys
  %m, %l, %o = tile.for_keys (%m0, %l0, %o0) : (!tile.tile<8xf32>, !tile.tile<8xf32>, !tile.tile<8x64xf32>) -> (!tile.tile<8xf32>, !tile.tile<8xf32>, !tile.tile<8x64xf32>)
  // CHECK: classify {
  classify {
  ^bb0(%q_lo: i32, %q_hi: i32, %k_lo: i32, %k_hi: i32, %head: i32, %batch: i32):
    // CHECK: tile.param_value 0 : i32
    %n = tile.param_value 0 : i32
    // CHECK: tile.item 2
    %layer = tile.item 2
    %any = arith.cmpi sge, %q_hi, %n : i32
    %all = arith.cmpi sge, %q_lo, %layer : i32
    tile.yield %any, %all : i1, i1
  // CHECK: full {
  } full {
  ^bb0(%keys: !tile.keys, %m1: !tile.tile<8xf32>, %l1: !tile.tile<8xf32>, %o1: !tile.tile<8x64xf32>):
    tile.yield %m1, %l1, %o1 : !tile.tile<8xf32>, !tile.tile<8xf32>, !tile.tile<8x64xf32>
  // CHECK: partial {
  } partial {
  ^bb0(%keys: !tile.keys, %m1: !tile.tile<8xf32>, %l1: !tile.tile<8xf32>, %o1: !tile.tile<8x64xf32>):
    // CHECK: tile.load_keys %{{.*}}, 1
    %k = tile.load_keys %keys, 1 : !tile.tile<16x32xi8>
    %k_scale = tile.load_keys %keys, 5 : !tile.tile<16xf32>
    // CHECK: tile.dot_qk
    %dots = tile.dot_qk %q, %k : (!tile.tile<8x32xi8>, !tile.tile<16x32xi8>) -> !tile.tile<8x16xi32>
    // CHECK: tile.dequantize_scores
    %s = tile.dequantize_scores %dots, %q_scale, %k_scale : (!tile.tile<8x16xi32>, !tile.tile<8xf32>, !tile.tile<16xf32>) -> !tile.tile<8x16xf32>
    // CHECK: tile.score
    %t = tile.score %s, %keys : !tile.tile<8x16xf32> {
    ^bb0(%x: f32, %q_position: i32, %k_position: i32, %head: i32, %batch: i32):
      tile.yield %x : f32
    }
    // CHECK: tile.mask
    %u = tile.mask %t, %keys : !tile.tile<8x16xf32> {
    ^bb0(%q_position: i32, %k_position: i32, %head: i32, %batch: i32):
      %admitted = arith.cmpi sge, %q_position, %k_position : i32
      tile.yield %admitted : i1
    }
    // CHECK: tile.softmax_step
    %p, %m2, %l2, %alpha = tile.softmax_step %u, %m1, %l1, %f : !tile.tile<8x16xf32>, !tile.tile<8xf32>
    %v = tile.load_keys %keys, 2 : !tile.tile<16x64xi8>
    %v_scale = tile.load_keys %keys, 6 : !tile.tile<16xf32>
    // CHECK: tile.dequantize_keys
    %w = tile.dequantize_keys %v, %v_scale : (!tile.tile<16x64xi8>, !tile.tile<16xf32>) -> !tile.tile<16x64xf32>
    // CHECK: tile.dot_pv
    %o2 = tile.dot_pv %p, %w, %o1, %alpha : (!tile.tile<8x16xf32>, !tile.tile<16x64xf32>, !tile.tile<8x64xf32>, !tile.tile<8xf32>) -> !tile.tile<8x64xf32>
    tile.yield %m2, %l2, %o2 : !tile.tile<8xf32>, !tile.tile<8xf32>, !tile.tile<8x64xf32>
  }
  %head = tile.item 0
  // CHECK: tile.table_load 7[%{{.*}}] : f32
  %logit = tile.table_load 7[%head] : f32
  // CHECK: tile.softmax_finish %{{.*}} sink
  %out, %lse = tile.softmax_finish %m, %l, %o, %f sink %logit : !tile.tile<8xf32>, !tile.tile<8x64xf32>
  // CHECK: tile.output %{{.*}}, %{{.*}}, %{{.*}} : (!tile.tile<8x64xf32>, !tile.tile<8xf32>, !tile.tile<8x64xbf16>) -> !tile.tile<8x64xf32>
  %gated = tile.output %out, %lse, %gate : (!tile.tile<8x64xf32>, !tile.tile<8xf32>, !tile.tile<8x64xbf16>) -> !tile.tile<8x64xf32> {
  ^bb0(%x: f32, %log: f32, %q_position: i32, %h: i32, %batch: i32, %g: f32):
    %y = arith.mulf %x, %g : f32
    tile.yield %y : f32
  }
  // CHECK: tile.store_queries %{{.*}}, 3
  tile.store_queries %gated, 3 : !tile.tile<8x64xf32>
  tile.store_queries %lse, 4 : !tile.tile<8xf32>
}

// CHECK-LABEL: tile.kernel @merge.bf16
tile.kernel @merge.bf16 bindings [#tile.binding<"o", o, bf16, 4>, #tile.binding<"lse", lse, f32, 3>,
    #tile.binding<"part_o", part_o, bf16, 4>, #tile.binding<"part_lse", part_lse, f32, 3>] params []
    block_q 8 block_k 16 qk_dim 32 v_dim 64 {
  %f = tile.score_factor plain
  // CHECK: tile.merge_parts 2, 3 : <8xf32>, <8xf32>, <8x64xf32>
  %m, %l, %o = tile.merge_parts 2, 3 : !tile.tile<8xf32>, !tile.tile<8xf32>, !tile.tile<8x64xf32>
  %out, %lse = tile.softmax_finish %m, %l, %o, %f : !tile.tile<8xf32>, !tile.tile<8x64xf32>
  tile.store_queries %out, 0 : !tile.tile<8x64xf32>
  tile.store_queries %lse, 1 : !tile.tile<8xf32>
}
