// RUN: attn-opt %S/inputs/causal-bf16.mlir --tile-schedule-hopper | FileCheck %s
// RUN: attn-opt %S/inputs/causal-bf16.mlir --tile-schedule-hopper="changes=stages4.simple.rescale" | FileCheck %s --check-prefix=SIMPLE
// RUN: attn-opt %S/inputs/causal-bf16.mlir --tile-schedule-hopper="changes=pingpong" | FileCheck %s --check-prefix=TURNS
// RUN: attn-opt %S/inputs/causal-bf16.mlir --tile-schedule-hopper --convert-tile-to-nvvm=arch=sm_90a | FileCheck %s --check-prefix=NVVM
// RUN: attn-opt %S/inputs/causal.mlir --tile-schedule-hopper 2>&1 | FileCheck %s --check-prefix=REMARK
// RUN: not attn-opt %S/inputs/causal-bf16.mlir --tile-schedule-hopper="changes=fast" 2>&1 | FileCheck %s --check-prefix=UNKNOWN

// CHECK: tile.warp_specialize <overlap, longest_first>
// CHECK: tile.copy_queries
// CHECK: tile.produce_keys
// CHECK: tile.copy_keys
// CHECK: tile.acquire
// CHECK: tile.copy_keys
// CHECK: tile.consume_keys
// The full body starts both products, and has no mask.
// CHECK: %[[SCORES:.*]] = tile.start_qk
// CHECK: %[[OUT:.*]] = tile.start_pv
// CHECK: tile.wait %[[SCORES]]
// CHECK-NEXT: tile.release
// CHECK-NOT: tile.mask
// CHECK: tile.softmax_step
// CHECK-NEXT: tile.receive
// CHECK-NEXT: tile.wait %[[OUT]] tied
// CHECK-NEXT: tile.release
// CHECK-NEXT: tile.rescale conditional
// CHECK-NEXT: tile.narrow
// CHECK-NEXT: tile.yield
// CHECK: } partial {
// CHECK: tile.mask
// CHECK: tile.clear_tail
// CHECK: } ends {
// CHECK: tile.softmax_finish

// SIMPLE: tile.ring : <4,
// SIMPLE: tile.warp_specialize <simple, longest_first>
// SIMPLE: tile.consume_keys
// SIMPLE-NOT: ends
// SIMPLE: tile.rescale %

// TURNS: tile.take_turn
// TURNS-NEXT: tile.start_qk
// TURNS-NEXT: tile.start_pv
// TURNS-NEXT: tile.pass_turn

// NVVM: llvm.func @{{.*}}nvvm.grid_constant
// NVVM: nvvm.setmaxregister decrease 24
// NVVM: cp.async.bulk.tensor.4d
// NVVM: nvvm.setmaxregister increase 240
// NVVM: wgmma.mma_async

// REMARK: remark: runs on mma.sync instead of wgmma products: its queries, keys and values are not all f16 or all bf16
// UNKNOWN: error: {{.*}}schedule has 'fast'; it is made of keysN, stagesN, simple, overlap, pingpong and rescale
