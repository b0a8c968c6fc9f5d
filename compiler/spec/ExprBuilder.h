// Makes typed expressions: checks operand types, inserts conversions, folds
// constants. Every node of a checked spec is made here.
#pragma once

#include "compiler/spec/CheckedSpec.h"
#include "compiler/spec/Diagnostics.h"

#include <string>
#include <vector>

namespace attn::spec {

std::string describe(Type type); // "a boolean", "an integer", "a number"

// A null operand means that an error was reported already; the result is then
// null too, and nothing more is said.
class ExprBuilder {
public:
  virtual ~ExprBuilder() = default;

  ExprPtr boolean(bool value, SourceRange range);
  ExprPtr integer(int64_t value, SourceRange range); // reports number_c1
  ExprPtr real(double value, SourceRange range);     // reports number_c4
  ExprPtr leaf(Op op, Type type, SourceRange range);
  template <typename Payload> ExprPtr leaf(Op op, Type type, SourceRange range, Payload payload) {
    auto expr = std::make_shared<Expr>();
    expr->op = op;
    expr->type = type;
    expr->range = range;
    expr->payload = std::move(payload);
    return expr;
  }

  ExprPtr unary(Op op, ExprPtr operand, SourceRange range, std::string_view what);
  ExprPtr binary(Op op, ExprPtr lhs, ExprPtr rhs, SourceRange range, std::string_view what);
  ExprPtr select(ExprPtr condition, ExprPtr then, ExprPtr otherwise, SourceRange range);
  ExprPtr gather(uint32_t table, Type type, std::vector<ExprPtr> indices, SourceRange range);
  ExprPtr pattern(PatternCall call, ExprPtr expansion, SourceRange range);

  // Reports expr_c1 unless `expr` has the type (an integer becomes a number).
  ExprPtr require(ExprPtr expr, Type type, std::string_view what);
  ExprPtr toFloat(ExprPtr expr);

  // Shorthands for what the checker itself makes.
  ExprPtr conjunction(ExprPtr a, ExprPtr b) { return logical(Op::And, a, b); }
  ExprPtr disjunction(ExprPtr a, ExprPtr b) { return logical(Op::Or, a, b); }

protected:
  void reportTooLarge(SourceRange range); // once
  virtual Diagnostic &report(DiagnosticId id, SourceRange range, std::vector<std::string> args) = 0;

private:
  ExprPtr logical(Op op, ExprPtr a, ExprPtr b);
  ExprPtr node(Op op, Type type, std::vector<ExprPtr> operands, SourceRange range);
  ExprPtr fold(Op op, const ExprPtr &a, SourceRange range);
  ExprPtr fold(Op op, const ExprPtr &a, const ExprPtr &b, SourceRange range);
  bool reportedSize = false;
};

} // namespace attn::spec
