// RUN: attn-opt %s -split-input-file -attn-to-tile="block-q=8 block-k=16" | FileCheck %s
// RUN: attn-opt %s -split-input-file -attn-to-tile="block-q=8 block-k=16 variant=int8" | FileCheck %s --check-prefix=INT8
// RUN: attn-opt %s -split-input-file -attn-to-tile="block-q=8 block-k=16 variant=bf16" | FileCheck %s --check-prefix=BF16

// Frames of 60 tokens, blocks of three frames: block-causal with a sink block
// and a window of three.

// CHECK-LABEL: tile.kernel @frames.f32
// CHECK-SAME: block_q 8 block_k 16 qk_dim 32 v_dim 64 heads 4 kv_heads 2
// CHECK: tile.score_factor
// CHECK: classify {
// CHECK-NEXT: ^bb0(%[[QLO:[a-z0-9_]+]]: i32, %[[QHI:[a-z0-9_]+]]: i32, %[[KLO:[a-z0-9_]+]]: i32, %[[KHI:[a-z0-9_]+]]: i32
// CHECK-DAG: %[[C180:.*]] = arith.constant 180 : i32
// CHECK-DAG: arith.divui %[[QLO]], %[[C180]] : i32
// CHECK-DAG: arith.divui %[[QHI]], %[[C180]] : i32
// CHECK-DAG: arith.divui %[[KLO]], %[[C180]] : i32
// CHECK-DAG: arith.divui %[[KHI]], %[[C180]] : i32
// CHECK-NOT: arith.div
// CHECK: tile.yield %{{.*}}, %{{.*}} : i1, i1
// CHECK: full {
// CHECK-NOT: tile.mask
// CHECK: partial {
// CHECK: tile.dot_qk
// CHECK: tile.mask
// CHECK-NEXT: ^bb0(%[[Q:[a-z0-9_]+]]: i32, %[[K:[a-z0-9_]+]]: i32, %{{.*}}: i32, %{{.*}}: i32):
// CHECK-DAG: arith.divui %[[Q]], %[[C180]] : i32
// CHECK-DAG: arith.divui %[[K]], %[[C180]] : i32
// CHECK: tile.softmax_step
// CHECK: tile.softmax_finish
// CHECK: tile.store_queries %{{.*}}, 3
// CHECK: tile.store_queries %{{.*}}, 4

// INT8-LABEL: tile.kernel @frames.int8
// INT8-SAME: <"q", q, f32, 4>, #tile.binding<"k", k, i8, 4>, #tile.binding<"v", v, i8, 4>, #tile.binding<"o", o, f32, 4>, #tile.binding<"lse", lse, f32, 3>, #tile.binding<"k_scale", k_scale, f32, 3>, #tile.binding<"v_scale", v_scale, f32, 3>
// INT8: tile.quantize %{{.*}} : <8x32xf32> -> <8x32xi8>, <8xf32>
// INT8: tile.dot_qk {{.*}} -> !tile.tile<8x16xi32>
// INT8: tile.dequantize_scores
// INT8: tile.dequantize_keys

// BF16-LABEL: tile.kernel @frames.bf16
// BF16-SAME: <"q", q, bf16, 4>, #tile.binding<"k", k, bf16, 4>
// BF16: tile.load_queries 0 : <8x32xbf16>
// BF16: tile.dot_qk {{.*}} -> !tile.tile<8x16xf32>
attn.attention @frames heads 4 kv_heads 2 qk_dim 32 v_dim 64 types <f32, f32, f32, f32>
    spaces [#attn.space<"video", <"t", stream, 0>, <"i", fixed, 60>>]
    query <"video", "video"> keys <"video", "video"> emit_lse
    mask {
^bb0(%q: !attn.position<query>, %k: !attn.position<key>, %head: i32, %batch: i32):
  %c0 = arith.constant 0 : i32
  %c1 = arith.constant 1 : i32
  %c3 = arith.constant 3 : i32
  %c180 = arith.constant 180 : i32
  %qb = attn.coord "b" of %q base %c0 divisor %c180 : <query>
  %kb = attn.coord "b" of %k base %c0 divisor %c180 : <key>
  %causal = attn.causal %qb, %kb
  %sink = attn.sink %kb size %c1
  %window = attn.window %qb, %kb size %c3
  %kept = arith.ori %sink, %window : i1
  %m = arith.andi %causal, %kept : i1
  attn.yield %m : i1
}

// -----

// A score makes the factor plain and runs in both bodies; a sink logit is read
// once, for the head; tables follow the other bindings.

// CHECK-LABEL: tile.kernel @scored.f32
// CHECK-SAME: <"o", o, f32, 4>, #tile.binding<"logit", table, f32, 1>
// CHECK-SAME: params [#tile.param<"c", f32, 0, 31>]
// CHECK: tile.score_factor plain
// CHECK: tile.yield %[[T:.*]], %[[T]] : i1, i1
// CHECK: full {
// CHECK: tile.score
// CHECK: tile.param_value 0 : f32
// CHECK: math.tanh
// CHECK: partial {
// CHECK: tile.score
// CHECK: tile.mask
// CHECK: %[[HEAD:.*]] = tile.item 0
// CHECK: %[[LOGIT:.*]] = tile.table_load 4[%[[HEAD]]] : f32
// CHECK: tile.softmax_finish {{.*}} sink %[[LOGIT]]
attn.attention @scored heads 0 kv_heads 0 qk_dim 32 v_dim 32 types <f32, f32, f32, f32>
    spaces [#attn.space<"tok", <"i", stream, 0>>] query <"tok", "tok"> keys <"tok", "tok">
    params [#attn.param<"c", 0.5 : f32, 30.5 : f32>] tables [#attn.table<"logit", f32, 1>]
    mask {
^bb0(%q: !attn.position<query>, %k: !attn.position<key>, %head: i32, %batch: i32):
  %true = arith.constant true
  attn.yield %true : i1
} score {
^bb0(%s: f32, %q: !attn.position<query>, %k: !attn.position<key>, %head: i32, %batch: i32):
  %c = attn.param_value "c" : f32
  %x = arith.divf %s, %c : f32
  %t = math.tanh %x : f32
  %r = arith.mulf %c, %t : f32
  attn.yield %r : f32
} sink {
^bb0(%head: i32, %batch: i32):
  %l = attn.table_load "logit"[%head] : f32
  attn.yield %l : f32
}

// -----

// Coordinates that wrap: the classes ask whether both ends lie in one row.

// CHECK-LABEL: tile.kernel @columns.f32
// CHECK: classify {
// CHECK-NEXT: ^bb0(%[[QLO:[a-z0-9_]+]]: i32, %[[QHI:[a-z0-9_]+]]: i32, %[[KLO:[a-z0-9_]+]]: i32, %[[KHI:[a-z0-9_]+]]: i32
// CHECK-DAG: %[[C12:.*]] = arith.constant 12 : i32
// CHECK-DAG: %[[C11:.*]] = arith.constant 11 : i32
// CHECK-DAG: %[[A:.*]] = arith.divui %[[QLO]], %[[C12]] : i32
// CHECK-DAG: %[[B:.*]] = arith.divui %[[QHI]], %[[C12]] : i32
// CHECK-DAG: %[[SAME:.*]] = arith.cmpi eq, %[[A]], %[[B]] : i32
// CHECK-DAG: arith.remui %[[QHI]], %[[C12]] : i32
// CHECK: arith.select %[[SAME]], %{{.*}}, %[[C11]] : i32
attn.attention @columns heads 0 kv_heads 0 qk_dim 32 v_dim 32 types <f32, f32, f32, f32>
    spaces [#attn.space<"image", <"y", fixed, 9>, <"x", fixed, 12>>]
    query <"image", "image"> keys <"image", "image">
    mask {
^bb0(%q: !attn.position<query>, %k: !attn.position<key>, %head: i32, %batch: i32):
  %c0 = arith.constant 0 : i32
  %c1 = arith.constant 1 : i32
  %c12 = arith.constant 12 : i32
  %qx = attn.coord "image.x" of %q base %c0 divisor %c1 modulus %c12 : <query>
  %kx = attn.coord "image.x" of %k base %c0 divisor %c1 modulus %c12 : <key>
  %m = attn.same %qx, %kx
  attn.yield %m : i1
}

// -----

// A table that is not sorted says nothing about a block, one that is says all.

// CHECK-LABEL: tile.kernel @documents.f32
// CHECK: classify {
// CHECK-NEXT: ^bb0(%[[QLO:[a-z0-9_]+]]: i32, %[[QHI:[a-z0-9_]+]]: i32, %[[KLO:[a-z0-9_]+]]: i32, %[[KHI:[a-z0-9_]+]]: i32
// CHECK-DAG: tile.table_load 4[%[[QLO]]] : i32
// CHECK-DAG: tile.table_load 4[%[[QHI]]] : i32
// CHECK-DAG: tile.table_load 4[%[[KLO]]] : i32
// CHECK-DAG: tile.table_load 4[%[[KHI]]] : i32
// CHECK-NOT: tile.table_load 5
// CHECK: tile.yield %{{.*}}, %[[FALSE:.*]] : i1, i1
// CHECK: tile.mask
// CHECK-DAG: tile.table_load 4
// CHECK-DAG: tile.table_load 5
attn.attention @documents heads 0 kv_heads 0 qk_dim 32 v_dim 32 types <f32, f32, f32, f32>
    spaces [#attn.space<"tok", <"i", stream, 0>>] query <"tok", "tok"> keys <"tok", "tok">
    tables [#attn.table<"doc", i32, 1, sorted>, #attn.table<"skip", i32, 1>]
    mask {
^bb0(%q: !attn.position<query>, %k: !attn.position<key>, %head: i32, %batch: i32):
  %c0 = arith.constant 0 : i32
  %qp = attn.position %q : <query>
  %kp = attn.position %k : <key>
  %qd = attn.table_load "doc"[%qp] : i32
  %kd = attn.table_load "doc"[%kp] : i32
  %same = attn.same %qd, %kd
  %skip = attn.table_load "skip"[%kp] : i32
  %kept = arith.cmpi eq, %skip, %c0 : i32
  %m = arith.andi %same, %kept : i1
  attn.yield %m : i1
}

// -----

// The output expression runs once, on the finished tile. An input with a dim is a
// tile of numbers, another one a number per row; an unused one is not loaded.

// CHECK-LABEL: tile.kernel @gated.f32
// CHECK-SAME: #tile.binding<"gate", input, bf16, 4>, #tile.binding<"share", input, f32, 3>, #tile.binding<"unused", input, f32, 4>
// CHECK: %[[OUT:.*]], %[[LSE:.*]] = tile.softmax_finish
// CHECK: %[[GATE:.*]] = tile.load_queries 5 : <8x64xbf16>
// CHECK: %[[SHARE:.*]] = tile.load_queries 6 : <8xf32>
// CHECK-NOT: tile.load_queries 7
// CHECK: %[[GATED:.*]] = tile.output %[[OUT]], %[[LSE]], %[[GATE]], %[[SHARE]]
// CHECK-NEXT: ^bb0(%[[O:.*]]: f32, %{{.*}}: f32, %[[Q:.*]]: i32, %{{.*}}: i32, %{{.*}}: i32, %[[G:.*]]: f32, %[[S:.*]]: f32):
// CHECK-DAG: arith.sitofp %[[Q]] : i32 to f32
// CHECK-DAG: arith.mulf %[[O]], %[[G]]
// CHECK: tile.store_queries %[[GATED]], 3
// CHECK: tile.store_queries %[[LSE]], 4
attn.attention @gated heads 0 kv_heads 0 qk_dim 32 v_dim 64 types <f32, f32, f32, f32>
    spaces [#attn.space<"tok", <"i", stream, 0>>] query <"tok", "tok"> keys <"tok", "tok">
    inputs [#attn.input<"gate", bf16, "q", "head", "dim">, #attn.input<"share", f32, "head">,
            #attn.input<"unused", f32, "dim">] emit_lse
    mask {
^bb0(%q: !attn.position<query>, %k: !attn.position<key>, %head: i32, %batch: i32):
  %true = arith.constant true
  attn.yield %true : i1
} output {
^bb0(%o: f32, %lse: f32, %q: !attn.position<query>, %head: i32, %batch: i32):
  %g = attn.input_value "gate" : f32
  %s = attn.input_value "share" : f32
  %p = attn.position %q : <query>
  %n = arith.sitofp %p : i32 to f32
  %a = arith.mulf %o, %g : f32
  %b = arith.mulf %s, %n : f32
  %c = arith.addf %a, %b : f32
  attn.yield %c : f32
}

// -----

// A recache has a kernel of its own.

// CHECK-LABEL: tile.kernel @cached.f32
// CHECK-LABEL: tile.kernel @cached_recache.f32
// CHECK: %[[T:.*]] = arith.constant true
// CHECK-NOT: attn.
attn.attention @cached heads 0 kv_heads 0 qk_dim 32 v_dim 32 types <f32, f32, f32, f32>
    spaces [#attn.space<"tok", <"i", stream, 0>>] query <"tok", "tok"> keys <"tok", "tok">
    cache <"i", pin 0, ring 8, f32, token_head, every_pass>
    mask {
^bb0(%q: !attn.position<query>, %k: !attn.position<key>, %head: i32, %batch: i32):
  %qp = attn.position %q : <query>
  %kp = attn.position %k : <key>
  %m = attn.causal %qp, %kp
  attn.yield %m : i1
}
attn.recache @cached_prompt of @cached on "prompt" replay 4 mask {
^bb0(%q: !attn.position<query>, %k: !attn.position<key>, %head: i32, %batch: i32):
  %true = arith.constant true
  attn.yield %true : i1
}
attn.cache_append @cached_append of @cached from f32

// -----

// A part has neither sink logit nor output expression; the merge of its attention
// has both, and its inputs.

// CHECK-LABEL: tile.kernel @part.f32
// CHECK-SAME: [#tile.binding<"q", q, f32, 4>, #tile.binding<"k", k, f32, 4>, #tile.binding<"v", v, f32, 4>, #tile.binding<"o", o, f32, 4>, #tile.binding<"lse", lse, f32, 3>, #tile.binding<"sink", table, f32, 1>]
// CHECK: tile.softmax_finish %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}} :
// CHECK-NOT: tile.output
// CHECK-LABEL: tile.kernel @part_merge.f32
// CHECK-SAME: [#tile.binding<"o", o, f32, 4>, #tile.binding<"lse", lse, f32, 3>, #tile.binding<"sink", table, f32, 1>, #tile.binding<"gate", input, f32, 4>, #tile.binding<"part_o", part_o, f32, 4>, #tile.binding<"part_lse", part_lse, f32, 3>]
// CHECK: %[[F:.*]] = tile.score_factor plain
// CHECK: %[[M:.*]], %[[L:.*]], %[[O:.*]] = tile.merge_parts 4, 5
// CHECK: %[[SINK:.*]] = tile.table_load 2
// CHECK: tile.softmax_finish %[[M]], %[[L]], %[[O]], %[[F]] sink %[[SINK]]
// CHECK: tile.load_queries 3
// CHECK: tile.output
// CHECK-NOT: attn.
attn.attention @part heads 0 kv_heads 0 qk_dim 32 v_dim 64 types <f32, f32, f32, f32>
    spaces [#attn.space<"tok", <"i", stream, 0>>] query <"tok", "tok"> keys <"tok", "tok">
    tables [#attn.table<"sink", f32, 1>] inputs [#attn.input<"gate", f32, "q", "dim">]
    emit_lse partial
    mask {
^bb0(%q: !attn.position<query>, %k: !attn.position<key>, %head: i32, %batch: i32):
  %true = arith.constant true
  attn.yield %true : i1
} sink {
^bb0(%head: i32, %batch: i32):
  %l = attn.table_load "sink"[%head] : f32
  attn.yield %l : f32
} output {
^bb0(%o: f32, %lse: f32, %q: !attn.position<query>, %head: i32, %batch: i32):
  %g = attn.input_value "gate" : f32
  %p = arith.mulf %o, %g : f32
  attn.yield %p : f32
}
attn.merge @part_merge of @part

// -----

// A run of tokens of a grid is cut into boxes: the rest of a row, whole rows, the
// beginning of a row. A mask without rows needs no cuts.

// CHECK-LABEL: tile.kernel @rows.f32
// CHECK: cut {
// CHECK-NEXT: ^bb0(%[[LOW:.*]]: i32, %[[HIGH:.*]]: i32):
// CHECK-DAG: %[[C12:.*]] = arith.constant 12 : i32
// CHECK-DAG: %[[IN:.*]] = arith.remui %[[LOW]], %[[C12]] : i32
// CHECK-DAG: %[[BEGIN:.*]] = arith.subi %[[LOW]], %[[IN]] : i32
// CHECK-DAG: %[[END:.*]] = arith.addi %[[BEGIN]], %[[C12]] : i32
// CHECK-DAG: %[[INLAST:.*]] = arith.remui %[[HIGH]], %[[C12]] : i32
// CHECK-DAG: %[[LAST:.*]] = arith.subi %[[HIGH]], %[[INLAST]] : i32
// CHECK: tile.yield %{{.*}}, %{{.*}} : i32, i32
// CHECK: }, {
// CHECK: tile.yield %{{.*}}, %{{.*}} : i32, i32
attn.attention @rows heads 0 kv_heads 0 qk_dim 32 v_dim 32 types <f32, f32, f32, f32>
    spaces [#attn.space<"image", <"y", fixed, 9>, <"x", fixed, 12>>]
    query <"image", "image"> keys <"image", "image">
    mask {
^bb0(%q: !attn.position<query>, %k: !attn.position<key>, %head: i32, %batch: i32):
  %c0 = arith.constant 0 : i32
  %c1 = arith.constant 1 : i32
  %c12 = arith.constant 12 : i32
  %qx = attn.coord "image.x" of %q base %c0 divisor %c1 modulus %c12 : <query>
  %kx = attn.coord "image.x" of %k base %c0 divisor %c1 modulus %c12 : <key>
  %m = attn.same %qx, %kx
  attn.yield %m : i1
}

// -----

// CHECK-LABEL: tile.kernel @whole.f32
// CHECK-NOT: cut {
attn.attention @whole heads 0 kv_heads 0 qk_dim 32 v_dim 32 types <f32, f32, f32, f32>
    spaces [#attn.space<"tok", <"i", stream, 0>>] query <"tok", "tok"> keys <"tok", "tok">
    mask {
^bb0(%q: !attn.position<query>, %k: !attn.position<key>, %head: i32, %batch: i32):
  %qp = attn.position %q : <query>
  %kp = attn.position %k : <key>
  %m = attn.causal %qp, %kp
  attn.yield %m : i1
}
