// RUN: attn-opt %s -split-input-file -verify-diagnostics -allow-unregistered-dialect

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
