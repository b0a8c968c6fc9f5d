// RUN: not attn-opt %S/inputs/dense.mlir -pass-pipeline='builtin.module(attn-tile-to-vector{arch=mips})' 2>&1 | FileCheck %s --check-prefix=ARCH
// RUN: sed -e 's/block_q 48/block_q 40/;s/<48x/<40x/g;s/48xf32/40xf32/g' %S/inputs/dense.mlir > %t.mlir
// RUN: not attn-opt %t.mlir -pass-pipeline='builtin.module(attn-tile-to-vector{arch=avx512})' 2>&1 | FileCheck %s --check-prefix=BLOCK

// ARCH: error: unknown cpu architecture 'mips'
// BLOCK: error: 'tile.kernel' op has block_q 40; cpu:avx512 takes multiples of 48
