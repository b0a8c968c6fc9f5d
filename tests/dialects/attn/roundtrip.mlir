// RUN: attn-opt %s -verify-roundtrip | FileCheck %s

// CHECK-LABEL: attn.attention @causal heads 4 kv_heads 2 qk_dim 64 v_dim 64
// CHECK-SAME: types <f32, f32, f32, f32>
// CHECK-SAME: spaces [#attn.space<"tok", <"i", stream, 0>>]
attn.attention @causal heads 4 kv_heads 2 qk_dim 64 v_dim 64 types <f32, f32, f32, f32>
    spaces [#attn.space<"tok", <"i", stream, 0>>] query <"tok", "tok"> keys <"tok", "tok">
    mask {
^bb0(%q: !attn.position<query>, %k: !attn.position<key>, %head: i32, %batch: i32):
  %c0 = arith.constant 0 : i32
  %c1 = arith.constant 1 : i32
  // CHECK: attn.coord "tok.i" of %{{.*}} base %{{.*}} divisor %{{.*}} : <query>
  %qi = attn.coord "tok.i" of %q base %c0 divisor %c1 : <query>
  %ki = attn.coord "tok.i" of %k base %c0 divisor %c1 : <key>
  // CHECK: attn.causal
  %m = attn.causal %qi, %ki
  // CHECK: attn.yield %{{.*}} : i1
  attn.yield %m : i1
}

// CHECK-LABEL: attn.attention @everything
// CHECK-SAME: per_call <"b", 1, 2>
// CHECK-SAME: params [#attn.param<"n", 0 : i32, 8 : i32>, #attn.param<"c", 1.000000e+00 : f32, 2.000000e+00 : f32>]
// CHECK-SAME: tables [#attn.table<"sink", f32, 1>, #attn.table<"doc", i32, 1, sorted>]
// CHECK-SAME: inputs [#attn.input<"gate", bf16, "q", "head", "dim">]
// CHECK-SAME: rope <interleaved, 1.000000e+04 : f64, stream, <"t", 44>, <"y", 20>>
// CHECK-SAME: cache <"b", pin 1, ring 3, i8, token_head, every_pass, roped>
// CHECK-SAME: scale 1.250000e-01 emit_lse partial
attn.attention @everything heads 0 kv_heads 0 qk_dim 64 v_dim 64 types <bf16, bf16, bf16, bf16>
    spaces [#attn.space<"video", <"t", stream, 0>, <"y", fixed, 4>>]
    query <"video", "video"> keys <"video", "video"> per_call <"b", 1, 2>
    params [#attn.param<"n", 0 : i32, 8 : i32>, #attn.param<"c", 1.0 : f32, 2.0 : f32>]
    tables [#attn.table<"sink", f32, 1>, #attn.table<"doc", i32, 1, sorted>]
    inputs [#attn.input<"gate", bf16, "q", "head", "dim">]
    rope <interleaved, 1.0e4 : f64, stream, <"t", 44>, <"y", 20>>
    cache <"b", pin 1, ring 3, i8, token_head, every_pass, roped>
    scale 0.125 emit_lse partial
    mask {
^bb0(%q: !attn.position<query>, %k: !attn.position<key>, %head: i32, %batch: i32):
  %c0 = arith.constant 0 : i32
  %c4 = arith.constant 4 : i32
  // CHECK: attn.coord "video.y" of %{{.*}} base %{{.*}} divisor %{{.*}} modulus %{{.*}} : <query>
  %y = attn.coord "video.y" of %q base %c0 divisor %c4 modulus %c4 : <query>
  // CHECK: attn.position %{{.*}} : <key>
  %p = attn.position %k : <key>
  // CHECK: attn.param_value "n" : i32
  %n = attn.param_value "n" : i32
  // CHECK: attn.table_load "doc"[%{{.*}}] : i32
  %d = attn.table_load "doc"[%p] : i32
  // CHECK: attn.launch_value heads
  %h = attn.launch_value heads
  // CHECK: attn.floor_div
  %a = attn.floor_div %p, %h
  // CHECK: attn.floor_mod
  %b = attn.floor_mod %p, %h
  // CHECK: attn.prefix_lm %{{.*}}, %{{.*}} size %{{.*}}
  %m0 = attn.prefix_lm %y, %p size %n
  // CHECK: attn.window %{{.*}}, %{{.*}} size %{{.*}}
  %m1 = attn.window %y, %p size %n
  // CHECK: attn.band %{{.*}}, %{{.*}} before %{{.*}} after %{{.*}}
  %m2 = attn.band %y, %p before %n after %c4
  // CHECK: attn.sink %{{.*}} size %{{.*}}
  %m3 = attn.sink %p size %n
  // CHECK: attn.same
  %m4 = attn.same %d, %a
  // CHECK: attn.neighborhood %{{.*}}, %{{.*}} size 7 stride 2 dilation 3 extent %{{.*}} cut
  %m5 = attn.neighborhood %y, %b size 7 stride 2 dilation 3 extent %n cut
  attn.yield %m5 : i1
} score {
^bb0(%s: f32, %q: !attn.position<query>, %k: !attn.position<key>, %head: i32, %batch: i32):
  %c = attn.param_value "c" : f32
  // CHECK: attn.to_int
  %i = attn.to_int %c
  attn.yield %s : f32
} sink {
^bb0(%head: i32, %batch: i32):
  %l = attn.table_load "sink"[%head] : f32
  attn.yield %l : f32
} output {
^bb0(%o: f32, %lse: f32, %q: !attn.position<query>, %head: i32, %batch: i32):
  // CHECK: attn.input_value "gate" : f32
  %g = attn.input_value "gate" : f32
  attn.yield %g : f32
}

// CHECK-LABEL: attn.recache @everything_prompt of @everything on "prompt" replay 4 pin_keep mask
attn.recache @everything_prompt of @everything on "prompt" replay 4 pin_keep mask {
^bb0(%q: !attn.position<query>, %k: !attn.position<key>, %head: i32, %batch: i32):
  %true = arith.constant true
  attn.yield %true : i1
}

// CHECK: attn.cache_append @everything_append of @everything from bf16
attn.cache_append @everything_append of @everything from bf16

// CHECK: attn.merge @everything_merge of @everything
attn.merge @everything_merge of @everything

// CHECK-LABEL: func @tensors
func.func @tensors(%s: tensor<1x4x10x20xf32>) {
  // CHECK: attn.select_blocks %{{.*}} top_k 8.0
  %b:2 = attn.select_blocks %s top_k 8.0 : tensor<1x4x10x20xf32> -> tensor<1x4x10x8xi32>, tensor<1x4x10xi32>
  return
}
