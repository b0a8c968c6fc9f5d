// The attn dialect: what an attention computes, over named coordinates.
#ifndef ATTN_DIALECT
#define ATTN_DIALECT

include "mlir/IR/OpBase.td"
include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/EnumAttr.td"

def Attn_Dialect : Dialect {
  let name = "attn";
  let cppNamespace = "::mlir::attn";
  let summary = "What attends what, and with which score";
  let description = [{
    An `attn.attention` is a checked spec: its tensors, its token spaces, and
    scalar regions that say, for one pair of a query row and a key, whether it is
    admitted (mask) and what its score becomes (score). Nothing here says how or
    in which order pairs are visited; see the tile dialect for that.
  }];
  let useDefaultTypePrinterParser = 1;
  let useDefaultAttributePrinterParser = 1;
  let hasConstantMaterializer = 1;
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::math::MathDialect"];
}

class Attn_Enum<string name, string what, list<I32EnumAttrCase> cases> : I32EnumAttr<name, what, cases> {
  let cppNamespace = "::mlir::attn";
}

def Attn_Side : Attn_Enum<"Side", "A side of the attention", [
  I32EnumAttrCase<"query", 0>, I32EnumAttrCase<"key", 1>]>;

def Attn_AxisKind : Attn_Enum<"AxisKind", "How the extent of an axis is known", [
  I32EnumAttrCase<"fixed", 0>, I32EnumAttrCase<"stream", 1>,
  I32EnumAttrCase<"ragged", 2>, I32EnumAttrCase<"packed", 3>]>;

def Attn_LaunchValue : Attn_Enum<"LaunchValue", "A number that a call fixes", [
  I32EnumAttrCase<"layer", 0>, I32EnumAttrCase<"heads", 1>, I32EnumAttrCase<"kv_heads", 2>]>;

def Attn_RopeKind : Attn_Enum<"RopeKind", "Which dims a rotation pairs", [
  I32EnumAttrCase<"interleaved", 0>, I32EnumAttrCase<"half", 1>]>;

def Attn_RopeOrigin : Attn_Enum<"RopeOrigin", "What positions count from", [
  I32EnumAttrCase<"stream", 0>, I32EnumAttrCase<"window", 1>]>;

def Attn_Granularity : Attn_Enum<"Granularity", "What one quantisation scale covers", [
  I32EnumAttrCase<"token_head", 0>, I32EnumAttrCase<"per_head", 1>, I32EnumAttrCase<"per_tensor", 2>]>;

def Attn_WritePolicy : Attn_Enum<"WritePolicy", "Which denoising passes write the cache", [
  I32EnumAttrCase<"every_pass", 0>, I32EnumAttrCase<"last_pass", 1>]>;

def Attn_SelectRule : Attn_Enum<"SelectRule", "Where a block selection stops", [
  I32EnumAttrCase<"top_k", 0>, I32EnumAttrCase<"top_p", 1>, I32EnumAttrCase<"threshold", 2>]>;

def Attn_Position : TypeDef<Attn_Dialect, "Position"> {
  let mnemonic = "position";
  let summary = "The position of one token of a side";
  let description = [{
    Query row r of a call has position q_position + r; a key has the position its
    segment gives it. Coordinates are decoded from positions by `attn.coord`.
    Positions lie in [0, 2^30).
    Example: `!attn.position<query>`.
  }];
  let parameters = (ins EnumParameter<Attn_Side>:$side);
  let assemblyFormat = "`<` $side `>`";
}

#endif
