// The checker of one attention: names, types, patterns, clauses. Its functions
// are spread over Check*.cpp by subject; parseAndCheck (Check.h) is the way in.
#pragma once

#include "compiler/spec/Ast.h"
#include "compiler/spec/CheckedSpec.h"
#include "compiler/spec/Diagnostics.h"
#include "compiler/spec/ExprBuilder.h"

#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace attn::spec {

struct PatternEntry {
  const ast::Pattern *pattern = nullptr;
  std::string_view text; // of the file that defines it
  bool standard = false;
};
using PatternTable = std::map<std::string, PatternEntry>;

// Calls, reduction steps and derived axes that one attention may expand.
constexpr unsigned maxExpansions = 20000;

// Where an expression stands decides which names it may use.
enum class Place : uint8_t { Const, Extent, Axis, Mask, Score, Softmax, Output, Let };

// Names bound by a pattern call or a reduction. A pattern's scope is closed:
// its body sees its own arguments, not the attention around the call.
struct Scope {
  const Scope *parent = nullptr;
  std::map<std::string, ExprPtr> values;
  std::map<std::string, AxisRef> axes;
};

class Checker : public ExprBuilder {
public:
  Checker(const PatternTable &patterns, Diagnostics &diagnostics)
      : patterns(patterns), diagnostics(diagnostics) {}

  AttentionSpec check(const ast::Attention &attention);

private:
  // Check.cpp
  Diagnostic &report(DiagnosticId id, SourceRange range, std::vector<std::string> args) override;

  // CheckDeclarations.cpp
  void declare(const ast::Name &name);
  void checkConst(const ast::Binding &binding);
  void checkParam(const ast::Param &param);
  void checkSpace(const ast::Space &space);
  void checkOrder(const ast::TokenOrder &order, SpaceInfo &space);
  Extent checkExtent(const ast::Axis &axis);
  void checkTokens(const ast::Tokens &tokens);
  void checkDerived(const ast::Derived &derived);
  void checkTable(const ast::Table &table);
  void checkInput(const ast::Input &input);
  std::optional<TokensInfo> tokensNamed(const ast::Name &name);
  std::optional<TokensInfo> concatenate(const std::string &name,
                                        const std::vector<ast::Name> &parts);
  std::optional<Element> elementNamed(const ast::Name &name, std::string_view allowed);
  bool wordAmong(const ast::Name &word, std::string_view kind, std::string_view allowed);

  // CheckAxes.cpp
  enum class Found : uint8_t { Yes, Missing, Ambiguous };
  Found findAxis(Side side, const std::vector<ast::Name> &path, AxisSide &result);
  std::optional<AxisRef> axisRef(const std::vector<ast::Name> &path, SourceRange range);
  ExprPtr axisValue(Side side, const std::vector<ast::Name> &path, SourceRange range);
  ExprPtr gridCoordinate(Side side, const TokenGroup &group, uint32_t axis);
  Decode gridDecode(const TokenGroup &group, const std::vector<uint32_t> &sequence, uint32_t axis,
                    int64_t below);
  ExprPtr tiledCoordinate(const CoordinateRef &ref, const TokenGroup &group, SourceRange range);
  ExprPtr mortonCoordinate(const CoordinateRef &ref, const TokenGroup &group, SourceRange range);
  void nameCoordinates(Side side, TokensInfo &tokens);
  AxisSide gridAxis(Side side, const TokenGroup &group, uint32_t axis);
  AxisSide derivedAxis(Side side, const TokenGroup &group, const ast::Derived &derived);
  ExprPtr derivationLeaf(const std::vector<ast::Name> &path, SourceRange range);
  std::optional<Decode> decodeOf(const Expr &expr);
  std::optional<Decode> decodeWithin(const Expr &expr, Op op, int64_t &by);
  std::optional<Extent> extentOf(const Expr &expr);
  std::optional<Extent> spaceLength(uint32_t space);
  Extent raggedLength(uint32_t space);
  Extent multiply(const Extent &a, const Extent &b);
  Extent add(const Extent &a, const Extent &b);
  ExprPtr toExpr(const Extent &extent, SourceRange range);
  ExprPtr inGroups(Side side, const std::vector<TokenGroup> &groups, const TokensInfo &tokens,
                   SourceRange range);
  std::string axisNames(Side side);
  std::string spelled(Side side) const { return side == Side::Query ? "query" : "key"; }
  const TokensInfo &tokensOf(Side side) const {
    return side == Side::Query ? spec.query : spec.keys;
  }
  const std::vector<TokenGroup> &visible(Side side) const {
    return side == Side::Query ? visibleQuery : visibleKeys;
  }
  int spaceIndex(std::string_view name) const;

  // CheckExpr.cpp
  ExprPtr resolve(const ast::Expr &expr);
  bool isAlwaysZero(const Expr &expr) const;
  ExprPtr resolveNode(const ast::Expr &expr);
  ExprPtr resolveAt(Place where, const ast::Expr &expr);
  ExprPtr resolveReference(const ast::Reference &reference, SourceRange range);
  ExprPtr resolveName(const ast::Name &name);
  ExprPtr resolveBuiltin(const ast::Name &name);
  ExprPtr resolveLet(size_t index);
  ExprPtr resolveReduction(const ast::Reduction &reduction, SourceRange range);
  ExprPtr unknownName(const ast::Name &name);
  std::optional<int64_t> constantInteger(const ast::Expr &expr, std::string_view what);
  std::optional<double> constantNumber(const ast::Expr &expr, std::string_view what);
  bool allowed(std::string_view name, SourceRange range, bool permitted, std::string_view remedy);

  // CheckTable.cpp
  ExprPtr resolveIndex(const ast::Index &index, SourceRange range);
  bool indicesFit(const TableInfo &table, const std::vector<ExprPtr> &indices);
  std::optional<int64_t> tableExtent(const std::string &dim) const;

  // CheckPattern.cpp
  ExprPtr resolveCall(const ast::Call &call, SourceRange range);
  ExprPtr resolveFunction(const ast::Call &call, SourceRange range, bool &known);
  ExprPtr resolveLength(const ast::Call &call, SourceRange range);
  ExprPtr callPattern(const PatternEntry &entry, const ast::Call &call, SourceRange range);
  struct BoundArgs {
    std::vector<const ast::Expr *> exprs; // one per parameter; null: not given
    const ast::Name *axisLabel = nullptr; // stands for the first parameter
  };
  bool bindArgs(const PatternEntry &entry, const ast::Call &call, const ast::Arg *labelled,
                BoundArgs &bound);
  ExprPtr expand(const PatternEntry &entry, const BoundArgs &bound, SourceRange range);
  bool bindParam(const PatternEntry &entry, size_t index, const BoundArgs &bound, SourceRange range,
                 Scope &scope, PatternCall &call);
  bool checkRequirement(const PatternEntry &entry, const ast::Requirement &requirement,
                        const PatternCall &call, SourceRange range);

  // CheckClauses.cpp
  void checkTokensClauses(const ast::Attention &attention);
  void checkQueryBlock(const ast::Query &query);
  void checkHeads(const ast::Heads &heads);
  void checkTypes(const ast::Types &types);
  void checkScale(const ast::Scalar &scale);
  void checkMask(const ast::Mask &mask);
  void checkScore(const ast::Scalar &score);
  void checkSoftmax(const ast::Scalar &softmax);
  void checkOutput(const ast::Scalar &output);
  void checkRope(const ast::Rope &rope);
  void checkEmit(const ast::Emit &emit);
  template <typename Clause> const Clause *single(const std::vector<Clause> &all, const char *word);

  // CheckCache.cpp
  void checkCache(const ast::Cache &cache);
  bool checkCacheItems(const ast::Cache &cache, CacheInfo &info);
  bool checkTail(const ast::Cache &cache, const ast::Name &name);
  bool checkCacheCount(const ast::Expr &expr, const char *what, int64_t least, int64_t most,
                       int64_t &out);
  void checkRetention(const CacheInfo &cache, SourceRange maskRange);
  void checkRecache(const ast::Recache &recache);

  const PatternTable &patterns;
  Diagnostics &diagnostics;
  const ast::Attention *source = nullptr;
  AttentionSpec spec;

  std::map<std::string, SourceRange> declared;
  std::set<std::string> spaceAxisNames;
  std::map<std::string, ExprPtr> constants;
  std::set<std::string> poisoned; // declared, but wrong or unsupported: uses stay silent
  std::map<std::string, const ast::Tokens *> concatenations;
  std::map<std::string, const ast::Derived *> derivedAxes;
  std::map<std::string, uint32_t> derivedSpace; // the space a derived axis is made of
  std::map<std::tuple<size_t, Place, int>, ExprPtr> letValues;
  std::set<size_t> usedLets;

  // The state of the walk.
  Place place = Place::Let;
  const Scope *scope = nullptr;
  bool closedScope = false;                          // inside a pattern's body
  size_t visibleLets = 0;                            // lets declared before this place
  std::vector<TokenGroup> visibleQuery, visibleKeys; // whose axes names refer to
  int visibleId = 0;                                 // changes with them
  struct Derivation {
    uint32_t space = UINT32_MAX;
    Side side = Side::Query;
    TokenGroup group;
  };
  Derivation *derivation = nullptr;
  struct Frame {
    std::string pattern;
    SourceRange call;
  };
  std::vector<Frame> frames;
  unsigned expansions = 0, resolveDepth = 0;
};

// clause_c1
template <typename Clause>
const Clause *Checker::single(const std::vector<Clause> &all, const char *word) {
  if (all.empty())
    return nullptr;
  if (all.size() > 1) {
    SourceRange place;
    if constexpr (requires { all[1].range; })
      place = all[1].range;
    else if constexpr (requires { all[1].tokens; })
      place = all[1].tokens.range;
    else
      place = all[1].what.range;
    report(DiagnosticId::clause_c1, place, {"`" + std::string(word) + "`"});
  }
  return &all[0];
}

// The axes of a space in the order of its positions, the slowest first.
std::vector<uint32_t> outermostFirst(const SpaceInfo &space);
// Whether the tokens of one value of the first axis are a run of positions.
bool firstAxisOutermost(const SpaceInfo &space);
// "a, b or c" of a list.
std::string listOf(const std::vector<std::string> &words);
// " ; did you mean x" if some candidate is near, else "".
std::string suggestion(const std::string &word, const std::vector<std::string> &candidates);
bool isLanguageWord(const std::string &word);

} // namespace attn::spec
