// Renders checked specs. Parentheses follow from precedence, so that what is
// printed for a user's expression can be read back.
#include "compiler/spec/Print.h"

#include <cmath>
#include <sstream>

namespace attn::spec {
namespace {

struct Symbol {
  const char *text;
  int level; // precedence; 0: written as a call
};

Symbol symbolOf(Op op) {
  switch (op) {
  case Op::Or:
    return {"or", 1};
  case Op::And:
    return {"and", 2};
  case Op::Not:
    return {"not ", 3};
  case Op::Equal:
    return {"==", 4};
  case Op::NotEqual:
    return {"!=", 4};
  case Op::Less:
    return {"<", 4};
  case Op::LessEqual:
    return {"<=", 4};
  case Op::Greater:
    return {">", 4};
  case Op::GreaterEqual:
    return {">=", 4};
  case Op::BitOr:
    return {"|", 5};
  case Op::BitXor:
    return {"^", 6};
  case Op::BitAnd:
    return {"&", 7};
  case Op::ShiftLeft:
    return {"<<", 8};
  case Op::ShiftRight:
    return {">>", 8};
  case Op::Add:
    return {"+", 9};
  case Op::Subtract:
    return {"-", 9};
  case Op::Multiply:
    return {"*", 10};
  case Op::FloorDiv:
    return {"//", 10};
  case Op::Div:
    return {"/", 10};
  case Op::Mod:
    return {"%", 10};
  case Op::Negate:
    return {"-", 11};
  case Op::BitNot:
    return {"~", 11};
  case Op::Abs:
    return {"abs", 0};
  case Op::Exp:
    return {"exp", 0};
  case Op::Exp2:
    return {"exp2", 0};
  case Op::Log:
    return {"log", 0};
  case Op::Log2:
    return {"log2", 0};
  case Op::Sqrt:
    return {"sqrt", 0};
  case Op::Tanh:
    return {"tanh", 0};
  case Op::Sin:
    return {"sin", 0};
  case Op::Cos:
    return {"cos", 0};
  case Op::Sigmoid:
    return {"sigmoid", 0};
  case Op::Floor:
    return {"floor", 0};
  case Op::Ceil:
    return {"ceil", 0};
  case Op::ToFloat:
    return {"float", 0};
  case Op::ToInt:
  case Op::BoolToInt:
    return {"int", 0};
  case Op::Min:
    return {"min", 0};
  case Op::Max:
    return {"max", 0};
  default:
    return {"", 0};
  }
}

std::string showDouble(double value) {
  std::ostringstream out;
  out.precision(9);
  out << value;
  std::string text = out.str();
  return text.find_first_of(".en") == std::string::npos ? text + ".0" : text;
}

// Bounds of params, of either type.
std::string showBound(double value) {
  return value == std::floor(value) ? std::to_string(static_cast<int64_t>(value))
                                    : showDouble(value);
}

class Printer {
public:
  Printer(const AttentionSpec &spec, bool expand) : spec(spec), expand(expand) {}

  std::string show(const Expr &e, int outer = 0) const {
    switch (e.op) {
    case Op::BoolConstant:
      return e.boolValue() ? "true" : "false";
    case Op::IntConstant:
      return std::to_string(e.intValue());
    case Op::FloatConstant:
      return showDouble(e.floatValue());
    case Op::Position:
      return side(e.side()) + "position";
    case Op::Coordinate: {
      const CoordinateRef &ref = e.coordinate();
      const SpaceInfo &space = spec.spaces[ref.space];
      return side(ref.side) + space.name + "." + space.axes[ref.axis].name;
    }
    case Op::Head:
      return "head";
    case Op::Batch:
      return "batch";
    case Op::Layer:
      return "layer";
    case Op::Heads:
      return "heads";
    case Op::KvHeads:
      return "kv_heads";
    case Op::Param:
      return spec.params[e.index()].name;
    case Op::Score:
      return "s";
    case Op::OutputValue:
      return "o";
    case Op::LogSumExp:
      return "lse";
    case Op::InputValue:
      return spec.inputs[e.index()].name;
    case Op::Gather:
      return spec.tables[e.index()].name + "[" + list(e) + "]";
    case Op::Select:
      return wrap("if " + show(*e.operands[0]) + " then " + show(*e.operands[1]) + " else " +
                      show(*e.operands[2]),
                  outer > 0);
    case Op::Pattern:
      return expand ? show(*e.operands[0], outer) : call(e.pattern());
    default:
      break;
    }
    Symbol symbol = symbolOf(e.op);
    if (symbol.level == 0)
      return symbol.text + ("(" + list(e) + ")");
    if (e.operands.size() == 1)
      return wrap(symbol.text + show(*e.operands[0], symbol.level), outer > symbol.level);
    // Comparisons do not chain, so both sides of one are wrapped.
    int left = symbol.level == 4 ? 5 : symbol.level;
    return wrap(show(*e.operands[0], left) + " " + symbol.text + " " +
                    show(*e.operands[1], symbol.level + 1),
                outer > symbol.level);
  }

private:
  static std::string side(Side side) { return side == Side::Query ? "q." : "k."; }
  static std::string wrap(const std::string &text, bool yes) {
    return yes ? "(" + text + ")" : text;
  }
  std::string list(const Expr &e) const {
    std::string text;
    for (size_t i = 0; i < e.operands.size(); ++i)
      text += (i ? ", " : "") + show(*e.operands[i]);
    return text;
  }
  std::string call(const PatternCall &call) const {
    std::string text;
    for (const PatternArg &arg : call.args) {
      text += text.empty() ? "" : ", ";
      if (const AxisRef *axis = std::get_if<AxisRef>(&arg.value))
        text += axis->name;
      else if (!arg.word.empty())
        text += arg.word;
      else
        text += show(*std::get<ExprPtr>(arg.value));
    }
    return call.name + "(" + text + ")";
  }

  const AttentionSpec &spec;
  bool expand;
};

std::string showExtent(const AttentionSpec &spec, const Extent &extent) {
  return extent.isStatic() ? std::to_string(extent.value) : toString(spec, *extent.dynamic);
}

std::string showTokens(const AttentionSpec &spec, const TokensInfo &tokens) {
  std::string text;
  for (const TokenGroup &group : tokens.groups)
    text += (text.empty() ? "" : " ++ ") + spec.spaces[group.space].name + " at " +
            showExtent(spec, group.base);
  return text;
}

std::string showOrder(const SpaceInfo &space) {
  const OrderInfo &order = space.order;
  std::string list;
  if (order.kind == OrderKind::Tiled)
    for (size_t i = 0; i < order.tiles.size(); ++i)
      list += (i ? ", " : "") + space.axes[i].name + ": " + std::to_string(order.tiles[i]);
  for (uint32_t axis : order.axes)
    list += (list.empty() ? "" : ", ") + space.axes[axis].name;
  switch (order.kind) {
  case OrderKind::RowMajor:
    return "";
  case OrderKind::Permuted:
    return " order (" + list + ")";
  case OrderKind::Tiled:
    return " order tiled (" + list + ")";
  case OrderKind::Morton:
    return " order morton (" + list + ")";
  }
  return "";
}

const char *granularityName(Granularity granularity) {
  switch (granularity) {
  case Granularity::PerTokenHead:
    return "(token, head)";
  case Granularity::PerHead:
    return "(head)";
  case Granularity::PerTensor:
    return "(tensor)";
  }
  return "";
}

const char *pinRecacheName(PinRecache pin) {
  return pin == PinRecache::Keep ? "keep" : pin == PinRecache::Refresh ? "refresh" : "move";
}

void showCache(std::ostream &out, const CacheInfo &cache) {
  out << "  cache " << (cache.whole ? cache.tokens : cache.axis.name) << " { ";
  if (cache.whole)
    out << "whole";
  else if (!cache.kinds.empty())
    for (const CacheKind &kind : cache.kinds)
      out << (&kind == &cache.kinds[0] ? "" : "; ") << "kind " << kind.name << " { pin " << kind.pin
          << "; ring " << kind.ring << " of " << kind.of << " }";
  else
    out << "pin " << cache.pin << (cache.pinAdjacent ? " adjacent" : "") << "; ring " << cache.ring;
  if (cache.spare)
    out << "; spare " << cache.spare;
  if (cache.lanes > 1)
    out << "; lanes " << cache.lanes;
  out << "; store " << (cache.storeRoped ? "roped" : "raw");
  if (cache.element)
    out << ", " << elementName(*cache.element) << " per " << granularityName(cache.granularity);
  out << "; write " << (cache.write == WritePolicy::EveryPass ? "every" : "last") << " pass";
  if (!cache.tail.empty())
    out << "; tail " << cache.tail;
  if (!cache.refillOn.empty())
    out << "; refill on " << cache.refillOn;
  out << " }\n";
}

} // namespace

std::string_view elementName(Element element) {
  switch (element) {
  case Element::F32:
    return "f32";
  case Element::BF16:
    return "bf16";
  case Element::F16:
    return "f16";
  case Element::Int8:
    return "int8";
  case Element::Int32:
    return "i32";
  case Element::UInt8:
    return "u8";
  }
  return "";
}

std::string toString(const AttentionSpec &spec, const Expr &expr, bool expand) {
  return Printer(spec, expand).show(expr);
}

std::string toString(const AttentionSpec &spec) {
  std::ostringstream out;
  out << "attention " << spec.name << " {\n";
  for (const ParamInfo &param : spec.params)
    out << "  param " << param.name << ": " << (param.type == Type::Int ? "int" : "float") << " in "
        << showBound(param.minimum) << ".." << showBound(param.maximum) << (param.implicit ? " (implicit)" : "") << "\n";
  for (const SpaceInfo &space : spec.spaces) {
    out << "  space " << space.name << "(";
    for (size_t i = 0; i < space.axes.size(); ++i) {
      const SpaceAxis &axis = space.axes[i];
      out << (i ? ", " : "") << axis.name << ": ";
      switch (axis.kind) {
      case AxisKind::Fixed:
        out << showExtent(spec, axis.extent);
        break;
      case AxisKind::Stream:
        out << "stream";
        break;
      case AxisKind::Ragged:
        out << "ragged <= " << showExtent(spec, axis.extent);
        break;
      case AxisKind::Packed:
        out << "packed";
        break;
      }
    }
    out << ")" << showOrder(space) << "\n";
  }
  for (const TableInfo &table : spec.tables) {
    out << "  table " << table.name << "[";
    for (size_t i = 0; i < table.dims.size(); ++i)
      out << (i ? ", " : "") << table.dims[i];
    out << "]: " << elementName(table.element) << (table.implicit ? " (implicit)" : "") << "\n";
  }
  for (const InputInfo &input : spec.inputs) {
    out << "  input " << input.name << "[";
    for (size_t i = 0; i < input.dims.size(); ++i)
      out << (i ? ", " : "") << input.dims[i];
    out << "]: " << elementName(input.element) << "\n";
  }
  out << "  query " << showTokens(spec, spec.query);
  if (spec.queryBlock)
    out << ", " << spec.queryBlock->axis.name << ": " << spec.queryBlock->minimum << ".."
        << spec.queryBlock->maximum << " per call";
  if (spec.queryBlock && spec.queryBlock->from)
    out << " from " << spec.params[*spec.queryBlock->from].name;
  out << "\n  keys " << showTokens(spec, spec.keys) << "\n";
  out << "  heads " << spec.heads << " kv " << spec.kvHeads << " dim " << spec.qkDim << " value "
      << spec.vDim << "\n";
  out << "  type q " << elementName(spec.types.q) << ", k " << elementName(spec.types.k) << ", v "
      << elementName(spec.types.v) << ", o " << elementName(spec.types.o) << "\n";
  if (spec.scale)
    out << "  scale " << showDouble(*spec.scale) << "\n";
  if (spec.rope) {
    out << "  rope " << (spec.rope->kind == RopeKind::Half ? "half" : "interleaved") << " theta "
        << showBound(spec.rope->theta) << " (";
    for (size_t i = 0; i < spec.rope->axes.size(); ++i)
      out << (i ? ", " : "") << spec.rope->axes[i].axis << ": " << spec.rope->axes[i].dims;
    out << ") origin " << (spec.rope->origin == RopeOrigin::Window ? "window" : "stream") << "\n";
  }
  out << "  mask " << toString(spec, *spec.mask) << "\n";
  if (spec.score)
    out << "  score " << toString(spec, *spec.score) << "\n";
  if (spec.sinkLogit)
    out << "  softmax with " << toString(spec, *spec.sinkLogit) << "\n";
  if (spec.output)
    out << "  output " << toString(spec, *spec.output) << "\n";
  if (spec.emitLse)
    out << (spec.partial ? "  emit partial\n" : "  emit lse\n");
  if (spec.cache)
    showCache(out, *spec.cache);
  if (spec.recache)
    out << "  recache on " << spec.recache->event << " { replay " << spec.recache->replay
        << "; mask " << toString(spec, *spec.recache->mask) << "; pin "
        << pinRecacheName(spec.recache->pin) << " }\n";
  out << "}\n";
  return out.str();
}

} // namespace attn::spec
