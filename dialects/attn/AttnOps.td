// The ops of the attn dialect.
#ifndef ATTN_OPS
#define ATTN_OPS

include "dialects/attn/AttnAttrs.td"
include "dialects/attn/AttnPatterns.td"
include "mlir/IR/BuiltinAttributes.td"
include "mlir/IR/RegionKindInterface.td"
include "mlir/IR/SymbolInterfaces.td"
include "mlir/Interfaces/ControlFlowInterfaces.td"
include "mlir/Interfaces/InferTypeOpInterface.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

class Attn_Op<string mnemonic, list<Trait> traits = []> : Op<Attn_Dialect, mnemonic, traits>;

//===-- Declarations ---------------------------------------------------------===//

def Attn_AttentionOp : Attn_Op<"attention", [Symbol, IsolatedFromAbove, NoTerminator, SingleBlock]> {
  let summary = "Define an attention: its tensors, spaces, mask and score";
  let description = [{
    For query row i and key j of one head:
    s = scale * (q_i . k_j); s' = score(s, i, j); p = softmax over the admitted j of
    s'; lse_i = ln(sum over j of exp s'_j); o_i = output(sum over j of p_j v_j, lse_i, i).
    With a `sink` region the denominator gains exp(sink(head, batch)).
    A row that admits nothing has o = 0 before `output`, which sees -1e30 in place
    of its lse, -inf. `heads` 0 admits any number. A `partial` attention gives parts
    for an attn.merge, which applies its `sink` and `output` regions.

    ```mlir
    attn.attention @causal heads 4 kv_heads 2 qk_dim 64 v_dim 64 types <f32, f32, f32, f32>
        spaces [#attn.space<"tok", <"i", stream, 0>>] query <"tok", "tok"> keys <"tok", "tok">
        mask {
    ^bb0(%q: !attn.position<query>, %k: !attn.position<key>, %head: i32, %batch: i32):
      %c0 = arith.constant 0 : i32
      %c1 = arith.constant 1 : i32
      %qi = attn.coord "tok.i" of %q base %c0 divisor %c1 : !attn.position<query>
      %ki = attn.coord "tok.i" of %k base %c0 divisor %c1 : !attn.position<key>
      %m = attn.causal %qi, %ki
      attn.yield %m : i1
    }
    ```
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, I64Attr:$heads, I64Attr:$kv_heads,
                       I64Attr:$qk_dim, I64Attr:$v_dim, Attn_TypesAttr:$types,
                       TypedArrayAttrBase<Attn_SpaceAttr, "token spaces">:$spaces,
                       Attn_TokensAttr:$query, Attn_TokensAttr:$keys,
                       OptionalAttr<Attn_QueryBlockAttr>:$query_block,
                       OptionalAttr<TypedArrayAttrBase<Attn_ParamAttr, "parameters">>:$params,
                       OptionalAttr<TypedArrayAttrBase<Attn_TableAttr, "tables">>:$tables,
                       OptionalAttr<TypedArrayAttrBase<Attn_InputAttr, "inputs">>:$inputs,
                       OptionalAttr<Attn_RopeAttr>:$rope, OptionalAttr<Attn_CacheAttr>:$cache,
                       OptionalAttr<F64Attr>:$scale, UnitAttr:$emit_lse, UnitAttr:$partial);
  let regions = (region SizedRegion<1>:$mask, MaxSizedRegion<1>:$score, MaxSizedRegion<1>:$sink,
                        MaxSizedRegion<1>:$output);
  let assemblyFormat = [{
    $sym_name `heads` $heads `kv_heads` $kv_heads `qk_dim` $qk_dim `v_dim` $v_dim `types` $types
    `spaces` $spaces `query` $query `keys` $keys (`per_call` $query_block^)?
    (`params` $params^)? (`tables` $tables^)? (`inputs` $inputs^)? (`rope` $rope^)?
    (`cache` $cache^)? (`scale` $scale^)? (`emit_lse` $emit_lse^)? (`partial` $partial^)?
    `mask` $mask (`score` $score^)? (`sink` $sink^)? (`output` $output^)?
    attr-dict-with-keyword
  }];
  let extraClassDeclaration = [{
    enum MaskArg { MaskQuery = 0, MaskKey, MaskHead, MaskBatch };
    enum ScoreArg { ScoreValue = 0, ScoreQuery, ScoreKey, ScoreHead, ScoreBatch };
    enum SinkArg { SinkHead = 0, SinkBatch };
    enum OutputArg { OutputValue = 0, OutputLse, OutputQuery, OutputHead, OutputBatch };

    /// The declaration of that name and its place among its kind; null and -1 if none.
    std::pair<ParamAttr, int64_t> findParam(StringRef name);
    std::pair<TableAttr, int64_t> findTable(StringRef name);
    std::pair<InputAttr, int64_t> findInput(StringRef name);
  }];
  let hasVerifier = 1;
}

def Attn_RecacheOp : Attn_Op<"recache", [Symbol, IsolatedFromAbove, NoTerminator, SingleBlock]> {
  let summary = "Rebuild the retained keys and values when an event happens";
  let description = [{
    On `event` the last `replay` blocks of the cache's axis run again in one call,
    each row attending what `mask` admits. Pinned blocks keep their contents
    (`pin_keep`) or are written anew.

    ```mlir
    attn.recache @longlive_self.prompt of @longlive_self on "prompt" replay 4 pin_keep mask {
    ^bb0(%q: !attn.position<query>, %k: !attn.position<key>, %head: i32, %batch: i32):
      %true = arith.constant true
      attn.yield %true : i1
    }
    ```
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, FlatSymbolRefAttr:$attention, StrAttr:$event,
                       I64Attr:$replay, UnitAttr:$pin_keep);
  let regions = (region SizedRegion<1>:$mask);
  let assemblyFormat = [{
    $sym_name `of` $attention `on` $event `replay` $replay (`pin_keep` $pin_keep^)? `mask` $mask
    attr-dict-with-keyword
  }];
  let hasVerifier = 1;
}

def Attn_CacheAppendOp : Attn_Op<"cache_append", [Symbol]> {
  let summary = "Append a call's key and value rows to the retained ones";
  let description = [{
    Row r of the call goes to slot first_slot + r of the cache of `attention`,
    converted to the cache's element type: i8 rows get scale = amax / 127 per group
    of the cache's granularity, groups restart with each append.

    ```mlir
    attn.cache_append @longlive_self.append of @longlive_self from bf16
    ```
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, FlatSymbolRefAttr:$attention,
                       TypeAttrOf<AnyFloat>:$source);
  let assemblyFormat = "$sym_name `of` $attention `from` $source attr-dict-with-keyword";
  let hasVerifier = 1;
}

def Attn_MergeOp : Attn_Op<"merge", [Symbol]> {
  let summary = "Merge partial results of an attention over disjoint keys";
  let description = [{
    With parts (o_p, lse_p): lse = ln(sum over p of e^lse_p), o = sum over p of
    o_p e^(lse_p - lse). A part with lse -inf adds nothing; without another one the
    result is 0 and -inf. The sink logit of `attention` then joins the denominator
    and its output expression applies, both once: the parts have neither.

    ```mlir
    attn.merge @sparse_merge of @sparse
    ```
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, FlatSymbolRefAttr:$attention);
  let assemblyFormat = "$sym_name `of` $attention attr-dict-with-keyword";
  let hasVerifier = 1;
}

//===-- On whole tensors -------------------------------------------------------===//

def Attn_SelectBlocksOp : Attn_Op<"select_blocks", [Pure]> {
  let summary = "Choose for each block of queries the blocks of keys to visit";
  let description = [{
    From scores (batch, head, query block, key block) it yields the chosen key blocks
    in ascending order (batch, head, query block, capacity) and how many there are
    (batch, head, query block). `top_k` takes `limit` blocks; `top_p` the fewest whose
    softmax share reaches `limit`; `threshold` those with score >= `limit`. Ties go
    to the lower block.

    ```mlir
    %list, %count = attn.select_blocks %scores top_k 8.0 : tensor<1x4x10x20xf32> -> tensor<1x4x10x8xi32>, tensor<1x4x10xi32>
    ```
  }];
  let arguments = (ins AnyRankedTensor:$scores, Attn_SelectRule:$rule, F64Attr:$limit);
  let results = (outs AnyRankedTensor:$list, AnyRankedTensor:$count);
  let assemblyFormat = [{
    $scores $rule $limit attr-dict `:` type($scores) `->` type($list) `,` type($count)
  }];
  let hasVerifier = 1;
}

//===-- Scalars of mask and score regions ---------------------------------------===//

def Attn_YieldOp : Attn_Op<"yield", [Pure, Terminator, ReturnLike]> {
  let summary = "End a region with its result";
  let arguments = (ins AnyType:$result);
  let assemblyFormat = "$result attr-dict `:` type($result)";
}

def Attn_PositionOp : Attn_Op<"position", [Pure]> {
  let summary = "Give a token's position as a number";
  let arguments = (ins Attn_Position:$token);
  let results = (outs I32:$result);
  let assemblyFormat = "$token attr-dict `:` type($token)";
}

def Attn_CoordOp : Attn_Op<"coord", [Pure]> {
  let summary = "Decode one coordinate of a token from its position";
  let description = [{
    (position - base) div divisor, then mod modulus if there is one; both round
    towards -inf. `axis` names the coordinate for whoever reads the IR.

    ```mlir
    %y = attn.coord "video.y" of %q base %c0 divisor %c52 modulus %c30 : !attn.position<query>
    ```
  }];
  let arguments = (ins StrAttr:$axis, Attn_Position:$token, I32:$base, I32:$divisor,
                       Optional<I32>:$modulus);
  let results = (outs I32:$result);
  let assemblyFormat = [{
    $axis `of` $token `base` $base `divisor` $divisor (`modulus` $modulus^)? attr-dict `:` type($token)
  }];
  let hasVerifier = 1;
}

def Attn_ParamOp : Attn_Op<"param_value", [Pure]> {
  let summary = "Read a runtime parameter of the attention";
  let description = [{
    ```mlir
    %p = attn.param_value "pads" : i32
    ```
  }];
  let arguments = (ins StrAttr:$param);
  let results = (outs AnyTypeOf<[I32, F32]>:$result);
  let assemblyFormat = "$param attr-dict `:` type($result)";
  let hasVerifier = 1;
}

def Attn_TableLoadOp : Attn_Op<"table_load", [Pure]> {
  let summary = "Read one element of a table of the attention";
  let description = [{
    Indices run from the outermost; one outside the table reads the nearest element.
    Float tables give f32, integer tables i32.

    ```mlir
    %d = attn.table_load "doc"[%i] : i32
    ```
  }];
  let arguments = (ins StrAttr:$table, Variadic<I32>:$indices);
  let results = (outs AnyTypeOf<[I32, F32]>:$result);
  let assemblyFormat = "$table `[` $indices `]` attr-dict `:` type($result)";
  let hasVerifier = 1;
}

def Attn_InputOp : Attn_Op<"input_value", [Pure]> {
  let summary = "Read this row's, head's and dim's element of an input";
  let description = [{
    ```mlir
    %g = attn.input_value "gate" : f32
    ```
  }];
  let arguments = (ins StrAttr:$input);
  let results = (outs F32:$result);
  let assemblyFormat = "$input attr-dict `:` type($result)";
  let hasVerifier = 1;
}

def Attn_LaunchValueOp : Attn_Op<"launch_value", [Pure]> {
  let summary = "Read the layer or a head count of the call";
  let description = [{
    ```mlir
    %h = attn.launch_value heads
    ```
  }];
  let arguments = (ins Attn_LaunchValue:$which);
  let results = (outs I32:$result);
  let assemblyFormat = "$which attr-dict";
}

class Attn_IntBinaryOp<string mnemonic> : Attn_Op<mnemonic, [Pure]> {
  let arguments = (ins I32:$lhs, I32:$rhs);
  let results = (outs I32:$result);
  let assemblyFormat = "$lhs `,` $rhs attr-dict";
  let hasFolder = 1;
}

def Attn_FloorDivOp : Attn_IntBinaryOp<"floor_div"> {
  let summary = "Divide, rounding towards minus infinity; by 0 gives 0";
  let description = [{ floor(lhs / rhs), total: there is no undefined case. }];
}

def Attn_FloorModOp : Attn_IntBinaryOp<"floor_mod"> {
  let summary = "Give the remainder with the sign of the divisor; by 0 gives 0";
  let description = [{ lhs - rhs * floor(lhs / rhs), total: there is no undefined case. }];
}

def Attn_ToIntOp : Attn_Op<"to_int", [Pure]> {
  let summary = "Round a float towards zero, saturating; NaN gives 0";
  let arguments = (ins F32:$x);
  let results = (outs I32:$result);
  let assemblyFormat = "$x attr-dict";
}

#endif
