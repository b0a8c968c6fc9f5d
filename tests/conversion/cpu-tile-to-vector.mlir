// RUN: attn-opt %S/inputs/dense.mlir -pass-pipeline='builtin.module(attn-tile-to-vector{arch=avx512},cse)' | FileCheck %s --check-prefixes=CHECK,AVX512
// RUN: attn-opt %S/inputs/dense.mlir -pass-pipeline='builtin.module(attn-tile-to-vector{arch=avx2},cse)' | FileCheck %s --check-prefixes=CHECK,AVX2
// RUN: attn-opt %S/inputs/dense.mlir -pass-pipeline='builtin.module(attn-tile-to-vector{arch=neon},cse)' | FileCheck %s --check-prefixes=CHECK,NEON

// The C ABI of attn_cpu_kernel_fn, and the scratch that one call needs.
// CHECK-LABEL: func.func @dense_f32(
// CHECK-SAME: !llvm.ptr {llvm.noalias}, %{{.*}}: !llvm.ptr {llvm.noalias}, %{{.*}}: !llvm.ptr {llvm.noalias}, %{{.*}}: i32, %{{.*}}: i32) attributes {attn.arena_bytes = {{[0-9]+}} : i64}

// The register tile is carried by the loop: 8 x 3 accumulators with 32 registers,
// 4 x 3 with 16.
// AVX512: scf.for {{.*}} -> (vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>)
// AVX2: scf.for {{.*}} -> (vector<8xf32>, vector<8xf32>, vector<8xf32>, vector<8xf32>, vector<8xf32>, vector<8xf32>, vector<8xf32>, vector<8xf32>, vector<8xf32>, vector<8xf32>, vector<8xf32>, vector<8xf32>)
// NEON: scf.for {{.*}} -> (vector<4xf32>, vector<4xf32>, vector<4xf32>, {{.*}}vector<4xf32>)

// One element of K is broadcast to the lanes and multiplied with three vectors.
// CHECK: %[[KEY:.*]] = llvm.load {{.*}} -> f32
// CHECK-NEXT: %[[LANES:.*]] = vector.broadcast %[[KEY]] : f32 to vector<[[W:[0-9]+]]xf32>
// CHECK-NEXT: vector.fma %[[LANES]], {{.*}} : vector<[[W]]xf32>
// CHECK-NEXT: vector.fma %[[LANES]], {{.*}} : vector<[[W]]xf32>
// CHECK-NEXT: vector.fma %[[LANES]], {{.*}} : vector<[[W]]xf32>

// Exponentials: two instructions around a polynomial where the ISA has them.
// AVX512: llvm.call_intrinsic "llvm.x86.avx512.mask.reduce.ps.512"
// AVX512: llvm.call_intrinsic "llvm.x86.avx512.mask.scalef.ps.512"
// AVX2-NOT: llvm.call_intrinsic "llvm.x86.avx512
// NEON-NOT: llvm.call_intrinsic "llvm.x86
// AVX2: arith.shli {{.*}} : vector<8xi32>
// NEON: arith.shli {{.*}} : vector<4xi32>

// CHECK-LABEL: func.func @dense_f32_ranges(
// CHECK-SAME: !llvm.ptr, %{{.*}}: i32, %{{.*}}: i32, %{{.*}}: i32, %{{.*}}: !llvm.ptr, %{{.*}}: i32) -> i32
// CHECK-NOT: xf32
