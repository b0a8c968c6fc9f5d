// RUN: attn-opt %s -split-input-file -verify-diagnostics

func.func @f() {
  // expected-error@+1 {{traits region has arguments ('i32'); must be}}
  tile.sort_rows by [0, 1] traits {
  ^bb0(%q: i32):
    tile.yield %q, %q : i32, i32
  } classify {
  ^bb0(%a0: i32, %a1: i32, %a2: i32, %a3: i32, %a4: i32, %a5: i32, %a6: i32, %a7: i32):
    %t = arith.constant true
    tile.yield %t, %t : i1, i1
  }
  return
}

// -----

func.func @f() {
  // expected-error@+1 {{traits region yields ('f32'); must yield ('i32')}}
  tile.sort_rows by [0, 1] traits {
  ^bb0(%q: i32, %head: i32, %batch: i32):
    %f = arith.constant 0.0 : f32
    tile.yield %f : f32
  } classify {
  ^bb0(%a0: i32, %a1: i32, %a2: i32, %a3: i32, %a4: i32, %a5: i32):
    %t = arith.constant true
    tile.yield %t, %t : i1, i1
  }
  return
}

// -----

func.func @f() {
  // expected-error@+1 {{classify region has arguments ('i32', 'i32', 'i32', 'i32', 'i32', 'i32'); must be}}
  tile.sort_rows by [0, 1] traits {
  ^bb0(%q: i32, %head: i32, %batch: i32):
    tile.yield %q, %head : i32, i32
  } classify {
  ^bb0(%a0: i32, %a1: i32, %a2: i32, %a3: i32, %a4: i32, %a5: i32):
    %t = arith.constant true
    tile.yield %t, %t : i1, i1
  }
  return
}

// -----

func.func @f() {
  // expected-error@+1 {{sorts by 1 traits; must be two or three}}
  tile.sort_rows by [1] traits {
  ^bb0(%q: i32, %head: i32, %batch: i32):
    tile.yield %q, %head : i32, i32
  } classify {
  ^bb0(%a0: i32, %a1: i32, %a2: i32, %a3: i32, %a4: i32, %a5: i32, %a6: i32, %a7: i32):
    %t = arith.constant true
    tile.yield %t, %t : i1, i1
  }
  return
}

// -----

func.func @f() {
  // expected-error@+1 {{sorts by trait 2 of 2}}
  tile.sort_rows by [0, 2] traits {
  ^bb0(%q: i32, %head: i32, %batch: i32):
    tile.yield %q, %head : i32, i32
  } classify {
  ^bb0(%a0: i32, %a1: i32, %a2: i32, %a3: i32, %a4: i32, %a5: i32, %a6: i32, %a7: i32):
    %t = arith.constant true
    tile.yield %t, %t : i1, i1
  }
  return
}

// -----

func.func @f() {
  tile.sort_rows by [0, 1] traits {
  ^bb0(%q: i32, %head: i32, %batch: i32):
    // expected-error@+1 {{gives 'vector<4xi32>' inside a traits region; scalar regions hold integers and floats}}
    %v = arith.constant dense<0> : vector<4xi32>
    tile.yield %q, %head : i32, i32
  } classify {
  ^bb0(%a0: i32, %a1: i32, %a2: i32, %a3: i32, %a4: i32, %a5: i32, %a6: i32, %a7: i32):
    %t = arith.constant true
    tile.yield %t, %t : i1, i1
  }
  return
}

// -----

func.func @f() {
  tile.sort_rows by [0, 1] traits {
  ^bb0(%q: i32, %head: i32, %batch: i32):
    tile.yield %q, %head : i32, i32
  } classify {
  ^bb0(%a0: i32, %a1: i32, %a2: i32, %a3: i32, %a4: i32, %a5: i32, %a6: i32, %a7: i32):
    // expected-error@+1 {{gives 'vector<4xi32>' inside a classify region; scalar regions hold integers and floats}}
    %v = arith.constant dense<0> : vector<4xi32>
    %t = arith.constant true
    tile.yield %t, %t : i1, i1
  }
  return
}
