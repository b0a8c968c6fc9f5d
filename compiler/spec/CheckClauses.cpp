// The clauses that say what attends what and with which arithmetic, one
// function each. Assumes that the declarations have been checked.
#include "compiler/spec/Checker.h"

#include <cmath>
#include <sstream>

namespace attn::spec {
namespace {

constexpr int64_t maxHeads = 4096;
constexpr int64_t maxDim = 1024;
constexpr int64_t maxBlocksPerCall = 1 << 20;
constexpr double maxFirstBlock = (1 << 28) - 1; // so that sums with counts stay in 32 bits

// mask_c2 for a case that names tokens which are not there.
bool groupsOf(const TokensInfo &named, const TokensInfo &all, std::vector<TokenGroup> &groups) {
  for (const TokenGroup &group : named.groups) {
    bool found = false;
    for (const TokenGroup &candidate : all.groups)
      if (candidate.space == group.space) {
        groups.push_back(candidate);
        found = true;
      }
    if (!found)
      return false;
  }
  return true;
}

// The space whose coordinates an axis is made of.
std::optional<uint32_t> spaceOf(const Expr &expr) {
  if (expr.op == Op::Coordinate)
    return expr.coordinate().space;
  for (const ExprPtr &operand : expr.operands)
    if (std::optional<uint32_t> space = spaceOf(*operand))
      return space;
  return std::nullopt;
}

} // namespace

// clause_c2
void Checker::checkTokensClauses(const ast::Attention &attention) {
  const ast::Query *query = single(attention.queries, "query");
  const ast::Keys *keys = single(attention.keys, "keys");
  const std::string name = "`" + spec.name + "`";
  if (!query)
    report(DiagnosticId::clause_c2, attention.name.range, {name, "query", "query TOKENS"});
  if (!keys)
    report(DiagnosticId::clause_c2, attention.name.range, {name, "keys", "keys TOKENS"});
  if (query)
    if (std::optional<TokensInfo> tokens = tokensNamed(query->tokens))
      spec.query = *tokens;
  if (keys)
    if (std::optional<TokensInfo> tokens = tokensNamed(keys->tokens))
      spec.keys = *tokens;
  visibleQuery = spec.query.groups;
  visibleKeys = spec.keys.groups;
}

// query_c1, query_c2
void Checker::checkQueryBlock(const ast::Query &query) {
  if (!query.blockAxis)
    return;
  std::optional<AxisRef> axis = axisRef({*query.blockAxis}, query.blockAxis->range);
  std::optional<int64_t> least = constantInteger(*query.minimum, "the number of blocks per call");
  std::optional<int64_t> most = least;
  SourceRange range = query.minimum->range;
  if (query.maximum) {
    most = constantInteger(*query.maximum, "the number of blocks per call");
    range = join(range, query.maximum->range);
  }
  if (!axis || !least || !most)
    return;
  if (!axis->query.value) {
    report(DiagnosticId::name_c5, axis->range,
           {"query", "`" + axis->name + "`", axisNames(Side::Query)});
    return;
  }
  if (*least < 1 || *most < *least || *most > maxBlocksPerCall) {
    std::string shown = std::to_string(*least);
    if (query.maximum)
      shown += ".." + std::to_string(*most);
    report(DiagnosticId::query_c1, range, {shown});
    return;
  }
  std::optional<uint32_t> space = spaceOf(*axis->query.value);
  if (space && !firstAxisOutermost(spec.spaces[*space])) {
    report(DiagnosticId::query_c2, axis->range,
           {"`" + axis->name + "`", "`" + spec.spaces[*space].name + "`"});
    return;
  }
  spec.queryBlock = QueryBlock{*axis, *least, *most, {}};
  if (!query.from)
    return;
  declare(*query.from);
  ParamInfo param;
  param.name = query.from->text;
  param.maximum = maxFirstBlock;
  param.range = query.from->range;
  spec.queryBlock->from = static_cast<uint32_t>(spec.params.size());
  spec.params.push_back(param);
}

// heads_c1, heads_c2
void Checker::checkHeads(const ast::Heads &heads) {
  auto number = [&](const ast::ExprPtr &expr, const char *what, int64_t limit, int64_t absent) {
    if (!expr)
      return absent;
    std::optional<int64_t> value = constantInteger(*expr, what);
    if (value && (*value < 1 || *value > limit)) {
      report(DiagnosticId::heads_c2, expr->range,
             {what, std::to_string(*value), "1.." + std::to_string(limit)});
      value.reset();
    }
    return value.value_or(-1);
  };
  spec.heads = number(heads.heads, "the number of heads", maxHeads, 0);
  spec.kvHeads = number(heads.kv, "the number of KV heads", maxHeads, spec.heads);
  spec.qkDim = number(heads.dim, "the head dim", maxDim, 0);
  spec.vDim = number(heads.vDim, "the value dim", maxDim, spec.qkDim);
  if (!heads.dim)
    report(DiagnosticId::clause_c2, heads.range,
           {"`" + spec.name + "`", "head dim", "heads N dim 64"});
  if (spec.heads > 0 && spec.kvHeads > 0 && spec.heads % spec.kvHeads != 0)
    report(DiagnosticId::heads_c1, heads.kv->range,
           {std::to_string(spec.heads), std::to_string(spec.kvHeads)});
}

// type_c1, type_c2
void Checker::checkTypes(const ast::Types &types) {
  spec.types.stated = true;
  spec.types.range = types.range;
  for (const auto &[tensor, name] : types.entries) {
    bool keys = tensor == "k" || tensor == "v";
    if (!tensor.empty() && !keys && tensor != "q" && tensor != "o") {
      report(DiagnosticId::type_c2, name.range, {"`" + tensor + "`"});
      continue;
    }
    std::optional<Element> element =
        elementNamed(name, keys ? "f32, bf16, f16 or int8" : "f32, bf16 or f16");
    if (!element)
      continue;
    if (tensor.empty() || tensor == "q")
      spec.types.q = *element;
    if (tensor.empty() || tensor == "k")
      spec.types.k = *element;
    if (tensor.empty() || tensor == "v")
      spec.types.v = *element;
    if (tensor.empty() || tensor == "o")
      spec.types.o = *element;
  }
}

// scale_c1
void Checker::checkScale(const ast::Scalar &scale) {
  std::optional<double> value = constantNumber(*scale.value, "the scale");
  if (!value)
    return;
  if (!std::isfinite(static_cast<float>(*value))) {
    std::ostringstream shown;
    shown << *value;
    report(DiagnosticId::scale_c1, scale.value->range, {shown.str()});
    return;
  }
  spec.scale = value;
}

// mask_c1, mask_c2
void Checker::checkMask(const ast::Mask &mask) {
  auto boolean = [&](const ast::Expr &expr) -> ExprPtr {
    ExprPtr value = resolveAt(Place::Mask, expr);
    if (value && value->type != Type::Bool) {
      report(DiagnosticId::mask_c1, expr.range, {describe(value->type)});
      return nullptr;
    }
    return value;
  };
  if (mask.value) {
    spec.mask = boolean(*mask.value);
    return;
  }
  // A case applies where the query is among its first tokens and the key among
  // its second; several cases add up, and a pair in none is excluded.
  ExprPtr result = this->boolean(false, mask.range);
  for (const ast::Case &entry : mask.cases) {
    std::optional<TokensInfo> from = tokensNamed(entry.from), to = tokensNamed(entry.to);
    std::vector<TokenGroup> queries, keys;
    bool good = from && to;
    if (from && !groupsOf(*from, spec.query, queries)) {
      report(DiagnosticId::mask_c2, entry.from.range, {"`" + entry.from.text + "`", "query"});
      good = false;
    }
    if (to && !groupsOf(*to, spec.keys, keys)) {
      report(DiagnosticId::mask_c2, entry.to.range, {"`" + entry.to.text + "`", "key"});
      good = false;
    }
    if (!good) {
      result = nullptr;
      continue;
    }
    visibleQuery = queries;
    visibleKeys = keys;
    ++visibleId;
    ExprPtr value = boolean(*entry.value);
    visibleQuery = spec.query.groups;
    visibleKeys = spec.keys.groups;
    ++visibleId;
    SourceRange range = join(entry.from.range, entry.to.range);
    ExprPtr where = conjunction(inGroups(Side::Query, queries, spec.query, range),
                                inGroups(Side::Key, keys, spec.keys, range));
    ExprPtr term = conjunction(where, value);
    result = result && term ? disjunction(result, term) : nullptr;
  }
  spec.mask = result;
}

// score_c1
void Checker::checkScore(const ast::Scalar &score) {
  ExprPtr value = resolveAt(Place::Score, *score.value);
  if (value && value->type == Type::Bool)
    report(DiagnosticId::score_c1, score.value->range, {});
  else if (value && value->op != Op::Score)
    spec.score = toFloat(value);
}

// softmax_c1 is raised where a name is used.
void Checker::checkSoftmax(const ast::Scalar &softmax) {
  spec.sinkLogit = require(resolveAt(Place::Softmax, *softmax.value), Type::Float, "a sink logit");
}

void Checker::checkOutput(const ast::Scalar &output) {
  ExprPtr value = resolveAt(Place::Output, *output.value);
  value = require(value, Type::Float, "an output expression");
  if (value && value->op != Op::OutputValue)
    spec.output = value;
}

// rope_c1, rope_c2, rope_c3
void Checker::checkRope(const ast::Rope &rope) {
  RopeInfo info;
  info.range = rope.range;
  if (wordAmong(rope.kind, "rope kind", "interleaved or half"))
    info.kind = rope.kind.text == "half" ? RopeKind::Half : RopeKind::Interleaved;
  if (wordAmong(rope.origin, "rope origin", "stream or window"))
    info.origin = rope.origin.text == "window" ? RopeOrigin::Window : RopeOrigin::Stream;
  if (std::optional<double> theta = constantNumber(*rope.theta, "rope theta")) {
    info.theta = *theta;
    if (!(*theta > 1)) {
      std::ostringstream shown;
      shown << *theta;
      report(DiagnosticId::rope_c3, rope.theta->range, {shown.str()});
    }
  }
  int64_t sum = 0;
  bool complete = true;
  for (const ast::Binding &entry : rope.axes) {
    std::optional<AxisRef> axis = axisRef({entry.name}, entry.name.range);
    std::optional<int64_t> dims = constantInteger(*entry.value, "the dims of an axis");
    if (!axis || !dims) {
      complete = false;
      continue;
    }
    if (*dims < 2 || *dims % 2 != 0) {
      report(DiagnosticId::rope_c1, entry.value->range,
             {"`" + entry.name.text + "`", std::to_string(*dims)});
      complete = false;
      continue;
    }
    sum += *dims;
    info.axes.push_back({entry.name.text, *dims, entry.name.range});
  }
  if (complete && spec.qkDim > 0 && sum != spec.qkDim)
    report(DiagnosticId::rope_c2, rope.range, {std::to_string(sum), std::to_string(spec.qkDim)});
  spec.rope = info;
}

// emit_c1
void Checker::checkEmit(const ast::Emit &emit) {
  spec.emitLse = true;
  spec.partial = emit.what.text == "partial";
  if (emit.what.text != "lse" && !spec.partial)
    report(DiagnosticId::emit_c1, emit.what.range, {"`" + emit.what.text + "`"});
}

} // namespace attn::spec
