// RUN: attn-opt %s --convert-tile-to-gpu --split-input-file --verify-diagnostics

// expected-error @+1 {{block_q 2048 needs 256 invocations; spirv allows 128, choose a multiple of 8 up to 1024}}
tile.kernel @wide.f32 bindings [#tile.binding<"q", q, f32, 4>, #tile.binding<"k", k, f32, 4>,
    #tile.binding<"v", v, f32, 4>, #tile.binding<"o", o, f32, 4>] params [] block_q 2048 block_k 64 qk_dim 64 v_dim 64 {
}

// -----

// expected-error @+1 {{has head dim 33 of elements that are read 2 at a time; spirv allows multiples of 2}}
tile.kernel @odd.bf16 bindings [#tile.binding<"q", q, bf16, 4>, #tile.binding<"k", k, bf16, 4>,
    #tile.binding<"v", v, bf16, 4>, #tile.binding<"o", o, bf16, 4>] params []
    block_q 32 block_k 64 qk_dim 33 v_dim 64 {
}
