// RUN: attn-opt %s -split-input-file -verify-diagnostics

func.func @f(%s: tensor<4x10x20xf32>) {
// expected-error@+1 {{has scores, list and count of ranks 3, 3 and 2; must be 4, 4 and 3}}
  %b:2 = attn.select_blocks %s top_k 8.0 : tensor<4x10x20xf32> -> tensor<4x10x8xi32>, tensor<4x10xi32>
  return
}

// -----

func.func @f(%s: tensor<1x4x10x20xf32>) {
// expected-error@+1 {{differ in batch, head or query block}}
  %b:2 = attn.select_blocks %s top_k 8.0 : tensor<1x4x10x20xf32> -> tensor<1x4x9x8xi32>, tensor<1x4x10xi32>
  return
}

// -----

func.func @f(%s: tensor<1x4x10x20xf32>) {
// expected-error@+1 {{must be i32}}
  %b:2 = attn.select_blocks %s top_k 8.0 : tensor<1x4x10x20xf32> -> tensor<1x4x10x8xf32>, tensor<1x4x10xi32>
  return
}

// -----

func.func @f(%s: tensor<1x4x10x20xf32>) {
// expected-error@+1 {{must be a whole number from 1}}
  %b:2 = attn.select_blocks %s top_k 0.5 : tensor<1x4x10x20xf32> -> tensor<1x4x10x8xi32>, tensor<1x4x10xi32>
  return
}

// -----

func.func @f(%s: tensor<1x4x10x20xf32>) {
// expected-error@+1 {{must lie in (0, 1]}}
  %b:2 = attn.select_blocks %s top_p 1.5 : tensor<1x4x10x20xf32> -> tensor<1x4x10x8xi32>, tensor<1x4x10xi32>
  return
}

// -----

func.func @f(%a: i32) {
// expected-error@+1 {{must be at least 1}}
  %m = attn.neighborhood %a, %a size 0 stride 1 dilation 1 extent %a
  return
}

// -----

func.func @f(%a: i32) {
// expected-error@+1 {{has stride 4 beyond its size 3}}
  %m = attn.neighborhood %a, %a size 3 stride 4 dilation 1 extent %a
  return
}

// -----

// expected-error@+1 {{axis has no name}}
func.func private @f() attributes {a = #attn.axis<"", fixed, 3>}

// -----

// expected-error@+1 {{has extent -1; must be at least 0}}
func.func private @f() attributes {a = #attn.axis<"y", fixed, -1>}

// -----

// expected-error@+1 {{is stream and has extent 3; such an axis is unbounded, use 0}}
func.func private @f() attributes {a = #attn.axis<"y", stream, 3>}

// -----

// expected-error@+1 {{has two axes 'y'}}
func.func private @f() attributes {a = #attn.space<"v", <"y", fixed, 3>, <"y", fixed, 3>>}

// -----

// expected-error@+1 {{only the outermost axis may be one}}
func.func private @f() attributes {a = #attn.space<"v", <"y", fixed, 3>, <"t", stream, 0>>}

// -----

// expected-error@+1 {{q has element type 'i32'; must be f32, f16 or bf16}}
func.func private @f() attributes {a = #attn.types<i32, f32, f32, f32>}

// -----

// expected-error@+1 {{k or v has element type 'i32'; must be f32, f16, bf16 or i8}}
func.func private @f() attributes {a = #attn.types<f32, i32, f32, f32>}

// -----

// expected-error@+1 {{o has element type 'i8'; must be f32, f16 or bf16}}
func.func private @f() attributes {a = #attn.types<f32, f32, f32, i8>}

// -----

// expected-error@+1 {{must both be i32 or both f32}}
func.func private @f() attributes {a = #attn.param<"n", 0 : i64, 1 : i64>}

// -----

// expected-error@+1 {{parameter 'n' has an empty range}}
func.func private @f() attributes {a = #attn.param<"n", 2 : i32, 1 : i32>}

// -----

// expected-error@+1 {{table 'd' has rank 5; must be 1 to 4}}
func.func private @f() attributes {a = #attn.table<"d", f32, 5>}

// -----

// expected-error@+1 {{table 'd' has element type 'i64'; must be f32, f16, bf16, i32 or i8}}
func.func private @f() attributes {a = #attn.table<"d", i64, 1>}

// -----

// expected-error@+1 {{table 'd' is sorted; that needs rank 1 and i32}}
func.func private @f() attributes {a = #attn.table<"d", i32, 2, sorted>}

// -----

// expected-error@+1 {{input 'g' has element type 'i32'; must be f32, f16 or bf16}}
func.func private @f() attributes {a = #attn.input<"g", i32, "q">}

// -----

// expected-error@+1 {{must be q, head and dim in this order, each at most once}}
func.func private @f() attributes {a = #attn.input<"g", f32, "head", "q">}

// -----

// expected-error@+1 {{must be at least 1 and in order}}
func.func private @f() attributes {a = #attn.query_block<"b", 2, 1>}

// -----

// expected-error@+1 {{axis 't' rotates 3 dims; must be positive and even}}
func.func private @f() attributes {a = #attn.rope_axis<"t", 3>}

// -----

// expected-error@+1 {{must be at least 0}}
func.func private @f() attributes {a = #attn.cache<"b", pin -1, ring 3, f32, token_head, every_pass>}

// -----

// expected-error@+1 {{cache has element type 'i32'; must be f32, f16, bf16 or i8}}
func.func private @f() attributes {a = #attn.cache<"b", pin 1, ring 3, i32, token_head, every_pass>}
