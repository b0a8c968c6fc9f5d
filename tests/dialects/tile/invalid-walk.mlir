// RUN: attn-opt %s -split-input-file -verify-diagnostics -allow-unregistered-dialect

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

func.func @f(%i: !tile.tile<8xf32>) {
// expected-error@+1 {{has 1 cut regions; must be none, or one of queries and one of keys}}
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
    tile.yield %s : !tile.tile<8xf32>
  } cut {
  ^bb0(%low: i32, %high: i32):
    tile.yield %low : i32
  }
  return
}

// -----

func.func @f(%i: !tile.tile<8xf32>) {
// expected-error@+1 {{cut region has arguments ('i32'); must be}}
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
    tile.yield %s : !tile.tile<8xf32>
  } cut {
  ^bb0(%low: i32):
    tile.yield
  }, {
  ^bb0(%low: i32, %high: i32):
    tile.yield
  }
  return
}
