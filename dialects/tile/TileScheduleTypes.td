// Types and attributes of the schedule phase: shared memory as rings of swizzled
// stages, roles of warps, products in flight.
#ifndef TILE_SCHEDULE_TYPES
#define TILE_SCHEDULE_TYPES

include "dialects/tile/TileDialect.td"

def Tile_SwizzleAttr : AttrDef<Tile_Dialect, "Swizzle"> {
  let mnemonic = "swizzle";
  let summary = "How a tile lies in shared memory: panels of 32, 64 or 128 bytes per row";
  let description = [{
    A tile of R rows is cut into panels `bytes` wide; a panel holds its R rows one
    behind the other. Within a panel, 16-byte chunk c of row r lies at chunk
    position c ^ f(r), so that eight rows read at one chunk hit different banks:

    ```
    128: f(r) = r mod 8          row 0   c0 c1 c2 c3 c4 c5 c6 c7
                                 row 1   c1 c0 c3 c2 c5 c4 c7 c6
                                 row 2   c2 c3 c0 c1 c6 c7 c4 c5   ...
     64: f(r) = (r / 2) mod 4    row 0   c0 c1 c2 c3
                                 row 1   c0 c1 c2 c3
                                 row 2   c1 c0 c3 c2               ...
     32: f(r) = (r / 4) mod 2    rows 0 to 3   c0 c1
                                 rows 4 to 7   c1 c0

    a tile 192 bytes wide under swizzle 64:
           panel 0          panel 1          panel 2
      +----------------+----------------+----------------+
      | row 0, 0..63   | row 0, 64..127 | row 0, 128..191|
      | row 1          | row 1          | row 1          |
      |  ...           |  ...           |  ...           |
      +----------------+----------------+----------------+
      at 0               at R * 64        at 2 * R * 64 bytes
    ```
    Bulk tensor copies write this layout and warpgroup products read it; a stage
    must start at a multiple of 1024 bytes.
  }];
  let parameters = (ins "int64_t":$bytes);
  let assemblyFormat = "`<` $bytes `>`";
  let genVerifyDecl = 1;
}

def Tile_RoleKind : I32EnumAttr<"RoleKind", "What a group of warps does", [
    I32EnumAttrCase<"producer", 0>, I32EnumAttrCase<"consumer", 1>]> {
  let cppNamespace = "::mlir::tile";
}

def Tile_WarpRoleAttr : AttrDef<Tile_Dialect, "WarpRole"> {
  let mnemonic = "warp_role";
  let summary = "Warps of a role and the registers each of their threads may use";
  let description = [{ Example: `#tile.warp_role<consumer, warps 8, registers 240>`. }];
  let parameters = (ins EnumParameter<Tile_RoleKind>:$kind, "int64_t":$warps,
                        "int64_t":$registers);
  let assemblyFormat = "`<` $kind `,` `warps` $warps `,` `registers` $registers `>`";
  let genVerifyDecl = 1;
}

def Tile_Pipeline : I32EnumAttr<"Pipeline", "How a consumer overlaps products and softmax", [
    I32EnumAttrCase<"simple", 0>, I32EnumAttrCase<"overlap", 1>, I32EnumAttrCase<"pingpong", 2>]> {
  let cppNamespace = "::mlir::tile";
}

def Tile_ItemOrder : I32EnumAttr<"ItemOrder", "In which order work items start", [
    I32EnumAttrCase<"in_order", 0>, I32EnumAttrCase<"longest_first", 1>]> {
  let cppNamespace = "::mlir::tile";
}

def Tile_ScheduleAttr : AttrDef<Tile_Dialect, "Schedule"> {
  let mnemonic = "schedule";
  let summary = "The schedule of a kernel: pipeline and order of its work items";
  let description = [{
    ```
    simple     Q K(n)  softmax(n)  P V(n)      one after the other; the other
                                               consumers fill the gaps by chance
    overlap    Q K(n+1)                        the product of the next scores runs
               P V(n)                          while this block's exponentials are
               softmax(n+1)                    computed
    pingpong   overlap, and consumers take     one computes products while the
               turns in issuing products       other computes exponentials
    ```
    Work items start in the order of their query tiles, or from the last one
    (`longest_first`: the most work under causal masks).
    Example: `#tile.schedule<overlap, longest_first>`.
  }];
  let parameters = (ins EnumParameter<Tile_Pipeline>:$pipeline,
                        EnumParameter<Tile_ItemOrder>:$order);
  let assemblyFormat = "`<` $pipeline `,` $order `>`";
}

def Tile_Ring : Tile_Type<"Ring", "ring"> {
  let summary = "Stages of shared memory that go round between producer and consumers";
  let description = [{
    Example: `!tile.ring<2, <128x64xbf16>, <128>>` has two stages of one tile each.
    Producer and consumers visit the stages in turn: 0, 1, 0, 1, ...
  }];
  let parameters = (ins "int64_t":$stages, "TileType":$tile, "SwizzleAttr":$layout);
  let assemblyFormat = "`<` $stages `,` $tile `,` $layout `>`";
  let genVerifyDecl = 1;
}

def Tile_Slot : Tile_Type<"Slot", "slot"> {
  let summary = "One stage of a ring, held by a role";
  let description = [{
    The producer holds it from `tile.acquire` until its copy has landed, a consumer
    from `tile.receive` to `tile.release`. Example: `!tile.slot<<128x64xbf16>, <128>>`.
  }];
  let parameters = (ins "TileType":$tile, "SwizzleAttr":$layout);
  let assemblyFormat = "`<` $tile `,` $layout `>`";
}

def Tile_Pending : Tile_Type<"Pending", "pending"> {
  let summary = "The result of a product in flight; only `tile.wait` may look at it";
  let parameters = (ins "TileType":$tile);
  let assemblyFormat = "`<` $tile `>`";
}

#endif
