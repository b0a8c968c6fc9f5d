// Lowers a tile.kernel a second time, for calls with few query rows: a lane is a dim,
// so that K and V are read as they lie, once for all query heads that share them.
//
// The rows of a tile are pairs (query row, head of one KV head), the heads of a row
// side by side. The keys of a call are cut into chunks; a piece of work, walked alone,
// is a tile and a chunk. It leaves a record per row in memory of the launcher's:
//
//   max [width], sum [width], out [vectors of dims][width]      f32
//
// where every lane of max is the row's maximum and sum is still to be added up over
// the lanes. `finish` folds the records of a tile's chunks together and stores. How
// many chunks there are depends on the call's shape alone: so do the results' bits.
#pragma once

#include "compiler/target/cpu/CallFrame.h"
#include "compiler/target/cpu/DotKind.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/IRMapping.h"
#include "llvm/ADT/DenseMap.h"

namespace mlir::attn {

/// How a tile of few rows is spread over registers.
struct DecodeSchedule {
  int64_t rowGroup = 4;          ///< rows that share a loaded key; tiles are padded to it
  int64_t keys = 0;              ///< keys of the register tile of Q K
  int64_t maxRows = 16;          ///< rows of a tile
  int64_t blockK = 0;            ///< keys of a block
  int64_t streamedK = 0;         ///< of a part of a block, where memory decides
  int64_t cacheBytes = 24 << 20; ///< of keys and values that may lie in caches
  int64_t ahead = 0;             ///< keys between what is read and what is asked for
  int64_t maxQueries = 0;        ///< query rows up to which a call takes this form
  int64_t minChunk = 1024, maxChunks = 64, pieces = 64; ///< of keys; wanted pieces
};

class DecodeLowering {
public:
  DecodeLowering(tile::KernelOp kernel, const CpuArch &arch);
  /// Whether the kernel has this form. Merge kernels have none.
  static bool fits(tile::KernelOp kernel, const CpuArch &arch);
  /// Emits `symbol`_decode_plan, _decode_walk and _decode_finish (kernel_abi.h).
  LogicalResult lower(OpBuilder &builder, StringRef symbol);
  int64_t arenaBytes() const { return arenaSize; }

private:
  /// What the shape of a call decides, i64.
  struct Plan {
    Value queries, heads;                 ///< query rows; heads per KV head
    Value kvHeads, groups;                ///< groups: batch * KV heads
    Value rows, tileRows, rowTiles;       ///< of a group
    Value chunks, chunkKeys, recordBytes; ///< recordBytes: of a piece
    Value streams;                        ///< i1: keys and values are more than caches hold
  };
  /// A block of keys and the body that is emitted for it.
  struct Body {
    bool full;
    KeyBlock block;
    Value slot, count; ///< i64
  };
  /// What a value of a body stands for: rows of a binding, and a scale per row.
  struct KeyRows {
    int64_t binding = 0, dim = 0;
    Value scale; ///< a rank-1 tile of load_keys, or null
  };
  /// A few neighbouring keys.
  struct ScoreTile {
    ScoreTile(const KeyRows &keys, Value first) : keys(keys), first(first) {}
    KeyRows keys;
    Value first;                       ///< i64, in the block
    SmallVector<Value> address, start; ///< of each key: its row, what its scores start at
  };
  /// Rows and vectors of dims whose sums are in registers, over the keys [begin, end).
  struct OutTile {
    int64_t rows = 0, vectors = 0, unroll = 1; ///< unroll: keys of a step
    Value row, begin, end;                     ///< i64
    int64_t first = 0;                         ///< vector of dims
  };
  using KeyVectorBody =
      llvm::function_ref<SmallVector<Value>(LaneBuilder &, Value key, ValueRange state)>;

  // DecodeFrame.cpp
  Plan plan(LaneBuilder &b);
  void emitPlan(OpBuilder &builder, StringRef symbol);
  void enterTile(LaneBuilder &b, Value group, Value rowTile);
  void forRows(LaneBuilder &b, llvm::function_ref<void(Value row)> body);
  int64_t reserve(int64_t bytes);
  Value scratch(LaneBuilder &b, int64_t offset);
  Value record(LaneBuilder &b, Value piece, Value row);
  int64_t rowBytes() { return (2 + outVectors()) * arch.width * 4; }
  int64_t outVectors();

  // DecodeLowering.cpp
  /// Opens a function (words, buffers, arena, parts, begin, end) and reads what the first
  /// four are; its entry block. Insertion goes on there.
  Block *beginFunction(LaneBuilder &b, StringRef name);
  LogicalResult emitWalk(OpBuilder &builder, StringRef symbol);
  void startRows(LaneBuilder &b);
  LogicalResult lowerBody(LaneBuilder &b, Block &region, const Body &body);
  LogicalResult lowerParts(LaneBuilder &b, Block &region, const Body &body);
  SmallVector<Value> forKeyVectors(LaneBuilder &b, const Body &body, ValueRange state,
                                   KeyVectorBody each);
  Value scoreAddress(LaneBuilder &b, Value row, Value key);
  void rewriteScores(LaneBuilder &b, const Body &body,
                     llvm::function_ref<Value(LaneBuilder &, Value row, Value key, Value s)> each);
  void lowerMask(LaneBuilder &b, tile::MaskOp op, const Body &body);
  void lowerScore(LaneBuilder &b, tile::ScoreOp op, const Body &body);
  void lowerSoftmaxStep(LaneBuilder &b, tile::SoftmaxStepOp op, const Body &body);

  // DecodeKeys.cpp
  Value loadDims(LaneBuilder &b, Type element, Value row, int64_t first, int64_t count,
                 int64_t dim);
  void loadQueries(LaneBuilder &b);
  void quantizeRow(LaneBuilder &b, Value row);
  Value keyRow(LaneBuilder &b, int64_t binding, const Body &body, Value row);
  void loadKeyNumbers(LaneBuilder &b, Value tile, const Body &body);
  Value keyNumbers(LaneBuilder &b, Value tile, Value key);
  Value hasTurn(LaneBuilder &b, Value group, Value turn);
  void askAhead(LaneBuilder &b, const KeyRows &keys, const Body &body, Value row, Value wanted);

  // DecodeProducts.cpp
  void lowerDotQK(LaneBuilder &b, tile::DotQKOp op, const Body &body);
  void lowerDotPV(LaneBuilder &b, tile::DotPVOp op, const Body &body);
  void byBound(LaneBuilder &b, const Body &body, llvm::function_ref<void(bool streamed)> emit);
  Value loadKey(LaneBuilder &b, const ScoreTile &tile, int64_t i, int64_t chunk);
  SmallVector<Value> startScores(LaneBuilder &b, const ScoreTile &tile);
  void multiplyKeys(LaneBuilder &b, const ScoreTile &tile, Value rows, bool streamed);
  void narrowProbabilities(LaneBuilder &b, const Body &body);
  void rescaleOutputs(LaneBuilder &b);
  void addValues(LaneBuilder &b, const KeyRows &v, const Body &body, const OutTile &tile,
                 llvm::function_ref<void(Value key)> ask);
  bool streams();
  DotKind outputKind();
  int64_t queryChunks();

  // DecodeOutput.cpp
  void emitFinish(OpBuilder &builder, StringRef symbol);
  void finishRow(LaneBuilder &b, Value firstPiece, Value row);
  Value mergeChunks(LaneBuilder &b, Value firstPiece, Value row, Value factor, Value max);
  void naturalOrder(LaneBuilder &b);
  void lowerOutput(LaneBuilder &b, tile::OutputOp op, Value lse);
  void storeRow(LaneBuilder &b, tile::StoreQueriesOp op, Value lse);

  tile::KernelOp kernel;
  const CpuArch &arch;
  DecodeSchedule schedule;
  // The ops of the program, each there once (twice in the bodies).
  tile::ForKeysOp walk;
  tile::DotQKOp dotQK;
  tile::DotPVOp dotPV;
  tile::LoadQueriesOp queries;
  tile::QuantizeOp quantize; ///< or null
  tile::SoftmaxFinishOp finish;
  DotKind scoreKind;

  // Of the function that is being emitted.
  std::optional<CallFrame> frame;
  Plan p; ///< of the function that is being emitted
  Value arena, parts;
  Value tileStart, rowCount, rowGroups; ///< i64; of the current tile
  Value memoryBound;                    ///< i1; of the current tile
  Value records;                        ///< of the current piece
  Value queryRow, queryPosition;        ///< of the current row, i64 and i32
  IRMapping scalars;
  llvm::DenseMap<Value, KeyRows> keys;
  llvm::DenseMap<int64_t, BindingRows> keyBindings;

  int64_t arenaSize = 0;
  int64_t queryOffset, scaleOffset, scoreOffset, alphaOffset, weightOffset, rowOffset;
  llvm::DenseMap<int64_t, int64_t> numberOffsets; ///< by binding
};

} // namespace mlir::attn
