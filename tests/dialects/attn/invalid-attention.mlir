// RUN: attn-opt %s -split-input-file -verify-diagnostics

// expected-error@+1 {{has 4 heads, no multiple of its 3 kv heads}}
attn.attention @a heads 4 kv_heads 3 qk_dim 64 v_dim 64 types <f32, f32, f32, f32>
    spaces [#attn.space<"tok", <"i", stream, 0>>] query <"tok", "tok"> keys <"tok", "tok">
    mask {
^bb0(%q: !attn.position<query>, %k: !attn.position<key>, %head: i32, %batch: i32):
  %true = arith.constant true
  attn.yield %true : i1
}

// -----

// expected-error@+1 {{has head dims 0 and 64; must be positive}}
attn.attention @a heads 4 kv_heads 2 qk_dim 0 v_dim 64 types <f32, f32, f32, f32>
    spaces [#attn.space<"tok", <"i", stream, 0>>] query <"tok", "tok"> keys <"tok", "tok">
    mask {
^bb0(%q: !attn.position<query>, %k: !attn.position<key>, %head: i32, %batch: i32):
  %true = arith.constant true
  attn.yield %true : i1
}

// -----

// expected-error@+1 {{has k of 'i8' and v of 'f32'; both or neither must be i8}}
attn.attention @a heads 4 kv_heads 2 qk_dim 64 v_dim 64 types <f32, i8, f32, f32>
    spaces [#attn.space<"tok", <"i", stream, 0>>] query <"tok", "tok"> keys <"tok", "tok">
    mask {
^bb0(%q: !attn.position<query>, %k: !attn.position<key>, %head: i32, %batch: i32):
  %true = arith.constant true
  attn.yield %true : i1
}

// -----

// expected-error@+1 {{declares space 'tok' twice}}
attn.attention @a heads 4 kv_heads 2 qk_dim 64 v_dim 64 types <f32, f32, f32, f32>
    spaces [#attn.space<"tok", <"i", stream, 0>>, #attn.space<"tok", <"i", stream, 0>>] query <"tok", "tok"> keys <"tok", "tok">
    mask {
^bb0(%q: !attn.position<query>, %k: !attn.position<key>, %head: i32, %batch: i32):
  %true = arith.constant true
  attn.yield %true : i1
}

// -----

// expected-error@+1 {{has tokens 'tok' of space "video", which it does not declare}}
attn.attention @a heads 4 kv_heads 2 qk_dim 64 v_dim 64 types <f32, f32, f32, f32>
    spaces [#attn.space<"tok", <"i", stream, 0>>] query <"tok", "video"> keys <"tok", "tok">
    mask {
^bb0(%q: !attn.position<query>, %k: !attn.position<key>, %head: i32, %batch: i32):
  %true = arith.constant true
  attn.yield %true : i1
}

// -----

// expected-error@+1 {{declares table 'n', a name already taken}}
attn.attention @a heads 4 kv_heads 2 qk_dim 64 v_dim 64 types <f32, f32, f32, f32>
    spaces [#attn.space<"tok", <"i", stream, 0>>] query <"tok", "tok"> keys <"tok", "tok">
    params [#attn.param<"n", 0 : i32, 8 : i32>] tables [#attn.table<"n", f32, 1>]
    mask {
^bb0(%q: !attn.position<query>, %k: !attn.position<key>, %head: i32, %batch: i32):
  %true = arith.constant true
  attn.yield %true : i1
}

// -----

// expected-error@+1 {{ropes 44 dims; must be all 64 of the head dim}}
attn.attention @a heads 4 kv_heads 2 qk_dim 64 v_dim 64 types <f32, f32, f32, f32>
    spaces [#attn.space<"tok", <"i", stream, 0>>] query <"tok", "tok"> keys <"tok", "tok">
    rope <half, 1.0e4 : f64, stream, <"i", 44>>
    mask {
^bb0(%q: !attn.position<query>, %k: !attn.position<key>, %head: i32, %batch: i32):
  %true = arith.constant true
  attn.yield %true : i1
}

// -----

// expected-error@+1 {{must be positive}}
attn.attention @a heads 4 kv_heads 2 qk_dim 64 v_dim 64 types <f32, f32, f32, f32>
    spaces [#attn.space<"tok", <"i", stream, 0>>] query <"tok", "tok"> keys <"tok", "tok">
    scale 0.0
    mask {
^bb0(%q: !attn.position<query>, %k: !attn.position<key>, %head: i32, %batch: i32):
  %true = arith.constant true
  attn.yield %true : i1
}

// -----

// expected-error@+1 {{mask region has arguments ('i32', 'i32'); must be}}
attn.attention @a heads 4 kv_heads 2 qk_dim 64 v_dim 64 types <f32, f32, f32, f32>
    spaces [#attn.space<"tok", <"i", stream, 0>>] query <"tok", "tok"> keys <"tok", "tok">
    mask {
^bb0(%q: i32, %k: i32):
  %true = arith.constant true
  attn.yield %true : i1
}

// -----

// expected-error@+1 {{mask region must end with attn.yield}}
attn.attention @a heads 4 kv_heads 2 qk_dim 64 v_dim 64 types <f32, f32, f32, f32>
    spaces [#attn.space<"tok", <"i", stream, 0>>] query <"tok", "tok"> keys <"tok", "tok">
    mask {
^bb0(%q: !attn.position<query>, %k: !attn.position<key>, %head: i32, %batch: i32):
  %true = arith.constant true
}

// -----

// expected-error@+1 {{mask region yields 'i32'; must yield 'i1'}}
attn.attention @a heads 4 kv_heads 2 qk_dim 64 v_dim 64 types <f32, f32, f32, f32>
    spaces [#attn.space<"tok", <"i", stream, 0>>] query <"tok", "tok"> keys <"tok", "tok">
    mask {
^bb0(%q: !attn.position<query>, %k: !attn.position<key>, %head: i32, %batch: i32):
  %c = arith.constant 1 : i32
  attn.yield %c : i32
}

// -----

attn.attention @a heads 4 kv_heads 2 qk_dim 64 v_dim 64 types <f32, f32, f32, f32>
    spaces [#attn.space<"tok", <"i", stream, 0>>] query <"tok", "tok"> keys <"tok", "tok">
    mask {
^bb0(%q: !attn.position<query>, %k: !attn.position<key>, %head: i32, %batch: i32):
  %t = arith.constant true
// expected-error@+1 {{has regions inside a mask region; scalar regions hold plain ops only}}
  scf.if %t {
  }
  attn.yield %t : i1
}

// -----

// expected-error@+1 {{score region yields 'i32'; must yield 'f32'}}
attn.attention @a heads 4 kv_heads 2 qk_dim 64 v_dim 64 types <f32, f32, f32, f32>
    spaces [#attn.space<"tok", <"i", stream, 0>>] query <"tok", "tok"> keys <"tok", "tok">
    mask {
^bb0(%q: !attn.position<query>, %k: !attn.position<key>, %head: i32, %batch: i32):
  %true = arith.constant true
  attn.yield %true : i1
} score {
^bb0(%s: f32, %q: !attn.position<query>, %k: !attn.position<key>, %head: i32, %batch: i32):
  attn.yield %head : i32
}

// -----

// expected-error@+1 {{sink region has arguments ('i32'); must be ('i32', 'i32')}}
attn.attention @a heads 4 kv_heads 2 qk_dim 64 v_dim 64 types <f32, f32, f32, f32>
    spaces [#attn.space<"tok", <"i", stream, 0>>] query <"tok", "tok"> keys <"tok", "tok">
    mask {
^bb0(%q: !attn.position<query>, %k: !attn.position<key>, %head: i32, %batch: i32):
  %true = arith.constant true
  attn.yield %true : i1
} sink {
^bb0(%head: i32):
  %c = arith.constant 1.0 : f32
  attn.yield %c : f32
}

// -----

// expected-error@+1 {{output region yields 'i32'; must yield 'f32'}}
attn.attention @a heads 4 kv_heads 2 qk_dim 64 v_dim 64 types <f32, f32, f32, f32>
    spaces [#attn.space<"tok", <"i", stream, 0>>] query <"tok", "tok"> keys <"tok", "tok">
    mask {
^bb0(%q: !attn.position<query>, %k: !attn.position<key>, %head: i32, %batch: i32):
  %true = arith.constant true
  attn.yield %true : i1
} output {
^bb0(%o: f32, %lse: f32, %q: !attn.position<query>, %head: i32, %batch: i32):
  attn.yield %head : i32
}

// -----

// expected-error@+1 {{belongs to @a, which is no attn.attention}}
attn.recache @r of @a on "prompt" replay 1 mask {
^bb0(%q: !attn.position<query>, %k: !attn.position<key>, %head: i32, %batch: i32):
  %true = arith.constant true
  attn.yield %true : i1
}

// -----

attn.attention @a heads 4 kv_heads 2 qk_dim 64 v_dim 64 types <f32, f32, f32, f32>
    spaces [#attn.space<"tok", <"i", stream, 0>>] query <"tok", "tok"> keys <"tok", "tok">
    mask {
^bb0(%q: !attn.position<query>, %k: !attn.position<key>, %head: i32, %batch: i32):
  %true = arith.constant true
  attn.yield %true : i1
}
// expected-error@+1 {{rebuilds the cache of @a, which has none}}
attn.recache @r of @a on "prompt" replay 1 mask {
^bb0(%q: !attn.position<query>, %k: !attn.position<key>, %head: i32, %batch: i32):
  %true = arith.constant true
  attn.yield %true : i1
}

// -----

attn.attention @a heads 4 kv_heads 2 qk_dim 64 v_dim 64 types <f32, f32, f32, f32>
    spaces [#attn.space<"tok", <"i", stream, 0>>] query <"tok", "tok"> keys <"tok", "tok">
    cache <"i", pin 1, ring 3, f32, token_head, every_pass>
    mask {
^bb0(%q: !attn.position<query>, %k: !attn.position<key>, %head: i32, %batch: i32):
  %true = arith.constant true
  attn.yield %true : i1
}
// expected-error@+1 {{replays 0 blocks; must be at least 1}}
attn.recache @r of @a on "prompt" replay 0 mask {
^bb0(%q: !attn.position<query>, %k: !attn.position<key>, %head: i32, %batch: i32):
  %true = arith.constant true
  attn.yield %true : i1
}

// -----

// expected-error@+1 {{belongs to @a, which is no attn.attention}}
attn.cache_append @r of @a from f32

// -----

attn.attention @a heads 4 kv_heads 2 qk_dim 64 v_dim 64 types <f32, f32, f32, f32>
    spaces [#attn.space<"tok", <"i", stream, 0>>] query <"tok", "tok"> keys <"tok", "tok">
    mask {
^bb0(%q: !attn.position<query>, %k: !attn.position<key>, %head: i32, %batch: i32):
  %true = arith.constant true
  attn.yield %true : i1
}
// expected-error@+1 {{appends to the cache of @a, which has none}}
attn.cache_append @r of @a from f32

// -----

attn.attention @a heads 4 kv_heads 2 qk_dim 64 v_dim 64 types <f32, f32, f32, f32>
    spaces [#attn.space<"tok", <"i", stream, 0>>] query <"tok", "tok"> keys <"tok", "tok">
    mask {
^bb0(%q: !attn.position<query>, %k: !attn.position<key>, %head: i32, %batch: i32):
  %c = arith.constant 1 : i32
// expected-error@+1 {{decodes 'tok.j', which no space of the attention declares}}
  %i = attn.coord "tok.j" of %q base %c divisor %c : <query>
  %true = arith.constant true
  attn.yield %true : i1
}

// -----

attn.attention @a heads 4 kv_heads 2 qk_dim 64 v_dim 64 types <f32, f32, f32, f32>
    spaces [#attn.space<"tok", <"i", stream, 0>>] query <"tok", "tok"> keys <"tok", "tok">
    mask {
^bb0(%q: !attn.position<query>, %k: !attn.position<key>, %head: i32, %batch: i32):
// expected-error@+1 {{reads 'n', which is no parameter of the attention}}
  %i = attn.param_value "n" : i32
  %true = arith.constant true
  attn.yield %true : i1
}

// -----

attn.attention @a heads 4 kv_heads 2 qk_dim 64 v_dim 64 types <f32, f32, f32, f32>
    spaces [#attn.space<"tok", <"i", stream, 0>>] query <"tok", "tok"> keys <"tok", "tok">
    params [#attn.param<"n", 0 : i32, 8 : i32>]
    mask {
^bb0(%q: !attn.position<query>, %k: !attn.position<key>, %head: i32, %batch: i32):
// expected-error@+1 {{reads 'n' as 'f32'; it is 'i32'}}
  %i = attn.param_value "n" : f32
  %true = arith.constant true
  attn.yield %true : i1
}

// -----

attn.attention @a heads 4 kv_heads 2 qk_dim 64 v_dim 64 types <f32, f32, f32, f32>
    spaces [#attn.space<"tok", <"i", stream, 0>>] query <"tok", "tok"> keys <"tok", "tok">
    mask {
^bb0(%q: !attn.position<query>, %k: !attn.position<key>, %head: i32, %batch: i32):
// expected-error@+1 {{reads 'd', which is no table of the attention}}
  %i = attn.table_load "d"[%head] : i32
  %true = arith.constant true
  attn.yield %true : i1
}

// -----

attn.attention @a heads 4 kv_heads 2 qk_dim 64 v_dim 64 types <f32, f32, f32, f32>
    spaces [#attn.space<"tok", <"i", stream, 0>>] query <"tok", "tok"> keys <"tok", "tok">
    tables [#attn.table<"d", i32, 1>]
    mask {
^bb0(%q: !attn.position<query>, %k: !attn.position<key>, %head: i32, %batch: i32):
// expected-error@+1 {{reads 'd' with 2 indices; it has rank 1}}
  %i = attn.table_load "d"[%head, %batch] : i32
  %true = arith.constant true
  attn.yield %true : i1
}

// -----

attn.attention @a heads 4 kv_heads 2 qk_dim 64 v_dim 64 types <f32, f32, f32, f32>
    spaces [#attn.space<"tok", <"i", stream, 0>>] query <"tok", "tok"> keys <"tok", "tok">
    tables [#attn.table<"d", i32, 1>]
    mask {
^bb0(%q: !attn.position<query>, %k: !attn.position<key>, %head: i32, %batch: i32):
// expected-error@+1 {{reads 'd' of 'i32' as 'f32'}}
  %i = attn.table_load "d"[%head] : f32
  %true = arith.constant true
  attn.yield %true : i1
}

// -----

attn.attention @a heads 4 kv_heads 2 qk_dim 64 v_dim 64 types <f32, f32, f32, f32>
    spaces [#attn.space<"tok", <"i", stream, 0>>] query <"tok", "tok"> keys <"tok", "tok">
    mask {
^bb0(%q: !attn.position<query>, %k: !attn.position<key>, %head: i32, %batch: i32):
// expected-error@+1 {{reads 'g', which is no input of the attention}}
  %i = attn.input_value "g" : f32
  %true = arith.constant true
  attn.yield %true : i1
}

// -----

attn.attention @a heads 4 kv_heads 2 qk_dim 64 v_dim 64 types <f32, f32, f32, f32>
    spaces [#attn.space<"tok", <"i", stream, 0>>] query <"tok", "tok"> keys <"tok", "tok">
    inputs [#attn.input<"g", f32, "q">]
    mask {
^bb0(%q: !attn.position<query>, %k: !attn.position<key>, %head: i32, %batch: i32):
// expected-error@+1 {{reads an input outside the output region}}
  %i = attn.input_value "g" : f32
  %true = arith.constant true
  attn.yield %true : i1
}

// -----

// expected-error@+1 {{gives parts without emit_lse; a merge needs both}}
attn.attention @a heads 4 kv_heads 2 qk_dim 64 v_dim 64 types <f32, f32, f32, f32>
    spaces [#attn.space<"tok", <"i", stream, 0>>] query <"tok", "tok"> keys <"tok", "tok">
    partial mask {
^bb0(%q: !attn.position<query>, %k: !attn.position<key>, %head: i32, %batch: i32):
  %true = arith.constant true
  attn.yield %true : i1
}

// -----

// expected-error@+1 {{belongs to @b, which is no attn.attention}}
attn.merge @m of @b

// -----

attn.attention @a heads 4 kv_heads 2 qk_dim 64 v_dim 64 types <f32, f32, f32, f32>
    spaces [#attn.space<"tok", <"i", stream, 0>>] query <"tok", "tok"> keys <"tok", "tok">
    mask {
^bb0(%q: !attn.position<query>, %k: !attn.position<key>, %head: i32, %batch: i32):
  %true = arith.constant true
  attn.yield %true : i1
}
// expected-error@+1 {{merges parts of @a, which gives whole results}}
attn.merge @m of @a
