// RUN: not attn-opt %s -attn-to-tile="variant=f8" 2>&1 | FileCheck %s --check-prefix=VARIANT
// RUN: not attn-opt %s -attn-to-tile="variant=int8 float-type=f8" 2>&1 | FileCheck %s --check-prefix=FLOAT

// VARIANT: attn-to-tile-variant.mlir:[[#@LINE+2]]:1: error: 'attn.attention' op is asked for variant 'f8'; must be f32, bf16, f16 or int8
// FLOAT: error: 'attn.attention' op is asked for q of type 'f8'; must be f32, bf16 or f16
attn.attention @all heads 0 kv_heads 0 qk_dim 32 v_dim 32 types <f32, f32, f32, f32>
    spaces [#attn.space<"tok", <"i", stream, 0>>] query <"tok", "tok"> keys <"tok", "tok">
    mask {
^bb0(%q: !attn.position<query>, %k: !attn.position<key>, %head: i32, %batch: i32):
  %true = arith.constant true
  attn.yield %true : i1
}
