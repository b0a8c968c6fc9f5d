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

// expected-error@+1 {{has two bindings 'q'}}
tile.kernel @k bindings [#tile.binding<"q", q, f32, 4>, #tile.binding<"q", k, f32, 4>, #tile.binding<"v", v, f32, 4>, #tile.binding<"o", o, f32, 4>] params []
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

// expected-error@+1 {{must be f32, f16 or bf16 of rank at most 4}}
tile.kernel @k bindings [#tile.binding<"q", q, f32, 4>, #tile.binding<"k", k, f32, 4>, #tile.binding<"v", v, f32, 4>, #tile.binding<"o", o, f32, 4>, #tile.binding<"g", input, i32, 4>] params []
    block_q 8 block_k 16 qk_dim 32 v_dim 64 {
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

// -----

func.func @f(%i: !tile.tile<8xf32>) {
// expected-error@+1 {{has results of other types than its initial values}}
  %r = tile.for_keys (%i) : (!tile.tile<8xf32>) -> !tile.tile<9xf32>
  classify {
  ^bb0(%a0: i32, %a1: i32, %a2: i32, %a3: i32, %a4: i32, %a5: i32):
    %t = arith.constant true
    tile.yield %t, %t : i1, i1
  } full {
  ^bb0(%keys: !tile.keys, %s: !tile.tile<8xf32>):
    tile.yield %s : !tile.tile<8xf32>
  } partial {
  ^bb0(%keys: !tile.keys, %s: !tile.tile<8xf32>):
    tile.yield %s : !tile.tile<8xf32>
  }
  return
}

// -----

func.func @f(%i: !tile.tile<8xf32>) {
// expected-error@+1 {{classify region has arguments ('i32'); must be}}
  %r = tile.for_keys (%i) : (!tile.tile<8xf32>) -> !tile.tile<8xf32>
  classify {
  ^bb0(%a: i32):
    %t = arith.constant true
    tile.yield %t, %t : i1, i1
  } full {
  ^bb0(%keys: !tile.keys, %s: !tile.tile<8xf32>):
    tile.yield %s : !tile.tile<8xf32>
  } partial {
  ^bb0(%keys: !tile.keys, %s: !tile.tile<8xf32>):
    tile.yield %s : !tile.tile<8xf32>
  }
  return
}

// -----

func.func @f(%i: !tile.tile<8xf32>) {
// expected-error@+1 {{classify region yields ('i1'); must yield ('i1', 'i1')}}
  %r = tile.for_keys (%i) : (!tile.tile<8xf32>) -> !tile.tile<8xf32>
  classify {
  ^bb0(%a0: i32, %a1: i32, %a2: i32, %a3: i32, %a4: i32, %a5: i32):
    %t = arith.constant true
    tile.yield %t : i1
  } full {
  ^bb0(%keys: !tile.keys, %s: !tile.tile<8xf32>):
    tile.yield %s : !tile.tile<8xf32>
  } partial {
  ^bb0(%keys: !tile.keys, %s: !tile.tile<8xf32>):
    tile.yield %s : !tile.tile<8xf32>
  }
  return
}

// -----

func.func @f(%i: !tile.tile<8xf32>) {
  %r = tile.for_keys (%i) : (!tile.tile<8xf32>) -> !tile.tile<8xf32>
  classify {
  ^bb0(%a0: i32, %a1: i32, %a2: i32, %a3: i32, %a4: i32, %a5: i32):
    %t = arith.constant true
// expected-error@+1 {{has regions inside a classify region; scalar regions hold plain ops}}
    scf.if %t {
    }
    tile.yield %t, %t : i1, i1
  } full {
  ^bb0(%keys: !tile.keys, %s: !tile.tile<8xf32>):
    tile.yield %s : !tile.tile<8xf32>
  } partial {
  ^bb0(%keys: !tile.keys, %s: !tile.tile<8xf32>):
    tile.yield %s : !tile.tile<8xf32>
  }
  return
}

// -----

func.func @f(%i: !tile.tile<8xf32>) {
  %r = tile.for_keys (%i) : (!tile.tile<8xf32>) -> !tile.tile<8xf32>
  classify {
  ^bb0(%a0: i32, %a1: i32, %a2: i32, %a3: i32, %a4: i32, %a5: i32):
    %t = arith.constant true
// expected-error@+1 {{gives 'vector<4xi32>' inside a classify region; scalar regions hold integers and floats}}
    %v = arith.constant dense<0> : vector<4xi32>
    tile.yield %t, %t : i1, i1
  } full {
  ^bb0(%keys: !tile.keys, %s: !tile.tile<8xf32>):
    tile.yield %s : !tile.tile<8xf32>
  } partial {
  ^bb0(%keys: !tile.keys, %s: !tile.tile<8xf32>):
    tile.yield %s : !tile.tile<8xf32>
  }
  return
}

// -----

func.func @f(%i: !tile.tile<8xf32>) {
// expected-error@+1 {{full region has arguments ('!tile.keys'); must be}}
  %r = tile.for_keys (%i) : (!tile.tile<8xf32>) -> !tile.tile<8xf32>
  classify {
  ^bb0(%a0: i32, %a1: i32, %a2: i32, %a3: i32, %a4: i32, %a5: i32):
    %t = arith.constant true
    tile.yield %t, %t : i1, i1
  } full {
  ^bb0(%keys: !tile.keys):
    tile.yield
  } partial {
  ^bb0(%keys: !tile.keys, %s: !tile.tile<8xf32>):
    tile.yield %s : !tile.tile<8xf32>
  }
  return
}

// -----

func.func @f(%i: !tile.tile<8xf32>) {
// expected-error@+1 {{full region must end with tile.yield}}
  %r = tile.for_keys (%i) : (!tile.tile<8xf32>) -> !tile.tile<8xf32>
  classify {
  ^bb0(%a0: i32, %a1: i32, %a2: i32, %a3: i32, %a4: i32, %a5: i32):
    %t = arith.constant true
    tile.yield %t, %t : i1, i1
  } full {
  ^bb0(%keys: !tile.keys, %s: !tile.tile<8xf32>):
    %t = arith.constant true
  } partial {
  ^bb0(%keys: !tile.keys, %s: !tile.tile<8xf32>):
    tile.yield %s : !tile.tile<8xf32>
  }
  return
}

// -----

func.func @f(%i: !tile.tile<8xf32>) {
// expected-error@+1 {{partial region yields (); must yield}}
  %r = tile.for_keys (%i) : (!tile.tile<8xf32>) -> !tile.tile<8xf32>
  classify {
  ^bb0(%a0: i32, %a1: i32, %a2: i32, %a3: i32, %a4: i32, %a5: i32):
    %t = arith.constant true
    tile.yield %t, %t : i1, i1
  } full {
  ^bb0(%keys: !tile.keys, %s: !tile.tile<8xf32>):
    tile.yield %s : !tile.tile<8xf32>
  } partial {
  ^bb0(%keys: !tile.keys, %s: !tile.tile<8xf32>):
    tile.yield
  }
  return
}

// -----

func.func @f(%a: !tile.tile<8xf32>, %b: !tile.tile<16x32xf32>) {
// expected-error@+1 {{has queries of '!tile.tile<8xf32>'; must have rank 2}}
  %r = tile.dot_qk %a, %b : (!tile.tile<8xf32>, !tile.tile<16x32xf32>) -> !tile.tile<8x16xf32>
  return
}

// -----

func.func @f(%a: !tile.tile<8x32xf32>, %b: !tile.tile<16x64xf32>) {
// expected-error@+1 {{has query head dim 32 and key head dim 64; must agree}}
  %r = tile.dot_qk %a, %b : (!tile.tile<8x32xf32>, !tile.tile<16x64xf32>) -> !tile.tile<8x16xf32>
  return
}

// -----

func.func @f(%a: !tile.tile<8x32xf32>, %b: !tile.tile<16x32xbf16>) {
// expected-error@+1 {{multiplies 'f32' with 'bf16'; must both be f32, f16, bf16 or i8}}
  %r = tile.dot_qk %a, %b : (!tile.tile<8x32xf32>, !tile.tile<16x32xbf16>) -> !tile.tile<8x16xf32>
  return
}

// -----

func.func @f(%a: !tile.tile<8x32xi8>, %b: !tile.tile<16x32xi8>) {
// expected-error@+1 {{has scores of '!tile.tile<8x16xf32>'; must be '!tile.tile<8x16xi32>'}}
  %r = tile.dot_qk %a, %b : (!tile.tile<8x32xi8>, !tile.tile<16x32xi8>) -> !tile.tile<8x16xf32>
  return
}

// -----

func.func @f(%a: !tile.tile<8x32xi8>) {
// expected-error@+1 {{quantises 'i8'; must be f32, f16 or bf16}}
  %r, %s = tile.quantize %a : !tile.tile<8x32xi8> -> !tile.tile<8x32xi8>, !tile.tile<8xf32>
  return
}

// -----

func.func @f(%a: !tile.tile<8x32xf32>) {
// expected-error@+1 {{must be '!tile.tile<8x32xi8>'}}
  %r, %s = tile.quantize %a : !tile.tile<8x32xf32> -> !tile.tile<8x16xi8>, !tile.tile<8xf32>
  return
}

// -----

func.func @f(%a: !tile.tile<8x32xf32>) {
// expected-error@+1 {{has scale of '!tile.tile<9xf32>'; must be '!tile.tile<8xf32>'}}
  %r, %s = tile.quantize %a : !tile.tile<8x32xf32> -> !tile.tile<8x32xi8>, !tile.tile<9xf32>
  return
}

// -----

func.func @f(%s: !tile.tile<8x16xf32>, %a: !tile.tile<8xf32>, %b: !tile.tile<16xf32>) {
// expected-error@+1 {{has scores of '!tile.tile<8x16xf32>'; must be '!tile.tile<8x16xi32>'}}
  %r = tile.dequantize_scores %s, %a, %b : (!tile.tile<8x16xf32>, !tile.tile<8xf32>, !tile.tile<16xf32>) -> !tile.tile<8x16xf32>
  return
}

// -----

func.func @f(%s: !tile.tile<8x16xi32>, %a: !tile.tile<9xf32>, %b: !tile.tile<16xf32>) {
// expected-error@+1 {{has row scale of '!tile.tile<9xf32>'; must be '!tile.tile<8xf32>'}}
  %r = tile.dequantize_scores %s, %a, %b : (!tile.tile<8x16xi32>, !tile.tile<9xf32>, !tile.tile<16xf32>) -> !tile.tile<8x16xf32>
  return
}

// -----

func.func @f(%s: !tile.tile<8x16xi32>, %a: !tile.tile<8xf32>, %b: !tile.tile<8xf32>) {
// expected-error@+1 {{has key scale of '!tile.tile<8xf32>'; must be '!tile.tile<16xf32>'}}
  %r = tile.dequantize_scores %s, %a, %b : (!tile.tile<8x16xi32>, !tile.tile<8xf32>, !tile.tile<8xf32>) -> !tile.tile<8x16xf32>
  return
}

// -----

func.func @f(%s: !tile.tile<8x16xi32>, %a: !tile.tile<8xf32>, %b: !tile.tile<16xf32>) {
// expected-error@+1 {{has result of '!tile.tile<8x16xi32>'; must be '!tile.tile<8x16xf32>'}}
  %r = tile.dequantize_scores %s, %a, %b : (!tile.tile<8x16xi32>, !tile.tile<8xf32>, !tile.tile<16xf32>) -> !tile.tile<8x16xi32>
  return
}

// -----

func.func @f(%x: !tile.tile<16x32xf32>, %s: !tile.tile<16xf32>) {
// expected-error@+1 {{has rows of '!tile.tile<16x32xf32>'; must be '!tile.tile<16x32xi8>'}}
  %r = tile.dequantize_keys %x, %s : (!tile.tile<16x32xf32>, !tile.tile<16xf32>) -> !tile.tile<16x32xf32>
  return
}

// -----

func.func @f(%x: !tile.tile<16x32xi8>, %s: !tile.tile<8xf32>) {
// expected-error@+1 {{has scale of '!tile.tile<8xf32>'; must be '!tile.tile<16xf32>'}}
  %r = tile.dequantize_keys %x, %s : (!tile.tile<16x32xi8>, !tile.tile<8xf32>) -> !tile.tile<16x32xf32>
  return
}

// -----

func.func @f(%x: !tile.tile<16x32xi8>, %s: !tile.tile<16xf32>) {
// expected-error@+1 {{gives 'i32'; must be f32, f16 or bf16}}
  %r = tile.dequantize_keys %x, %s : (!tile.tile<16x32xi8>, !tile.tile<16xf32>) -> !tile.tile<16x32xi32>
  return
}

// -----

func.func @f(%x: !tile.tile<16x32xi8>, %s: !tile.tile<16xf32>) {
// expected-error@+1 {{has result of '!tile.tile<16x16xf32>'; must be '!tile.tile<16x32xf32>'}}
  %r = tile.dequantize_keys %x, %s : (!tile.tile<16x32xi8>, !tile.tile<16xf32>) -> !tile.tile<16x16xf32>
  return
}

// -----

func.func @f(%s: !tile.tile<8x16xi32>, %keys: !tile.keys) {
// expected-error@+1 {{has scores of '!tile.tile<8x16xi32>'; must be '!tile.tile<8x16xf32>'}}
  %r = tile.score %s, %keys : !tile.tile<8x16xi32> {
  ^bb0(%x: f32, %q: i32, %k: i32, %h: i32, %b: i32):
    tile.yield %x : f32
  }
  return
}

// -----

func.func @f(%s: !tile.tile<8x16xf32>, %keys: !tile.keys) {
// expected-error@+1 {{score region yields ('i32'); must yield ('f32')}}
  %r = tile.score %s, %keys : !tile.tile<8x16xf32> {
  ^bb0(%x: f32, %q: i32, %k: i32, %h: i32, %b: i32):
    tile.yield %q : i32
  }
  return
}

// -----

func.func @f(%s: !tile.tile<8x16xf32>, %keys: !tile.keys) {
// expected-error@+1 {{mask region has arguments ('i32', 'i32'); must be}}
  %r = tile.mask %s, %keys : !tile.tile<8x16xf32> {
  ^bb0(%q: i32, %k: i32):
    %t = arith.constant true
    tile.yield %t : i1
  }
  return
}

// -----

func.func @f(%s: !tile.tile<8x16xf32>, %keys: !tile.keys) {
// expected-error@+1 {{mask region yields ('i32'); must yield ('i1')}}
  %r = tile.mask %s, %keys : !tile.tile<8x16xf32> {
  ^bb0(%q: i32, %k: i32, %h: i32, %b: i32):
    tile.yield %q : i32
  }
  return
}

// -----

func.func @f() {
// expected-error@+1 {{has sum of '!tile.tile<9xf32>'; must be '!tile.tile<8xf32>'}}
  %m, %l, %o = tile.softmax_init : !tile.tile<8xf32>, !tile.tile<9xf32>, !tile.tile<8x64xf32>
  return
}

// -----

func.func @f() {
// expected-error@+1 {{has output of '!tile.tile<8xf32>'; must have rank 2}}
  %m, %l, %o = tile.softmax_init : !tile.tile<8xf32>, !tile.tile<8xf32>, !tile.tile<8xf32>
  return
}

// -----

func.func @f(%s: !tile.tile<8x16xf32>, %m: !tile.tile<9xf32>, %f: f32) {
// expected-error@+1 {{has maximum of '!tile.tile<9xf32>'; must be '!tile.tile<8xf32>'}}
  %p, %n, %l, %a = tile.softmax_step %s, %m, %m, %f : !tile.tile<8x16xf32>, !tile.tile<9xf32>
  return
}

// -----

func.func @f(%p: !tile.tile<8x16xf32>, %v: !tile.tile<16x64xi8>, %o: !tile.tile<8x64xf32>, %a: !tile.tile<8xf32>) {
// expected-error@+1 {{has values of 'i8'; must be f32, f16 or bf16 (dequantise i8 first)}}
  %r = tile.dot_pv %p, %v, %o, %a : (!tile.tile<8x16xf32>, !tile.tile<16x64xi8>, !tile.tile<8x64xf32>, !tile.tile<8xf32>) -> !tile.tile<8x64xf32>
  return
}

// -----

func.func @f(%p: !tile.tile<8x16xf32>, %v: !tile.tile<8x64xf32>, %o: !tile.tile<8x64xf32>, %a: !tile.tile<8xf32>) {
// expected-error@+1 {{has values of '!tile.tile<8x64xf32>'; must be '!tile.tile<16x64xf32>'}}
  %r = tile.dot_pv %p, %v, %o, %a : (!tile.tile<8x16xf32>, !tile.tile<8x64xf32>, !tile.tile<8x64xf32>, !tile.tile<8xf32>) -> !tile.tile<8x64xf32>
  return
}

// -----

func.func @f(%p: !tile.tile<8x16xf32>, %v: !tile.tile<16x64xf32>, %o: !tile.tile<8x32xf32>, %a: !tile.tile<8xf32>) {
// expected-error@+1 {{has output of '!tile.tile<8x32xf32>'; must be '!tile.tile<8x64xf32>'}}
  %r = tile.dot_pv %p, %v, %o, %a : (!tile.tile<8x16xf32>, !tile.tile<16x64xf32>, !tile.tile<8x32xf32>, !tile.tile<8xf32>) -> !tile.tile<8x64xf32>
  return
}

// -----

func.func @f(%p: !tile.tile<8x16xf32>, %v: !tile.tile<16x64xf32>, %o: !tile.tile<8x64xf32>, %a: !tile.tile<9xf32>) {
// expected-error@+1 {{has rescale of '!tile.tile<9xf32>'; must be '!tile.tile<8xf32>'}}
  %r = tile.dot_pv %p, %v, %o, %a : (!tile.tile<8x16xf32>, !tile.tile<16x64xf32>, !tile.tile<8x64xf32>, !tile.tile<9xf32>) -> !tile.tile<8x64xf32>
  return
}

// -----

func.func @f(%p: !tile.tile<8x16xf32>, %v: !tile.tile<16x64xf32>, %o: !tile.tile<8x64xf32>, %a: !tile.tile<8xf32>) {
// expected-error@+1 {{has result of '!tile.tile<8x32xf32>'; must be '!tile.tile<8x64xf32>'}}
  %r = tile.dot_pv %p, %v, %o, %a : (!tile.tile<8x16xf32>, !tile.tile<16x64xf32>, !tile.tile<8x64xf32>, !tile.tile<8xf32>) -> !tile.tile<8x32xf32>
  return
}

// -----

func.func @f(%m: !tile.tile<9xf32>, %o: !tile.tile<8x64xf32>, %f: f32) {
// expected-error@+1 {{has maximum of '!tile.tile<9xf32>'; must be '!tile.tile<8xf32>'}}
  %r, %l = tile.softmax_finish %m, %m, %o, %f : !tile.tile<9xf32>, !tile.tile<8x64xf32>
  return
}

// -----

func.func @f(%m: !tile.tile<8xf32>, %o: !tile.tile<8x64xbf16>, %f: f32) {
// expected-error@+1 {{has output of '!tile.tile<8x64xbf16>'; must be '!tile.tile<8x64xf32>'}}
  %r, %l = tile.softmax_finish %m, %m, %o, %f : !tile.tile<8xf32>, !tile.tile<8x64xbf16>
  return
}

// -----

// expected-error@+1 {{tile has rank 3; must be 1 or 2}}
func.func private @f(!tile.tile<2x3x4xf32>)

// -----

// expected-error@+1 {{tile extent is 0; must be positive}}
func.func private @f(!tile.tile<0xf32>)

// -----

// expected-error@+1 {{tile element type is 'index'; must be an integer or a float}}
func.func private @f(!tile.tile<4xindex>)
