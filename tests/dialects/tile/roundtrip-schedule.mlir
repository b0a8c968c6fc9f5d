// RUN: attn-opt %s -verify-roundtrip | FileCheck %s

// CHECK-LABEL: tile.kernel @scheduled
tile.kernel @scheduled bindings [#tile.binding<"q", q, bf16, 4>, #tile.binding<"k", k, bf16, 4>,
    #tile.binding<"v", v, bf16, 4>, #tile.binding<"o", o, bf16, 4>] params []
    block_q 128 block_k 64 qk_dim 64 v_dim 96 {
  // CHECK: tile.ring : <1, <128x64xbf16>, <128>>
  %q = tile.ring : !tile.ring<1, <128x64xbf16>, <128>>
  %k = tile.ring : !tile.ring<2, <64x64xbf16>, <128>>
  %v = tile.ring : !tile.ring<2, <64x96xbf16>, <64>>
  // CHECK: tile.warp_specialize <pingpong, longest_first>
  // CHECK-SAME: [#tile.warp_role<producer, warps 4, registers 24>, #tile.warp_role<consumer, warps 8, registers 240>]
  tile.warp_specialize <pingpong, longest_first>
      [#tile.warp_role<producer, warps 4, registers 24>, #tile.warp_role<consumer, warps 8, registers 240>] {
    // CHECK: tile.acquire
    %slot = tile.acquire %q : !tile.ring<1, <128x64xbf16>, <128>> -> !tile.slot<<128x64xbf16>, <128>>
    // CHECK: tile.copy_queries %{{.*}}, 0
    tile.copy_queries %slot, 0 : !tile.slot<<128x64xbf16>, <128>>
    // CHECK: tile.produce_keys
    tile.produce_keys %k : !tile.ring<2, <64x64xbf16>, <128>> classify {
    ^bb0(%q_lo: i32, %q_hi: i32, %k_lo: i32, %k_hi: i32, %head: i32, %batch: i32):
      %any = arith.cmpi sle, %k_lo, %q_hi : i32
      %all = arith.cmpi sle, %k_hi, %q_lo : i32
      tile.yield %any, %all : i1, i1
    } body {
    ^bb0(%keys: !tile.keys, %free: !tile.slot<<64x64xbf16>, <128>>):
      // CHECK: tile.copy_keys %{{.*}}, %{{.*}}, 1
      tile.copy_keys %free, %keys, 1 : !tile.slot<<64x64xbf16>, <128>>
      %values = tile.acquire %v : !tile.ring<2, <64x96xbf16>, <64>> -> !tile.slot<<64x96xbf16>, <64>>
      tile.copy_keys %values, %keys, 2 : !tile.slot<<64x96xbf16>, <64>>
      tile.yield
    }
  }, {
    // CHECK: tile.receive
    %rows = tile.receive %q : !tile.ring<1, <128x64xbf16>, <128>> -> !tile.slot<<128x64xbf16>, <128>>
    %f = tile.score_factor
    %m0, %l0, %o0 = tile.softmax_init : !tile.tile<128xf32>, !tile.tile<128xf32>, !tile.tile<128x96xf32>
    // CHECK: tile.consume_keys
    %m, %l, %o = tile.consume_keys %k (%m0, %l0, %o0) : !tile.ring<2, <64x64xbf16>, <128>>,
        (!tile.tile<128xf32>, !tile.tile<128xf32>, !tile.tile<128x96xf32>) -> (!tile.tile<128xf32>, !tile.tile<128xf32>, !tile.tile<128x96xf32>) full {
    ^bb0(%keys: !tile.keys, %ks: !tile.slot<<64x64xbf16>, <128>>, %m1: !tile.tile<128xf32>, %l1: !tile.tile<128xf32>, %o1: !tile.tile<128x96xf32>):
      // CHECK: tile.take_turn
      tile.take_turn
      // CHECK: tile.start_qk
      %ps = tile.start_qk %rows, %ks : (!tile.slot<<128x64xbf16>, <128>>, !tile.slot<<64x64xbf16>, <128>>) -> !tile.pending<<128x64xf32>>
      // CHECK: tile.pass_turn
      tile.pass_turn
      // CHECK: tile.wait
      %s = tile.wait %ps : (!tile.pending<<128x64xf32>>) -> !tile.tile<128x64xf32>
      // CHECK: tile.release
      tile.release %ks : !tile.slot<<64x64xbf16>, <128>>
      %p, %m2, %l2, %alpha = tile.softmax_step %s, %m1, %l1, %f : !tile.tile<128x64xf32>, !tile.tile<128xf32>
      // CHECK: tile.narrow
      %pn = tile.narrow %p : !tile.tile<128x64xf32> -> !tile.tile<128x64xbf16>
      // CHECK: tile.rescale conditional
      %o2 = tile.rescale conditional %o1, %alpha : !tile.tile<128x96xf32>, !tile.tile<128xf32>
      %vs = tile.receive %v : !tile.ring<2, <64x96xbf16>, <64>> -> !tile.slot<<64x96xbf16>, <64>>
      // CHECK: tile.start_pv
      %po = tile.start_pv %pn, %vs, %o2 : (!tile.tile<128x64xbf16>, !tile.slot<<64x96xbf16>, <64>>, !tile.tile<128x96xf32>) -> !tile.pending<<128x96xf32>>
      // CHECK: tile.wait %{{.*}} tied %{{.*}}
      %o3, %m3 = tile.wait %po tied %m2 : (!tile.pending<<128x96xf32>>, !tile.tile<128xf32>) -> (!tile.tile<128x96xf32>, !tile.tile<128xf32>)
      tile.release %vs : !tile.slot<<64x96xbf16>, <64>>
      tile.yield %m3, %l2, %o3 : !tile.tile<128xf32>, !tile.tile<128xf32>, !tile.tile<128x96xf32>
    } partial {
    ^bb0(%keys: !tile.keys, %ks: !tile.slot<<64x64xbf16>, <128>>, %m1: !tile.tile<128xf32>, %l1: !tile.tile<128xf32>, %o1: !tile.tile<128x96xf32>):
      tile.release %ks : !tile.slot<<64x64xbf16>, <128>>
      %vs = tile.receive %v : !tile.ring<2, <64x96xbf16>, <64>> -> !tile.slot<<64x96xbf16>, <64>>
      // CHECK: tile.clear_tail
      tile.clear_tail %vs, %keys : !tile.slot<<64x96xbf16>, <64>>
      tile.release %vs : !tile.slot<<64x96xbf16>, <64>>
      tile.yield %m1, %l1, %o1 : !tile.tile<128xf32>, !tile.tile<128xf32>, !tile.tile<128x96xf32>
    }
    %out, %lse = tile.softmax_finish %m, %l, %o, %f : !tile.tile<128xf32>, !tile.tile<128x96xf32>
    tile.store_queries %out, 3 : !tile.tile<128x96xf32>
  }
}
