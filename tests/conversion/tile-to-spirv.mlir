// RUN: attn-opt %s --convert-tile-to-gpu --canonicalize --cse | FileCheck %s
// RUN: attn-opt %s --convert-tile-to-gpu --convert-attn-gpu-to-spirv | FileCheck %s --check-prefix=SPIRV

// The words and one buffer per binding, read four elements at once; the log-sum-exp is stored as bits.
// Two rows a register tile, four columns: 4 x 4 invocations.
// CHECK: gpu.func @causal_f32(%[[WORDS:.*]]: memref<?xi32>, %[[Q:.*]]: memref<?xvector<4xf32>>, %[[K:.*]]: memref<?xvector<4xf32>>, %[[V:.*]]: memref<?xvector<4xf32>>, %[[O:.*]]: memref<?xvector<4xf32>>, %[[LSE:.*]]: memref<?xi32>) kernel
// CHECK-SAME: workgroup_size = [16, 1, 1]
// CHECK-DAG: %[[FACTORS:.*]] = memref.alloc() : memref<8xf32, #spirv.storage_class<Workgroup>>
// CHECK-DAG: %[[SCORES:.*]] = memref.alloc() : memref<136xf32, #spirv.storage_class<Workgroup>>

// Segments, runs of blocks, blocks, steps: each carries maximum, sum and two
// rows of four outputs.
// CHECK: %{{.*}}:4 = scf.for
// CHECK: %{{.*}}:4 = scf.for
// CHECK: %{{.*}}:4 = scf.if
// CHECK: %{{.*}}:4 = scf.for
// CHECK: %{{.*}}:4 = scf.if
// CHECK: %{{.*}}:4 = scf.for

// S = Q K^T: two queries and four keys are read for eight products.
// CHECK: %{{.*}}:8 = scf.for
// CHECK-COUNT-2: memref.load %[[Q]]
// CHECK-COUNT-4: memref.load %[[K]]
// CHECK: math.fma
// CHECK-COUNT-8: memref.store %{{.*}}, %[[SCORES]]
// CHECK: gpu.barrier

// A full block leaves the mask out, and its scores as they are.
// CHECK: scf.if
// CHECK: scf.for
// CHECK-NOT: arith.select
// CHECK-NOT: memref.store
// CHECK: arith.maxnumf {{.*}} fastmath<nnan>
// CHECK: } else {
// CHECK: scf.for
// CHECK: %[[ADMITTED:.*]] = arith.cmpi sge
// CHECK: arith.select %[[ADMITTED]]
// CHECK: memref.store %{{.*}}, %[[SCORES]]
// CHECK: arith.maxnumf
// CHECK: math.exp2
// CHECK: memref.store %{{.*}}, %[[FACTORS]]
// CHECK: scf.for
// CHECK: math.exp2
// CHECK: memref.store %{{.*}}, %[[SCORES]]
// CHECK: gpu.barrier

// O += P V.
// CHECK-COUNT-2: memref.load %[[FACTORS]]
// CHECK: %{{.*}}:2 = scf.for
// CHECK-COUNT-2: memref.load %[[SCORES]]
// CHECK: memref.load %[[V]]
// CHECK: gpu.barrier

// Rows past the end are not stored; -inf is written as bits.
// CHECK: math.log
// CHECK: gpu.barrier
// CHECK: scf.if
// CHECK: memref.store %{{.*}}, %[[O]]
// CHECK: scf.if
// CHECK: memref.store %{{.*}}, %[[LSE]]

// SPIRV: spirv.module @{{.*}} Logical GLSL450 requires #spirv.vce<v1.3, [Shader, Matrix], [SPV_KHR_storage_buffer_storage_class]>
// SPIRV-DAG: bind(0, 0) : !spirv.ptr<!spirv.struct<(!spirv.rtarray<i32, stride=4> [0])>, StorageBuffer>
// SPIRV-DAG: bind(0, 1) : !spirv.ptr<!spirv.struct<(!spirv.rtarray<vector<4xf32>, stride=16> [0])>, StorageBuffer>
// SPIRV-DAG: bind(0, 5) : !spirv.ptr<!spirv.struct<(!spirv.rtarray<i32, stride=4> [0])>, StorageBuffer>
// SPIRV: spirv.func @causal_f32
// SPIRV-NOT: unrealized_conversion_cast
// SPIRV: spirv.GL.Fma
// SPIRV: spirv.ControlBarrier <Workgroup>, <Workgroup>, <AcquireRelease|WorkgroupMemory>
// SPIRV: spirv.GL.FMax
// SPIRV: spirv.GL.Exp2
// SPIRV: spirv.GL.Log
// SPIRV: spirv.EntryPoint "GLCompute" @causal_f32
// SPIRV: spirv.ExecutionMode @causal_f32 "LocalSize", 16, 1, 1
tile.kernel @causal.f32 bindings [#tile.binding<"q", q, f32, 4>, #tile.binding<"k", k, f32, 4>,
    #tile.binding<"v", v, f32, 4>, #tile.binding<"o", o, f32, 4>, #tile.binding<"lse", lse, f32, 3>] params []
    block_q 8 block_k 16 qk_dim 32 v_dim 16 attributes {rows = 2 : i64, columns = 4 : i64} {
  %q = tile.load_queries 0 : !tile.tile<8x32xf32>
  %f = tile.score_factor
  %m0, %l0, %o0 = tile.softmax_init : !tile.tile<8xf32>, !tile.tile<8xf32>, !tile.tile<8x16xf32>
  %m, %l, %o = tile.for_keys (%m0, %l0, %o0) : (!tile.tile<8xf32>, !tile.tile<8xf32>, !tile.tile<8x16xf32>) -> (!tile.tile<8xf32>, !tile.tile<8xf32>, !tile.tile<8x16xf32>)
  classify {
  ^bb0(%q_lo: i32, %q_hi: i32, %k_lo: i32, %k_hi: i32, %head: i32, %batch: i32):
    %any = arith.cmpi sge, %q_hi, %k_lo : i32
    %all = arith.cmpi sge, %q_lo, %k_hi : i32
    tile.yield %any, %all : i1, i1
  } full {
  ^bb0(%keys: !tile.keys, %m1: !tile.tile<8xf32>, %l1: !tile.tile<8xf32>, %o1: !tile.tile<8x16xf32>):
    %k = tile.load_keys %keys, 1 : !tile.tile<16x32xf32>
    %s = tile.dot_qk %q, %k : (!tile.tile<8x32xf32>, !tile.tile<16x32xf32>) -> !tile.tile<8x16xf32>
    %p, %m2, %l2, %alpha = tile.softmax_step %s, %m1, %l1, %f : !tile.tile<8x16xf32>, !tile.tile<8xf32>
    %v = tile.load_keys %keys, 2 : !tile.tile<16x16xf32>
    %o2 = tile.dot_pv %p, %v, %o1, %alpha : (!tile.tile<8x16xf32>, !tile.tile<16x16xf32>, !tile.tile<8x16xf32>, !tile.tile<8xf32>) -> !tile.tile<8x16xf32>
    tile.yield %m2, %l2, %o2 : !tile.tile<8xf32>, !tile.tile<8xf32>, !tile.tile<8x16xf32>
  } partial {
  ^bb0(%keys: !tile.keys, %m1: !tile.tile<8xf32>, %l1: !tile.tile<8xf32>, %o1: !tile.tile<8x16xf32>):
    %k = tile.load_keys %keys, 1 : !tile.tile<16x32xf32>
    %s = tile.dot_qk %q, %k : (!tile.tile<8x32xf32>, !tile.tile<16x32xf32>) -> !tile.tile<8x16xf32>
    %t = tile.mask %s, %keys : !tile.tile<8x16xf32> {
    ^bb0(%q_position: i32, %k_position: i32, %head: i32, %batch: i32):
      %admitted = arith.cmpi sge, %q_position, %k_position : i32
      tile.yield %admitted : i1
    }
    %p, %m2, %l2, %alpha = tile.softmax_step %t, %m1, %l1, %f : !tile.tile<8x16xf32>, !tile.tile<8xf32>
    %v = tile.load_keys %keys, 2 : !tile.tile<16x16xf32>
    %o2 = tile.dot_pv %p, %v, %o1, %alpha : (!tile.tile<8x16xf32>, !tile.tile<16x16xf32>, !tile.tile<8x16xf32>, !tile.tile<8xf32>) -> !tile.tile<8x16xf32>
    tile.yield %m2, %l2, %o2 : !tile.tile<8xf32>, !tile.tile<8xf32>, !tile.tile<8x16xf32>
  }
  %out, %lse = tile.softmax_finish %m, %l, %o, %f : !tile.tile<8xf32>, !tile.tile<8x16xf32>
  tile.store_queries %out, 3 : !tile.tile<8x16xf32>
  tile.store_queries %lse, 4 : !tile.tile<8xf32>
}
