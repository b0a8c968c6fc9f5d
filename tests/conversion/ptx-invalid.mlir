// RUN: attn-opt %s --convert-tile-to-nvvm --split-input-file --verify-diagnostics

// expected-error @below {{blocks are 24 x 16; ptx kernels take multiples of 16 up to 256}}
tile.kernel @block_size.f32 bindings [#tile.binding<"q", q, f32, 4>, #tile.binding<"k", k, f32, 4>,
    #tile.binding<"v", v, f32, 4>, #tile.binding<"o", o, f32, 4>] params []
    block_q 24 block_k 16 qk_dim 16 v_dim 16 {
  %q = tile.load_queries 0 : !tile.tile<24x16xf32>
}

// -----

// expected-error @below {{value head dim is 12; ptx kernels take multiples of 8}}
tile.kernel @value_dim.f32 bindings [#tile.binding<"q", q, f32, 4>, #tile.binding<"k", k, f32, 4>,
    #tile.binding<"v", v, f32, 4>, #tile.binding<"o", o, f32, 4>] params []
    block_q 16 block_k 16 qk_dim 16 v_dim 12 {
  %q = tile.load_queries 0 : !tile.tile<16x16xf32>
}

// -----

tile.kernel @head_dim.f32 bindings [#tile.binding<"q", q, bf16, 4>, #tile.binding<"k", k, bf16, 4>,
    #tile.binding<"v", v, bf16, 4>, #tile.binding<"o", o, bf16, 4>] params []
    block_q 16 block_k 16 qk_dim 20 v_dim 16 {
  // expected-error @below {{head dim is 20; ptx kernels with 'bf16' take multiples of 8}}
  %q = tile.load_queries 0 : !tile.tile<16x20xbf16>
}

// -----

// expected-error @below {{the device has 166912: give smaller head dims}}
tile.kernel @shared_memory.f32 bindings [#tile.binding<"q", q, f32, 4>, #tile.binding<"k", k, f32, 4>,
    #tile.binding<"v", v, f32, 4>, #tile.binding<"o", o, f32, 4>] params []
    block_q 256 block_k 16 qk_dim 256 v_dim 16 {
  %q = tile.load_queries 0 : !tile.tile<256x256xf32>
}
