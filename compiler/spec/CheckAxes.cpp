// Axes: from a name to the expression that decodes it from a position, for the
// query's and for the keys' side, through concatenations and derived axes.
#include "compiler/spec/Checker.h"

namespace attn::spec {

// The same expression, said at another place.
static ExprPtr placed(const ExprPtr &expr, SourceRange range) {
  if (!expr)
    return expr;
  auto copy = std::make_shared<Expr>(*expr);
  copy->range = range;
  return copy;
}

int Checker::spaceIndex(std::string_view name) const {
  for (size_t i = 0; i < spec.spaces.size(); ++i)
    if (spec.spaces[i].name == name)
      return static_cast<int>(i);
  return -1;
}

ExprPtr Checker::toExpr(const Extent &extent, SourceRange range) {
  return extent.isStatic() ? integer(extent.value, range) : extent.dynamic;
}

Extent Checker::multiply(const Extent &a, const Extent &b) {
  if (a.isStatic() && b.isStatic())
    return {a.value * b.value, nullptr};
  if (a.isStatic() && a.value == 1)
    return b;
  if (b.isStatic() && b.value == 1)
    return a;
  return {0, binary(Op::Multiply, toExpr(a, {}), toExpr(b, {}), {}, "an extent")};
}

Extent Checker::add(const Extent &a, const Extent &b) {
  if (a.isStatic() && b.isStatic())
    return {a.value + b.value, nullptr};
  if (a.isStatic() && a.value == 0)
    return b;
  return {0, binary(Op::Add, toExpr(a, {}), toExpr(b, {}), {}, "an extent")};
}

// The run-time extent of a ragged space's first axis is a parameter that the
// checker adds when it is needed.
Extent Checker::raggedLength(uint32_t space) {
  const SpaceInfo &info = spec.spaces[space];
  std::string name = "len_" + info.name;
  for (size_t i = 0; i < spec.params.size(); ++i)
    if (spec.params[i].name == name)
      return {0, leaf(Op::Param, Type::Int, info.range, static_cast<uint32_t>(i))};
  ParamInfo param;
  param.name = name;
  param.maximum = static_cast<double>(info.axes[0].extent.value);
  param.implicit = true;
  param.range = info.range;
  spec.params.push_back(param);
  return {0, leaf(Op::Param, Type::Int, info.range, static_cast<uint32_t>(spec.params.size() - 1))};
}

// The number of tokens of a space; absent for a stream and for packed documents.
std::optional<Extent> Checker::spaceLength(uint32_t space) {
  Extent length{1, nullptr};
  for (size_t i = 0; i < spec.spaces[space].axes.size(); ++i) {
    SpaceAxis axis = spec.spaces[space].axes[i];
    if (axis.kind == AxisKind::Stream || axis.kind == AxisKind::Packed)
      return std::nullopt;
    length = multiply(length, axis.kind == AxisKind::Ragged ? raggedLength(space) : axis.extent);
  }
  return length;
}

// A space's coordinate from a position.
ExprPtr Checker::gridCoordinate(Side side, const TokenGroup &group, uint32_t axis) {
  const SpaceInfo space = spec.spaces[group.space];
  SourceRange range = space.axes[axis].range;
  if (space.axes[0].kind == AxisKind::Packed) {
    ExprPtr position = leaf(Op::Position, Type::Int, range, side);
    uint32_t table = 0;
    std::string wanted = space.name + "_" + (axis == 0 ? space.axes[0].name : "start");
    while (table < spec.tables.size() && spec.tables[table].name != wanted)
      ++table;
    if (table == spec.tables.size())
      return nullptr; // the space itself was reported
    ExprPtr entry = gather(table, Type::Int, {position}, range);
    return axis == 0 ? entry : binary(Op::Subtract, position, entry, range, "an axis");
  }
  CoordinateRef ref{side, group.space, axis, {}};
  switch (space.order.kind) {
  case OrderKind::RowMajor:
  case OrderKind::Permuted:
    ref.decode = gridDecode(group, outermostFirst(space), axis, 1);
    return leaf(Op::Coordinate, Type::Int, range, ref);
  case OrderKind::Tiled:
    return tiledCoordinate(ref, group, range);
  case OrderKind::Morton:
    return mortonCoordinate(ref, group, range);
  }
  return nullptr;
}

AxisSide Checker::gridAxis(Side side, const TokenGroup &group, uint32_t axis) {
  AxisSide result;
  result.value = gridCoordinate(side, group, axis);
  if (result.value) {
    result.decode = decodeOf(*result.value);
    result.extent = extentOf(*result.value);
  }
  return result;
}

void Checker::nameCoordinates(Side side, TokensInfo &tokens) {
  expansions = 0; // all of this was expanded within the bound before
  for (TokenGroup &group : tokens.groups) {
    for (uint32_t axis = 0; axis < spec.spaces[group.space].axes.size(); ++axis)
      group.coordinates.push_back(
          {spec.spaces[group.space].axes[axis].name, gridCoordinate(side, group, axis)});
    for (const auto &[name, derived] : derivedAxes) {
      if (derivedSpace[name] != group.space)
        continue;
      Derivation context{group.space, side, group};
      derivation = &context;
      group.coordinates.push_back({name, resolveAt(Place::Axis, *derived->value)});
      derivation = nullptr;
    }
  }
}

AxisSide Checker::derivedAxis(Side side, const TokenGroup &group, const ast::Derived &derived) {
  Derivation context{group.space, side, group};
  Derivation *before = derivation;
  derivation = &context;
  AxisSide result;
  result.value = resolveAt(Place::Axis, *derived.value);
  derivation = before;
  if (result.value) {
    result.decode = decodeOf(*result.value);
    result.extent = extentOf(*result.value);
  }
  return result;
}

// A name inside `axis b = ...`: an axis of the one space it is made of, or an
// axis derived before.
ExprPtr Checker::derivationLeaf(const std::vector<ast::Name> &path, SourceRange range) {
  const std::string &last = path.back().text;
  if (path.size() == 1 && derivedAxes.count(last)) {
    uint32_t space = derivedSpace[last];
    if (derivation->space == UINT32_MAX)
      derivation->space = derivation->group.space = space;
    if (++expansions > maxExpansions) {
      reportTooLarge(range);
      return nullptr;
    }
    if (derivation->space == space)
      return resolve(*derivedAxes[last]->value);
  }
  int found = -1, axisFound = 0;
  bool ambiguous = false;
  for (size_t s = 0; s < spec.spaces.size(); ++s) {
    if (path.size() == 2 && spec.spaces[s].name != path[0].text)
      continue;
    if (path.size() == 1 && derivation->space != UINT32_MAX && derivation->space != s)
      continue;
    for (size_t a = 0; a < spec.spaces[s].axes.size(); ++a)
      if (spec.spaces[s].axes[a].name == last) {
        ambiguous |= found >= 0;
        found = static_cast<int>(s);
        axisFound = static_cast<int>(a);
      }
  }
  if (path.size() > 2 || found < 0) {
    if (path.size() == 1)
      return unknownName(path[0]);
    report(DiagnosticId::name_c3, range, {"name `" + path[0].text + "." + path[1].text + "`", ""});
    return nullptr;
  }
  if (derivation->space == UINT32_MAX && !ambiguous)
    derivation->space = derivation->group.space = static_cast<uint32_t>(found);
  if (ambiguous || derivation->space != static_cast<uint32_t>(found)) {
    report(DiagnosticId::axis_c1, range, {"`" + last + "`"});
    return nullptr;
  }
  return gridCoordinate(derivation->side, derivation->group, static_cast<uint32_t>(axisFound));
}

// One plain decode, if the expression is one: a coordinate, or // and % of it.
std::optional<Decode> Checker::decodeOf(const Expr &expr) {
  if (expr.op == Op::Coordinate && !expr.operands.empty())
    return std::nullopt;
  if (expr.op == Op::Coordinate)
    return expr.coordinate().decode;
  if (expr.op == Op::Position)
    return Decode{};
  if (expr.op != Op::FloorDiv && expr.op != Op::Mod)
    return std::nullopt;
  std::optional<int64_t> by = constantInt(expr.operands[1]);
  std::optional<Decode> inner = by ? decodeWithin(*expr.operands[0], expr.op, *by) : std::nullopt;
  if (!inner)
    inner = decodeOf(*expr.operands[0]);
  if (!inner || !by || *by < 1)
    return std::nullopt;
  Extent &modulus = inner->modulus;
  bool unwrapped = modulus.isStatic() && modulus.value == 0;
  // A block that straddles the wrap-around is no plain decode.
  if (!unwrapped && (!modulus.isStatic() || modulus.value % *by != 0))
    return std::nullopt;
  if (expr.op == Op::Mod) {
    modulus = {*by, nullptr};
  } else if (*by != 1) {
    inner->divisor = multiply(inner->divisor, {*by, nullptr});
    if (inner->divisor.isStatic() && inner->divisor.value > INT32_MAX)
      return std::nullopt;
    if (!unwrapped)
      modulus.value /= *by;
  }
  return inner;
}

// Of a tiled coordinate, whole tiles and places within a tile are plain decodes:
// the tile's number (then `by` counts tiles) or the place (then `by` divides it).
std::optional<Decode> Checker::decodeWithin(const Expr &expr, Op op, int64_t &by) {
  if (expr.op != Op::Coordinate || expr.operands.empty() || by < 1)
    return std::nullopt;
  const CoordinateRef &ref = expr.coordinate();
  const OrderInfo &order = spec.spaces[ref.space].order;
  if (order.kind != OrderKind::Tiled)
    return std::nullopt;
  int64_t tile = order.tiles[ref.axis];
  const Expr &sum = *expr.operands[0]; // tile number * tile + place
  if (op == Op::Mod)
    return tile % by == 0 ? std::optional(sum.operands[1]->coordinate().decode) : std::nullopt;
  if (by % tile != 0)
    return std::nullopt;
  by /= tile;
  return sum.operands[0]->operands[0]->coordinate().decode;
}

// How many values an axis has: 0 .. extent - 1.
std::optional<Extent> Checker::extentOf(const Expr &expr) {
  if (expr.op == Op::Coordinate) {
    const CoordinateRef &ref = expr.coordinate();
    const SpaceAxis axis = spec.spaces[ref.space].axes[ref.axis];
    switch (axis.kind) {
    case AxisKind::Fixed:
      return axis.extent;
    case AxisKind::Ragged:
      return raggedLength(ref.space);
    default:
      return std::nullopt;
    }
  }
  if (expr.op != Op::FloorDiv && expr.op != Op::Mod)
    return std::nullopt;
  std::optional<int64_t> by = constantInt(expr.operands[1]);
  if (!by || *by < 1)
    return std::nullopt;
  std::optional<Extent> inner = extentOf(*expr.operands[0]);
  if (expr.op == Op::Mod) {
    if (inner && inner->isStatic() && inner->value < *by)
      return inner;
    return Extent{*by, nullptr};
  }
  if (!inner)
    return std::nullopt;
  if (inner->isStatic())
    return Extent{(inner->value + *by - 1) / *by, nullptr};
  ExprPtr rounded = toExpr(add(*inner, {*by - 1, nullptr}), {});
  return Extent{0, binary(Op::FloorDiv, rounded, integer(*by, {}), {}, "an extent")};
}

Checker::Found Checker::findAxis(Side side, const std::vector<ast::Name> &path, AxisSide &result) {
  const std::string &name = path.back().text;
  auto derived = path.size() == 1 ? derivedAxes.find(name) : derivedAxes.end();
  bool found = false;
  for (const TokenGroup &group : visible(side)) {
    const SpaceInfo &space = spec.spaces[group.space];
    if (path.size() == 2 && space.name != path[0].text)
      continue;
    if (derived != derivedAxes.end()) {
      if (derivedSpace[name] != group.space)
        continue;
      if (found)
        return Found::Ambiguous;
      result = derivedAxis(side, group, *derived->second);
      found = true;
      continue;
    }
    for (uint32_t axis = 0; axis < spec.spaces[group.space].axes.size(); ++axis) {
      if (spec.spaces[group.space].axes[axis].name != name)
        continue;
      if (found)
        return Found::Ambiguous;
      result = gridAxis(side, group, axis);
      found = true;
    }
  }
  return found ? Found::Yes : Found::Missing;
}

std::string Checker::axisNames(Side side) {
  std::vector<std::string> names;
  for (const TokenGroup &group : visible(side)) {
    for (const SpaceAxis &axis : spec.spaces[group.space].axes)
      names.push_back(axis.name);
    for (const auto &[name, derived] : derivedAxes)
      if (derivedSpace[name] == group.space)
        names.push_back(name);
  }
  return listOf(names);
}

ExprPtr Checker::axisValue(Side side, const std::vector<ast::Name> &path, SourceRange range) {
  const std::string prefix = side == Side::Query ? "q." : "k.";
  if (path.size() == 1 && path[0].text == "position")
    return leaf(Op::Position, Type::Int, range, side);
  if (scope && path.size() == 1)
    for (const Scope *s = scope; s; s = s->parent)
      if (auto axis = s->axes.find(path[0].text); axis != s->axes.end()) {
        const AxisSide &found = side == Side::Query ? axis->second.query : axis->second.key;
        if (!found.value)
          report(DiagnosticId::name_c5, range,
                 {spelled(side), "`" + axis->second.name + "`", axisNames(side)});
        return placed(found.value, range);
      }
  for (const ast::Name &part : path)
    if (poisoned.count(part.text))
      return nullptr;
  AxisSide result;
  switch (closedScope ? Found::Missing : findAxis(side, path, result)) {
  case Found::Yes:
    return placed(result.value, range);
  case Found::Ambiguous: {
    std::vector<std::string> ways;
    for (const TokenGroup &group : visible(side))
      ways.push_back(prefix + spec.spaces[group.space].name + "." + path[0].text);
    report(DiagnosticId::name_c6, range,
           {"`" + path.back().text + "`", spelled(side), listOf(ways)});
    return nullptr;
  }
  case Found::Missing:
    break;
  }
  report(DiagnosticId::name_c5, range,
         {spelled(side), "`" + path.back().text + "`",
          closedScope ? "the axes among the pattern's arguments" : axisNames(side)});
  return nullptr;
}

std::optional<AxisRef> Checker::axisRef(const std::vector<ast::Name> &path, SourceRange range) {
  if (path.size() == 1)
    for (const Scope *s = scope; s; s = s->parent)
      if (auto axis = s->axes.find(path[0].text); axis != s->axes.end())
        return axis->second;
  if (closedScope) {
    unknownName(path[0]);
    return std::nullopt;
  }
  for (const ast::Name &part : path)
    if (poisoned.count(part.text))
      return std::nullopt;
  AxisRef ref{path.back().text, {}, {}, range};
  Found query = findAxis(Side::Query, path, ref.query), key = findAxis(Side::Key, path, ref.key);
  if (query == Found::Yes || key == Found::Yes) {
    if (query != Found::Ambiguous && key != Found::Ambiguous)
      return ref;
  }
  if (query == Found::Missing && key == Found::Missing) {
    std::string names = axisNames(Side::Query), keyNames = axisNames(Side::Key);
    report(DiagnosticId::name_c5, range,
           {"query and key", "`" + ref.name + "`",
            names == keyNames ? names : names + "; " + keyNames});
  } else {
    Side side = query == Found::Ambiguous ? Side::Query : Side::Key;
    std::vector<std::string> ways;
    for (const TokenGroup &group : visible(side))
      ways.push_back(spec.spaces[group.space].name + "." + ref.name);
    report(DiagnosticId::name_c6, range, {"`" + ref.name + "`", spelled(side), listOf(ways)});
  }
  return std::nullopt;
}

// Whether a position of `side` belongs to one of the groups.
ExprPtr Checker::inGroups(Side side, const std::vector<TokenGroup> &groups,
                          const TokensInfo &tokens, SourceRange range) {
  if (groups.size() == tokens.groups.size())
    return boolean(true, range);
  ExprPtr position = leaf(Op::Position, Type::Int, range, side);
  ExprPtr result = boolean(false, range);
  for (const TokenGroup &group : groups) {
    ExprPtr inside = boolean(true, range);
    if (!group.base.isStatic() || group.base.value != 0)
      inside = binary(Op::GreaterEqual, position, toExpr(group.base, range), range, "a case");
    bool last = group.space == tokens.groups.back().space;
    if (group.length && !last) {
      ExprPtr end = toExpr(add(group.base, *group.length), range);
      inside = conjunction(inside, binary(Op::Less, position, end, range, "a case"));
    }
    result = disjunction(result, inside);
  }
  return result;
}

} // namespace attn::spec
