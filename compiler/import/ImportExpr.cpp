// Checked expressions enter, arith, math and attn scalar ops leave. Patterns that
// the dialect knows become its ops; all others are imported as their expansion.
#include "compiler/import/ImportExpr.h"

#include "compiler/spec/StandardLibrary.h"

using namespace mlir;
using namespace mlir::attn;
namespace spec = ::attn::spec;

Location mlir::attn::importLocation(MLIRContext *context, const std::string &fileName,
                                    spec::SourceRange range) {
  if (!range.valid())
    return FileLineColLoc::get(context, fileName, 0, 0);
  StringRef file = fileName;
  const auto &library = spec::standardLibrary();
  if (range.file != 0 && range.file <= library.size())
    file = library[range.file - 1].name;
  return FileLineColLoc::get(context, file, range.line, range.column);
}

Value ExprImporter::integer(int64_t value) {
  return arith::ConstantOp::create(builder, loc, builder.getI32IntegerAttr(value));
}

Value ExprImporter::number(double value) {
  return arith::ConstantOp::create(builder, loc, builder.getF32FloatAttr(value));
}

Value ExprImporter::extent(const spec::Extent &extent) {
  return extent.isStatic() ? integer(extent.value) : import(extent.dynamic);
}

Value ExprImporter::import(const spec::ExprPtr &expr) {
  auto entry = known.find(expr.get());
  if (entry != known.end())
    return entry->second;
  Location before = loc;
  if (expr->range.valid())
    loc = importLocation(builder.getContext(), fileName, expr->range);
  Value value = emit(*expr);
  loc = before;
  known[expr.get()] = value;
  return value;
}

Value ExprImporter::coordinate(spec::Side side, const spec::Decode &decode, StringRef name) {
  bool plain = decode.base.isStatic() && decode.base.value == 0 && decode.divisor.isStatic() &&
               decode.divisor.value == 1 && decode.modulus.isStatic() && decode.modulus.value == 0;
  if (plain && name.empty())
    return PositionOp::create(builder, loc, builder.getI32Type(), token(side));
  Value base = extent(decode.base), divisor = extent(decode.divisor), modulus;
  if (!decode.modulus.isStatic() || decode.modulus.value != 0)
    modulus = extent(decode.modulus);
  return CoordOp::create(builder, loc, builder.getI32Type(), name, token(side), base, divisor,
                         modulus);
}

Value ExprImporter::axisValue(const spec::AxisRef &axis, spec::Side side) {
  const spec::AxisSide &from = side == spec::Side::Query ? axis.query : axis.key;
  if (!from.value)
    return {};
  // One decode is cheaper than the divisions that the axis was declared with.
  if (from.decode && from.value->op != spec::Op::Coordinate)
    return coordinate(side, *from.decode, axis.name);
  return import(from.value);
}

//===-- Patterns -------------------------------------------------------------===//

// The dialect's op for a pattern of the standard library; null if it has none,
// or an argument is not of the kind that the op takes.
Value ExprImporter::pattern(const spec::PatternCall &call) {
  const spec::AxisRef *axis = call.axis("a");
  if (!call.standard || !axis)
    return {};
  static const char *const names[] = {"causal", "prefix_lm", "window", "band",
                                      "sink",   "prefix",    "same",   "neighborhood"};
  if (llvm::find(names, call.name) == std::end(names))
    return {};
  Value k = axisValue(*axis, spec::Side::Key);
  if (!k)
    return {};
  auto argument = [&](const char *name) { return import(call.value(name)); };
  if (call.name == "sink" || call.name == "prefix")
    return SinkOp::create(builder, loc, builder.getI1Type(), k, argument("n"));
  Value q = axisValue(*axis, spec::Side::Query);
  if (!q)
    return {};
  Type i1 = builder.getI1Type();
  if (call.name == "causal")
    return CausalOp::create(builder, loc, i1, q, k);
  if (call.name == "same")
    return SameOp::create(builder, loc, i1, q, k);
  if (call.name == "window")
    return WindowOp::create(builder, loc, i1, q, k, argument("n"));
  if (call.name == "prefix_lm")
    return PrefixLmOp::create(builder, loc, i1, q, k, argument("n"));
  if (call.name == "band")
    return BandOp::create(builder, loc, i1, q, k, argument("before"), argument("after"));
  auto size = spec::constantInt(call.value("n")), stride = spec::constantInt(call.value("stride")),
       dilation = spec::constantInt(call.value("dilation")),
       edge = spec::constantInt(call.value("edge"));
  const auto &length = axis->key.value ? axis->key.extent : axis->query.extent;
  if (!size || !stride || !dilation || !edge || !length)
    return {};
  return NeighborhoodOp::create(builder, loc, i1, q, k, *size, *stride, *dilation, extent(*length),
                                *edge == 1);
}

//===-- Expressions --------------------------------------------------------------===//

Value ExprImporter::leaf(const Expr &expr) {
  Type i32 = builder.getI32Type();
  switch (expr.op) {
  case Op::BoolConstant:
    return arith::ConstantOp::create(builder, loc, builder.getBoolAttr(expr.boolValue()));
  case Op::IntConstant:
    return integer(expr.intValue());
  case Op::FloatConstant:
    return number(expr.floatValue());
  case Op::Position:
    return PositionOp::create(builder, loc, i32, token(expr.side()));
  case Op::Coordinate: {
    const spec::CoordinateRef &ref = expr.coordinate();
    const spec::SpaceInfo &space = spec.spaces[ref.space];
    return coordinate(ref.side, ref.decode, space.name + "." + space.axes[ref.axis].name);
  }
  case Op::Head:
    return arguments.head;
  case Op::Batch:
    return arguments.batch;
  case Op::Layer:
    return LaunchValueOp::create(builder, loc, i32, LaunchValue::layer);
  case Op::Heads:
    return LaunchValueOp::create(builder, loc, i32, LaunchValue::heads);
  case Op::KvHeads:
    return LaunchValueOp::create(builder, loc, i32, LaunchValue::kv_heads);
  case Op::Param: {
    const spec::ParamInfo &param = spec.params[expr.index()];
    Type type = param.type == spec::Type::Float ? Type(builder.getF32Type()) : i32;
    return attn::ParamOp::create(builder, loc, type, param.name);
  }
  case Op::Score:
    return arguments.score;
  case Op::OutputValue:
    return arguments.output;
  case Op::LogSumExp:
    return arguments.logSumExp;
  case Op::InputValue:
    return InputOp::create(builder, loc, builder.getF32Type(), spec.inputs[expr.index()].name);
  default:
    return {};
  }
}

Value ExprImporter::unary(const Expr &expr, Value x) {
  bool isFloat = x.getType().isF32();
  switch (expr.op) {
  case Op::Not:
    return arith::XOrIOp::create(
        builder, loc, x, arith::ConstantOp::create(builder, loc, builder.getBoolAttr(true)));
  case Op::Negate:
    return isFloat ? arith::NegFOp::create(builder, loc, x).getResult()
                   : arith::SubIOp::create(builder, loc, integer(0), x).getResult();
  case Op::BitNot:
    return arith::XOrIOp::create(builder, loc, x, integer(-1));
  case Op::Abs:
    return isFloat ? math::AbsFOp::create(builder, loc, x).getResult()
                   : math::AbsIOp::create(builder, loc, x).getResult();
  case Op::Exp:
    return math::ExpOp::create(builder, loc, x);
  case Op::Exp2:
    return math::Exp2Op::create(builder, loc, x);
  case Op::Log:
    return math::LogOp::create(builder, loc, x);
  case Op::Log2:
    return math::Log2Op::create(builder, loc, x);
  case Op::Sqrt:
    return math::SqrtOp::create(builder, loc, x);
  case Op::Tanh:
    return math::TanhOp::create(builder, loc, x);
  case Op::Sin:
    return math::SinOp::create(builder, loc, x);
  case Op::Cos:
    return math::CosOp::create(builder, loc, x);
  case Op::Sigmoid: {
    Value decay = math::ExpOp::create(builder, loc, arith::NegFOp::create(builder, loc, x));
    Value one = number(1);
    return arith::DivFOp::create(builder, loc, one,
                                 arith::AddFOp::create(builder, loc, one, decay));
  }
  case Op::Floor:
    return math::FloorOp::create(builder, loc, x);
  case Op::Ceil:
    return math::CeilOp::create(builder, loc, x);
  case Op::ToFloat:
    return arith::SIToFPOp::create(builder, loc, builder.getF32Type(), x);
  case Op::ToInt:
    return ToIntOp::create(builder, loc, builder.getI32Type(), x);
  case Op::BoolToInt:
    return arith::ExtUIOp::create(builder, loc, builder.getI32Type(), x);
  default:
    return {};
  }
}

Value ExprImporter::compare(const Expr &expr, Value a, Value b) {
  using I = arith::CmpIPredicate;
  using F = arith::CmpFPredicate;
  auto emitCompare = [&](I integer, F floating) -> Value {
    if (a.getType().isF32())
      return arith::CmpFOp::create(builder, loc, floating, a, b);
    return arith::CmpIOp::create(builder, loc, integer, a, b);
  };
  switch (expr.op) {
  case Op::Equal:
    return emitCompare(I::eq, F::OEQ);
  case Op::NotEqual:
    return emitCompare(I::ne, F::UNE);
  case Op::Less:
    return emitCompare(I::slt, F::OLT);
  case Op::LessEqual:
    return emitCompare(I::sle, F::OLE);
  case Op::Greater:
    return emitCompare(I::sgt, F::OGT);
  case Op::GreaterEqual:
    return emitCompare(I::sge, F::OGE);
  default:
    return {};
  }
}

Value ExprImporter::binary(const Expr &expr, Value a, Value b) {
  bool isFloat = a.getType().isF32();
  auto either = [&](auto integer, auto floating) -> Value {
    using IntOp = typename decltype(integer)::type;
    using FloatOp = typename decltype(floating)::type;
    if (isFloat)
      return FloatOp::create(builder, loc, a, b);
    return IntOp::create(builder, loc, a, b);
  };
  // Shift amounts count modulo 32; arith leaves larger ones undefined.
  auto amount = [&] { return arith::AndIOp::create(builder, loc, b, integer(31)); };
  switch (expr.op) {
  case Op::Add:
    return either(std::type_identity<arith::AddIOp>(), std::type_identity<arith::AddFOp>());
  case Op::Subtract:
    return either(std::type_identity<arith::SubIOp>(), std::type_identity<arith::SubFOp>());
  case Op::Multiply:
    return either(std::type_identity<arith::MulIOp>(), std::type_identity<arith::MulFOp>());
  case Op::Min:
    return either(std::type_identity<arith::MinSIOp>(), std::type_identity<arith::MinNumFOp>());
  case Op::Max:
    return either(std::type_identity<arith::MaxSIOp>(), std::type_identity<arith::MaxNumFOp>());
  case Op::Div:
    return arith::DivFOp::create(builder, loc, a, b);
  case Op::FloorDiv:
    return FloorDivOp::create(builder, loc, builder.getI32Type(), a, b);
  case Op::Mod:
    return FloorModOp::create(builder, loc, builder.getI32Type(), a, b);
  case Op::BitAnd:
  case Op::And:
    return arith::AndIOp::create(builder, loc, a, b);
  case Op::BitOr:
  case Op::Or:
    return arith::OrIOp::create(builder, loc, a, b);
  case Op::BitXor:
    return arith::XOrIOp::create(builder, loc, a, b);
  case Op::ShiftLeft:
    return arith::ShLIOp::create(builder, loc, a, amount());
  case Op::ShiftRight:
    return arith::ShRSIOp::create(builder, loc, a, amount());
  default:
    return compare(expr, a, b);
  }
}

Value ExprImporter::emit(const Expr &expr) {
  if (expr.op == Op::Pattern) {
    Value known = pattern(expr.pattern());
    return known ? known : import(expr.operands[0]);
  }
  if (expr.op == Op::Gather) {
    const spec::TableInfo &table = spec.tables[expr.index()];
    SmallVector<Value> indices;
    for (const spec::ExprPtr &operand : expr.operands)
      indices.push_back(import(operand));
    Type type =
        expr.type == spec::Type::Float ? Type(builder.getF32Type()) : Type(builder.getI32Type());
    return attn::TableLoadOp::create(builder, loc, type, table.name, indices);
  }
  if (expr.op == Op::Coordinate && !expr.operands.empty())
    return import(expr.operands[0]); // tiled or in Z-order
  if (expr.operands.empty())
    return leaf(expr);
  if (expr.operands.size() == 1)
    return unary(expr, import(expr.operands[0]));
  Value a = import(expr.operands[0]), b = import(expr.operands[1]);
  if (expr.op == Op::Select)
    return arith::SelectOp::create(builder, loc, a, b, import(expr.operands[2]));
  return binary(expr, a, b);
}
