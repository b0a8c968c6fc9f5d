// The ops of the tile dialect, schedule phase: who computes what, when and where.
#ifndef TILE_SCHEDULE_OPS
#define TILE_SCHEDULE_OPS

include "dialects/tile/TileScheduleTypes.td"

//===-- Roles and rings --------------------------------------------------------===//

def Tile_RingOp : Tile_Op<"ring", [Pure]> {
  let summary = "Reserve a ring of stages in shared memory";
  let description = [{
    Every stage is free at first.
    Example: `%k = tile.ring : !tile.ring<2, <128x128xbf16>, <128>>`.
  }];
  let results = (outs Tile_Ring:$result);
  let assemblyFormat = "attr-dict `:` type($result)";
}

def Tile_WarpSpecializeOp : Tile_Op<"warp_specialize", [NoTerminator]> {
  let summary = "Run one region per role, all at the same time";
  let description = [{
    The roles share the rings and nothing else: a value that one role defines is
    seen by no other. Registers are per thread and are taken from those of the
    whole block, 65536.

    ```mlir
    tile.warp_specialize #tile.schedule<overlap, longest_first>
        [#tile.warp_role<producer, warps 4, registers 24>,
         #tile.warp_role<consumer, warps 8, registers 240>] {
      ... tile.acquire, tile.copy_*, tile.produce_keys ...
    }, {
      ... tile.receive, tile.start_*, tile.wait, tile.release, tile.consume_keys ...
    }
    ```
  }];
  let arguments = (ins Tile_ScheduleAttr:$schedule,
                       TypedArrayAttrBase<Tile_WarpRoleAttr, "roles">:$roles);
  let regions = (region VariadicRegion<SizedRegion<1>>:$bodies);
  let assemblyFormat = "$schedule $roles $bodies attr-dict";
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    WarpRoleAttr role(unsigned index) { return cast<WarpRoleAttr>(getRoles()[index]); }
    Block &producer() { return getBodies()[0].front(); }
    Block &consumer() { return getBodies()[1].front(); }
  }];
}

//===-- The producer ------------------------------------------------------------===//

def Tile_AcquireOp : Tile_Op<"acquire"> {
  let summary = "Wait until the next stage of a ring is free and take it to fill it";
  let description = [{ Every slot taken is filled by exactly one copy. }];
  let arguments = (ins Tile_Ring:$ring);
  let results = (outs Tile_Slot:$slot);
  let assemblyFormat = "$ring attr-dict `:` type($ring) `->` type($slot)";
  let hasVerifier = 1;
}

def Tile_CopyQueriesOp : Tile_Op<"copy_queries"> {
  let summary = "Start the bulk copy of this work item's query rows into a slot";
  let description = [{
    The slot is full when all bytes have landed. Rows past the end of the call hold
    anything.
  }];
  let arguments = (ins Tile_Slot:$slot, I64Attr:$binding);
  let assemblyFormat = "$slot `,` $binding attr-dict `:` type($slot)";
  let hasVerifier = 1;
}

def Tile_CopyKeysOp : Tile_Op<"copy_keys"> {
  let summary = "Start the bulk copy of a block's key or value rows into a slot";
  let description = [{
    The slot is full when all bytes have landed. Rows past the end of a short block
    hold anything: scores of such keys are masked, and their values are cleared by
    `tile.clear_tail`.
  }];
  let arguments = (ins Tile_Slot:$slot, Tile_Keys:$keys, I64Attr:$binding);
  let assemblyFormat = "$slot `,` $keys `,` $binding attr-dict `:` type($slot)";
  let hasVerifier = 1;
}

def Tile_ProduceKeysOp : Tile_Op<"produce_keys"> {
  let summary = "Walk the admitted blocks of keys and announce each over a ring";
  let description = [{
    Visits the same blocks in the same order as `tile.for_keys` with this
    `classify` region. For each it takes a stage of the ring, notes there which
    keys the block has and whether it is full or partial, and runs `body`, which
    fills the slot. After the last block it announces the end.
  }];
  let arguments = (ins Tile_Ring:$ring);
  let regions = (region SizedRegion<1>:$classify, SizedRegion<1>:$body);
  let assemblyFormat = "$ring `:` type($ring) `classify` $classify `body` $body attr-dict";
  let hasVerifier = 1;
}

//===-- Consumers -----------------------------------------------------------------===//

def Tile_ReceiveOp : Tile_Op<"receive"> {
  let summary = "Wait until the next stage of a ring is full and take it to read it";
  let arguments = (ins Tile_Ring:$ring);
  let results = (outs Tile_Slot:$slot);
  let assemblyFormat = "$ring attr-dict `:` type($ring) `->` type($slot)";
  let hasVerifier = 1;
}

def Tile_ReleaseOp : Tile_Op<"release"> {
  let summary = "Give a stage back to the producer";
  let description = [{
    No product that reads the slot may be in flight. A slot is released once, where
    it was received or where it was carried to; one that is received outside of a
    walk, or that is carried out of it, may be kept to the end.
  }];
  let arguments = (ins Tile_Slot:$slot);
  let assemblyFormat = "$slot attr-dict `:` type($slot)";
  let hasVerifier = 1;
}

def Tile_ConsumeKeysOp : Tile_Op<"consume_keys"> {
  let summary = "Run a body for every block that is announced over a ring";
  let description = [{
    `full` and `partial` run for blocks announced as such, with the block's keys,
    its slot of the ring and the carried state, and yield the next state. A
    pipeline that runs across blocks has two more bodies: `first` runs for the
    first block instead of the others, whatever its class (so it masks), takes the
    initial values and yields the first state; `last` turns the state after the
    last block into the results. Without them the state is the initial values.
    Where no block is announced the results are the initial values.
  }];
  let arguments = (ins Tile_Ring:$ring, Variadic<AnyType>:$inits);
  let results = (outs Variadic<AnyType>:$results);
  let regions = (region SizedRegion<1>:$full, SizedRegion<1>:$partial,
                        VariadicRegion<SizedRegion<1>>:$ends);
  let assemblyFormat = [{
    $ring `(` $inits `)` `:` type($ring) `,` functional-type($inits, $results)
    `full` $full `partial` $partial (`ends` $ends^)? attr-dict
  }];
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    bool isPipelined() { return !getEnds().empty(); }
    Block &first() { return getEnds()[0].front(); }
    Block &last() { return getEnds()[1].front(); }
  }];
}

def Tile_StartQKOp : Tile_Op<"start_qk"> {
  let summary = "Start the product of query rows and key rows, both in shared memory";
  let description = [{
    S[i, j] = sum over d of Q[i, d] * K[j, d], accumulated in f32. Products finish in
    the order in which they were started.
  }];
  let arguments = (ins Tile_Slot:$q, Tile_Slot:$k);
  let results = (outs Tile_Pending:$result);
  let assemblyFormat = "$q `,` $k attr-dict `:` functional-type(operands, results)";
  let hasVerifier = 1;
}

def Tile_StartPVOp : Tile_Op<"start_pv"> {
  let summary = "Start adding probabilities (registers) times value rows (shared memory)";
  let description = [{ O'[i, d] = O[i, d] + sum over j of P[i, j] * V[j, d], in f32. }];
  let arguments = (ins Tile_Tile:$p, Tile_Slot:$v, Tile_Tile:$o);
  let results = (outs Tile_Pending:$result);
  let assemblyFormat = "$p `,` $v `,` $o attr-dict `:` functional-type(operands, results)";
  let hasVerifier = 1;
}

def Tile_WaitOp : Tile_Op<"wait"> {
  let summary = "Wait for a product, and hold other values until it is done";
  let description = [{
    Gives the product's tile. `tied` values pass through unchanged, but nothing that
    uses the results is computed before the product is done. Products are waited
    for in the order in which they were started; those started later stay in flight.
    Example: `%o1, %p1 = tile.wait %po, %p : ...`.
  }];
  let arguments = (ins Tile_Pending:$pending, Variadic<Tile_Tile>:$tied);
  let results = (outs Tile_Tile:$result, Variadic<Tile_Tile>:$held);
  let assemblyFormat = [{
    $pending (`tied` $tied^)? attr-dict `:` functional-type(operands, results)
  }];
  let hasVerifier = 1;
}

def Tile_NarrowOp : Tile_Op<"narrow", [Pure]> {
  let summary = "Round a tile of f32 to nearest even as bf16 or f16";
  let arguments = (ins Tile_Tile:$x);
  let results = (outs Tile_Tile:$result);
  let assemblyFormat = "$x attr-dict `:` type($x) `->` type($result)";
  let hasVerifier = 1;
}

def Tile_RescaleOp : Tile_Op<"rescale", [Pure, AllTypesMatch<["o", "result"]>]> {
  let summary = "Multiply each row by its factor";
  let description = [{
    O'[i, d] = O[i, d] * alpha[i]. `conditional` skips the multiplication where every
    row of a warp has alpha = 1: its maxima did not grow, and the result is the same.
  }];
  let arguments = (ins Tile_Tile:$o, Tile_Tile:$alpha, UnitAttr:$conditional);
  let results = (outs Tile_Tile:$result);
  let assemblyFormat = "(`conditional` $conditional^)? $o `,` $alpha attr-dict `:` type($o) `,` type($alpha)";
  let hasVerifier = 1;
}

def Tile_ClearTailOp : Tile_Op<"clear_tail"> {
  let summary = "Zero the rows of a received slot that a short block does not have";
  let description = [{
    All consumers do it together. Without it a probability of 0 would meet whatever
    lies behind the block in memory, and 0 * NaN is NaN.
  }];
  let arguments = (ins Tile_Slot:$slot, Tile_Keys:$keys);
  let assemblyFormat = "$slot `,` $keys attr-dict `:` type($slot)";
  let hasVerifier = 1;
}

def Tile_TakeTurnOp : Tile_Op<"take_turn"> {
  let summary = "Wait until it is this consumer's turn to start products";
  let assemblyFormat = "attr-dict";
  let hasVerifier = 1;
}

def Tile_PassTurnOp : Tile_Op<"pass_turn"> {
  let summary = "Give the turn to the next consumer";
  let assemblyFormat = "attr-dict";
  let hasVerifier = 1;
}

#endif
