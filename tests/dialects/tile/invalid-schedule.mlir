// RUN: attn-opt %s -split-input-file -verify-diagnostics -allow-unregistered-dialect

// expected-error@+1 {{swizzle is 48 bytes wide; must be 32, 64 or 128}}
"test.layout"() {layout = #tile.swizzle<48>} : () -> ()

// -----

// expected-error@+1 {{ring has 0 stages; must have at least 1}}
%r = tile.ring : !tile.ring<0, <64x64xbf16>, <128>>

// -----

// expected-error@+1 {{must have rank 2 and a multiple of 8 rows}}
%r = tile.ring : !tile.ring<2, <60x64xbf16>, <128>>

// -----

// expected-error@+1 {{ring has rows of 96 bytes; must be a multiple of its swizzle, 64}}
%r = tile.ring : !tile.ring<2, <64x48xbf16>, <64>>

// -----

// expected-error@+1 {{role has 6 warps; must be a multiple of 4}}
"test.roles"() {role = #tile.warp_role<consumer, warps 6, registers 240>} : () -> ()

// -----

// expected-error@+1 {{role has 20 registers per thread; must be a multiple of 8 from 24 to 256}}
"test.roles"() {role = #tile.warp_role<consumer, warps 8, registers 20>} : () -> ()

// -----

// expected-error@+1 {{has 1 roles and 1 regions; must have a producer, then a consumer}}
tile.warp_specialize <simple, in_order> [#tile.warp_role<consumer, warps 8, registers 240>] {
  "test.op"() : () -> ()
}

// -----

// expected-error@+1 {{uses 71680 registers; a block of threads has 65536}}
tile.warp_specialize <simple, in_order> [#tile.warp_role<producer, warps 4, registers 48>, #tile.warp_role<consumer, warps 8, registers 256>] {
  "test.op"() : () -> ()
}, {
  "test.op"() : () -> ()
}

// -----

%r = tile.ring : !tile.ring<2, <64x64xbf16>, <128>>
tile.warp_specialize <simple, in_order> [#tile.warp_role<producer, warps 4, registers 24>, #tile.warp_role<consumer, warps 8, registers 240>] {
  // expected-error@+1 {{stands in a producer; only a consumer may do this}}
  %s = tile.receive %r : !tile.ring<2, <64x64xbf16>, <128>> -> !tile.slot<<64x64xbf16>, <128>>
}, {
  "test.op"() : () -> ()
}

// -----

%r = tile.ring : !tile.ring<2, <64x64xbf16>, <128>>
tile.warp_specialize <simple, in_order> [#tile.warp_role<producer, warps 4, registers 24>, #tile.warp_role<consumer, warps 8, registers 240>] {
  "test.op"() : () -> ()
}, {
  // expected-error@+1 {{stands in a consumer; only a producer may do this}}
  %s = tile.acquire %r : !tile.ring<2, <64x64xbf16>, <128>> -> !tile.slot<<64x64xbf16>, <128>>
}

// -----

%r = tile.ring : !tile.ring<2, <64x64xbf16>, <128>>
tile.warp_specialize <simple, in_order> [#tile.warp_role<producer, warps 4, registers 24>, #tile.warp_role<consumer, warps 8, registers 240>] {
  // expected-error@+1 {{takes a slot that 0 copies fill; must be 1}}
  %s = tile.acquire %r : !tile.ring<2, <64x64xbf16>, <128>> -> !tile.slot<<64x64xbf16>, <128>>
}, {
  "test.op"() : () -> ()
}

// -----

%r = tile.ring : !tile.ring<2, <64x64xbf16>, <128>>
tile.warp_specialize <simple, in_order> [#tile.warp_role<producer, warps 4, registers 24>, #tile.warp_role<consumer, warps 8, registers 240>] {
  // expected-error@+1 {{gives '!tile.slot<<128x64xbf16>, <128>>'; must be}}
  %s = tile.acquire %r : !tile.ring<2, <64x64xbf16>, <128>> -> !tile.slot<<128x64xbf16>, <128>>
}, {
  "test.op"() : () -> ()
}

// -----

tile.kernel @k bindings [#tile.binding<"q", q, bf16, 4>, #tile.binding<"k", k, bf16, 4>, #tile.binding<"v", v, bf16, 4>, #tile.binding<"o", o, bf16, 4>] params []
    block_q 128 block_k 64 qk_dim 64 v_dim 64 {
  %r = tile.ring : !tile.ring<2, <64x64xbf16>, <128>>
  tile.warp_specialize <simple, in_order> [#tile.warp_role<producer, warps 4, registers 24>, #tile.warp_role<consumer, warps 8, registers 240>] {
    %s = tile.acquire %r : !tile.ring<2, <64x64xbf16>, <128>> -> !tile.slot<<64x64xbf16>, <128>>
    // expected-error@+1 {{fills a slot of '!tile.tile<64x64xbf16>'; must be '!tile.tile<128x64xbf16>'}}
    tile.copy_queries %s, 0 : !tile.slot<<64x64xbf16>, <128>>
  }, {
    "test.op"() : () -> ()
  }
}

// -----

tile.kernel @k bindings [#tile.binding<"q", q, bf16, 4>, #tile.binding<"k", k, bf16, 4>, #tile.binding<"v", v, bf16, 4>, #tile.binding<"o", o, bf16, 4>] params []
    block_q 128 block_k 64 qk_dim 64 v_dim 64 {
  %r = tile.ring : !tile.ring<2, <64x64xbf16>, <128>>
  tile.warp_specialize <simple, in_order> [#tile.warp_role<producer, warps 4, registers 24>, #tile.warp_role<consumer, warps 8, registers 240>] {
    %s = tile.acquire %r : !tile.ring<2, <64x64xbf16>, <128>> -> !tile.slot<<64x64xbf16>, <128>>
    // expected-error@+1 {{names binding 'k' of role k; must be q}}
    tile.copy_queries %s, 1 : !tile.slot<<64x64xbf16>, <128>>
  }, {
    "test.op"() : () -> ()
  }
}

// -----

tile.kernel @k bindings [#tile.binding<"q", q, bf16, 4>, #tile.binding<"k", k, bf16, 4>, #tile.binding<"v", v, bf16, 4>, #tile.binding<"o", o, bf16, 4>] params []
    block_q 128 block_k 64 qk_dim 64 v_dim 64 {
  %r = tile.ring : !tile.ring<2, <64x32xbf16>, <64>>
  %keys = "test.value"() : () -> !tile.keys
  tile.warp_specialize <simple, in_order> [#tile.warp_role<producer, warps 4, registers 24>, #tile.warp_role<consumer, warps 8, registers 240>] {
    %s = tile.acquire %r : !tile.ring<2, <64x32xbf16>, <64>> -> !tile.slot<<64x32xbf16>, <64>>
    // expected-error@+1 {{fills a slot of '!tile.tile<64x32xbf16>'; must be '!tile.tile<64x64xbf16>'}}
    tile.copy_keys %s, %keys, 1 : !tile.slot<<64x32xbf16>, <64>>
  }, {
    "test.op"() : () -> ()
  }
}

// -----

tile.kernel @k bindings [#tile.binding<"q", q, bf16, 4>, #tile.binding<"k", k, bf16, 4>, #tile.binding<"v", v, bf16, 4>, #tile.binding<"o", o, bf16, 4>] params []
    block_q 128 block_k 64 qk_dim 64 v_dim 64 {
  %r = tile.ring : !tile.ring<2, <64x64xbf16>, <128>>
  %keys = "test.value"() : () -> !tile.keys
  tile.warp_specialize <simple, in_order> [#tile.warp_role<producer, warps 4, registers 24>, #tile.warp_role<consumer, warps 8, registers 240>] {
    %s = tile.acquire %r : !tile.ring<2, <64x64xbf16>, <128>> -> !tile.slot<<64x64xbf16>, <128>>
    // expected-error@+1 {{names binding 'o' of role o; must be k or v}}
    tile.copy_keys %s, %keys, 3 : !tile.slot<<64x64xbf16>, <128>>
  }, {
    "test.op"() : () -> ()
  }
}

// -----

%r = "test.value"() : () -> !tile.ring<2, <64x64xbf16>, <128>>
// expected-error@+1 {{body region has arguments ('!tile.keys'); must be ('!tile.keys', '!tile.slot<<64x64xbf16>, <128>>')}}
tile.produce_keys %r : !tile.ring<2, <64x64xbf16>, <128>> classify {
^bb0(%a: i32, %b: i32, %c: i32, %d: i32, %e: i32, %f: i32):
  %t = arith.constant true
  tile.yield %t, %t : i1, i1
} body {
^bb0(%keys: !tile.keys):
  tile.yield
}

// -----

%r = "test.value"() : () -> !tile.ring<2, <64x64xbf16>, <128>>
// expected-error@+1 {{takes a slot that 0 copies fill; must be 1}}
tile.produce_keys %r : !tile.ring<2, <64x64xbf16>, <128>> classify {
^bb0(%a: i32, %b: i32, %c: i32, %d: i32, %e: i32, %f: i32):
  %t = arith.constant true
  tile.yield %t, %t : i1, i1
} body {
^bb0(%keys: !tile.keys, %s: !tile.slot<<64x64xbf16>, <128>>):
  tile.yield
}

// -----

%r = "test.value"() : () -> !tile.ring<2, <64x64xbf16>, <128>>
// expected-error@+1 {{classify region yields ('i1'); must yield ('i1', 'i1')}}
tile.produce_keys %r : !tile.ring<2, <64x64xbf16>, <128>> classify {
^bb0(%a: i32, %b: i32, %c: i32, %d: i32, %e: i32, %f: i32):
  %t = arith.constant true
  tile.yield %t : i1
} body {
^bb0(%keys: !tile.keys, %s: !tile.slot<<64x64xbf16>, <128>>):
  tile.yield
}

// -----

%r = "test.value"() : () -> !tile.ring<2, <64x64xbf16>, <128>>
%q = "test.value"() : () -> !tile.slot<<128x64xbf16>, <128>>
%s = tile.receive %r : !tile.ring<2, <64x64xbf16>, <128>> -> !tile.slot<<64x64xbf16>, <128>>
%p = tile.start_qk %q, %s : (!tile.slot<<128x64xbf16>, <128>>, !tile.slot<<64x64xbf16>, <128>>) -> !tile.pending<<128x64xf32>>
// expected-error@+1 {{gives a slot back while a product that reads it is in flight}}
tile.release %s : !tile.slot<<64x64xbf16>, <128>>
// expected-note@+1 {{it is waited for here}}
%x = tile.wait %p : (!tile.pending<<128x64xf32>>) -> !tile.tile<128x64xf32>

// -----

%r = "test.value"() : () -> !tile.ring<2, <64x64xbf16>, <128>>
// expected-error@+1 {{holds a slot that is released or carried on 2 times; must be once}}
%s = tile.receive %r : !tile.ring<2, <64x64xbf16>, <128>> -> !tile.slot<<64x64xbf16>, <128>>
tile.release %s : !tile.slot<<64x64xbf16>, <128>>
tile.release %s : !tile.slot<<64x64xbf16>, <128>>

// -----

%r = "test.value"() : () -> !tile.ring<2, <64x64xbf16>, <128>>
%i = "test.value"() : () -> !tile.tile<128xf32>
// expected-error@+1 {{holds a slot that is released or carried on 0 times; must be once}}
%m = tile.consume_keys %r (%i) : !tile.ring<2, <64x64xbf16>, <128>>, (!tile.tile<128xf32>) -> (!tile.tile<128xf32>) full {
^bb0(%keys: !tile.keys, %ks: !tile.slot<<64x64xbf16>, <128>>, %x: !tile.tile<128xf32>):
  tile.yield %x : !tile.tile<128xf32>
} partial {
^bb0(%keys: !tile.keys, %ks: !tile.slot<<64x64xbf16>, <128>>, %x: !tile.tile<128xf32>):
  tile.yield %x : !tile.tile<128xf32>
}

// -----

%r = "test.value"() : () -> !tile.ring<2, <64x64xbf16>, <128>>
%i = "test.value"() : () -> !tile.tile<128xf32>
// expected-error@+1 {{has 1 end regions; must have none, or first and last}}
%m = tile.consume_keys %r (%i) : !tile.ring<2, <64x64xbf16>, <128>>, (!tile.tile<128xf32>) -> (!tile.tile<128xf32>) full {
^bb0(%keys: !tile.keys, %ks: !tile.slot<<64x64xbf16>, <128>>, %x: !tile.tile<128xf32>):
  tile.release %ks : !tile.slot<<64x64xbf16>, <128>>
  tile.yield %x : !tile.tile<128xf32>
} partial {
^bb0(%keys: !tile.keys, %ks: !tile.slot<<64x64xbf16>, <128>>, %x: !tile.tile<128xf32>):
  tile.release %ks : !tile.slot<<64x64xbf16>, <128>>
  tile.yield %x : !tile.tile<128xf32>
} ends {
^bb0(%keys: !tile.keys, %ks: !tile.slot<<64x64xbf16>, <128>>, %x: !tile.tile<128xf32>):
  tile.release %ks : !tile.slot<<64x64xbf16>, <128>>
  tile.yield %x : !tile.tile<128xf32>
}

// -----

%r = "test.value"() : () -> !tile.ring<2, <64x64xbf16>, <128>>
%i = "test.value"() : () -> !tile.tile<128xf32>
// expected-error@+1 {{full region has arguments}}
%m = tile.consume_keys %r (%i) : !tile.ring<2, <64x64xbf16>, <128>>, (!tile.tile<128xf32>) -> (!tile.tile<128xf32>) full {
^bb0(%keys: !tile.keys, %x: !tile.tile<128xf32>, %ks: !tile.slot<<64x64xbf16>, <128>>):
  tile.release %ks : !tile.slot<<64x64xbf16>, <128>>
  tile.yield %x : !tile.tile<128xf32>
} partial {
^bb0(%keys: !tile.keys, %x: !tile.tile<128xf32>, %ks: !tile.slot<<64x64xbf16>, <128>>):
  tile.release %ks : !tile.slot<<64x64xbf16>, <128>>
  tile.yield %x : !tile.tile<128xf32>
}

// -----

%r = "test.value"() : () -> !tile.ring<2, <64x64xbf16>, <128>>
%i = "test.value"() : () -> !tile.tile<128xf32>
// expected-error@+1 {{has results of other types than its initial values}}
%m = tile.consume_keys %r (%i) : !tile.ring<2, <64x64xbf16>, <128>>, (!tile.tile<128xf32>) -> (!tile.tile<64xf32>) full {
^bb0(%keys: !tile.keys, %ks: !tile.slot<<64x64xbf16>, <128>>, %x: !tile.tile<128xf32>):
  tile.release %ks : !tile.slot<<64x64xbf16>, <128>>
  tile.yield %x : !tile.tile<128xf32>
} partial {
^bb0(%keys: !tile.keys, %ks: !tile.slot<<64x64xbf16>, <128>>, %x: !tile.tile<128xf32>):
  tile.release %ks : !tile.slot<<64x64xbf16>, <128>>
  tile.yield %x : !tile.tile<128xf32>
}

// -----

%r = "test.value"() : () -> !tile.ring<2, <64x64xbf16>, <128>>
%i = "test.value"() : () -> !tile.tile<128xf32>
// expected-error@+1 {{last region has arguments}}
%m = tile.consume_keys %r (%i) : !tile.ring<2, <64x64xbf16>, <128>>, (!tile.tile<128xf32>) -> (!tile.tile<128xf32>) full {
^bb0(%keys: !tile.keys, %ks: !tile.slot<<64x64xbf16>, <128>>, %x: !tile.tile<128xf32>):
  tile.release %ks : !tile.slot<<64x64xbf16>, <128>>
  tile.yield %x : !tile.tile<128xf32>
} partial {
^bb0(%keys: !tile.keys, %ks: !tile.slot<<64x64xbf16>, <128>>, %x: !tile.tile<128xf32>):
  tile.release %ks : !tile.slot<<64x64xbf16>, <128>>
  tile.yield %x : !tile.tile<128xf32>
} ends {
^bb0(%keys: !tile.keys, %ks: !tile.slot<<64x64xbf16>, <128>>, %x: !tile.tile<128xf32>):
  tile.release %ks : !tile.slot<<64x64xbf16>, <128>>
  tile.yield %x, %x : !tile.tile<128xf32>, !tile.tile<128xf32>
}, {
^bb0(%x: !tile.tile<128xf32>):
  tile.yield %x : !tile.tile<128xf32>
}

// -----

%q = "test.value"() : () -> !tile.slot<<128x64xbf16>, <128>>
%k = "test.value"() : () -> !tile.slot<<64x64xf16>, <128>>
// expected-error@+1 {{must both be f16 or bf16}}
%p = tile.start_qk %q, %k : (!tile.slot<<128x64xbf16>, <128>>, !tile.slot<<64x64xf16>, <128>>) -> !tile.pending<<128x64xf32>>

// -----

%q = "test.value"() : () -> !tile.slot<<128x64xbf16>, <128>>
%k = "test.value"() : () -> !tile.slot<<64x32xbf16>, <64>>
// expected-error@+1 {{has query head dim 64 and key head dim 32; must agree}}
%p = tile.start_qk %q, %k : (!tile.slot<<128x64xbf16>, <128>>, !tile.slot<<64x32xbf16>, <64>>) -> !tile.pending<<128x64xf32>>

// -----

%q = "test.value"() : () -> !tile.slot<<128x64xbf16>, <128>>
%k = "test.value"() : () -> !tile.slot<<64x64xbf16>, <128>>
// expected-error@+1 {{gives '!tile.tile<128x32xf32>'; must be '!tile.tile<128x64xf32>'}}
%p = tile.start_qk %q, %k : (!tile.slot<<128x64xbf16>, <128>>, !tile.slot<<64x64xbf16>, <128>>) -> !tile.pending<<128x32xf32>>

// -----

%q = "test.value"() : () -> !tile.slot<<128x64xbf16>, <128>>
%k = "test.value"() : () -> !tile.slot<<64x64xbf16>, <128>>
// expected-error@+1 {{must be waited for by exactly one tile.wait of the same block}}
%p = tile.start_qk %q, %k : (!tile.slot<<128x64xbf16>, <128>>, !tile.slot<<64x64xbf16>, <128>>) -> !tile.pending<<128x64xf32>>

// -----

%p = "test.value"() : () -> !tile.tile<128x64xf16>
%v = "test.value"() : () -> !tile.slot<<64x64xbf16>, <128>>
%o = "test.value"() : () -> !tile.tile<128x64xf32>
// expected-error@+1 {{has probabilities of '!tile.tile<128x64xf16>'; must be '!tile.tile<128x64xbf16>'}}
%x = tile.start_pv %p, %v, %o : (!tile.tile<128x64xf16>, !tile.slot<<64x64xbf16>, <128>>, !tile.tile<128x64xf32>) -> !tile.pending<<128x64xf32>>

// -----

%p = "test.value"() : () -> !tile.tile<128x64xbf16>
%v = "test.value"() : () -> !tile.slot<<64x64xi8>, <64>>
%o = "test.value"() : () -> !tile.tile<128x64xf32>
// expected-error@+1 {{has values of 'i8'; must be f16 or bf16}}
%x = tile.start_pv %p, %v, %o : (!tile.tile<128x64xbf16>, !tile.slot<<64x64xi8>, <64>>, !tile.tile<128x64xf32>) -> !tile.pending<<128x64xf32>>

// -----

%p = "test.value"() : () -> !tile.tile<128x64xbf16>
%v = "test.value"() : () -> !tile.slot<<64x64xbf16>, <128>>
%o = "test.value"() : () -> !tile.tile<128x64xf32>
// expected-error@+1 {{gives '!tile.tile<128x32xf32>'; must be '!tile.tile<128x64xf32>'}}
%x = tile.start_pv %p, %v, %o : (!tile.tile<128x64xbf16>, !tile.slot<<64x64xbf16>, <128>>, !tile.tile<128x64xf32>) -> !tile.pending<<128x32xf32>>

// -----

%p = "test.value"() : () -> !tile.pending<<128x64xf32>>
// expected-error@+1 {{gives other types than its product and what is tied to it}}
%x = tile.wait %p : (!tile.pending<<128x64xf32>>) -> !tile.tile<64x64xf32>

// -----

%q = "test.value"() : () -> !tile.slot<<128x64xbf16>, <128>>
%k = "test.value"() : () -> !tile.slot<<64x64xbf16>, <128>>
// expected-note@+1 {{the earlier product}}
%a = tile.start_qk %q, %k : (!tile.slot<<128x64xbf16>, <128>>, !tile.slot<<64x64xbf16>, <128>>) -> !tile.pending<<128x64xf32>>
%b = tile.start_qk %q, %k : (!tile.slot<<128x64xbf16>, <128>>, !tile.slot<<64x64xbf16>, <128>>) -> !tile.pending<<128x64xf32>>
// expected-error@+1 {{waits for a product before one that was started earlier}}
%x = tile.wait %b : (!tile.pending<<128x64xf32>>) -> !tile.tile<128x64xf32>
%y = tile.wait %a : (!tile.pending<<128x64xf32>>) -> !tile.tile<128x64xf32>

// -----

%p = "test.value"() : () -> !tile.tile<128x64xf32>
// expected-error@+1 {{must turn f32 into f16 or bf16 of the same shape}}
%x = tile.narrow %p : !tile.tile<128x64xf32> -> !tile.tile<64x64xbf16>

// -----

%o = "test.value"() : () -> !tile.tile<128x64xf32>
%a = "test.value"() : () -> !tile.tile<64xf32>
// expected-error@+1 {{has factors of '!tile.tile<64xf32>'; must be '!tile.tile<128xf32>'}}
%x = tile.rescale %o, %a : !tile.tile<128x64xf32>, !tile.tile<64xf32>

// -----

%p = "test.value"() : () -> !tile.tile<128x64xbf16>
%v = "test.value"() : () -> !tile.slot<<64x64xbf16>, <128>>
%o = "test.value"() : () -> !tile.tile<128x64xf32>
%keys = "test.value"() : () -> !tile.keys
%x = tile.start_pv %p, %v, %o : (!tile.tile<128x64xbf16>, !tile.slot<<64x64xbf16>, <128>>, !tile.tile<128x64xf32>) -> !tile.pending<<128x64xf32>>
// expected-error@+1 {{clears a slot that a product has read already}}
tile.clear_tail %v, %keys : !tile.slot<<64x64xbf16>, <128>>
%y = tile.wait %x : (!tile.pending<<128x64xf32>>) -> !tile.tile<128x64xf32>

// -----

%r = tile.ring : !tile.ring<2, <64x64xbf16>, <128>>
tile.warp_specialize <simple, in_order> [#tile.warp_role<producer, warps 4, registers 24>, #tile.warp_role<consumer, warps 8, registers 240>] {
  "test.op"() : () -> ()
}, {
  // expected-error@+1 {{needs the schedule pingpong; it is simple}}
  tile.take_turn
}

// -----

%r = tile.ring : !tile.ring<2, <64x64xbf16>, <128>>
tile.warp_specialize <pingpong, in_order> [#tile.warp_role<producer, warps 4, registers 24>, #tile.warp_role<consumer, warps 8, registers 240>] {
  "test.op"() : () -> ()
}, {
  // expected-error@+1 {{has no partner; a body takes the turn, then passes it}}
  tile.take_turn
}

// -----

%r = tile.ring : !tile.ring<2, <64x64xbf16>, <128>>
tile.warp_specialize <pingpong, in_order> [#tile.warp_role<producer, warps 4, registers 24>, #tile.warp_role<consumer, warps 8, registers 240>] {
  "test.op"() : () -> ()
}, {
  // expected-error@+1 {{has no partner; a body takes the turn, then passes it}}
  tile.pass_turn
}

// -----

tile.kernel @k bindings [#tile.binding<"q", q, bf16, 4>, #tile.binding<"k", k, bf16, 4>, #tile.binding<"v", v, bf16, 4>, #tile.binding<"o", o, bf16, 4>] params []
    block_q 128 block_k 64 qk_dim 64 v_dim 64 {
  %r = tile.ring : !tile.ring<1, <128x64xbf16>, <128>>
  tile.warp_specialize <simple, in_order> [#tile.warp_role<producer, warps 4, registers 24>, #tile.warp_role<consumer, warps 8, registers 240>] {
    // expected-error@+1 {{fills a ring of 1 stages 2 times outside of a walk; must fill each stage at most once, or in a walk alone}}
    %a = tile.acquire %r : !tile.ring<1, <128x64xbf16>, <128>> -> !tile.slot<<128x64xbf16>, <128>>
    tile.copy_queries %a, 0 : !tile.slot<<128x64xbf16>, <128>>
    %b = tile.acquire %r : !tile.ring<1, <128x64xbf16>, <128>> -> !tile.slot<<128x64xbf16>, <128>>
    tile.copy_queries %b, 0 : !tile.slot<<128x64xbf16>, <128>>
  }, {
    "test.op"() : () -> ()
  }
}
