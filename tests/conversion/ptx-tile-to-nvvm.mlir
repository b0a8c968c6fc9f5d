// RUN: attn-opt %s --convert-tile-to-nvvm | FileCheck %s

// Keys are copied one block ahead, values while scores are computed; products run
// on tensor cores; the state of the softmax is carried in registers.

// CHECK: llvm.mlir.global external @attn_shared() {addr_space = 3 : i32, alignment = 1024 : i64} : !llvm.array<0 x i8>
// CHECK: llvm.func @dense_bf16(%arg0: !llvm.ptr<1> {llvm.noalias, llvm.readonly}, %arg1: !llvm.ptr<1>,
// CHECK-SAME: attributes {nvvm.kernel, nvvm.minctasm = 8 : i32, nvvm.reqntid = array<i32: 32, 1, 1>}
// Queries: asynchronous copies of whole chunks, element by element where rows are misaligned.
// CHECK: scf.if
// CHECK: nvvm.cp.async.shared.global {{.*}}, 16, cache =  cg
// CHECK: } else {
// CHECK: scf.for
// CHECK: llvm.insertelement
// CHECK: nvvm.cp.async.wait.group 0
// CHECK: nvvm.barrier
// CHECK: nvvm.ldmatrix {{.*}}layout = #nvvm.mma_layout<row>
// Segments, runs of blocks, blocks.
// CHECK: scf.for
// CHECK: scf.for
// CHECK: scf.for
// CHECK: nvvm.cp.async.commit.group
// CHECK-NEXT: }
// CHECK-NEXT: nvvm.cp.async.wait.group 0
// CHECK-NEXT: nvvm.barrier
// CHECK: nvvm.cp.async.commit.group
// CHECK: nvvm.mma.sync A[{{.*}}] {{.*}}multiplicandAPtxType = #nvvm.mma_type<bf16>{{.*}}shape = #nvvm.shape<m = 16, n = 8, k = 16>
// CHECK: nvvm.shfl.sync bfly
// CHECK: llvm.call_intrinsic "llvm.nvvm.ex2.approx.ftz.f32"
// CHECK: nvvm.cp.async.wait.group 1
// CHECK-NEXT: nvvm.barrier
// CHECK: nvvm.ldmatrix {{.*}}layout = #nvvm.mma_layout<col>
// CHECK: nvvm.mma.sync
// The partial body selects; excluded scores are never added to.
// CHECK: arith.select %{{.*}}, %{{.*}}, %{{.*}} : f32
// CHECK: llvm.call_intrinsic "llvm.nvvm.ff2bf16x2.rn"
// CHECK: llvm.return
tile.kernel @dense.bf16 bindings [#tile.binding<"q", q, bf16, 4>, #tile.binding<"k", k, bf16, 4>,
    #tile.binding<"v", v, bf16, 4>, #tile.binding<"o", o, bf16, 4>] params []
    block_q 16 block_k 16 qk_dim 16 v_dim 16 {
  %q = tile.load_queries 0 : !tile.tile<16x16xbf16>
  %f = tile.score_factor
  %m0, %l0, %o0 = tile.softmax_init : !tile.tile<16xf32>, !tile.tile<16xf32>, !tile.tile<16x16xf32>
  %m, %l, %o = tile.for_keys (%m0, %l0, %o0) : (!tile.tile<16xf32>, !tile.tile<16xf32>, !tile.tile<16x16xf32>) -> (!tile.tile<16xf32>, !tile.tile<16xf32>, !tile.tile<16x16xf32>)
  classify {
  ^bb0(%q_lo: i32, %q_hi: i32, %k_lo: i32, %k_hi: i32, %head: i32, %batch: i32):
    %true = arith.constant true
    tile.yield %true, %true : i1, i1
  } full {
  ^bb0(%keys: !tile.keys, %m1: !tile.tile<16xf32>, %l1: !tile.tile<16xf32>, %o1: !tile.tile<16x16xf32>):
    %k = tile.load_keys %keys, 1 : !tile.tile<16x16xbf16>
    %s = tile.dot_qk %q, %k : (!tile.tile<16x16xbf16>, !tile.tile<16x16xbf16>) -> !tile.tile<16x16xf32>
    %p, %m2, %l2, %alpha = tile.softmax_step %s, %m1, %l1, %f : !tile.tile<16x16xf32>, !tile.tile<16xf32>
    %v = tile.load_keys %keys, 2 : !tile.tile<16x16xbf16>
    %o2 = tile.dot_pv %p, %v, %o1, %alpha : (!tile.tile<16x16xf32>, !tile.tile<16x16xbf16>, !tile.tile<16x16xf32>, !tile.tile<16xf32>) -> !tile.tile<16x16xf32>
    tile.yield %m2, %l2, %o2 : !tile.tile<16xf32>, !tile.tile<16xf32>, !tile.tile<16x16xf32>
  } partial {
  ^bb0(%keys: !tile.keys, %m1: !tile.tile<16xf32>, %l1: !tile.tile<16xf32>, %o1: !tile.tile<16x16xf32>):
    %k = tile.load_keys %keys, 1 : !tile.tile<16x16xbf16>
    %s = tile.dot_qk %q, %k : (!tile.tile<16x16xbf16>, !tile.tile<16x16xbf16>) -> !tile.tile<16x16xf32>
    %t = tile.mask %s, %keys : !tile.tile<16x16xf32> {
    ^bb0(%q_position: i32, %k_position: i32, %head: i32, %batch: i32):
      %true = arith.constant true
      tile.yield %true : i1
    }
    %p, %m2, %l2, %alpha = tile.softmax_step %t, %m1, %l1, %f : !tile.tile<16x16xf32>, !tile.tile<16xf32>
    %v = tile.load_keys %keys, 2 : !tile.tile<16x16xbf16>
    %o2 = tile.dot_pv %p, %v, %o1, %alpha : (!tile.tile<16x16xf32>, !tile.tile<16x16xbf16>, !tile.tile<16x16xf32>, !tile.tile<16xf32>) -> !tile.tile<16x16xf32>
    tile.yield %m2, %l2, %o2 : !tile.tile<16xf32>, !tile.tile<16xf32>, !tile.tile<16x16xf32>
  }
  %out, %lse = tile.softmax_finish %m, %l, %o, %f : !tile.tile<16xf32>, !tile.tile<16x16xf32>
  tile.store_queries %out, 3 : !tile.tile<16x16xf32>
}
