// Lowers one tile.kernel to scf, arith, vector and llvm memory ops, op by op, in
// S-transposed form: a lane is a query row, K and V elements are broadcast.
#pragma once

#include "compiler/target/cpu/CallFrame.h"
#include "compiler/target/cpu/CpuSchedule.h"
#include "compiler/target/cpu/DotKind.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/IRMapping.h"
#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/StringMap.h"

namespace mlir::attn {

/// Scratch of a query tile in the arena, 4-byte elements:
///
///   sub-tile 0: row 0 [lane 0 .. lane n-1], row 1 [...], ...
///   sub-tile 1: ...
///
/// where n = CpuLowering::laneCount(). A rank-1 tile has one row; a rank-2 tile of
/// queries or outputs has one row per dim.
struct Plane {
  int64_t offset = -1; ///< bytes from the arena's start; -1: there is none
  int64_t rows = 0;    ///< per sub-tile
};

/// Key or value rows of a binding, read where they lie.
struct CpuKeyTile {
  int64_t binding = 0;
  int64_t dim = 0; ///< 0: one number per key
  Value scale;     ///< a rank-1 tile of load_keys that multiplies the rows, or null
};

/// What a tile value of the kernel has become.
struct CpuTileValue {
  enum class Kind { none, plane, lanes, keys, scores };
  Kind kind = Kind::none;
  Plane plane;                ///< plane
  Plane packed;               ///< plane of a query operand packed for its dot
  SmallVector<Value> vectors; ///< lanes; scores: maximum over the rows, if known
  CpuKeyTile keys;
  bool integer = false; ///< scores are i32
  bool masked = false;  ///< scores of excluded pairs have been overwritten
};

class CpuLowering {
public:
  CpuLowering(tile::KernelOp kernel, const CpuArch &arch)
      : kernel(kernel), arch(arch), schedule(cpuScheduleOf(kernel, arch)) {}

  /// Emits `symbol` into `module` at `builder`'s insertion point.
  LogicalResult lower(OpBuilder &builder, StringRef symbol);
  int64_t arenaBytes() const { return arenaSize; }

private:
  /// What a body works on: a whole sub-tile of queries and all keys of a block, or one
  /// vector of queries and the keys that one of them attends at least (ListKeys.cpp).
  struct Body {
    bool full;
    KeyBlock block;
    Value slot, count;  ///< i64, of the block
    Value subTile = {}; ///< i64, set inside the loop over sub-tiles
    Value lane = {};    ///< i64, the first lane of the one vector
    Value listed = {};  ///< i64, how many keys are listed, an even number
  };
  int64_t vectorsOf(const Body &body) const { return body.full ? schedule.vectors : 1; }
  /// The first lane that a body works on, counted from that of the work item; i64.
  Value firstLane(LaneBuilder &b, const Body &body);
  /// Lanes of a row of scores.
  int64_t lanesOf(const Body &body) const { return arch.width * vectorsOf(body); }
  /// How many rows of scores there are.
  Value rowsOf(const Body &body) const { return body.full ? body.count : body.listed; }
  /// Rows of keys in a register tile of scores.
  int64_t tileRows(const Body &body) const { return body.full ? schedule.rows : kListUnit; }
  int64_t unrollOf(const Body &body) const { return body.full ? schedule.unroll : 1; }

  // KernelLowering.cpp
  LogicalResult check();
  /// Query rows of a sub-tile.
  int64_t laneCount() const { return arch.width * schedule.vectors; }
  LogicalResult lowerTopLevel(LaneBuilder &b, Operation &op);
  LogicalResult lowerForKeys(LaneBuilder &b, tile::ForKeysOp op);
  LogicalResult lowerBody(LaneBuilder &b, Block &region, const CpuTileValue *state, Body body);
  LogicalResult lowerInBody(LaneBuilder &b, Operation &op, const Body &body);
  LogicalResult unsupported(Operation &op, const Twine &why);
  int64_t reserve(int64_t bytes);
  int64_t reserveOnce(StringRef name, int64_t bytes);
  Plane newPlane(int64_t rows);
  Value planeAddress(LaneBuilder &b, const Plane &plane, Value subTile);
  Value planeAddress(LaneBuilder &b, const Plane &plane, const Body &body);
  Value arenaAddress(LaneBuilder &b, int64_t offset);
  SmallVector<Value> loadRow(LaneBuilder &b, Value address, int64_t vectors);
  SmallVector<Value> loadRow(LaneBuilder &b, Value address) {
    return loadRow(b, address, schedule.vectors);
  }
  void storeRow(LaneBuilder &b, ValueRange vectors, Value address);
  SmallVector<Value> lanesOf(LaneBuilder &b, Value tile, Value subTile);
  SmallVector<Value> lanesOf(LaneBuilder &b, Value tile, const Body &body);
  void forSubTiles(LaneBuilder &b, llvm::function_ref<void(Value subTile)> body);
  DotKind scoreDot(tile::DotQKOp op) { return scoreDotKind(op, arch); }
  DotKind outputDot(tile::DotPVOp op) { return outputDotKind(op, arch); }
  tile::DequantizeScoresOp fusedDequantize(tile::DotQKOp op);

  // ListKeys.cpp
  /// Groups of keys are asked about together; products of queries and keys take so many
  /// rows, for which the last key of a list is repeated.
  static constexpr int64_t kListUnit = 8;
  /// Lists the keys of a partial block; their number, made even.
  Value listKeys(LaneBuilder &b, tile::ForKeysOp walk, const Body &body);
  /// The key of row `row` of the scores, i64, counted from the first of the block.
  Value keyOfRow(LaneBuilder &b, const Body &body, Value row);
  /// Which lanes may attend the key of `row`; bits once, for all vectors of the body.
  Value admittedLanes(LaneBuilder &b, Value row);
  IntegerType bitsType(LaneBuilder &b);
  Value listAddress(LaneBuilder &b, Value row);
  Value bitsAddress(LaneBuilder &b, Value row);
  /// Whether scores are to be masked as soon as they are computed.
  static bool isMaskedNext(Value scores);

  // SortRows.cpp
  LogicalResult lowerSortRows(LaneBuilder &b, tile::SortRowsOp op);
  /// 0, 1, 2, ...
  Value laneNumbers(LaneBuilder &b);
  Value rowAddress(LaneBuilder &b, Value lane);
  /// The row of the work item that a lane has, i64, or the last if it has none.
  Value rowOfLane(LaneBuilder &b, Value lane);
  /// The least and the greatest of each trait of a vector's rows, where they are sorted.
  SmallVector<Value> boxOf(LaneBuilder &b, Value firstLane);

  // LowerQueries.cpp
  /// Rows of the work item into lanes of `to`; `dim` 0: one number per row.
  void loadRows(LaneBuilder &b, const BindingRows &rows, const Plane &to, int64_t dim);
  LogicalResult lowerLoadQueries(LaneBuilder &b, tile::LoadQueriesOp op);
  LogicalResult lowerStoreQueries(LaneBuilder &b, tile::StoreQueriesOp op);
  LogicalResult lowerQuantize(LaneBuilder &b, tile::QuantizeOp op);
  void packPairs(LaneBuilder &b, const Plane &from, const Plane &to);
  void packQuads(LaneBuilder &b, const Plane &from, const Plane &to);

  // LowerKeys.cpp
  Value keyRow(LaneBuilder &b, const BindingRows &rows, const Body &body, Value row);
  Value keyNumber(LaneBuilder &b, Value tile, const Body &body, Value row);
  void packKeys(LaneBuilder &b, tile::DotQKOp op, const Body &body);
  bool readsInPlace(tile::DotPVOp op, const Body &body);
  void packValues(LaneBuilder &b, tile::DotPVOp op, const Body &body);
  void sumKeys(LaneBuilder &b, tile::DotQKOp op, const Body &body);
  void prefetchNextKeys(LaneBuilder &b, const CpuKeyTile &keys, const Body &body, Value part,
                        int64_t parts);
  void prefetchShare(LaneBuilder &b, Block &region, const Body &body);
  int64_t keyRowsOffset(int64_t dim);
  int64_t valuePanelOffset(int64_t dim);

  // LowerDots.cpp
  LogicalResult lowerDotQK(LaneBuilder &b, tile::DotQKOp op, const Body &body);
  LogicalResult lowerDotPV(LaneBuilder &b, tile::DotPVOp op, const Body &body);

  // LowerSoftmax.cpp
  void startSoftmax(LaneBuilder &b, Value maxTile, Value sumTile,
                    TypedValue<tile::TileType> outTile);
  LogicalResult lowerScores(
      LaneBuilder &b, Value from, Value to, const Body &body,
      llvm::function_ref<Value(LaneBuilder &, Value score, Value row, int64_t vector)> rewrite);
  LogicalResult lowerMask(LaneBuilder &b, tile::MaskOp op, const Body &body);
  LogicalResult lowerScore(LaneBuilder &b, tile::ScoreOp op, const Body &body);
  LogicalResult lowerDequantizeScores(LaneBuilder &b, tile::DequantizeScoresOp op,
                                      const Body &body);
  LogicalResult lowerSoftmaxStep(LaneBuilder &b, tile::SoftmaxStepOp op, const Body &body);
  SmallVector<Value> rowMaximum(LaneBuilder &b, const Body &body);
  void exponentials(LaneBuilder &b, const Body &body, Value factor, ValueRange reference,
                    SmallVector<Value> &sum);
  void exponentialPairs(LaneBuilder &b, const Body &body, Value factor, ValueRange reference,
                        SmallVector<Value> &sum);
  void lowerSoftmaxFinish(LaneBuilder &b, tile::SoftmaxFinishOp op);
  SmallVector<Value> queryPositions(LaneBuilder &b, Value firstLane, int64_t vectors);

  // LowerMerge.cpp
  LogicalResult lowerMergeParts(LaneBuilder &b, tile::MergePartsOp op);

  // LowerOutput.cpp
  LogicalResult lowerOutput(LaneBuilder &b, tile::OutputOp op);

  tile::KernelOp kernel;
  const CpuArch &arch;
  const CpuSchedule schedule;
  std::optional<CallFrame> frame;
  Value arena;
  Value subTiles; ///< of the current item that hold valid rows, i64
  IRMapping scalars;
  llvm::DenseMap<Value, CpuTileValue> tiles;
  llvm::StringMap<int64_t> reserved;
  int64_t arenaSize = 0;
  int64_t scoresOffset = -1, pairsOffset = -1;
  llvm::DenseMap<int64_t, BindingRows> keyBindings;
  tile::SortRowsOp sortRows = nullptr; // null: lane i has row i
  int64_t rowsOffset = -1, boxesOffset = -1;
};

} // namespace mlir::attn
