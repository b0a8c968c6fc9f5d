// Causal attention, bfloat16: a query sees the keys at its own position and before.
// Emits the log-sum-exp too.
tile.kernel @causal.bf16 bindings [#tile.binding<"q", q, bf16, 4>, #tile.binding<"k", k, bf16, 4>,
    #tile.binding<"v", v, bf16, 4>, #tile.binding<"o", o, bf16, 4>, #tile.binding<"lse", lse, f32, 3>] params []
    block_q 48 block_k 96 qk_dim 64 v_dim 64 {
  %q = tile.load_queries 0 : !tile.tile<48x64xbf16>
  %f = tile.score_factor
  %m0, %l0, %o0 = tile.softmax_init : !tile.tile<48xf32>, !tile.tile<48xf32>, !tile.tile<48x64xf32>
  %m, %l, %o = tile.for_keys (%m0, %l0, %o0) : (!tile.tile<48xf32>, !tile.tile<48xf32>, !tile.tile<48x64xf32>) -> (!tile.tile<48xf32>, !tile.tile<48xf32>, !tile.tile<48x64xf32>)
  classify {
  ^bb0(%q_lo: i32, %q_hi: i32, %k_lo: i32, %k_hi: i32, %head: i32, %batch: i32):
    %any = arith.cmpi sge, %q_hi, %k_lo : i32
    %all = arith.cmpi sge, %q_lo, %k_hi : i32
    tile.yield %any, %all : i1, i1
  } full {
  ^bb0(%keys: !tile.keys, %m1: !tile.tile<48xf32>, %l1: !tile.tile<48xf32>, %o1: !tile.tile<48x64xf32>):
    %k = tile.load_keys %keys, 1 : !tile.tile<96x64xbf16>
    %s = tile.dot_qk %q, %k : (!tile.tile<48x64xbf16>, !tile.tile<96x64xbf16>) -> !tile.tile<48x96xf32>
    %p, %m2, %l2, %alpha = tile.softmax_step %s, %m1, %l1, %f : !tile.tile<48x96xf32>, !tile.tile<48xf32>
    %v = tile.load_keys %keys, 2 : !tile.tile<96x64xbf16>
    %o2 = tile.dot_pv %p, %v, %o1, %alpha : (!tile.tile<48x96xf32>, !tile.tile<96x64xbf16>, !tile.tile<48x64xf32>, !tile.tile<48xf32>) -> !tile.tile<48x64xf32>
    tile.yield %m2, %l2, %o2 : !tile.tile<48xf32>, !tile.tile<48xf32>, !tile.tile<48x64xf32>
  } partial {
  ^bb0(%keys: !tile.keys, %m1: !tile.tile<48xf32>, %l1: !tile.tile<48xf32>, %o1: !tile.tile<48x64xf32>):
    %k = tile.load_keys %keys, 1 : !tile.tile<96x64xbf16>
    %s = tile.dot_qk %q, %k : (!tile.tile<48x64xbf16>, !tile.tile<96x64xbf16>) -> !tile.tile<48x96xf32>
    %t = tile.mask %s, %keys : !tile.tile<48x96xf32> {
    ^bb0(%q_position: i32, %k_position: i32, %head: i32, %batch: i32):
      %admitted = arith.cmpi sge, %q_position, %k_position : i32
      tile.yield %admitted : i1
    }
    %p, %m2, %l2, %alpha = tile.softmax_step %t, %m1, %l1, %f : !tile.tile<48x96xf32>, !tile.tile<48xf32>
    %v = tile.load_keys %keys, 2 : !tile.tile<96x64xbf16>
    %o2 = tile.dot_pv %p, %v, %o1, %alpha : (!tile.tile<48x96xf32>, !tile.tile<96x64xbf16>, !tile.tile<48x64xf32>, !tile.tile<48xf32>) -> !tile.tile<48x64xf32>
    tile.yield %m2, %l2, %o2 : !tile.tile<48xf32>, !tile.tile<48xf32>, !tile.tile<48x64xf32>
  }
  %out, %lse = tile.softmax_finish %m, %l, %o, %f : !tile.tile<48xf32>, !tile.tile<48x64xf32>
  tile.store_queries %out, 3 : !tile.tile<48x64xf32>
  tile.store_queries %lse, 4 : !tile.tile<48xf32>
}
