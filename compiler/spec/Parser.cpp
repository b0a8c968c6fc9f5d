// Recursive descent over patterns, attentions and their clauses. One function
// per clause, named after it; LANGUAGE.md holds the same grammar.
#include "compiler/spec/Parser.h"

#include "compiler/spec/ExprParser.h"

#include <functional>
#include <map>

namespace attn::spec {

using namespace ast;

namespace {

class Parser : public ExprParser {
public:
  using ExprParser::ExprParser;

  File run() {
    File file;
    while (peek().kind != TokenKind::End) {
      panic = false;
      if (accept("pattern"))
        parsePattern(file);
      else if (accept("attention"))
        parseAttention(file);
      else
        fail("`attention` or `pattern`");
      if (panic)
        skipToDefinition();
    }
    return file;
  }

private:
  bool startsLine() const { return at == 0 || peek().range.line != tokens[at - 1].range.line; }

  void skipToDefinition() {
    while (peek().kind != TokenKind::End &&
           !(startsLine() && (peek().is("attention") || peek().is("pattern"))))
      take();
  }

  // Goes on at the next clause that starts a line, or at the closing brace.
  void skipToClause() {
    int depth = 0;
    while (peek().kind != TokenKind::End) {
      if (startsLine() && clauses().count(std::string(peek().text)))
        break;
      if (startsLine() && (peek().is("attention") || peek().is("pattern")))
        break;
      if (peek().is("{"))
        ++depth;
      if (peek().is("}") && depth-- == 0)
        break;
      take();
    }
    panic = false;
  }

  // ---- Patterns ----

  void parsePattern(File &file) {
    Pattern pattern;
    pattern.name = expectName("the pattern's name");
    expect("(");
    if (!accept(")")) {
      do
        pattern.params.push_back(patternParam());
      while (accept(","));
      expect(")");
    }
    while (accept("require")) {
      Requirement requirement;
      requirement.label = expectName("a label");
      expect(":");
      requirement.condition = parseExpr();
      pattern.requirements.push_back(std::move(requirement));
    }
    if (accept("=")) {
      pattern.body = parseExpr();
    } else {
      if (!peek().is("{"))
        fail("`=` or `{`");
      accept("{");
      while (accept("let"))
        pattern.lets.push_back(binding());
      expect("return");
      pattern.body = parseExpr();
      expect("}");
    }
    if (!panic)
      file.patterns.push_back(std::move(pattern));
  }

  // a: axis | edge: clamp | shrink | n | n = 3
  PatternParam patternParam() {
    PatternParam param;
    param.name = expectName("an argument");
    if (accept(":")) {
      if (accept("axis")) {
        param.isAxis = true;
        return param;
      }
      do
        param.choices.push_back(expectName("a choice"));
      while (accept("|"));
    } else if (accept("=")) {
      param.defaultValue = parseExpr();
    }
    return param;
  }

  // ---- Attentions ----

  using Clause = std::function<void(Parser &, Attention &)>;
  static const std::map<std::string, Clause> &clauses() {
    static const std::map<std::string, Clause> table = {
        {"const", &Parser::constClause},    {"let", &Parser::letClause},
        {"param", &Parser::paramClause},    {"space", &Parser::spaceClause},
        {"axis", &Parser::axisClause},      {"tokens", &Parser::tokensClause},
        {"cells", &Parser::cellsClause},    {"query", &Parser::queryClause},
        {"keys", &Parser::keysClause},      {"heads", &Parser::headsClause},
        {"type", &Parser::typeClause},      {"table", &Parser::tableClause},
        {"input", &Parser::inputClause},    {"rope", &Parser::ropeClause},
        {"mask", &Parser::maskClause},      {"score", &Parser::scoreClause},
        {"scale", &Parser::scaleClause},    {"softmax", &Parser::softmaxClause},
        {"output", &Parser::outputClause},  {"emit", &Parser::emitClause},
        {"select", &Parser::selectClause},  {"cache", &Parser::cacheClause},
        {"recache", &Parser::recacheClause}};
    return table;
  }

  void parseAttention(File &file) {
    Attention attention;
    SourceRange first = previous;
    attention.name = expectName("the attention's name");
    expect("{");
    bool broken = panic;
    if (panic)
      return;
    while (!peek().is("}")) {
      if (peek().kind == TokenKind::End ||
          (startsLine() && (peek().is("attention") || peek().is("pattern")))) {
        fail("a clause or `}`");
        return;
      }
      auto clause = clauses().find(std::string(peek().text));
      if (peek().kind != TokenKind::Word || clause == clauses().end()) {
        std::string known;
        for (const auto &entry : clauses())
          known += (known.empty() ? "" : ", ") + entry.first;
        diagnostics.error(DiagnosticId::parse_c4, peek().range,
                          {"`" + std::string(peek().text.substr(0, 40)) + "`", known});
        take();
        panic = true;
      } else {
        take();
        clauseStart = previous;
        clause->second(*this, attention);
      }
      if (panic) {
        broken = true;
        skipToClause();
      }
    }
    take();
    attention.range = since(first);
    if (!broken)
      file.attentions.push_back(std::move(attention));
  }

  SourceRange whole() const { return since(clauseStart); }

  Binding binding() {
    Binding result;
    result.name = expectName("a name");
    expect("=");
    result.value = parseExpr();
    return result;
  }

  // (t: 44, y: 42)
  std::vector<Binding> axisValues() {
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

  void constClause(Attention &a) {
    do
      a.consts.push_back(binding());
    while (accept(","));
  }

  void letClause(Attention &a) { a.lets.push_back(binding()); }

  void paramClause(Attention &a) {
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

  void spaceClause(Attention &a) {
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
    a.spaces.push_back(std::move(space));
  }

  void axisClause(Attention &a) {
    Binding value = binding();
    a.axes.push_back({std::move(value.name), std::move(value.value)});
  }

  void tokensClause(Attention &a) {
    Tokens tokens;
    tokens.name = expectName("a name");
    expect("=");
    do
      tokens.parts.push_back(expectName("a space"));
    while (accept("++"));
    a.tokens.push_back(std::move(tokens));
  }

  void cellsClause(Attention &a) {
    Cells cells;
    cells.name = expectName("a name");
    expect("=");
    cells.space = expectName("a space");
    cells.sizes = axisValues();
    expect("edge");
    cells.edge = expectName("an edge rule");
    a.cells.push_back(std::move(cells));
  }

  void queryClause(Attention &a) {
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
    }
    query.range = whole();
    a.queries.push_back(std::move(query));
  }

  void keysClause(Attention &a) { a.keys.push_back({expectName("a space or tokens")}); }

  // heads 24 kv 8 dim 128 value 64; `heads any`
  void headsClause(Attention &a) {
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
  void typeClause(Attention &a) {
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
  std::vector<Name> dims() {
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

  void tableClause(Attention &a) {
    Table table;
    table.name = expectName("the table's name");
    table.dims = dims();
    expect(":");
    table.element = expectName("an element type");
    a.tables.push_back(std::move(table));
  }

  void inputClause(Attention &a) {
    Input input;
    input.name = expectName("the input's name");
    input.dims = dims();
    expect(":");
    input.element = expectName("an element type");
    a.inputs.push_back(std::move(input));
  }

  void ropeClause(Attention &a) {
    Rope rope;
    rope.kind = peek().is("theta") ? Name{"interleaved", peek().range} : expectName("a kind");
    expect("theta");
    rope.theta = parseNumber();
    rope.axes = axisValues();
    rope.origin = accept("origin") ? expectName("an origin") : Name{"stream", previous};
    rope.range = whole();
    a.ropes.push_back(std::move(rope));
  }

  void maskClause(Attention &a) {
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

  Scalar scalar() {
    Scalar result;
    result.value = parseExpr();
    result.range = whole();
    return result;
  }
  void scoreClause(Attention &a) { a.scores.push_back(scalar()); }
  void scaleClause(Attention &a) { a.scales.push_back(scalar()); }
  void outputClause(Attention &a) { a.outputs.push_back(scalar()); }
  void softmaxClause(Attention &a) {
    expect("with");
    a.softmaxes.push_back(scalar());
  }
  void emitClause(Attention &a) { a.emits.push_back({expectName("`lse`")}); }

  void selectClause(Attention &a) {
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

  void cacheClause(Attention &a) {
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

  CacheItem cacheItem() {
    CacheItem item{};
    SourceRange first = peek().range;
    using Kind = CacheItem::Kind;
    if (accept("pin")) {
      item.kind = Kind::Pin;
      item.count = parseExpr();
    } else if (accept("ring")) {
      item.kind = Kind::Ring;
      item.count = parseExpr();
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
      fail("`pin`, `ring`, `whole`, `refill`, `store` or `write`");
    }
    item.range = since(first);
    return item;
  }

  void recacheClause(Attention &a) {
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
        item.word = expectName("`keep` or `refresh`");
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

  SourceRange clauseStart;
};

} // namespace

File parseSpec(std::string_view text, uint32_t file, Diagnostics &diagnostics) {
  if (text.size() > maxSpecBytes) {
    SourceRange start{file, 1, 1, 0, 1};
    diagnostics.error(DiagnosticId::file_c1, start,
                      {std::to_string(text.size()), std::to_string(maxSpecBytes)});
    return {};
  }
  return Parser(lexSpec(text, file, diagnostics), diagnostics).run();
}

} // namespace attn::spec
