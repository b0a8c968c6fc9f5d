// The passes that take the attn dialect to the tile dialect.
#ifndef ATTN_CONVERSION_PASSES
#define ATTN_CONVERSION_PASSES

include "mlir/Pass/PassBase.td"

def AttnExpandPatterns : Pass<"attn-expand-patterns", "::mlir::ModuleOp"> {
  let summary = "Rewrite named patterns as predicates in scalar ops";
  let description = [{
    ```mlir
    %m = attn.causal %q, %k         // before
    %m = arith.cmpi sle, %k, %q     // after
    ```
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::math::MathDialect"];
}

def AttnToTile : Pass<"attn-to-tile", "::mlir::ModuleOp"> {
  let summary = "Turn each attention into a tile kernel";
  let description = [{
    The mask becomes a tile.mask predicate on positions, and, over intervals of
    positions, the classify region of tile.for_keys. Kernels are named
    `spec.variant`; the recache of a spec becomes `spec_recache.variant`, its merge
    `spec_merge.variant`.
  }];
  let options = [
    Option<"blockQ", "block-q", "int64_t", "48", "Query rows per tile">,
    Option<"blockK", "block-k", "int64_t", "96", "Keys per tile">,
    Option<"variant", "variant", "std::string", "\"f32\"", "f32, bf16, f16 or int8">,
    Option<"floatType", "float-type", "std::string", "\"f32\"",
           "Type of q and o of the int8 variant: f32, bf16, f16; empty: the spec's">,
    Option<"sortRows", "sort-rows", "bool", "false",
           "Say in which order of its rows a tile's vectors attend the fewest keys">,
  ];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::math::MathDialect",
                           "::mlir::tile::TileDialect"];
}

#endif
