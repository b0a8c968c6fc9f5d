// The typed attributes of the attn dialect.
#ifndef ATTN_ATTRS
#define ATTN_ATTRS

include "dialects/attn/AttnDialect.td"

class Attn_Attr<string name, string attrMnemonic> : AttrDef<Attn_Dialect, name> {
  let mnemonic = attrMnemonic;
  let genVerifyDecl = 1;
}

def Attn_AxisAttr : Attn_Attr<"Axis", "axis"> {
  let summary = "One axis of a token space";
  let description = [{
    `extent` is the number of values of a fixed axis and the largest length of a
    ragged one; 0 where it is unbounded (stream, packed) or set by parameters.
    Example: `#attn.axis<"y", fixed, 30>`.
  }];
  let parameters = (ins StringRefParameter<"">:$name, EnumParameter<Attn_AxisKind>:$kind,
                        "int64_t":$extent);
  let assemblyFormat = "`<` $name `,` $kind `,` $extent `>`";
}

def Attn_SpaceAttr : Attn_Attr<"Space", "space"> {
  let summary = "A token space: a mixed-radix grid, last axis fastest";
  let description = [{
    Only the outermost axis may be unbounded or ragged.
    Example: `#attn.space<"video", #attn.axis<"t", stream, 0>, #attn.axis<"y", fixed, 30>>`.
  }];
  let parameters = (ins StringRefParameter<"">:$name, ArrayRefParameter<"AxisAttr">:$axes);
  let assemblyFormat = "`<` $name `,` $axes `>`";
}

def Attn_TokensAttr : Attn_Attr<"Tokens", "tokens"> {
  let summary = "The tokens of one side: spaces one after another";
  let description = [{
    Example: `#attn.tokens<"seq", "text", "video">` is text first, then video.
  }];
  let parameters = (ins StringRefParameter<"">:$name, ArrayRefParameter<"StringAttr">:$spaces);
  let assemblyFormat = "`<` $name `,` $spaces `>`";
}

def Attn_TypesAttr : Attn_Attr<"Types", "types"> {
  let summary = "The element types of q, k, v and o";
  let description = [{
    K and V are i8 together: their scales come in pairs. Scores are always f32.
    Example: `#attn.types<bf16, bf16, bf16, bf16>`.
  }];
  let parameters = (ins "Type":$q, "Type":$k, "Type":$v, "Type":$o);
  let assemblyFormat = "`<` $q `,` $k `,` $v `,` $o `>`";
}

def Attn_ParamAttr : Attn_Attr<"Param", "param"> {
  let summary = "One runtime scalar: name and inclusive range";
  let description = [{
    The bounds have the type of the parameter, i32 or f32.
    Example: `#attn.param<"pads", 0 : i32, 512 : i32>`.
  }];
  let parameters = (ins StringRefParameter<"">:$name, "TypedAttr":$minimum, "TypedAttr":$maximum);
  let assemblyFormat = "`<` $name `,` $minimum `,` $maximum `>`";
  let extraClassDeclaration = [{
    Type getType() const { return getMinimum().getType(); }
  }];
}

def Attn_TableAttr : Attn_Attr<"Table", "table"> {
  let summary = "One named tensor that regions may read";
  let description = [{
    The bounds are what its contents never leave, if known: bounds of i32 tables
    sharpen tile classes. `sorted`: rank 1 and non-decreasing.
    Example: `#attn.table<"doc", i32, 1, sorted>`.
  }];
  let parameters = (ins StringRefParameter<"">:$name, "Type":$elementType, "unsigned":$rank,
                        DefaultValuedParameter<"bool", "false">:$sorted);
  let hasCustomAssemblyFormat = 1;
}

def Attn_InputAttr : Attn_Attr<"Input", "input"> {
  let summary = "One per-row tensor that the output region may read";
  let description = [{
    Of the dims q, head and dim it has those named, in this order; it is
    broadcast along the others. Example: `#attn.input<"gate", bf16, "q", "head", "dim">`.
  }];
  let parameters = (ins StringRefParameter<"">:$name, "Type":$elementType,
                        ArrayRefParameter<"StringAttr">:$dims);
  let assemblyFormat = "`<` $name `,` $elementType `,` $dims `>`";
}

def Attn_QueryBlockAttr : Attn_Attr<"QueryBlock", "query_block"> {
  let summary = "Whole blocks of an axis per call, from minimum to maximum";
  let description = [{ Example: `#attn.query_block<"b", 1, 1>`. }];
  let parameters = (ins StringRefParameter<"">:$axis, "int64_t":$minimum, "int64_t":$maximum);
  let assemblyFormat = "`<` $axis `,` $minimum `,` $maximum `>`";
}

def Attn_RopeAxisAttr : Attn_Attr<"RopeAxis", "rope_axis"> {
  let summary = "The dims that rotate with one axis";
  let description = [{ Example: `#attn.rope_axis<"t", 44>`. }];
  let parameters = (ins StringRefParameter<"">:$name, "int64_t":$dims);
  let assemblyFormat = "`<` $name `,` $dims `>`";
}

def Attn_RopeAttr : Attn_Attr<"Rope", "rope"> {
  let summary = "Rotary position embedding of q and k, applied before the kernel";
  let description = [{
    Pair i of an axis with n dims turns by coordinate * theta^(-2i/n). The dims of
    the axes add up to the head dim.
    Example: `#attn.rope<interleaved, 10000 : i64, stream, #attn.rope_axis<"t", 44>>`.
  }];
  let parameters = (ins EnumParameter<Attn_RopeKind>:$kind, "TypedAttr":$theta,
                        EnumParameter<Attn_RopeOrigin>:$origin,
                        ArrayRefParameter<"RopeAxisAttr">:$axes);
  let assemblyFormat = "`<` $kind `,` $theta `,` $origin `,` $axes `>`";
}

def Attn_CacheAttr : Attn_Attr<"Cache", "cache"> {
  let summary = "What stays of the keys and values between calls";
  let description = [{
    Blocks 0..pin-1 of `axis` stay for ever, and the newest `ring` blocks, the
    current one included. pin = ring = 0: the tokens are held whole. Rows are kept
    as `elementType`; i8 rows have one scale per `granularity`.
    Example: `#attn.cache<"b", pin 1, ring 3, i8, token_head, every_pass, roped>`.
  }];
  let parameters = (ins StringRefParameter<"">:$axis, "int64_t":$pin, "int64_t":$ring,
                        "Type":$elementType, EnumParameter<Attn_Granularity>:$granularity,
                        EnumParameter<Attn_WritePolicy>:$write, "bool":$roped);
  let hasCustomAssemblyFormat = 1;
}

#endif
