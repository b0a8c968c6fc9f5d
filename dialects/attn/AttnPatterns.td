// The patterns that the dialect knows by name; all others are predicates in
// scalar ops. Included by AttnOps.td.
#ifndef ATTN_PATTERNS
#define ATTN_PATTERNS

include "dialects/attn/AttnDialect.td"
include "dialects/attn/Interfaces.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

class Attn_PatternOp<string mnemonic, list<Trait> traits = []>
    : Op<Attn_Dialect, mnemonic, !listconcat(traits, [Pure,
         DeclareOpInterfaceMethods<Attn_PatternOpInterface>])> {
  let results = (outs I1:$result);
}

def Attn_CausalOp : Attn_PatternOp<"causal"> {
  let summary = "Admit keys that are not after the query";
  let description = [{
    q >= k.

    ```mlir
    %m = attn.causal %q, %k
    ```
  }];
  let arguments = (ins I32:$q, I32:$k);
  let assemblyFormat = "$q `,` $k attr-dict";
}

def Attn_PrefixLmOp : Attn_PatternOp<"prefix_lm"> {
  let summary = "Admit a prefix in full and the rest causally";
  let description = [{
    k < size or q >= k.

    ```mlir
    %m = attn.prefix_lm %q, %k size %n
    ```
  }];
  let arguments = (ins I32:$q, I32:$k, I32:$size);
  let assemblyFormat = "$q `,` $k `size` $size attr-dict";
}

def Attn_WindowOp : Attn_PatternOp<"window"> {
  let summary = "Admit the newest keys, the query's own included";
  let description = [{
    q - k < size. Later keys are not bounded: combine with attn.causal.

    ```mlir
    %m = attn.window %q, %k size %n
    ```
  }];
  let arguments = (ins I32:$q, I32:$k, I32:$size);
  let assemblyFormat = "$q `,` $k `size` $size attr-dict";
}

def Attn_BandOp : Attn_PatternOp<"band"> {
  let summary = "Admit keys from so many before the query to so many after it";
  let description = [{
    -after <= q - k <= before; the own position is not counted.

    ```mlir
    %m = attn.band %q, %k before %b after %a
    ```
  }];
  let arguments = (ins I32:$q, I32:$k, I32:$before, I32:$after);
  let assemblyFormat = "$q `,` $k `before` $before `after` $after attr-dict";
}

def Attn_SinkOp : Attn_PatternOp<"sink"> {
  let summary = "Admit the first keys of an axis for every query";
  let description = [{
    k < size: sink tokens or frames that are kept for ever, or a prompt.

    ```mlir
    %m = attn.sink %k size %n
    ```
  }];
  let arguments = (ins I32:$k, I32:$size);
  let assemblyFormat = "$k `size` $size attr-dict";
}

def Attn_SameOp : Attn_PatternOp<"same"> {
  let summary = "Admit keys of the query's own group";
  let description = [{
    q = k: block-diagonal masks, packed documents.

    ```mlir
    %m = attn.same %q, %k
    ```
  }];
  let arguments = (ins I32:$q, I32:$k);
  let assemblyFormat = "$q `,` $k attr-dict";
}

def Attn_NeighborhoodOp : Attn_PatternOp<"neighborhood"> {
  let summary = "Admit a window around the query, by default shifted to stay inside";
  let description = [{
    Along one axis of `extent` values, with dilation d: group g = q mod d must equal
    k mod d; q' = q div d, k' = k div d, L = extent div d + [g < extent mod d].
    leader = min((q' div stride) * stride + stride div 2, L - 1);
    back = size div 2, ahead = size - 1 - back;
    c = min(max(leader, back), L - 1 - ahead), or c = leader with `cut`;
    admitted iff c - back <= k' <= c + ahead.

    ```mlir
    %m = attn.neighborhood %q, %k size 7 stride 1 dilation 1 extent %n
    ```
  }];
  let arguments = (ins I32:$q, I32:$k, I64Attr:$size, I64Attr:$stride, I64Attr:$dilation,
                       I32:$extent, UnitAttr:$cut);
  let assemblyFormat = [{
    $q `,` $k `size` $size `stride` $stride `dilation` $dilation `extent` $extent (`cut` $cut^)?
    attr-dict
  }];
  let hasVerifier = 1;
}

#endif
