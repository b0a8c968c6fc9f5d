// Turns one checked expression into scalar ops of a mask, score, sink or output
// region.
#pragma once

#include "compiler/spec/CheckedSpec.h"
#include "dialects/attn/AttnDialect.h"

#include <string>

namespace mlir::attn {

/// The place of `range` in the spec `fileName`, or in the standard library.
Location importLocation(MLIRContext *context, const std::string &fileName,
                        ::attn::spec::SourceRange range);

/// What the arguments of a region stand for; null where a region has none such.
struct RegionArguments {
  Value query, key;               // !attn.position
  Value head, batch;              // i32
  Value score, output, logSumExp; // f32
};

class ExprImporter {
public:
  /// Emits before `builder`'s insertion point, which must not move meanwhile.
  ExprImporter(OpBuilder &builder, const ::attn::spec::AttentionSpec &spec,
               const std::string &fileName, const RegionArguments &arguments)
      : builder(builder), spec(spec), fileName(fileName), arguments(arguments) {}

  /// The value of `expr`. Expressions that are shared are emitted once.
  Value import(const ::attn::spec::ExprPtr &expr);

private:
  using Expr = ::attn::spec::Expr;
  using Op = ::attn::spec::Op;

  Value emit(const Expr &expr);
  Value leaf(const Expr &expr);
  Value unary(const Expr &expr, Value x);
  Value binary(const Expr &expr, Value a, Value b);
  Value compare(const Expr &expr, Value a, Value b);
  Value pattern(const ::attn::spec::PatternCall &call);
  Value coordinate(::attn::spec::Side side, const ::attn::spec::Decode &decode, StringRef name);
  /// A side of an axis that a pattern was given; null where that side has none.
  Value axisValue(const ::attn::spec::AxisRef &axis, ::attn::spec::Side side);
  Value extent(const ::attn::spec::Extent &extent);
  Value integer(int64_t value);
  Value number(double value);
  Value token(::attn::spec::Side side) {
    return side == ::attn::spec::Side::Query ? arguments.query : arguments.key;
  }

  OpBuilder &builder;
  const ::attn::spec::AttentionSpec &spec;
  const std::string &fileName;
  RegionArguments arguments;
  Location loc = builder.getUnknownLoc();
  llvm::DenseMap<const Expr *, Value> known;
};

} // namespace mlir::attn
