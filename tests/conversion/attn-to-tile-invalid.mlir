// RUN: attn-opt %s -split-input-file -attn-to-tile -verify-diagnostics

attn.attention @gated heads 0 kv_heads 0 qk_dim 32 v_dim 32 types <f32, f32, f32, f32>
    spaces [#attn.space<"tok", <"i", stream, 0>>] query <"tok", "tok"> keys <"tok", "tok">
    mask {
^bb0(%q: !attn.position<query>, %k: !attn.position<key>, %head: i32, %batch: i32):
  %true = arith.constant true
  attn.yield %true : i1
} output {
^bb0(%o: f32, %head: i32, %batch: i32):
  // expected-error@+1 {{kernels cannot apply an output expression yet; leave it out of the spec and apply it to the kernel's output}}
  attn.yield %o : f32
}
