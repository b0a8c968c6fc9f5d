// The clauses of an attention: tokens to syntax, one function a clause.
// LANGUAGE.md holds the same grammar.
#include "compiler/spec/ClauseParser.h"

namespace attn::spec {

using namespace ast;

Binding ClauseParser::binding() {
  Binding result;
  result.name = expectName("a name");
  expect("=");
  result.value = parseExpr();
  return result;
}

// (t: 44, y: 42)
std::vector<Binding> ClauseParser::axisValues() {
  std::vector<Binding> values;
  expect("(");
  do {
    Binding entry;
    entry.name = expectName("an axis");
    expect(":");
    entry.value = parseExpr();
    values.push_back(std::move(entry));
  } while (accept(","));
  expect(")");
  return values;
}

void ClauseParser::constClause(Attention &a) {
  do
    a.consts.push_back(binding());
  while (accept(","));
}

void ClauseParser::letClause(Attention &a) { a.lets.push_back(binding()); }

void ClauseParser::paramClause(Attention &a) {
  do {
    Param param;
    param.name = expectName("a parameter");
    if (accept(":")) {
      if (!accept("int")) {
        expect("float");
        param.isFloat = true;
      }
    }
    expect("in");
    param.minimum = parseExpr();
    expect("..");
    param.maximum = parseExpr();
    a.params.push_back(std::move(param));
  } while (accept(","));
}

void ClauseParser::spaceClause(Attention &a) {
  Space space;
  space.name = expectName("the space's name");
  expect("(");
  do {
    Axis axis;
    axis.name = expectName("an axis");
    expect(":");
    if (accept("stream")) {
      axis.kind = ExtentKind::Stream;
    } else if (accept("packed")) {
      axis.kind = ExtentKind::Packed;
    } else if (accept("ragged")) {
      axis.kind = ExtentKind::Ragged;
      expect("<=");
      axis.extent = parseExpr();
    } else {
      axis.extent = parseExpr();
    }
    axis.range = since(axis.name.range);
    space.axes.push_back(std::move(axis));
  } while (accept(","));
  expect(")");
  if (accept("order"))
    space.order = tokenOrder();
  a.spaces.push_back(std::move(space));
}

TokenOrder ClauseParser::tokenOrder() {
  TokenOrder order;
  SourceRange first = previous;
  order.kind = peek().is("(") ? Name{"permuted", previous} : expectName("an order");
  if (order.kind.text == "tiled") {
    order.tiles = axisValues();
  } else {
    expect("(");
    order.axes = parseNames();
    expect(")");
  }
  order.range = since(first);
  return order;
}

void ClauseParser::axisClause(Attention &a) {
  Binding value = binding();
  a.axes.push_back({std::move(value.name), std::move(value.value)});
}

void ClauseParser::tokensClause(Attention &a) {
  Tokens tokens;
  tokens.name = expectName("a name");
  expect("=");
  do
    tokens.parts.push_back(expectName("a space"));
  while (accept("++"));
  a.tokens.push_back(std::move(tokens));
}

void ClauseParser::cellsClause(Attention &a) {
  Cells cells;
  cells.name = expectName("a name");
  expect("=");
  cells.space = expectName("a space");
  cells.sizes = axisValues();
  expect("edge");
  cells.edge = expectName("an edge rule");
  a.cells.push_back(std::move(cells));
}

void ClauseParser::queryClause(Attention &a) {
  Query query;
  query.tokens = expectName("a space or tokens");
  if (accept(",")) {
    query.blockAxis = expectName("an axis");
    expect(":");
    query.minimum = parseExpr();
    if (accept(".."))
      query.maximum = parseExpr();
    expect("per");
    expect("call");
    if (accept("from"))
      query.from = expectName("a parameter's name");
  }
  query.range = whole();
  a.queries.push_back(std::move(query));
}

void ClauseParser::keysClause(Attention &a) { a.keys.push_back({expectName("a space or tokens")}); }

// heads 24 kv 8 dim 128 value 64; `heads any`
void ClauseParser::headsClause(Attention &a) {
  Heads heads;
  if (!accept("any"))
    heads.heads = parseExpr();
  if (accept("kv"))
    heads.kv = parseExpr();
  if (accept("dim"))
    heads.dim = parseExpr();
  if (accept("value"))
    heads.vDim = parseExpr();
  heads.range = whole();
  a.heads.push_back(std::move(heads));
}

// type bf16 | type q bf16, k int8, v int8, o f32
void ClauseParser::typeClause(Attention &a) {
  Types types;
  do {
    Name first = expectName("an element type");
    bool pair = peek().kind == TokenKind::Word && peek().range.line == previous.line;
    if (pair)
      types.entries.push_back({first.text, expectName("an element type")});
    else
      types.entries.push_back({"", first});
  } while (accept(","));
  types.range = whole();
  a.types.push_back(std::move(types));
}

// The dims between brackets: names or numbers.
std::vector<Name> ClauseParser::dims() {
  std::vector<Name> result;
  expect("[");
  do {
    if (peek().kind == TokenKind::Integer) {
      Token number = take();
      result.push_back({std::string(number.text), number.range});
    } else {
      result.push_back(expectName("a dimension"));
    }
  } while (accept(","));
  expect("]");
  return result;
}

void ClauseParser::tableClause(Attention &a) {
  Table table;
  table.name = expectName("the table's name");
  table.dims = dims();
  expect(":");
  table.element = expectName("an element type");
  a.tables.push_back(std::move(table));
}

void ClauseParser::inputClause(Attention &a) {
  Input input;
  input.name = expectName("the input's name");
  input.dims = dims();
  expect(":");
  input.element = expectName("an element type");
  a.inputs.push_back(std::move(input));
}

void ClauseParser::ropeClause(Attention &a) {
  Rope rope;
  rope.kind = peek().is("theta") ? Name{"interleaved", peek().range} : expectName("a kind");
  expect("theta");
  rope.theta = parseNumber();
  rope.axes = axisValues();
  rope.origin = accept("origin") ? expectName("an origin") : Name{"stream", previous};
  rope.range = whole();
  a.ropes.push_back(std::move(rope));
}

void ClauseParser::maskClause(Attention &a) {
  Mask mask;
  if (accept("case")) {
    expect("{");
    do {
      Case entry;
      entry.from = expectName("tokens");
      expect("->");
      entry.to = expectName("tokens");
      expect(":");
      entry.value = parseExpr();
      accept(";");
      mask.cases.push_back(std::move(entry));
    } while (!panic && !accept("}"));
  } else {
    mask.value = parseExpr();
  }
  mask.range = whole();
  a.masks.push_back(std::move(mask));
}

Scalar ClauseParser::scalar() {
  Scalar result;
  result.value = parseExpr();
  result.range = whole();
  return result;
}
void ClauseParser::scoreClause(Attention &a) { a.scores.push_back(scalar()); }
void ClauseParser::scaleClause(Attention &a) { a.scales.push_back(scalar()); }
void ClauseParser::outputClause(Attention &a) { a.outputs.push_back(scalar()); }
void ClauseParser::softmaxClause(Attention &a) {
  expect("with");
  a.softmaxes.push_back(scalar());
}
void ClauseParser::emitClause(Attention &a) {
  a.emits.push_back({expectName("`lse` or `partial`")});
}

void ClauseParser::selectClause(Attention &a) {
  Select select;
  select.name = expectName("a name");
  expect("over");
  select.over = expectName("cells");
  expect("{");
  do {
    if (accept("per")) {
      expect("(");
      select.per = parseNames();
      expect(")");
    } else if (accept("rank")) {
      select.rank = parseExpr();
    } else if (accept("norm")) {
      select.norm = expectName("a norm");
    } else if (accept("take")) {
      if (accept("until")) {
        expect("share");
        expect(">=");
        select.share = parseExpr();
      } else {
        select.count = parseExpr();
      }
      if (accept("scope"))
        select.scope = expectName("a scope");
    } else if (accept("force")) {
      select.force = parseExpr();
    } else {
      fail("`per`, `rank`, `norm`, `take` or `force`");
    }
    accept(";");
  } while (!panic && !accept("}"));
  select.range = whole();
  a.selects.push_back(std::move(select));
}

void ClauseParser::cacheClause(Attention &a) {
  Cache cache;
  cache.axis = expectName("an axis or tokens");
  expect("{");
  do {
    cache.items.push_back(cacheItem());
    accept(";");
  } while (!panic && !accept("}"));
  cache.range = whole();
  a.caches.push_back(std::move(cache));
}

CacheItem ClauseParser::cacheItem() {
  CacheItem item{};
  SourceRange first = peek().range;
  using Kind = CacheItem::Kind;
  if (accept("pin")) {
    item.kind = Kind::Pin;
    item.count = parseExpr();
    item.adjacent = accept("adjacent");
  } else if (accept("ring")) {
    item.kind = Kind::Ring;
    item.count = parseExpr();
  } else if (accept("spare")) {
    item.kind = Kind::Spare;
    item.count = parseExpr();
  } else if (accept("lanes")) {
    item.kind = Kind::Lanes;
    item.count = parseExpr();
  } else if (accept("kind")) {
    item.kind = Kind::OfKind;
    item.word = expectName("a kind's name");
    expect("{");
    if (accept("pin")) {
      item.pin = parseExpr();
      accept(";");
    }
    expect("ring");
    item.count = parseExpr();
    if (accept("of"))
      item.of = parseExpr();
    accept(";");
    expect("}");
  } else if (accept("tail")) {
    item.kind = Kind::Tail;
    item.word = expectName("a parameter");
  } else if (accept("whole")) {
    item.kind = Kind::Whole;
  } else if (accept("refill")) {
    item.kind = Kind::Refill;
    expect("on");
    item.word = expectName("an event");
  } else if (accept("store")) {
    item.kind = Kind::Store;
    item.word = expectName("`raw` or `roped`");
    if (accept(","))
      item.element = expectName("an element type");
    if (accept("per")) {
      expect("(");
      item.per = parseNames();
      expect(")");
    }
  } else if (accept("write")) {
    item.kind = Kind::Write;
    item.word = expectName("`every` or `last`");
    expect("pass");
  } else {
    fail("`pin`, `ring`, `spare`, `lanes`, `tail`, `kind`, `whole`, `refill`, `store` or `write`");
  }
  item.range = since(first);
  return item;
}

void ClauseParser::recacheClause(Attention &a) {
  Recache recache;
  expect("on");
  recache.event = expectName("an event");
  expect("{");
  do {
    RecacheItem item{};
    SourceRange first = peek().range;
    if (accept("replay")) {
      item.kind = RecacheItem::Kind::Replay;
      item.value = parseExpr();
    } else if (accept("mask")) {
      item.kind = RecacheItem::Kind::Mask;
      item.value = parseExpr();
    } else if (accept("pin")) {
      item.kind = RecacheItem::Kind::Pin;
      item.word = expectName("`keep`, `refresh` or `move`");
    } else {
      fail("`replay`, `mask` or `pin`");
    }
    item.range = since(first);
    recache.items.push_back(std::move(item));
    accept(";");
  } while (!panic && !accept("}"));
  recache.range = whole();
  a.recaches.push_back(std::move(recache));
}

} // namespace attn::spec
