// The ops of the tile dialect, algorithm phase.
#ifndef TILE_OPS
#define TILE_OPS

include "dialects/tile/TileDialect.td"
include "mlir/Interfaces/SideEffectInterfaces.td"
include "mlir/Interfaces/ControlFlowInterfaces.td"
include "mlir/IR/SymbolInterfaces.td"
include "mlir/IR/RegionKindInterface.td"

class Tile_Op<string mnemonic, list<Trait> traits = []> : Op<Tile_Dialect, mnemonic, traits>;

def Tile_KernelOp : Tile_Op<"kernel", [Symbol, IsolatedFromAbove, SingleBlock, NoTerminator]> {
  let summary = "Define the program that computes one work item";
  let description = [{
    A work item is (batch, head, query tile of block_q rows). A kernel attends keys,
    or merges parts that others left: then it has the bindings o, lse, part_o and
    part_lse instead of q, k and v, and its block_k means nothing. `bindings` and
    `params` are the kernel ABI in order; see runtime/bundle/kernel_abi.h. `heads`
    and `kv_heads` are what the kernel was made for; absent: any number.

    Dense attention, float32:

    ```mlir
    tile.kernel @dense bindings [#tile.binding<"q", q, f32, 4>, #tile.binding<"k", k, f32, 4>,
        #tile.binding<"v", v, f32, 4>, #tile.binding<"o", o, f32, 4>] params []
        block_q 48 block_k 96 qk_dim 64 v_dim 64 {
      %q = tile.load_queries 0 : !tile.tile<48x64xf32>
      %f = tile.score_factor log2
      %m0, %l0, %o0 = tile.softmax_init : !tile.tile<48xf32>, !tile.tile<48xf32>, !tile.tile<48x64xf32>
      %m, %l, %o = tile.for_keys (%m0, %l0, %o0) : (!tile.tile<48xf32>, !tile.tile<48xf32>, !tile.tile<48x64xf32>) -> (!tile.tile<48xf32>, !tile.tile<48xf32>, !tile.tile<48x64xf32>)
      classify {
      ^bb0(%q_lo: i32, %q_hi: i32, %k_lo: i32, %k_hi: i32, %head: i32, %batch: i32):
        %true = arith.constant true
        tile.yield %true, %true : i1, i1
      } full {
      ^bb0(%keys: !tile.keys, %m1: !tile.tile<48xf32>, %l1: !tile.tile<48xf32>, %o1: !tile.tile<48x64xf32>):
        %k = tile.load_keys %keys, 1 : !tile.tile<96x64xf32>
        %s = tile.dot_qk %q, %k : (!tile.tile<48x64xf32>, !tile.tile<96x64xf32>) -> !tile.tile<48x96xf32>
        %p, %m2, %l2, %alpha = tile.softmax_step %s, %m1, %l1, %f : !tile.tile<48x96xf32>, !tile.tile<48xf32>
        %v = tile.load_keys %keys, 2 : !tile.tile<96x64xf32>
        %o2 = tile.dot_pv %p, %v, %o1, %alpha : (!tile.tile<48x96xf32>, !tile.tile<96x64xf32>, !tile.tile<48x64xf32>, !tile.tile<48xf32>)
        tile.yield %m2, %l2, %o2 : !tile.tile<48xf32>, !tile.tile<48xf32>, !tile.tile<48x64xf32>
      } partial { ... the same with tile.mask after tile.dot_qk ... }
      %out, %lse = tile.softmax_finish %m, %l, %o, %f : ...
      tile.store_queries %out, 3 : !tile.tile<48x64xf32>
    }
    ```
  }];
  let arguments = (ins SymbolNameAttr:$sym_name,
                       TypedArrayAttrBase<Tile_BindingAttr, "kernel bindings">:$bindings,
                       TypedArrayAttrBase<Tile_ParamAttr, "kernel parameters">:$params,
                       I64Attr:$block_q, I64Attr:$block_k, I64Attr:$qk_dim, I64Attr:$v_dim,
                       OptionalAttr<I64Attr>:$heads, OptionalAttr<I64Attr>:$kv_heads);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = [{
    $sym_name `bindings` $bindings `params` $params `block_q` $block_q `block_k` $block_k
    `qk_dim` $qk_dim `v_dim` $v_dim (`heads` $heads^)? (`kv_heads` $kv_heads^)?
    attr-dict-with-keyword $body
  }];
  let hasVerifier = 1;
}

def Tile_YieldOp : Tile_Op<"yield", [Pure, Terminator, ReturnLike]> {
  let summary = "End a region with its results";
  let arguments = (ins Variadic<AnyType>:$results);
  let assemblyFormat = "attr-dict ($results^ `:` type($results))?";
}

//===-- Loading and storing ------------------------------------------------===//

def Tile_LoadQueriesOp : Tile_Op<"load_queries", [MemoryEffects<[MemRead]>]> {
  let summary = "Load this work item's query rows from a binding";
  let description = [{
    Rows past the end of the call read as zero. The tile has the binding's
    element type. A rank-1 result is one number per row (an input of rank 3,
    which has no dim).
  }];
  let arguments = (ins I64Attr:$binding);
  let results = (outs Tile_Tile:$result);
  let assemblyFormat = "$binding attr-dict `:` type($result)";
  let hasVerifier = 1;
}

def Tile_LoadKeysOp : Tile_Op<"load_keys", [MemoryEffects<[MemRead]>]> {
  let summary = "Load the rows of a block of keys from a binding";
  let description = [{
    Rows past the end of a partial block read as zero and are never touched in
    memory. A rank-1 result is one number per key (a scale).
  }];
  let arguments = (ins Tile_Keys:$keys, I64Attr:$binding);
  let results = (outs Tile_Tile:$result);
  let assemblyFormat = "$keys `,` $binding attr-dict `:` type($result)";
  let hasVerifier = 1;
}

def Tile_StoreQueriesOp : Tile_Op<"store_queries", [MemoryEffects<[MemWrite]>]> {
  let summary = "Store a tile to this work item's query rows of a binding";
  let description = [{
    Rows past the end of the call are not written. f32 tiles are rounded to
    nearest even where the binding is narrower.
  }];
  let arguments = (ins Tile_Tile:$value, I64Attr:$binding);
  let assemblyFormat = "$value `,` $binding attr-dict `:` type($value)";
  let hasVerifier = 1;
}

//===-- Walking the keys ----------------------------------------------------===//

def Tile_ForKeysOp : Tile_Op<"for_keys", [SingleBlock]> {
  let summary = "Walk the blocks of keys that this work item may attend";
  let description = [{
    Visits the call's segments in order and each segment in blocks of block_k
    keys. A block lies in one segment; the last of a segment may be short.

    `classify` sees the inclusive ranges of query positions [q_lo, q_hi] and key
    positions [k_lo, k_hi] of a block, and yields (any, all): `any` is false only
    if no pair in the ranges is admitted, `all` is true only if every pair is.
    A block with any = false is never loaded. `full` runs for blocks with all =
    true and block_k keys, `partial` for the rest.
    Because classify is monotone (a superset of positions yields any at least,
    all at most), a walk may ask it about several blocks at once, or about the
    parts of one block: it is sharpest on ranges that are boxes of the mask's
    coordinates. The two `cut` regions, of queries and of keys, see one range
    [lo, hi] and yield where to cut it into such parts, in ascending order; parts
    may be empty. A block holds an admitted pair only if a pair of parts does,
    and only admitted pairs if every pair of parts does.
  }];
  let arguments = (ins Variadic<Tile_Tile>:$inits);
  let results = (outs Variadic<Tile_Tile>:$results);
  let regions = (region SizedRegion<1>:$classify, SizedRegion<1>:$full, SizedRegion<1>:$partial,
                        VariadicRegion<SizedRegion<1>>:$cuts);
  let assemblyFormat = [{
    `(` $inits `)` `:` functional-type($inits, $results) `classify` $classify `full` $full `partial` $partial
    (`cut` $cuts^)? attr-dict
  }];
  let extraClassDeclaration = [{
    /// Operands of the classify region, in order.
    enum ClassifyArg { QLow = 0, QHigh, KLow, KHigh, Head, Batch };
    /// Null where ranges are not cut.
    Region *getQueryCuts() { return getCuts().empty() ? nullptr : &getCuts()[0]; }
    Region *getKeyCuts() { return getCuts().empty() ? nullptr : &getCuts()[1]; }
  }];
  let hasVerifier = 1;
}

def Tile_SortRowsOp : Tile_Op<"sort_rows", [SingleBlock]> {
  let summary = "Bring together the query rows that attend nearly the same keys";
  let description = [{
    The traits of a query row are all that the mask reads of it: rows whose traits are
    equal attend the same keys. `traits` yields them for the position of one row.
    `classify` is that of tile.for_keys for a box of traits instead of a range of
    positions: it sees the least and the greatest of each, the range of key positions,
    head and batch entry, and yields (any, all).

    A target may work on the rows of a work item in any order; the op means nothing
    else. It says which order leaves the fewest keys to a vector of neighbouring rows:
    by the traits `axes`, from the slowest to the fastest along the rows. The last two
    are to be taken together, in patches. A neighbourhood of 15 in rows of 24 tokens:

    ```mlir
    tile.sort_rows by [0, 1] traits {
    ^bb0(%q: i32, %head: i32, %batch: i32):
      %c24 = arith.constant 24 : i32
      %y = arith.divui %q, %c24 : i32
      %x = arith.remui %q, %c24 : i32
      tile.yield %y, %x : i32, i32
    } classify {
    ^bb0(%y_lo: i32, %y_hi: i32, %x_lo: i32, %x_hi: i32, %k_lo: i32, %k_hi: i32, %head: i32, %batch: i32):
      ...
      tile.yield %any, %all : i1, i1
    }
    ```
  }];
  let arguments = (ins DenseI64ArrayAttr:$axes);
  let regions = (region SizedRegion<1>:$traits, SizedRegion<1>:$classify);
  let assemblyFormat = "`by` $axes `traits` $traits `classify` $classify attr-dict";
  let extraClassDeclaration = [{
    unsigned getTraitCount() { return getTraits().front().getTerminator()->getNumOperands(); }
  }];
  let hasVerifier = 1;
}

def Tile_MergePartsOp : Tile_Op<"merge_parts", [MemoryEffects<[MemRead]>]> {
  let summary = "Fold partial results over disjoint keys into an online softmax";
  let description = [{
    For the rows of this work item, over all parts p of the call in order:
    m' = max(m, lse_p); alpha = exp(m - m'); w = exp(lse_p - m');
    l' = l * alpha + w; O' = O * alpha + w * o_p, from m = -1e20, l = 0, O = 0.
    A part with lse_p = -inf has w = 0 and its o_p is not used. The results are what
    tile.for_keys leaves where scores are in natural units (a `plain` factor).

    ```mlir
    %m, %l, %o = tile.merge_parts 2, 3 : !tile.tile<8xf32>, !tile.tile<8xf32>, !tile.tile<8x64xf32>
    ```
  }];
  let arguments = (ins I64Attr:$oBinding, I64Attr:$lseBinding);
  let results = (outs Tile_Tile:$max, Tile_Tile:$sum, Tile_Tile:$out);
  let assemblyFormat = "$oBinding `,` $lseBinding attr-dict `:` type($max) `,` type($sum) `,` type($out)";
  let hasVerifier = 1;
}

//===-- Arithmetic on tiles --------------------------------------------------===//

def Tile_DotQKOp : Tile_Op<"dot_qk", [Pure]> {
  let summary = "Multiply query rows with key rows";
  let description = [{
    S[i, j] = sum over d of Q[i, d] * K[j, d]; floats accumulate in f32, i8 in i32.
  }];
  let arguments = (ins Tile_Tile:$q, Tile_Tile:$k);
  let results = (outs Tile_Tile:$result);
  let assemblyFormat = "$q `,` $k attr-dict `:` functional-type(operands, results)";
  let hasVerifier = 1;
}

def Tile_QuantizeOp : Tile_Op<"quantize", [Pure]> {
  let summary = "Quantise each row to int8 with its own scale";
  let description = [{
    scale[i] = max over d of |x[i, d]| / 127; y[i, d] = round-to-nearest-even(x / scale),
    0 where the scale is 0. Values lie in [-127, 127].
  }];
  let arguments = (ins Tile_Tile:$x);
  let results = (outs Tile_Tile:$result, Tile_Tile:$scale);
  let assemblyFormat = "$x attr-dict `:` type($x) `->` type($result) `,` type($scale)";
  let hasVerifier = 1;
}

def Tile_DequantizeScoresOp : Tile_Op<"dequantize_scores", [Pure]> {
  let summary = "Turn integer scores into floats with a scale per row and per key";
  let description = [{ F[i, j] = S[i, j] * row[i] * key[j]. }];
  let arguments = (ins Tile_Tile:$s, Tile_Tile:$rowScale, Tile_Tile:$keyScale);
  let results = (outs Tile_Tile:$result);
  let assemblyFormat = "$s `,` $rowScale `,` $keyScale attr-dict `:` functional-type(operands, results)";
  let hasVerifier = 1;
}

def Tile_DequantizeKeysOp : Tile_Op<"dequantize_keys", [Pure]> {
  let summary = "Turn int8 key or value rows into floats with a scale per row";
  let description = [{ F[j, d] = X[j, d] * scale[j]. }];
  let arguments = (ins Tile_Tile:$x, Tile_Tile:$scale);
  let results = (outs Tile_Tile:$result);
  let assemblyFormat = "$x `,` $scale attr-dict `:` functional-type(operands, results)";
  let hasVerifier = 1;
}

def Tile_ScoreOp : Tile_Op<"score", [AllTypesMatch<["s", "result"]>, SingleBlock, IsolatedFromAbove,
    RecursiveMemoryEffects]> {
  let summary = "Rewrite each score by a scalar function of itself and its positions";
  let description = [{
    The region's arguments are (s: f32, q_position: i32, k_position: i32,
    head: i32, batch: i32); it yields an f32. The incoming s is already
    multiplied by ATTN_W_SCALE: the op does that first.
  }];
  let arguments = (ins Tile_Tile:$s, Tile_Keys:$keys);
  let results = (outs Tile_Tile:$result);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = "$s `,` $keys `:` type($s) $body attr-dict";
  let hasVerifier = 1;
}

def Tile_MaskOp : Tile_Op<"mask", [AllTypesMatch<["s", "result"]>, SingleBlock, IsolatedFromAbove,
    RecursiveMemoryEffects]> {
  let summary = "Replace the scores of pairs that are not admitted by the sentinel";
  let description = [{
    The region's arguments are (q_position: i32, k_position: i32, head: i32,
    batch: i32); it yields i1, true where the pair is admitted. Keys past the end
    of a short block are never admitted. The sentinel is -1e30: far below every
    score, so that its exponential is exactly 0 against the running maximum, whose
    initial value is -1e20.
  }];
  let arguments = (ins Tile_Tile:$s, Tile_Keys:$keys);
  let results = (outs Tile_Tile:$result);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = "$s `,` $keys `:` type($s) $body attr-dict";
  let hasVerifier = 1;
}

//===-- Online softmax -------------------------------------------------------===//

def Tile_ScoreFactorOp : Tile_Op<"score_factor", [Pure]> {
  let summary = "Give the factor that turns scores into base-2 exponents";
  let description = [{
    `scaled` (scores come straight from dot_qk): ATTN_W_SCALE * log2(e).
    `plain` (a tile.score has applied the scale already): log2(e).
    It must be positive; the launcher refuses a scale that is not.
  }];
  let arguments = (ins UnitAttr:$plain);
  let results = (outs F32:$result);
  let assemblyFormat = "(`plain` $plain^)? attr-dict";
}

def Tile_SoftmaxInitOp : Tile_Op<"softmax_init", [Pure]> {
  let summary = "Start an online softmax: maximum -1e20, sum 0, output 0";
  let results = (outs Tile_Tile:$max, Tile_Tile:$sum, Tile_Tile:$out);
  let assemblyFormat = "attr-dict `:` type($max) `,` type($sum) `,` type($out)";
  let hasVerifier = 1;
}

def Tile_SoftmaxStepOp : Tile_Op<"softmax_step", [Pure, AllTypesMatch<["s", "p"]>,
    AllTypesMatch<["max", "sum", "newMax", "newSum", "alpha"]>]> {
  let summary = "Fold a tile of scores into the running maximum and sum";
  let description = [{
    m' = max(m, max over j of S[i, j]); alpha = exp2((m - m') * f);
    P[i, j] = exp2((S[i, j] - m') * f); l' = l * alpha + sum over j of P[i, j].
  }];
  let arguments = (ins Tile_Tile:$s, Tile_Tile:$max, Tile_Tile:$sum, F32:$factor);
  let results = (outs Tile_Tile:$p, Tile_Tile:$newMax, Tile_Tile:$newSum, Tile_Tile:$alpha);
  let assemblyFormat = "$s `,` $max `,` $sum `,` $factor attr-dict `:` type($s) `,` type($max)";
  let hasVerifier = 1;
}

def Tile_DotPVOp : Tile_Op<"dot_pv", [Pure]> {
  let summary = "Rescale the output and add probabilities times value rows";
  let description = [{
    O'[i, d] = O[i, d] * alpha[i] + sum over j of P[i, j] * V[j, d], in f32. A target
    may round P to the element type of V.
  }];
  let arguments = (ins Tile_Tile:$p, Tile_Tile:$v, Tile_Tile:$o, Tile_Tile:$alpha);
  let results = (outs Tile_Tile:$result);
  let assemblyFormat = "$p `,` $v `,` $o `,` $alpha attr-dict `:` functional-type(operands, results)";
  let hasVerifier = 1;
}

def Tile_SoftmaxFinishOp : Tile_Op<"softmax_finish", [Pure, AllTypesMatch<["max", "sum", "lse"]>, AllTypesMatch<["o", "out"]>]> {
  let summary = "Divide by the sum and give the log-sum-exp";
  let description = [{
    out = O / l and lse = m * f * ln 2 + ln l (natural logarithm). A row with
    l = 0 gives out = 0 and lse = -inf. With a sink logit c (natural units, one
    number per head) the denominator gains exp(c): a row that attends nothing
    then gives out = 0 and lse = c.
  }];
  let arguments = (ins Tile_Tile:$max, Tile_Tile:$sum, Tile_Tile:$o, F32:$factor,
                       Optional<F32>:$sinkLogit);
  let results = (outs Tile_Tile:$out, Tile_Tile:$lse);
  let assemblyFormat = [{
    $max `,` $sum `,` $o `,` $factor (`sink` $sinkLogit^)? attr-dict `:` type($max) `,` type($o)
  }];
  let hasVerifier = 1;
}

def Tile_OutputOp : Tile_Op<"output", [AllTypesMatch<["o", "result"]>, SingleBlock,
    IsolatedFromAbove, RecursiveMemoryEffects]> {
  let summary = "Rewrite each finished output by a scalar function of itself, its row and inputs";
  let description = [{
    R[i, d] = body(O[i, d], lse[i], position of row i, head, batch, inputs at [i, d]).
    The region's arguments are (o: f32, lse: f32, q_position: i32, head: i32,
    batch: i32) and one f32 for each of `inputs`: tiles that tile.load_queries
    made, of rank 1 where an input has no dim. A row that attends nothing has
    o = 0 and, in place of -inf, lse = -1e30: regions see finite numbers only.

    ```mlir
    %r = tile.output %o, %lse, %gate : (!tile.tile<48x64xf32>, !tile.tile<48xf32>, !tile.tile<48x64xbf16>) -> !tile.tile<48x64xf32> {
    ^bb0(%x: f32, %l: f32, %q: i32, %head: i32, %batch: i32, %g: f32):
      %y = arith.mulf %x, %g : f32
      tile.yield %y : f32
    }
    ```
  }];
  let arguments = (ins Tile_Tile:$o, Tile_Tile:$lse, Variadic<Tile_Tile>:$inputs);
  let results = (outs Tile_Tile:$result);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = [{
    $o `,` $lse (`,` $inputs^)? `:` functional-type(operands, results) $body attr-dict
  }];
  let extraClassDeclaration = [{
    /// The region's arguments before the inputs.
    enum OutputArg { OutputValue = 0, OutputLse, OutputQuery, OutputHead, OutputBatch, FirstInput };
  }];
  let hasVerifier = 1;
}

//===-- Scalars ---------------------------------------------------------------===//

def Tile_ParamOp : Tile_Op<"param_value", [Pure]> {
  let summary = "Read a runtime parameter";
  let arguments = (ins I64Attr:$index);
  let results = (outs AnyTypeOf<[I32, F32]>:$result);
  let assemblyFormat = "$index attr-dict `:` type($result)";
  let hasVerifier = 1;
}

def Tile_IndexOp : Tile_Op<"item", [Pure]> {
  let summary = "Give the head, batch entry or layer of this work item";
  let description = [{
    `which` is 0 for the head, 1 for the batch entry, 2 for the layer, 3 for the
    call's number of heads and 4 for its number of KV heads.
  }];
  let arguments = (ins I64Attr:$which);
  let results = (outs I32:$result);
  let assemblyFormat = "$which attr-dict";
  let hasVerifier = 1;
}

def Tile_TableLoadOp : Tile_Op<"table_load", [Pure]> {
  let summary = "Read one element of a table";
  let description = [{
    Indices run from the outermost; an index outside the table's extents is
    clamped into them. The table is not written while the kernel runs.
  }];
  let arguments = (ins I64Attr:$binding, Variadic<I32>:$indices);
  let results = (outs AnyTypeOf<[I32, F32]>:$result);
  let assemblyFormat = "$binding `[` $indices `]` attr-dict `:` type($result)";
  let hasVerifier = 1;
}

include "dialects/tile/TileScheduleOps.td"

#endif
