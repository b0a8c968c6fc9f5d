// Walks the ops of a tile.kernel for every (batch, head, query tile).
#include "tests/interpreter/TileItem.h"

#include "llvm/ADT/TypeSwitch.h"

#include <cmath>
#include <limits>

namespace attn::interpreter {

static constexpr double kSentinel = -1e30, kInitialMax = -1e20;

void Item::loadInput(tile::LoadQueriesOp op) {
  int64_t place = op.getBinding() - env.firstTable - int64_t(call.tables.size());
  const Input &input = call.inputs[place];
  auto pick = [](int64_t index, int64_t extent) { return extent == 1 ? 0 : index; };
  Tile tile = tileOf(op.getType());
  for (int64_t row = 0; row < validRows; ++row)
    for (int64_t dim = 0; dim < tile.columns; ++dim) {
      int64_t at = pick(batch, input.batch) * input.rows + pick(firstRow + row, input.rows);
      at = at * input.heads + pick(head, input.heads);
      tile.at(row, dim) = input.values[at * input.dims + pick(dim, input.dims)];
    }
  tiles[op.getResult()] = std::move(tile);
}

void Item::loadQueries(tile::LoadQueriesOp op) {
  if (binding(op.getBinding()).getRole() == tile::Role::input)
    return loadInput(op);
  Tile tile = tileOf(op.getType());
  for (int64_t row = 0; row < validRows; ++row)
    for (int64_t dim = 0; dim < tile.columns; ++dim)
      tile.at(row, dim) =
          call.q[((batch * call.heads + head) * call.rows + firstRow + row) * tile.columns + dim];
  tiles[op.getResult()] = std::move(tile);
}

std::span<const double> Item::keysOf(int64_t index) {
  switch (binding(index).getRole()) {
  case tile::Role::k:
    return call.k;
  case tile::Role::v:
    return call.v;
  case tile::Role::k_scale:
    return call.kScale;
  default:
    return call.vScale;
  }
}

// Rows `first`.. of this item's KV head.
void Item::copyRows(Tile &tile, std::span<const double> from, int64_t first, int64_t count) {
  int64_t kvHead = head / (call.heads / call.kvHeads);
  for (int64_t key = 0; key < count; ++key)
    for (int64_t dim = 0; dim < tile.columns; ++dim)
      tile.at(key, dim) =
          from[((batch * call.kvHeads + kvHead) * call.slots + first + key) * tile.columns + dim];
}

void Item::loadKeys(tile::LoadKeysOp op) {
  Tile tile = tileOf(op.getType());
  KeyBlock block = keys.lookup(op.getKeys());
  copyRows(tile, keysOf(op.getBinding()), block.slot, block.count);
  tiles[op.getResult()] = std::move(tile);
}

void Item::store(tile::StoreQueriesOp op) {
  const Tile &tile = tiles[op.getValue()];
  auto &to = binding(op.getBinding()).getRole() == tile::Role::o ? result.o : result.lse;
  for (int64_t row = 0; row < validRows; ++row)
    for (int64_t dim = 0; dim < tile.columns; ++dim)
      to[((batch * call.heads + head) * call.rows + firstRow + row) * tile.columns + dim] =
          tile.at(row, dim);
}

void Item::forBlocks(const mlir::attn::KeyClasses &classes,
                     llvm::function_ref<void(const KeyBlock &)> visit) {
  int64_t blockK = kernel.getBlockK();
  int64_t low = call.queryPosition + firstRow, high = low + validRows - 1;
  for (const Segment &segment : call.segments[call.segments.size() == 1 ? 0 : batch])
    for (int64_t begin = 0; begin < segment.length; begin += blockK) {
      KeyBlock block{segment.firstSlot + begin, segment.firstPosition + begin,
                     std::min<int64_t>(blockK, segment.length - begin)};
      TileAnswer answer =
          classifyTile(classes, low, high, block.position, block.position + block.count - 1, env);
      if (!answer.any) {
        ++result.empty;
        continue;
      }
      block.full = answer.all && block.count == blockK;
      ++(block.full ? result.full : result.partial);
      visit(block);
    }
}

void Item::walk(tile::ForKeysOp op) {
  std::vector<Tile> state;
  for (Value init : op.getInits())
    state.push_back(tiles[init]);
  forBlocks(op, [&](const KeyBlock &block) {
    Block &body = block.full ? op.getFull().front() : op.getPartial().front();
    keys[body.getArgument(0)] = block;
    for (size_t i = 0; i < state.size(); ++i)
      tiles[body.getArgument(i + 1)] = state[i];
    runBlock(body);
    for (auto [i, value] : llvm::enumerate(body.getTerminator()->getOperands()))
      state[i] = tiles[value];
  });
  for (auto [i, value] : llvm::enumerate(op.getResults()))
    tiles[value] = state[i];
}

void Item::dotQK(tile::DotQKOp op) {
  const Tile q = tiles[op.getQ()], k = tiles[op.getK()];
  Tile s(q.rows, k.rows);
  for (int64_t i = 0; i < q.rows; ++i)
    for (int64_t j = 0; j < k.rows; ++j)
      for (int64_t d = 0; d < q.columns; ++d)
        s.at(i, j) += q.at(i, d) * k.at(j, d);
  tiles[op.getResult()] = std::move(s);
}

void Item::quantize(tile::QuantizeOp op) {
  const Tile x = tiles[op.getX()];
  Tile y(x.rows, x.columns), scale(x.rows, 1);
  for (int64_t i = 0; i < x.rows; ++i) {
    float most = 0;
    for (int64_t d = 0; d < x.columns; ++d)
      most = std::max(most, std::fabs(static_cast<float>(x.at(i, d))));
    float unit = most / 127.0f;
    scale.at(i) = unit;
    for (int64_t d = 0; unit > 0 && d < x.columns; ++d)
      y.at(i, d) =
          std::clamp(std::nearbyint(static_cast<float>(x.at(i, d)) / unit), -127.0f, 127.0f);
  }
  tiles[op.getResult()] = std::move(y);
  tiles[op.getScale()] = std::move(scale);
}

// tile.mask and tile.score: a scalar region for every pair of row and key.
void Item::scalarMap(Operation &op, Value scores, Value keysValue, Block &body) {
  Tile s = tiles[scores];
  KeyBlock block = keys.lookup(keysValue);
  bool isMask = isa<tile::MaskOp>(op);
  for (int64_t i = 0; i < s.rows; ++i)
    for (int64_t j = 0; j < s.columns; ++j) {
      // Rows and keys that do not exist are computed nowhere.
      if (i >= validRows || j >= block.count) {
        if (isMask && j >= block.count)
          s.at(i, j) = kSentinel;
        continue;
      }
      std::vector<Scalar> arguments;
      if (!isMask)
        arguments.push_back({0, s.at(i, j) * call.scale});
      for (int64_t value : {call.queryPosition + firstRow + i, block.position + j, head, batch})
        arguments.push_back({value, 0});
      Scalar value = evaluateScalars(body, arguments, env)[0];
      if (!isMask)
        s.at(i, j) = value.number;
      else if (!value.integer)
        s.at(i, j) = kSentinel;
    }
  tiles[op.getResult(0)] = std::move(s);
}

void Item::step(tile::SoftmaxStepOp op) {
  const Tile s = tiles[op.getS()], max = tiles[op.getMax()], sum = tiles[op.getSum()];
  double factor = scalars[op.getFactor()].number;
  Tile p(s.rows, s.columns), newMax = max, newSum = sum, alpha(s.rows, 1);
  for (int64_t i = 0; i < s.rows; ++i) {
    for (int64_t j = 0; j < s.columns; ++j)
      newMax.at(i) = std::max(newMax.at(i), s.at(i, j));
    alpha.at(i) = std::exp2((max.at(i) - newMax.at(i)) * factor);
    newSum.at(i) = sum.at(i) * alpha.at(i);
    for (int64_t j = 0; j < s.columns; ++j) {
      p.at(i, j) = std::exp2((s.at(i, j) - newMax.at(i)) * factor);
      newSum.at(i) += p.at(i, j);
    }
  }
  tiles[op.getP()] = std::move(p);
  tiles[op.getNewMax()] = std::move(newMax);
  tiles[op.getNewSum()] = std::move(newSum);
  tiles[op.getAlpha()] = std::move(alpha);
}

void Item::dotPV(tile::DotPVOp op) {
  const Tile p = tiles[op.getP()], v = tiles[op.getV()], alpha = tiles[op.getAlpha()];
  Tile o = tiles[op.getO()];
  for (int64_t i = 0; i < p.rows; ++i)
    for (int64_t d = 0; d < v.columns; ++d) {
      o.at(i, d) *= alpha.at(i);
      for (int64_t j = 0; j < p.columns; ++j)
        o.at(i, d) += p.at(i, j) * v.at(j, d);
    }
  tiles[op.getResult()] = std::move(o);
}

void Item::finish(tile::SoftmaxFinishOp op) {
  const Tile max = tiles[op.getMax()], sum = tiles[op.getSum()];
  Tile o = tiles[op.getO()], lse(max.rows, 1);
  double factor = scalars[op.getFactor()].number;
  for (int64_t i = 0; i < o.rows; ++i) {
    bool attends = sum.at(i) > 0;
    double whole = attends ? max.at(i) * factor * std::log(2.0) + std::log(sum.at(i))
                           : -std::numeric_limits<double>::infinity();
    double share = attends ? 1 / sum.at(i) : 0;
    if (op.getSinkLogit()) {
      double logit = scalars[op.getSinkLogit()].number;
      double top = std::max(whole, logit);
      double total = top + std::log(std::exp(whole - top) + std::exp(logit - top));
      share *= std::exp(whole - total);
      whole = total;
    }
    lse.at(i) = whole;
    for (int64_t d = 0; d < o.columns; ++d)
      o.at(i, d) *= share;
  }
  tiles[op.getOut()] = std::move(o);
  tiles[op.getLse()] = std::move(lse);
}

void Item::merge(tile::MergePartsOp op) {
  Tile max = tileOf(op.getMax().getType()), sum = max, o = tileOf(op.getOut().getType());
  for (int64_t i = 0; i < max.rows; ++i) {
    max.at(i) = kInitialMax;
    if (i >= validRows)
      continue;
    int64_t row = (batch * call.heads + head) * call.rows + firstRow + i;
    for (const KernelCall::Part &part : call.parts) {
      double score = std::max(part.lse[row], kSentinel), largest = std::max(max.at(i), score);
      double alpha = std::exp(max.at(i) - largest), weight = std::exp(score - largest);
      max.at(i) = largest;
      sum.at(i) = sum.at(i) * alpha + weight;
      for (int64_t d = 0; d < o.columns; ++d)
        o.at(i, d) = o.at(i, d) * alpha + (weight > 0 ? weight * part.o[row * o.columns + d] : 0);
    }
  }
  tiles[op.getMax()] = std::move(max);
  tiles[op.getSum()] = std::move(sum);
  tiles[op.getOut()] = std::move(o);
}

void Item::output(tile::OutputOp op) {
  Tile o = tiles[op.getO()];
  const Tile lse = tiles[op.getLse()];
  for (int64_t i = 0; i < validRows; ++i)
    for (int64_t d = 0; d < o.columns; ++d) {
      std::vector<Scalar> arguments{{0, o.at(i, d)},
                                    {0, std::max(lse.at(i), kSentinel)},
                                    {call.queryPosition + firstRow + i, 0},
                                    {head, 0},
                                    {batch, 0}};
      for (Value input : op.getInputs()) {
        const Tile &tile = tiles[input];
        arguments.push_back({0, tile.at(i, tile.columns == 1 ? 0 : d)});
      }
      o.at(i, d) = evaluateScalars(op.getBody().front(), arguments, env)[0].number;
    }
  tiles[op.getResult()] = std::move(o);
}

void Item::runOp(Operation &op) {
  llvm::TypeSwitch<Operation *>(&op)
      .Case([&](tile::LoadQueriesOp op) { loadQueries(op); })
      .Case([&](tile::LoadKeysOp op) { loadKeys(op); })
      .Case([&](tile::StoreQueriesOp op) { store(op); })
      .Case([&](tile::ForKeysOp op) { walk(op); })
      .Case([&](tile::DotQKOp op) { dotQK(op); })
      .Case([&](tile::QuantizeOp op) { quantize(op); })
      .Case([&](tile::DequantizeScoresOp op) {
        Tile s = tiles[op.getS()];
        const Tile row = tiles[op.getRowScale()], key = tiles[op.getKeyScale()];
        for (int64_t i = 0; i < s.rows; ++i)
          for (int64_t j = 0; j < s.columns; ++j)
            s.at(i, j) *= row.at(i) * key.at(j);
        tiles[op.getResult()] = std::move(s);
      })
      .Case([&](tile::DequantizeKeysOp op) {
        Tile x = tiles[op.getX()];
        const Tile scale = tiles[op.getScale()];
        for (int64_t j = 0; j < x.rows; ++j)
          for (int64_t d = 0; d < x.columns; ++d)
            x.at(j, d) *= scale.at(j);
        tiles[op.getResult()] = std::move(x);
      })
      .Case(
          [&](tile::ScoreOp op) { scalarMap(*op, op.getS(), op.getKeys(), op.getBody().front()); })
      .Case([&](tile::MaskOp op) { scalarMap(*op, op.getS(), op.getKeys(), op.getBody().front()); })
      .Case([&](tile::ScoreFactorOp op) {
        scalars[op.getResult()] = {0, (op.getPlain() ? 1 : call.scale) / std::log(2.0)};
      })
      .Case([&](tile::SortRowsOp) {}) // rows are computed one by one
      .Case([&](tile::SoftmaxInitOp op) {
        tiles[op.getMax()] = tileOf(op.getMax().getType());
        for (double &value : tiles[op.getMax()].values)
          value = kInitialMax;
        tiles[op.getSum()] = tileOf(op.getSum().getType());
        tiles[op.getOut()] = tileOf(op.getOut().getType());
      })
      .Case([&](tile::SoftmaxStepOp op) { step(op); })
      .Case([&](tile::DotPVOp op) { dotPV(op); })
      .Case([&](tile::SoftmaxFinishOp op) { finish(op); })
      .Case([&](tile::OutputOp op) { output(op); })
      .Case([&](tile::MergePartsOp op) { merge(op); })
      .Default([&](Operation *op) {
        if (!runScheduleOp(*op) && !evaluateScalarOp(*op, scalars, env))
          llvm::report_fatal_error("the interpreter does not know " + op->getName().getStringRef());
      });
}

KernelResult runKernel(tile::KernelOp kernel, const KernelCall &call) {
  KernelResult result;
  int64_t items = int64_t(call.batch) * call.heads;
  result.o.assign(items * call.rows * kernel.getVDim(), 0);
  result.lse.assign(items * call.rows, 0);
  for (int64_t batch = 0; batch < call.batch; ++batch)
    for (int64_t head = 0; head < call.heads; ++head)
      for (int64_t row = 0; row < call.rows; row += kernel.getBlockQ())
        try {
          Item(kernel, call, result, batch, head, row).run();
        } catch (const Fault &fault) {
          result.fault = fault.what();
        }
  return result;
}

} // namespace attn::interpreter
