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

def Attn_WindowOp : Attn_PatternOp<"window"> {
  let summary = "Admit the query's own position and the ones just before it";
  let description = [{
    0 <= q - k < size: `size` counts the query's own position or block.

    ```mlir
    %m = attn.window %q, %k size %n
    ```
  }];
  let arguments = (ins I32:$q, I32:$k, I32:$size);
  let assemblyFormat = "$q `,` $k `size` $size attr-dict";
}

def Attn_SinkOp : Attn_PatternOp<"sink"> {
  let summary = "Admit the first keys of an axis for every query";
  let description = [{
    k < size.

    ```mlir
    %m = attn.sink %k size %n
    ```
  }];
  let arguments = (ins I32:$k, I32:$size);
  let assemblyFormat = "$k `size` $size attr-dict";
}

def Attn_PrefixOp : Attn_PatternOp<"prefix"> {
  let summary = "Admit a prefix in full and the rest causally";
  let description = [{
    k < size or q >= k.

    ```mlir
    %m = attn.prefix %q, %k size %n
    ```
  }];
  let arguments = (ins I32:$q, I32:$k, I32:$size);
  let assemblyFormat = "$q `,` $k `size` $size attr-dict";
}

def Attn_NeighborhoodOp : Attn_PatternOp<"neighborhood"> {
  let summary = "Admit a window around the query that is shifted to stay inside";
  let description = [{
    Along one axis of `extent` values, with dilation d: group g = q mod d must equal
    k mod d; q' = q div d, k' = k div d, L = extent div d + [g < extent mod d].
    leader = min((q' div stride) * stride + stride div 2, L - 1);
    R = size div 2 + size mod 2 - 1;
    c = min(max(leader, size div 2), L - 1 - R);
    admitted iff c - size div 2 <= k' <= c + R.

    ```mlir
    %m = attn.neighborhood %q, %k size 7 stride 1 dilation 1 extent %n
    ```
  }];
  let arguments = (ins I32:$q, I32:$k, I64Attr:$size, I64Attr:$stride, I64Attr:$dilation,
                       I32:$extent);
  let assemblyFormat = [{
    $q `,` $k `size` $size `stride` $stride `dilation` $dilation `extent` $extent attr-dict
  }];
  let hasVerifier = 1;
}

#endif
