// One work item of a tile.kernel as the interpreter runs it: the values of its
// tiles, and the ops of both phases on them.
#pragma once

#include "tests/interpreter/Coroutines.h"
#include "tests/interpreter/TileInterpreter.h"

#include <algorithm>
#include <map>

namespace attn::interpreter {

using namespace mlir; // an internal header of the interpreter

struct Tile {
  int64_t rows = 0, columns = 1;
  std::vector<double> values;
  Tile() = default;
  Tile(int64_t rows, int64_t columns, double fill = 0)
      : rows(rows), columns(columns), values(rows * columns, fill) {}
  double &at(int64_t row, int64_t column = 0) { return values[row * columns + column]; }
  double at(int64_t row, int64_t column = 0) const { return values[row * columns + column]; }
};

inline Tile tileOf(Type type) {
  ArrayRef<int64_t> shape = cast<tile::TileType>(type).getShape();
  return Tile(shape[0], shape.size() == 2 ? shape[1] : 1);
}

struct KeyBlock {
  int64_t slot = 0, position = 0, count = 0;
  bool full = false;
};

// Rings of the schedule phase, shared by the roles of an item.
struct RingStage {
  Tile tile;
  bool free = true, full = false;
  KeyBlock note; // of the block announced with it
  bool end = false;
};
struct Ring {
  std::vector<RingStage> stages;
  size_t acquired = 0, received = 0;
};
struct Rings {
  llvm::DenseMap<Value, Ring> rings;
  std::vector<std::function<void()>> copies; // in flight, to land in any order
};

class Item {
public:
  Item(mlir::tile::KernelOp kernel, const KernelCall &call, KernelResult &result, int64_t batch,
       int64_t head, int64_t firstRow)
      : kernel(kernel), call(call), result(result), batch(batch), head(head), firstRow(firstRow) {
    env.params = call.params;
    env.tables = call.tables;
    for (auto binding : kernel.getBindings().getAsRange<tile::BindingAttr>())
      env.firstTable += binding.getRole() < tile::Role::table;
    env.head = head;
    env.batch = batch;
    env.layer = call.layer;
    env.heads = call.heads;
    env.kvHeads = call.kvHeads;
    validRows = std::min<int64_t>(kernel.getBlockQ(), call.rows - firstRow);
  }
  void run() { runBlock(kernel.getBody().front()); }
  // As one of the roles of an item.
  void runRole(Block &body, Rings &shared, Coroutines &others) {
    rings = &shared;
    coroutines = &others;
    runBlock(body);
  }

private:
  void runBlock(Block &block) {
    for (Operation &op : block)
      if (!op.hasTrait<OpTrait::IsTerminator>())
        runOp(op);
  }
  void runOp(Operation &op);
  void loadQueries(tile::LoadQueriesOp op);
  void loadInput(tile::LoadQueriesOp op);
  void loadKeys(tile::LoadKeysOp op);
  void store(tile::StoreQueriesOp op);
  void walk(tile::ForKeysOp op);
  void dotQK(tile::DotQKOp op);
  void quantize(tile::QuantizeOp op);
  void scalarMap(Operation &op, Value scores, Value keysValue, Block &body);
  void step(tile::SoftmaxStepOp op);
  void dotPV(tile::DotPVOp op);
  void finish(tile::SoftmaxFinishOp op);
  void output(tile::OutputOp op);
  void merge(tile::MergePartsOp op);
  // Calls `visit` for each admitted block, in order.
  void forBlocks(const mlir::attn::KeyClasses &classes,
                 llvm::function_ref<void(const KeyBlock &)> visit);
  std::span<const double> keysOf(int64_t index);
  void copyRows(Tile &tile, std::span<const double> from, int64_t first, int64_t count);

  // ScheduleInterpreter.cpp
  bool runScheduleOp(Operation &op);
  void specialize(tile::WarpSpecializeOp op);
  RingStage &acquire(Value ring);
  RingStage &receive(Value ring);
  void copy(RingStage &stage, Tile tile);
  void produce(tile::ProduceKeysOp op);
  void consume(tile::ConsumeKeysOp op);
  void runBody(Block &body, size_t first, std::vector<Value> &state);
  tile::BindingAttr binding(int64_t index) {
    return cast<tile::BindingAttr>(kernel.getBindings()[index]);
  }

  tile::KernelOp kernel;
  const KernelCall &call;
  KernelResult &result;
  int64_t batch, head, firstRow, validRows;
  ScalarEnvironment env;
  llvm::DenseMap<Value, Tile> tiles;
  llvm::DenseMap<Value, KeyBlock> keys;
  ScalarValues scalars;

  Rings *rings = nullptr;
  Coroutines *coroutines = nullptr;
  llvm::DenseMap<Value, RingStage *> slots;
  llvm::DenseMap<Value, std::function<Tile()>> pending;
};

} // namespace attn::interpreter
