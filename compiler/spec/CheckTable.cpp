// Reads of tables: table_c2 and table_c3, and what an index outside means.
#include "compiler/spec/Bounds.h"
#include "compiler/spec/Checker.h"

#include <algorithm>
#include <charconv>
#include <cmath>

namespace attn::spec {

ExprPtr Checker::resolveIndex(const ast::Index &index, SourceRange range) {
  std::vector<ExprPtr> indices;
  for (const ast::ExprPtr &expr : index.indices)
    indices.push_back(resolve(*expr));
  if (poisoned.count(index.table.text))
    return nullptr;
  for (uint32_t i = 0; i < spec.tables.size() && !closedScope; ++i) {
    const TableInfo &table = spec.tables[i];
    if (table.name != index.table.text)
      continue;
    bool early = place == Place::Const || place == Place::Extent || place == Place::Axis;
    if (!allowed(table.name, range, !early, "it may use consts and params"))
      return nullptr;
    if (indices.size() != table.dims.size()) {
      report(DiagnosticId::table_c2, range,
             {"`" + table.name + "`", std::to_string(table.dims.size()),
              std::to_string(indices.size())});
      return nullptr;
    }
    if (std::count(indices.begin(), indices.end(), nullptr) || !indicesFit(table, indices))
      return nullptr;
    bool integral = table.element == Element::Int32 || table.element == Element::UInt8;
    return gather(i, integral ? Type::Int : Type::Float, std::move(indices), range);
  }
  std::vector<std::string> names;
  for (const TableInfo &table : spec.tables)
    names.push_back(table.name);
  report(DiagnosticId::name_c3, index.table.range,
         {"table `" + index.table.text + "`", suggestion(index.table.text, names)});
  return nullptr;
}

// table_c3: an index that never meets the table, or that is a head or a whole
// axis and so certainly leaves it. What may leave it at run time is clamped.
bool Checker::indicesFit(const TableInfo &table, const std::vector<ExprPtr> &indices) {
  BoundsEnvironment environment;
  environment.spec = &spec;
  bool fit = true;
  for (size_t i = 0; i < indices.size(); ++i) {
    std::optional<int64_t> size = tableExtent(table.dims[i]);
    const Expr &index = *indices[i];
    if (!size || index.type != Type::Int)
      continue;
    Bounds bounds = boundsOf(index, environment);
    bool whole = index.op == Op::Head && spec.heads != 0;
    if (index.op == Op::Coordinate) {
      std::optional<Extent> extent =
          spec.spaces[index.coordinate().space].axes[index.coordinate().axis].extent;
      whole = extent->isStatic() && extent->value > 0;
      if (whole)
        bounds = {0, 0, static_cast<double>(extent->value - 1)};
    }
    double last = static_cast<double>(*size - 1);
    if (bounds.low <= last && bounds.high >= 0 && !(whole && bounds.high > last))
      continue;
    auto show = [](double value) { return std::to_string(static_cast<int64_t>(value)); };
    std::string found = bounds.low == bounds.high ? "is " + show(bounds.low)
                        : std::isinf(bounds.high) ? "is at least " + show(bounds.low)
                        : std::isinf(bounds.low)
                            ? "is at most " + show(bounds.high)
                            : "reaches " + show(bounds.low) + ".." + show(bounds.high);
    report(DiagnosticId::table_c3, index.range,
           {std::to_string(i + 1), "`" + table.name + "`", found, show(last)});
    fit = false;
  }
  return fit;
}

// The extent of a dimension that is a number or a const.
std::optional<int64_t> Checker::tableExtent(const std::string &dim) const {
  int64_t number = 0;
  const char *end = dim.data() + dim.size();
  if (std::from_chars(dim.data(), end, number).ptr == end)
    return number;
  auto constant = constants.find(dim);
  return constant == constants.end() ? std::nullopt : constantInt(constant->second);
}

} // namespace attn::spec
