// RUN: attn-opt %s -split-input-file -verify-diagnostics -allow-unregistered-dialect

// expected-error@+1 {{has block_q 0; must be positive}}
tile.kernel @k bindings [#tile.binding<"q", q, f32, 4>, #tile.binding<"k", k, f32, 4>, #tile.binding<"v", v, f32, 4>, #tile.binding<"o", o, f32, 4>] params []
    block_q 0 block_k 16 qk_dim 32 v_dim 64 {
}

// -----

// expected-error@+1 {{has block_k 0; must be positive}}
tile.kernel @k bindings [#tile.binding<"q", q, f32, 4>, #tile.binding<"k", k, f32, 4>, #tile.binding<"v", v, f32, 4>, #tile.binding<"o", o, f32, 4>] params []
    block_q 8 block_k 0 qk_dim 32 v_dim 64 {
}

// -----

// expected-error@+1 {{has qk_dim 0; must be positive}}
tile.kernel @k bindings [#tile.binding<"q", q, f32, 4>, #tile.binding<"k", k, f32, 4>, #tile.binding<"v", v, f32, 4>, #tile.binding<"o", o, f32, 4>] params []
    block_q 8 block_k 16 qk_dim 0 v_dim 64 {
}

// -----

// expected-error@+1 {{has v_dim 0; must be positive}}
tile.kernel @k bindings [#tile.binding<"q", q, f32, 4>, #tile.binding<"k", k, f32, 4>, #tile.binding<"v", v, f32, 4>, #tile.binding<"o", o, f32, 4>] params []
    block_q 8 block_k 16 qk_dim 32 v_dim 0 {
}

// -----

// expected-error@+1 {{has 4 heads, no multiple of its 3 kv heads}}
tile.kernel @k bindings [#tile.binding<"q", q, f32, 4>, #tile.binding<"k", k, f32, 4>, #tile.binding<"v", v, f32, 4>, #tile.binding<"o", o, f32, 4>] params []
    block_q 8 block_k 16 qk_dim 32 v_dim 64 heads 4 kv_heads 3 {
}

// -----

// expected-error@+1 {{the order is q, k, v, o, lse, k_scale, v_scale, tables, inputs}}
tile.kernel @k bindings [#tile.binding<"k", k, f32, 4>, #tile.binding<"q", q, f32, 4>, #tile.binding<"v", v, f32, 4>, #tile.binding<"o", o, f32, 4>] params []
    block_q 8 block_k 16 qk_dim 32 v_dim 64 {
}

// -----

// expected-error@+1 {{of role lse at 5; the order is}}
tile.kernel @k bindings [#tile.binding<"q", q, f32, 4>, #tile.binding<"k", k, f32, 4>, #tile.binding<"v", v, f32, 4>, #tile.binding<"o", o, f32, 4>, #tile.binding<"lse", lse, f32, 3>, #tile.binding<"lse2", lse, f32, 3>] params []
    block_q 8 block_k 16 qk_dim 32 v_dim 64 {
}

// -----

// expected-error@+1 {{has two bindings 'a'}}
tile.kernel @k bindings [#tile.binding<"q", q, f32, 4>, #tile.binding<"k", k, f32, 4>, #tile.binding<"v", v, f32, 4>, #tile.binding<"o", o, f32, 4>, #tile.binding<"a", table, f32, 1>, #tile.binding<"a", table, f32, 1>] params []
    block_q 8 block_k 16 qk_dim 32 v_dim 64 {
}

// -----

// expected-error@+1 {{has 3 bindings; needs q, k, v and o}}
tile.kernel @k bindings [#tile.binding<"q", q, f32, 4>, #tile.binding<"k", k, f32, 4>, #tile.binding<"v", v, f32, 4>] params []
    block_q 8 block_k 16 qk_dim 32 v_dim 64 {
}

// -----

// expected-error@+1 {{has binding 'q' of role q with type 'i8' and rank 4; must be f32, f16 or bf16 of rank 4}}
tile.kernel @k bindings [#tile.binding<"q", q, i8, 4>, #tile.binding<"k", k, f32, 4>, #tile.binding<"v", v, f32, 4>, #tile.binding<"o", o, f32, 4>] params []
    block_q 8 block_k 16 qk_dim 32 v_dim 64 {
}

// -----

// expected-error@+1 {{must be f32, f16, bf16 or i8 of rank 4}}
tile.kernel @k bindings [#tile.binding<"q", q, f32, 4>, #tile.binding<"k", k, f32, 3>, #tile.binding<"v", v, f32, 4>, #tile.binding<"o", o, f32, 4>] params []
    block_q 8 block_k 16 qk_dim 32 v_dim 64 {
}

// -----

// expected-error@+1 {{has binding 'lse' of role lse with type 'bf16' and rank 3; must be f32 of rank 3}}
tile.kernel @k bindings [#tile.binding<"q", q, f32, 4>, #tile.binding<"k", k, f32, 4>, #tile.binding<"v", v, f32, 4>, #tile.binding<"o", o, f32, 4>, #tile.binding<"lse", lse, bf16, 3>] params []
    block_q 8 block_k 16 qk_dim 32 v_dim 64 {
}

// -----

// expected-error@+1 {{must be f32, f16, bf16, i32 or i8 of rank 1 to 4}}
tile.kernel @k bindings [#tile.binding<"q", q, f32, 4>, #tile.binding<"k", k, f32, 4>, #tile.binding<"v", v, f32, 4>, #tile.binding<"o", o, f32, 4>, #tile.binding<"t", table, i64, 1>] params []
    block_q 8 block_k 16 qk_dim 32 v_dim 64 {
}

// -----

// expected-error@+1 {{must be f32, f16 or bf16 of rank 3 or 4}}
tile.kernel @k bindings [#tile.binding<"q", q, f32, 4>, #tile.binding<"k", k, f32, 4>, #tile.binding<"v", v, f32, 4>, #tile.binding<"o", o, f32, 4>, #tile.binding<"g", input, i32, 4>] params []
    block_q 8 block_k 16 qk_dim 32 v_dim 64 {
}

// -----

// expected-error@+1 {{has binding 'q' of role q at 0; the order is o, lse, tables, inputs, part_o, part_lse}}
tile.kernel @k bindings [#tile.binding<"q", q, f32, 4>, #tile.binding<"o", o, f32, 4>, #tile.binding<"lse", lse, f32, 3>, #tile.binding<"part_o", part_o, f32, 4>, #tile.binding<"part_lse", part_lse, f32, 3>] params []
    block_q 8 block_k 16 qk_dim 32 v_dim 64 {
}

// -----

// expected-error@+1 {{has binding 's' of role k_scale at 2; the order is o, lse, tables, inputs, part_o, part_lse}}
tile.kernel @k bindings [#tile.binding<"o", o, f32, 4>, #tile.binding<"lse", lse, f32, 3>, #tile.binding<"s", k_scale, f32, 3>, #tile.binding<"part_o", part_o, f32, 4>, #tile.binding<"part_lse", part_lse, f32, 3>] params []
    block_q 8 block_k 16 qk_dim 32 v_dim 64 {
}

// -----

// expected-error@+1 {{merges parts without a binding of role part_lse}}
tile.kernel @k bindings [#tile.binding<"o", o, f32, 4>, #tile.binding<"lse", lse, f32, 3>, #tile.binding<"part_o", part_o, f32, 4>] params []
    block_q 8 block_k 16 qk_dim 32 v_dim 64 {
}

// -----

// expected-error@+1 {{with type 'i8' and rank 4; must be f32, f16 or bf16 of rank 4}}
tile.kernel @k bindings [#tile.binding<"o", o, f32, 4>, #tile.binding<"lse", lse, f32, 3>, #tile.binding<"part_o", part_o, i8, 4>, #tile.binding<"part_lse", part_lse, f32, 3>] params []
    block_q 8 block_k 16 qk_dim 32 v_dim 64 {
}

// -----

// expected-error@+1 {{with type 'bf16' and rank 3; must be f32 of rank 3}}
tile.kernel @k bindings [#tile.binding<"o", o, f32, 4>, #tile.binding<"lse", lse, f32, 3>, #tile.binding<"part_o", part_o, f32, 4>, #tile.binding<"part_lse", part_lse, bf16, 3>] params []
    block_q 8 block_k 16 qk_dim 32 v_dim 64 {
}

// -----

tile.kernel @k bindings [#tile.binding<"o", o, f32, 4>, #tile.binding<"lse", lse, f32, 3>, #tile.binding<"part_o", part_o, f32, 4>, #tile.binding<"part_lse", part_lse, f32, 3>] params []
    block_q 8 block_k 16 qk_dim 32 v_dim 64 {
// expected-error@+1 {{names binding 'lse' of role lse; must be part_lse}}
  %m, %l, %o = tile.merge_parts 2, 1 : !tile.tile<8xf32>, !tile.tile<8xf32>, !tile.tile<8x64xf32>
}

// -----

tile.kernel @k bindings [#tile.binding<"o", o, f32, 4>, #tile.binding<"lse", lse, f32, 3>, #tile.binding<"part_o", part_o, f32, 4>, #tile.binding<"part_lse", part_lse, f32, 3>] params []
    block_q 8 block_k 16 qk_dim 32 v_dim 64 {
// expected-error@+1 {{has output of '!tile.tile<8x32xf32>'; must be '!tile.tile<8x64xf32>'}}
  %m, %l, %o = tile.merge_parts 2, 3 : !tile.tile<8xf32>, !tile.tile<8xf32>, !tile.tile<8x32xf32>
}

// -----

// expected-error@+1 {{has k of 'i8' and no k_scale; scales go with i8}}
tile.kernel @k bindings [#tile.binding<"q", q, f32, 4>, #tile.binding<"k", k, i8, 4>, #tile.binding<"v", v, f32, 4>, #tile.binding<"o", o, f32, 4>] params []
    block_q 8 block_k 16 qk_dim 32 v_dim 64 {
}

// -----

// expected-error@+1 {{has v of 'f32' and a v_scale; scales go with i8}}
tile.kernel @k bindings [#tile.binding<"q", q, f32, 4>, #tile.binding<"k", k, f32, 4>, #tile.binding<"v", v, f32, 4>, #tile.binding<"o", o, f32, 4>, #tile.binding<"v_scale", v_scale, f32, 3>] params []
    block_q 8 block_k 16 qk_dim 32 v_dim 64 {
}

// -----

// expected-error@+1 {{has parameter 'n' of type 'i64'; must be i32 or f32}}
tile.kernel @k bindings [#tile.binding<"q", q, f32, 4>, #tile.binding<"k", k, f32, 4>, #tile.binding<"v", v, f32, 4>, #tile.binding<"o", o, f32, 4>] params [#tile.param<"n", i64, 0, 1>]
    block_q 8 block_k 16 qk_dim 32 v_dim 64 {
}

// -----

// expected-error@+1 {{has parameter 'n' with an empty range}}
tile.kernel @k bindings [#tile.binding<"q", q, f32, 4>, #tile.binding<"k", k, f32, 4>, #tile.binding<"v", v, f32, 4>, #tile.binding<"o", o, f32, 4>] params [#tile.param<"n", i32, 2, 1>]
    block_q 8 block_k 16 qk_dim 32 v_dim 64 {
}

// -----

tile.kernel @k bindings [#tile.binding<"q", q, f32, 4>, #tile.binding<"k", k, f32, 4>, #tile.binding<"v", v, f32, 4>, #tile.binding<"o", o, f32, 4>] params []
    block_q 8 block_k 16 qk_dim 32 v_dim 64 {
// expected-error@+1 {{names binding 9; the kernel has 4}}
  %0 = tile.load_queries 9 : !tile.tile<8x32xf32>
}

// -----

tile.kernel @k bindings [#tile.binding<"q", q, f32, 4>, #tile.binding<"k", k, f32, 4>, #tile.binding<"v", v, f32, 4>, #tile.binding<"o", o, f32, 4>] params []
    block_q 8 block_k 16 qk_dim 32 v_dim 64 {
// expected-error@+1 {{names binding 'k' of role k; must be q or input}}
  %0 = tile.load_queries 1 : !tile.tile<8x32xf32>
}

// -----

tile.kernel @k bindings [#tile.binding<"q", q, f32, 4>, #tile.binding<"k", k, f32, 4>, #tile.binding<"v", v, f32, 4>, #tile.binding<"o", o, f32, 4>] params []
    block_q 8 block_k 16 qk_dim 32 v_dim 64 {
// expected-error@+1 {{has rows of '!tile.tile<8x64xf32>'; must be '!tile.tile<8x32xf32>'}}
  %0 = tile.load_queries 0 : !tile.tile<8x64xf32>
}

// -----

tile.kernel @k bindings [#tile.binding<"q", q, f32, 4>, #tile.binding<"k", k, f32, 4>, #tile.binding<"v", v, f32, 4>, #tile.binding<"o", o, f32, 4>, #tile.binding<"g", input, bf16, 4>] params []
    block_q 8 block_k 16 qk_dim 32 v_dim 64 {
// expected-error@+1 {{has rows of '!tile.tile<8x64xf32>'; must be '!tile.tile<8x64xbf16>'}}
  %0 = tile.load_queries 4 : !tile.tile<8x64xf32>
}

// -----

tile.kernel @k bindings [#tile.binding<"q", q, f32, 4>, #tile.binding<"k", k, f32, 4>, #tile.binding<"v", v, f32, 4>, #tile.binding<"o", o, f32, 4>] params []
    block_q 8 block_k 16 qk_dim 32 v_dim 64 {
  %v = "test.tile"() : () -> !tile.tile<8x32xf32>
// expected-error@+1 {{names binding 'q' of role q; must be o or lse}}
  tile.store_queries %v, 0 : !tile.tile<8x32xf32>
}

// -----

tile.kernel @k bindings [#tile.binding<"q", q, f32, 4>, #tile.binding<"k", k, f32, 4>, #tile.binding<"v", v, f32, 4>, #tile.binding<"o", o, f32, 4>] params []
    block_q 8 block_k 16 qk_dim 32 v_dim 64 {
  %v = "test.tile"() : () -> !tile.tile<8x32xf32>
// expected-error@+1 {{must be '!tile.tile<8x64xf32>'}}
  tile.store_queries %v, 3 : !tile.tile<8x32xf32>
}

// -----

tile.kernel @k bindings [#tile.binding<"q", q, f32, 4>, #tile.binding<"k", k, f32, 4>, #tile.binding<"v", v, f32, 4>, #tile.binding<"o", o, f32, 4>, #tile.binding<"lse", lse, f32, 3>] params []
    block_q 8 block_k 16 qk_dim 32 v_dim 64 {
  %v = "test.tile"() : () -> !tile.tile<8x32xf32>
// expected-error@+1 {{must be '!tile.tile<8xf32>'}}
  tile.store_queries %v, 4 : !tile.tile<8x32xf32>
}

// -----

tile.kernel @k bindings [#tile.binding<"q", q, f32, 4>, #tile.binding<"k", k, f32, 4>, #tile.binding<"v", v, f32, 4>, #tile.binding<"o", o, f32, 4>] params []
    block_q 8 block_k 16 qk_dim 32 v_dim 64 {
  %keys = "test.keys"() : () -> !tile.keys
// expected-error@+1 {{names binding 'q' of role q; must be k, v, k_scale or v_scale}}
  %0 = tile.load_keys %keys, 0 : !tile.tile<16x32xf32>
}

// -----

tile.kernel @k bindings [#tile.binding<"q", q, f32, 4>, #tile.binding<"k", k, f32, 4>, #tile.binding<"v", v, f32, 4>, #tile.binding<"o", o, f32, 4>] params []
    block_q 8 block_k 16 qk_dim 32 v_dim 64 {
  %keys = "test.keys"() : () -> !tile.keys
// expected-error@+1 {{has keys of '!tile.tile<16x64xf32>'; must be '!tile.tile<16x32xf32>'}}
  %0 = tile.load_keys %keys, 1 : !tile.tile<16x64xf32>
}

// -----

tile.kernel @k bindings [#tile.binding<"q", q, f32, 4>, #tile.binding<"k", k, f32, 4>, #tile.binding<"v", v, f32, 4>, #tile.binding<"o", o, f32, 4>] params []
    block_q 8 block_k 16 qk_dim 32 v_dim 64 {
  %keys = "test.keys"() : () -> !tile.keys
// expected-error@+1 {{has values of '!tile.tile<16x32xf32>'; must be '!tile.tile<16x64xf32>'}}
  %0 = tile.load_keys %keys, 2 : !tile.tile<16x32xf32>
}

// -----

tile.kernel @k bindings [#tile.binding<"q", q, f32, 4>, #tile.binding<"k", k, i8, 4>, #tile.binding<"v", v, f32, 4>, #tile.binding<"o", o, f32, 4>, #tile.binding<"ks", k_scale, f32, 3>] params []
    block_q 8 block_k 16 qk_dim 32 v_dim 64 {
  %keys = "test.keys"() : () -> !tile.keys
// expected-error@+1 {{has scales of '!tile.tile<8xf32>'; must be '!tile.tile<16xf32>'}}
  %0 = tile.load_keys %keys, 4 : !tile.tile<8xf32>
}

// -----

tile.kernel @k bindings [#tile.binding<"q", q, f32, 4>, #tile.binding<"k", k, f32, 4>, #tile.binding<"v", v, f32, 4>, #tile.binding<"o", o, f32, 4>] params []
    block_q 8 block_k 16 qk_dim 32 v_dim 64 {
// expected-error@+1 {{reads parameter 0; the kernel has 0}}
  %0 = tile.param_value 0 : i32
}

// -----

tile.kernel @k bindings [#tile.binding<"q", q, f32, 4>, #tile.binding<"k", k, f32, 4>, #tile.binding<"v", v, f32, 4>, #tile.binding<"o", o, f32, 4>] params [#tile.param<"n", i32, 0, 1>]
    block_q 8 block_k 16 qk_dim 32 v_dim 64 {
// expected-error@+1 {{reads parameter 0 as 'f32'; it is 'i32'}}
  %0 = tile.param_value 0 : f32
}

// -----

tile.kernel @k bindings [#tile.binding<"q", q, f32, 4>, #tile.binding<"k", k, f32, 4>, #tile.binding<"v", v, f32, 4>, #tile.binding<"o", o, f32, 4>] params []
    block_q 8 block_k 16 qk_dim 32 v_dim 64 {
// expected-error@+1 {{asks for item 5; must be 0 (head), 1 (batch), 2 (layer), 3 (heads) or 4 (kv heads)}}
  %0 = tile.item 5
}

// -----

tile.kernel @k bindings [#tile.binding<"q", q, f32, 4>, #tile.binding<"k", k, f32, 4>, #tile.binding<"v", v, f32, 4>, #tile.binding<"o", o, f32, 4>, #tile.binding<"t", table, i32, 1>] params []
    block_q 8 block_k 16 qk_dim 32 v_dim 64 {
  %i = tile.item 0
// expected-error@+1 {{names binding 'q' of role q; must be table}}
  %0 = tile.table_load 0[%i] : i32
}

// -----

tile.kernel @k bindings [#tile.binding<"q", q, f32, 4>, #tile.binding<"k", k, f32, 4>, #tile.binding<"v", v, f32, 4>, #tile.binding<"o", o, f32, 4>, #tile.binding<"t", table, i32, 1>] params []
    block_q 8 block_k 16 qk_dim 32 v_dim 64 {
  %i = tile.item 0
// expected-error@+1 {{reads table 't' with 2 indices; it has rank 1}}
  %0 = tile.table_load 4[%i, %i] : i32
}

// -----

tile.kernel @k bindings [#tile.binding<"q", q, f32, 4>, #tile.binding<"k", k, f32, 4>, #tile.binding<"v", v, f32, 4>, #tile.binding<"o", o, f32, 4>, #tile.binding<"t", table, i32, 1>] params []
    block_q 8 block_k 16 qk_dim 32 v_dim 64 {
  %i = tile.item 0
// expected-error@+1 {{reads table 't' of 'i32' as 'f32'}}
  %0 = tile.table_load 4[%i] : f32
}
