// The tile dialect: how an attention kernel computes, one tile at a time.
#ifndef TILE_DIALECT
#define TILE_DIALECT

include "mlir/IR/OpBase.td"
include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/EnumAttr.td"

def Tile_Dialect : Dialect {
  let name = "tile";
  let cppNamespace = "::mlir::tile";
  let summary = "Tiles of queries, keys and values, and what is computed on them";
  let description = [{
    A kernel is a program for one work item: one tile of query rows of one head
    of one batch entry. Values are tiles; there are no threads, memory spaces or
    transpositions here. Each target chooses those when it lowers the program.
  }];
  let useDefaultTypePrinterParser = 1;
  let useDefaultAttributePrinterParser = 1;
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::math::MathDialect"];
}

class Tile_Type<string name, string typeMnemonic> : TypeDef<Tile_Dialect, name> {
  let mnemonic = typeMnemonic;
}

def Tile_Tile : Tile_Type<"Tile", "tile"> {
  let summary = "A dense tile of rank 1 or 2";
  let description = [{
    Example: `!tile.tile<48x96xf32>` has 48 query rows and 96 key columns.
  }];
  let parameters = (ins ArrayRefParameter<"int64_t">:$shape, "Type":$elementType);
  let hasCustomAssemblyFormat = 1;
  let genVerifyDecl = 1;
}

def Tile_Keys : Tile_Type<"Keys", "keys"> {
  let summary = "Up to block_k consecutive keys of one segment";
  let description = [{
    Knows the slot and the position of its first key, and how many keys it has.
    In the `full` body of `tile.for_keys` it has exactly block_k.
  }];
}

def Tile_Role : I32EnumAttr<"Role", "What a kernel binding holds", [
    I32EnumAttrCase<"q", 0>, I32EnumAttrCase<"k", 1>, I32EnumAttrCase<"v", 2>,
    I32EnumAttrCase<"o", 3>, I32EnumAttrCase<"lse", 4>, I32EnumAttrCase<"k_scale", 5>,
    I32EnumAttrCase<"v_scale", 6>, I32EnumAttrCase<"table", 7>, I32EnumAttrCase<"input", 8>,
    I32EnumAttrCase<"part_o", 9>, I32EnumAttrCase<"part_lse", 10>]> {
  let cppNamespace = "::mlir::tile";
}

def Tile_BindingAttr : AttrDef<Tile_Dialect, "Binding"> {
  let mnemonic = "binding";
  let summary = "One buffer of a kernel: name, role, element type, rank";
  let description = [{
    The order of the bindings is the order of the buffers in the kernel ABI
    (runtime/bundle/kernel_abi.h).
    Example: `#tile.binding<"k", k, f32, 4>`.
  }];
  let parameters = (ins StringRefParameter<"">:$name, EnumParameter<Tile_Role>:$role,
                        "Type":$elementType, "unsigned":$rank);
  let assemblyFormat = "`<` $name `,` $role `,` $elementType `,` $rank `>`";
}

def Tile_ParamAttr : AttrDef<Tile_Dialect, "Param"> {
  let mnemonic = "param";
  let summary = "One runtime scalar of a kernel: name, type, inclusive range";
  let parameters = (ins StringRefParameter<"">:$name, "Type":$type,
                        "int64_t":$minimum, "int64_t":$maximum);
  let assemblyFormat = "`<` $name `,` $type `,` $minimum `,` $maximum `>`";
}

#endif
