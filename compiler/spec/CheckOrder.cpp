// Token orders: what may be ordered how, and how an axis is decoded from a
// position then. Masks speak of coordinates and do not change with the order.
#include "compiler/spec/Checker.h"

#include <algorithm>
#include <numeric>

namespace attn::spec {

// order_c1, order_c2, order_c3, order_c4
void Checker::checkOrder(const ast::TokenOrder &order, SpaceInfo &space) {
  if (!wordAmong(order.kind, "order", "permuted, tiled or morton"))
    return;
  OrderInfo info;
  info.kind = order.kind.text == "tiled"    ? OrderKind::Tiled
              : order.kind.text == "morton" ? OrderKind::Morton
                                            : OrderKind::Permuted;
  info.tiles.assign(info.kind == OrderKind::Tiled ? space.axes.size() : 0, 1);
  std::vector<std::string> names;
  for (const SpaceAxis &axis : space.axes)
    names.push_back(axis.name);
  auto indexOf = [&](const ast::Name &name) -> std::optional<uint32_t> {
    auto found = std::find(names.begin(), names.end(), name.text);
    auto index = static_cast<uint32_t>(found - names.begin());
    bool twice = std::find(info.axes.begin(), info.axes.end(), index) != info.axes.end();
    if (found == names.end() || twice) {
      report(DiagnosticId::order_c1, name.range,
             {"`" + name.text + "`", twice ? "named twice" : "no axis of `" + space.name + "`",
              listOf(names)});
      return std::nullopt;
    }
    info.axes.push_back(index);
    return index;
  };
  auto grows = [&](uint32_t axis, SourceRange range) { // and so lies outermost
    AxisKind kind = space.axes[axis].kind;
    if (kind == AxisKind::Fixed)
      return false;
    report(DiagnosticId::order_c4, range,
           {"`" + names[axis] + "`", kind == AxisKind::Stream   ? "a stream"
                                     : kind == AxisKind::Ragged ? "ragged"
                                                                : "packed"});
    return true;
  };

  if (info.kind == OrderKind::Tiled) {
    for (const ast::Binding &tile : order.tiles) {
      std::optional<uint32_t> axis = indexOf(tile.name);
      std::optional<int64_t> size = constantInteger(*tile.value, "the size of a tile");
      if (!axis || !size)
        return;
      if (*size != 1 && grows(*axis, tile.value->range))
        return;
      const Extent &extent = space.axes[*axis].extent;
      bool divides = extent.isStatic() && *size >= 1 && extent.value % *size == 0;
      if (*size != 1 && !divides) {
        report(DiagnosticId::order_c2, tile.value->range,
               {"`" + tile.name.text + "`", std::to_string(*size),
                extent.isStatic() ? std::to_string(extent.value) : "no constant"});
        return;
      }
      info.tiles[*axis] = *size;
    }
    info.axes.clear();
    space.order = info;
    return;
  }
  for (const ast::Name &name : order.axes) {
    std::optional<uint32_t> axis = indexOf(name);
    if (!axis)
      return;
    bool outermost = info.kind == OrderKind::Permuted && info.axes.size() == 1;
    if (!outermost && grows(*axis, name.range))
      return;
    const Extent &extent = space.axes[*axis].extent;
    bool power = extent.isStatic() && (extent.value & (extent.value - 1)) == 0;
    if (info.kind == OrderKind::Morton && !power) {
      report(DiagnosticId::order_c3, name.range,
             {"`" + name.text + "`",
              extent.isStatic() ? std::to_string(extent.value) : "no constant"});
      return;
    }
  }
  if (info.kind == OrderKind::Permuted && info.axes.size() != names.size()) {
    report(DiagnosticId::order_c1, order.range,
           {"the order", "not complete", listOf(names) + ", all of them"});
    return;
  }
  space.order = info;
}

std::vector<uint32_t> outermostFirst(const SpaceInfo &space) {
  if (space.order.kind == OrderKind::Permuted)
    return space.order.axes;
  std::vector<uint32_t> sequence(space.axes.size());
  std::iota(sequence.begin(), sequence.end(), 0u);
  return sequence;
}

bool firstAxisOutermost(const SpaceInfo &space) {
  const OrderInfo &order = space.order;
  switch (order.kind) {
  case OrderKind::RowMajor:
    return true;
  case OrderKind::Permuted:
    return order.axes[0] == 0;
  case OrderKind::Tiled:
    return order.tiles[0] == 1;
  case OrderKind::Morton:
    return std::find(order.axes.begin(), order.axes.end(), 0u) == order.axes.end();
  }
  return false;
}

// An axis of a row-major grid over `sequence`, whose cells hold `below` tokens.
Decode Checker::gridDecode(const TokenGroup &group, const std::vector<uint32_t> &sequence,
                           uint32_t axis, int64_t below) {
  const SpaceInfo space = spec.spaces[group.space];
  size_t at =
      static_cast<size_t>(std::find(sequence.begin(), sequence.end(), axis) - sequence.begin());
  Decode decode;
  decode.base = group.base;
  decode.divisor.value = below;
  for (size_t i = at + 1; i < sequence.size(); ++i)
    decode.divisor = multiply(decode.divisor, space.axes[sequence[i]].extent);
  if (at != 0)
    decode.modulus = space.axes[axis].extent;
  return decode;
}

// The coordinate, put together by `parts`.
static ExprPtr assembled(const CoordinateRef &ref, const ExprPtr &parts, SourceRange range) {
  if (!parts)
    return nullptr;
  auto expr = std::make_shared<Expr>();
  expr->op = Op::Coordinate;
  expr->type = Type::Int;
  expr->range = range;
  expr->payload = ref;
  expr->operands = {parts};
  expr->treeSize = parts->treeSize + 1;
  expr->depth = parts->depth + 1;
  return expr;
}

ExprPtr Checker::tiledCoordinate(const CoordinateRef &ref, const TokenGroup &group,
                                 SourceRange range) {
  const SpaceInfo space = spec.spaces[ref.space];
  const std::vector<int64_t> &tiles = space.order.tiles;
  int64_t inTile = 1, after = 1;
  for (size_t i = 0; i < tiles.size(); ++i) {
    inTile *= tiles[i];
    after *= i > ref.axis ? tiles[i] : 1;
  }
  int64_t tile = tiles[ref.axis];
  CoordinateRef number = ref, place = ref;
  number.decode.base = place.decode.base = group.base;
  number.decode.divisor.value = inTile;
  auto tilesAlong = [&](size_t axis) {
    const Extent &extent = space.axes[axis].extent;
    return tiles[axis] == 1 ? extent : Extent{extent.value / tiles[axis], nullptr};
  };
  for (size_t i = ref.axis + 1; i < tiles.size(); ++i)
    number.decode.divisor = multiply(number.decode.divisor, tilesAlong(i));
  if (ref.axis != 0)
    number.decode.modulus = tilesAlong(ref.axis);
  place.decode.divisor.value = after;
  place.decode.modulus.value = tile;
  ExprPtr numberExpr = leaf(Op::Coordinate, Type::Int, range, number);
  if (tile == 1)
    return numberExpr;
  ExprPtr first = binary(Op::Multiply, numberExpr, integer(tile, range), range, "an axis");
  ExprPtr inner = leaf(Op::Coordinate, Type::Int, range, place);
  return assembled(ref, binary(Op::Add, first, inner, range, "an axis"), range);
}

// Bit 0 of the last interleaved axis is bit 0 of the position, bit 0 of the one
// before it bit 1, and so on; an axis that has no bits left is skipped.
ExprPtr Checker::mortonCoordinate(const CoordinateRef &ref, const TokenGroup &group,
                                  SourceRange range) {
  const SpaceInfo space = spec.spaces[ref.space];
  const std::vector<uint32_t> &interleaved = space.order.axes;
  std::vector<uint32_t> others;
  int64_t within = 1;
  for (uint32_t axis = 0; axis < space.axes.size(); ++axis)
    if (std::find(interleaved.begin(), interleaved.end(), axis) == interleaved.end())
      others.push_back(axis);
    else
      within *= space.axes[axis].extent.value;
  CoordinateRef part = ref;
  if (std::find(others.begin(), others.end(), ref.axis) != others.end()) {
    part.decode = gridDecode(group, others, ref.axis, within);
    return leaf(Op::Coordinate, Type::Int, range, part);
  }
  ExprPtr sum;
  int64_t positionBit = 1; // 1 << its number
  for (int64_t bit = 1; positionBit < within; bit *= 2)
    for (size_t i = interleaved.size(); i-- > 0;) {
      if (space.axes[interleaved[i]].extent.value <= bit)
        continue;
      if (interleaved[i] == ref.axis) {
        part.decode.base = group.base;
        part.decode.divisor.value = positionBit;
        // The highest bit of all wraps with the axis outside, if there is one.
        part.decode.modulus.value = 2;
        ExprPtr digit = leaf(Op::Coordinate, Type::Int, range, part);
        ExprPtr term = binary(Op::Multiply, digit, integer(bit, range), range, "an axis");
        sum = sum ? binary(Op::Add, term, sum, range, "an axis") : term;
      }
      positionBit *= 2;
    }
  if (!sum) // an axis of one value
    sum = integer(0, range);
  return assembled(ref, sum, range);
}

} // namespace attn::spec
