// Declarations: consts, params, spaces, concatenations, derived axes, tables
// and inputs. A wrong one is remembered, so that its uses are not errors too.
#include "compiler/spec/Bounds.h"
#include "compiler/spec/Checker.h"

#include <algorithm>
#include <sstream>

namespace attn::spec {
namespace {

constexpr int64_t maxTokens = 2147483647;

std::string showNumber(double value) {
  std::ostringstream out;
  out << value;
  return out.str();
}

} // namespace

void Checker::declare(const ast::Name &name) {
  if (isLanguageWord(name.text)) {
    report(DiagnosticId::name_c2, name.range, {"`" + name.text + "`"});
    return;
  }
  auto [entry, fresh] = declared.emplace(name.text, name.range);
  if (!fresh) {
    Diagnostic &diagnostic = report(DiagnosticId::name_c1, name.range, {"`" + name.text + "`"});
    diagnostic.notes.push_back({entry->second, "declared here"});
  }
}

void Checker::checkConst(const ast::Binding &binding) {
  declare(binding.name);
  ExprPtr value = resolveAt(Place::Const, *binding.value);
  if (value && value->type == Type::Bool)
    value = require(value, Type::Float, "a const");
  if (!value) {
    poisoned.insert(binding.name.text);
    return;
  }
  constants[binding.name.text] = value;
  ConstInfo info{binding.name.text, {}, binding.name.range};
  if (value->type == Type::Int)
    info.value = value->intValue();
  else
    info.value = value->floatValue();
  spec.consts.push_back(info);
}

// param_c1
void Checker::checkParam(const ast::Param &param) {
  declare(param.name);
  ExprPtr bounds[2] = {resolveAt(Place::Const, *param.minimum),
                       resolveAt(Place::Const, *param.maximum)};
  bool isFloat = param.isFloat;
  for (const ExprPtr &bound : bounds) {
    if (!bound || !require(bound, Type::Float, "a bound of a param")) {
      poisoned.insert(param.name.text);
      return;
    }
    isFloat |= bound->type == Type::Float;
  }
  double low = toFloat(bounds[0])->floatValue(), high = toFloat(bounds[1])->floatValue();
  if (low > high)
    report(DiagnosticId::param_c1, join(param.minimum->range, param.maximum->range),
           {"`" + param.name.text + "`", showNumber(low), showNumber(high)});
  ParamInfo info;
  info.name = param.name.text;
  info.type = isFloat ? Type::Float : Type::Int;
  info.minimum = low;
  info.maximum = high;
  info.range = param.name.range;
  spec.params.push_back(info);
}

// space_c1, space_c5
Extent Checker::checkExtent(const ast::Axis &axis) {
  ExprPtr value = resolveAt(Place::Extent, *axis.extent);
  if (!value)
    return {1, nullptr};
  if (value->type != Type::Int) {
    report(DiagnosticId::space_c5, axis.extent->range, {"`" + axis.name.text + "`"});
    return {1, nullptr};
  }
  Extent extent;
  if (value->op == Op::IntConstant)
    extent.value = value->intValue();
  else
    extent.dynamic = value;
  BoundsEnvironment environment;
  environment.spec = &spec;
  double least = boundsOf(*value, environment).low;
  if (least < 1) {
    report(
        DiagnosticId::space_c1, axis.extent->range,
        {"`" + axis.name.text + "`", (extent.dynamic ? "as small as " : "") + showNumber(least)});
    return {1, nullptr};
  }
  return extent;
}

// space_c2, space_c3, space_c4
void Checker::checkSpace(const ast::Space &space) {
  declare(space.name);
  SpaceInfo info;
  info.name = space.name.text;
  info.range = space.name.range;
  double tokens = 1;
  bool packed = space.axes[0].kind == ast::ExtentKind::Packed;
  std::set<std::string> names;
  for (size_t i = 0; i < space.axes.size(); ++i) {
    const ast::Axis &axis = space.axes[i];
    auto other = declared.find(axis.name.text);
    if (isLanguageWord(axis.name.text)) {
      report(DiagnosticId::name_c2, axis.name.range, {"`" + axis.name.text + "`"});
    } else if (!names.insert(axis.name.text).second || other != declared.end()) {
      Diagnostic &d = report(DiagnosticId::name_c1, axis.name.range, {"`" + axis.name.text + "`"});
      if (other != declared.end())
        d.notes.push_back({other->second, "declared here"});
    }
    spaceAxisNames.insert(axis.name.text);
    SpaceAxis entry;
    entry.name = axis.name.text;
    entry.range = axis.range;
    entry.kind = static_cast<AxisKind>(axis.kind);
    bool raggedInDocument = packed && i == 1 && entry.kind == AxisKind::Ragged;
    if (i != 0 && entry.kind != AxisKind::Fixed && !raggedInDocument) {
      static const char *const kinds[] = {"fixed", "a stream", "ragged", "packed"};
      report(DiagnosticId::space_c3, axis.range,
             {"`" + entry.name + "`", kinds[static_cast<size_t>(entry.kind)]});
      entry.kind = AxisKind::Fixed;
      entry.extent = {1, nullptr};
    } else if (axis.extent) {
      entry.extent = checkExtent(axis);
      if (entry.kind == AxisKind::Ragged && !entry.extent.isStatic()) {
        report(DiagnosticId::number_c3, axis.extent->range, {"the limit of a ragged axis"});
        entry.extent = {1, nullptr};
      }
      BoundsEnvironment environment;
      environment.spec = &spec;
      tokens *= entry.extent.isStatic() ? static_cast<double>(entry.extent.value)
                                        : boundsOf(*entry.extent.dynamic, environment).high;
    }
    info.axes.push_back(entry);
  }
  if (packed && (info.axes.size() != 2 || info.axes[1].kind != AxisKind::Ragged)) {
    report(DiagnosticId::space_c4, space.axes[0].range, {info.name});
    poisoned.insert(info.name);
  }
  if (tokens > static_cast<double>(maxTokens)) {
    report(DiagnosticId::space_c2, space.name.range, {"`" + info.name + "`", showNumber(tokens)});
    poisoned.insert(info.name);
    for (SpaceAxis &axis : info.axes)
      axis.extent = {1, nullptr};
  }
  if (space.order && !poisoned.count(info.name))
    checkOrder(*space.order, info);
  if (packed && !poisoned.count(info.name))
    for (const std::string &column : {info.axes[0].name, std::string("start")}) {
      TableInfo table;
      table.name = info.name + "_" + column;
      table.dims = {"position"};
      table.element = Element::Int32;
      table.implicit = true;
      table.range = space.axes[0].range;
      declare({table.name, table.range});
      spec.tables.push_back(table);
    }
  spec.spaces.push_back(std::move(info));
}

// tokens_c1, tokens_c2, tokens_c3
std::optional<TokensInfo> Checker::concatenate(const std::string &name,
                                               const std::vector<ast::Name> &parts) {
  TokensInfo result;
  result.name = name;
  Extent base{0, nullptr};
  for (size_t i = 0; i < parts.size(); ++i) {
    int space = spaceIndex(parts[i].text);
    if (poisoned.count(parts[i].text))
      return std::nullopt;
    if (space < 0) {
      std::vector<std::string> names;
      for (const SpaceInfo &known : spec.spaces)
        names.push_back(known.name);
      report(DiagnosticId::tokens_c1, parts[i].range,
             {"`" + parts[i].text + "`", suggestion(parts[i].text, names)});
      return std::nullopt;
    }
    const AxisKind kind = spec.spaces[static_cast<size_t>(space)].axes[0].kind;
    bool last = i + 1 == parts.size();
    if (kind == AxisKind::Packed && parts.size() > 1) {
      report(DiagnosticId::tokens_c3, parts[i].range, {"`" + parts[i].text + "`"});
      return std::nullopt;
    }
    if (kind == AxisKind::Stream && !last) {
      report(DiagnosticId::tokens_c2, parts[i].range, {"`" + parts[i].text + "`", "a stream"});
      return std::nullopt;
    }
    for (const TokenGroup &group : result.groups)
      if (group.space == static_cast<uint32_t>(space)) {
        report(DiagnosticId::name_c1, parts[i].range, {"`" + parts[i].text + "`"});
        return std::nullopt;
      }
    TokenGroup group{static_cast<uint32_t>(space), base, std::nullopt, {}};
    if (!(last && kind == AxisKind::Ragged))
      group.length = spaceLength(group.space);
    if (group.length)
      base = add(base, *group.length);
    if (base.isStatic() && base.value > maxTokens) {
      report(DiagnosticId::space_c2, parts[i].range,
             {"`" + name + "`", std::to_string(base.value)});
      return std::nullopt;
    }
    result.groups.push_back(group);
  }
  return result;
}

void Checker::checkTokens(const ast::Tokens &tokens) {
  declare(tokens.name);
  if (concatenate(tokens.name.text, tokens.parts))
    concatenations[tokens.name.text] = &tokens;
  else
    poisoned.insert(tokens.name.text);
}

std::optional<TokensInfo> Checker::tokensNamed(const ast::Name &name) {
  if (poisoned.count(name.text))
    return std::nullopt;
  if (auto found = concatenations.find(name.text); found != concatenations.end())
    return concatenate(name.text, found->second->parts);
  return concatenate(name.text, {name});
}

// axis_c1
void Checker::checkDerived(const ast::Derived &derived) {
  declare(derived.name);
  if (spaceAxisNames.count(derived.name.text))
    report(DiagnosticId::name_c1, derived.name.range, {"`" + derived.name.text + "`"});
  Derivation context;
  derivation = &context;
  ExprPtr value = resolveAt(Place::Axis, *derived.value);
  derivation = nullptr;
  if (value && (value->type != Type::Int || context.space == UINT32_MAX)) {
    report(DiagnosticId::axis_c1, derived.value->range, {"`" + derived.name.text + "`"});
    value = nullptr;
  }
  if (!value) {
    poisoned.insert(derived.name.text);
    return;
  }
  derivedAxes[derived.name.text] = &derived;
  derivedSpace[derived.name.text] = context.space;
}

// type_c1
std::optional<Element> Checker::elementNamed(const ast::Name &name, std::string_view allowedNames) {
  struct Entry {
    const char *name;
    Element element;
  };
  for (const Entry &entry :
       {Entry{"f32", Element::F32}, Entry{"bf16", Element::BF16}, Entry{"f16", Element::F16},
        Entry{"int8", Element::Int8}, Entry{"i32", Element::Int32}, Entry{"u8", Element::UInt8}})
    if (name.text == entry.name && allowedNames.find(entry.name) != std::string_view::npos)
      return entry.element;
  report(DiagnosticId::type_c1, name.range, {"`" + name.text + "`", std::string(allowedNames)});
  return std::nullopt;
}

// word_c1
bool Checker::wordAmong(const ast::Name &word, std::string_view kind,
                        std::string_view allowedWords) {
  std::string padded = " " + std::string(allowedWords) + " ";
  if (padded.find(" " + word.text + " ") != std::string::npos ||
      padded.find(" " + word.text + ",") != std::string::npos)
    return true;
  report(DiagnosticId::word_c1, word.range,
         {std::string(kind), "`" + word.text + "`", std::string(allowedWords)});
  return false;
}

// table_c1
void Checker::checkTable(const ast::Table &table) {
  declare(table.name);
  TableInfo info;
  info.name = table.name.text;
  info.range = table.name.range;
  for (const ast::Name &dim : table.dims)
    info.dims.push_back(dim.text);
  if (table.dims.size() > 4) {
    report(DiagnosticId::table_c1, join(table.dims.front().range, table.dims.back().range),
           {"`" + info.name + "`", std::to_string(table.dims.size())});
    poisoned.insert(info.name);
  }
  std::optional<Element> element = elementNamed(table.element, "f32, bf16, f16, i32 or u8");
  if (element)
    info.element = *element;
  else
    poisoned.insert(info.name);
  spec.tables.push_back(std::move(info));
}

// input_c1
void Checker::checkInput(const ast::Input &input) {
  declare(input.name);
  InputInfo info;
  info.name = input.name.text;
  info.range = input.name.range;
  const std::vector<std::string> order{"q", "head", "dim"};
  auto at = order.begin();
  for (const ast::Name &dim : input.dims) {
    at = std::find(at, order.end(), dim.text);
    if (at == order.end()) {
      report(DiagnosticId::input_c1, dim.range, {"`" + info.name + "`"});
      break;
    }
    ++at;
    info.dims.push_back(dim.text);
  }
  if (std::optional<Element> element = elementNamed(input.element, "f32, bf16 or f16"))
    info.element = *element;
  spec.inputs.push_back(std::move(info));
}

} // namespace attn::spec
