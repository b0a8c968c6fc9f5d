// RUN: attn-opt %S/inputs/dense.mlir -verify-roundtrip | FileCheck %s --check-prefix=DENSE
// RUN: attn-opt %S/inputs/causal.mlir -verify-roundtrip | FileCheck %s --check-prefix=CAUSAL

// DENSE: tile.kernel @dense.f32
// CAUSAL: tile.kernel @causal.f32
