// RUN: attn-opt %s -split-input-file -verify-diagnostics -allow-unregistered-dialect

func.func @output_has_rank_2(%o: !tile.tile<8xf32>, %lse: !tile.tile<8xf32>) {
  // expected-error@+1 {{has output of '!tile.tile<8xf32>'; must have rank 2}}
  %r = tile.output %o, %lse : (!tile.tile<8xf32>, !tile.tile<8xf32>) -> !tile.tile<8xf32> {
  ^bb0(%x: f32, %l: f32, %q: i32, %head: i32, %batch: i32):
    tile.yield %x : f32
  }
  return
}

// -----

func.func @output_is_f32(%o: !tile.tile<8x64xbf16>, %lse: !tile.tile<8xf32>) {
  // expected-error@+1 {{has output of '!tile.tile<8x64xbf16>'; must be '!tile.tile<8x64xf32>'}}
  %r = tile.output %o, %lse : (!tile.tile<8x64xbf16>, !tile.tile<8xf32>) -> !tile.tile<8x64xbf16> {
  ^bb0(%x: f32, %l: f32, %q: i32, %head: i32, %batch: i32):
    tile.yield %x : f32
  }
  return
}

// -----

func.func @log_sum_exp_has_a_number_per_row(%o: !tile.tile<8x64xf32>, %lse: !tile.tile<4xf32>) {
  // expected-error@+1 {{has log-sum-exp of '!tile.tile<4xf32>'; must be '!tile.tile<8xf32>'}}
  %r = tile.output %o, %lse : (!tile.tile<8x64xf32>, !tile.tile<4xf32>) -> !tile.tile<8x64xf32> {
  ^bb0(%x: f32, %l: f32, %q: i32, %head: i32, %batch: i32):
    tile.yield %x : f32
  }
  return
}

// -----

func.func @inputs_are_loaded(%o: !tile.tile<8x64xf32>, %lse: !tile.tile<8xf32>, %g: !tile.tile<8x64xf32>) {
  // expected-error@+1 {{reads an input that no tile.load_queries made}}
  %r = tile.output %o, %lse, %g : (!tile.tile<8x64xf32>, !tile.tile<8xf32>, !tile.tile<8x64xf32>) -> !tile.tile<8x64xf32> {
  ^bb0(%x: f32, %l: f32, %q: i32, %head: i32, %batch: i32, %y: f32):
    tile.yield %y : f32
  }
  return
}

// -----

func.func @inputs_are_floats(%o: !tile.tile<8x64xf32>, %lse: !tile.tile<8xf32>) {
  %g = tile.load_queries 4 : !tile.tile<8x64xi8>
  // expected-error@+1 {{reads an input of 'i8'; must be f32, f16 or bf16}}
  %r = tile.output %o, %lse, %g : (!tile.tile<8x64xf32>, !tile.tile<8xf32>, !tile.tile<8x64xi8>) -> !tile.tile<8x64xf32> {
  ^bb0(%x: f32, %l: f32, %q: i32, %head: i32, %batch: i32, %y: f32):
    tile.yield %y : f32
  }
  return
}

// -----

func.func @inputs_have_the_outputs_shape(%o: !tile.tile<8x64xf32>, %lse: !tile.tile<8xf32>) {
  %g = tile.load_queries 4 : !tile.tile<8x32xbf16>
  // expected-error@+1 {{has input of '!tile.tile<8x32xbf16>'; must be '!tile.tile<8x64xbf16>'}}
  %r = tile.output %o, %lse, %g : (!tile.tile<8x64xf32>, !tile.tile<8xf32>, !tile.tile<8x32xbf16>) -> !tile.tile<8x64xf32> {
  ^bb0(%x: f32, %l: f32, %q: i32, %head: i32, %batch: i32, %y: f32):
    tile.yield %y : f32
  }
  return
}

// -----

func.func @region_has_an_argument_per_input(%o: !tile.tile<8x64xf32>, %lse: !tile.tile<8xf32>) {
  %g = tile.load_queries 4 : !tile.tile<8xbf16>
  // expected-error@+1 {{output region has arguments ('f32', 'f32', 'i32', 'i32', 'i32'); must be ('f32', 'f32', 'i32', 'i32', 'i32', 'f32')}}
  %r = tile.output %o, %lse, %g : (!tile.tile<8x64xf32>, !tile.tile<8xf32>, !tile.tile<8xbf16>) -> !tile.tile<8x64xf32> {
  ^bb0(%x: f32, %l: f32, %q: i32, %head: i32, %batch: i32):
    tile.yield %x : f32
  }
  return
}

// -----

func.func @region_yields_a_number(%o: !tile.tile<8x64xf32>, %lse: !tile.tile<8xf32>) {
  // expected-error@+1 {{output region yields ('i32'); must yield ('f32')}}
  %r = tile.output %o, %lse : (!tile.tile<8x64xf32>, !tile.tile<8xf32>) -> !tile.tile<8x64xf32> {
  ^bb0(%x: f32, %l: f32, %q: i32, %head: i32, %batch: i32):
    tile.yield %q : i32
  }
  return
}

// -----

func.func @region_is_scalar(%o: !tile.tile<8x64xf32>, %lse: !tile.tile<8xf32>) {
  %r = tile.output %o, %lse : (!tile.tile<8x64xf32>, !tile.tile<8xf32>) -> !tile.tile<8x64xf32> {
  ^bb0(%x: f32, %l: f32, %q: i32, %head: i32, %batch: i32):
    // expected-error@+1 {{inside a output region; scalar regions hold integers and floats}}
    %t = tile.load_queries 0 : !tile.tile<8x64xf32>
    tile.yield %x : f32
  }
  return
}
