// Registers the attn dialect and verifies its attributes.
#include "dialects/attn/AttnDialect.h"

#include "mlir/IR/Builders.h"
#include "mlir/IR/DialectImplementation.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace mlir::attn;
using Emit = function_ref<InFlightDiagnostic()>;

#include "dialects/attn/AttnDialect.cpp.inc"
#include "dialects/attn/AttnEnums.cpp.inc"
#include "dialects/attn/AttnInterfaces.cpp.inc"
#define GET_TYPEDEF_CLASSES
#include "dialects/attn/AttnTypes.cpp.inc"
#define GET_ATTRDEF_CLASSES
#include "dialects/attn/AttnAttrs.cpp.inc"

void AttnDialect::initialize() {
  addTypes<
#define GET_TYPEDEF_LIST
#include "dialects/attn/AttnTypes.cpp.inc"
      >();
  addAttributes<
#define GET_ATTRDEF_LIST
#include "dialects/attn/AttnAttrs.cpp.inc"
      >();
  addOperations<
#define GET_OP_LIST
#include "dialects/attn/AttnOps.cpp.inc"
      >();
}

//===-- Syntax ----------------------------------------------------------------===//

Attribute TableAttr::parse(AsmParser &parser, Type) {
  std::string name;
  Type elementType;
  unsigned rank = 0;
  if (parser.parseLess() || parser.parseString(&name) || parser.parseComma() ||
      parser.parseType(elementType) || parser.parseComma() || parser.parseInteger(rank))
    return {};
  bool sorted = succeeded(parser.parseOptionalComma());
  if ((sorted && parser.parseKeyword("sorted")) || parser.parseGreater())
    return {};
  return parser.getChecked<TableAttr>(parser.getContext(), name, elementType, rank, sorted);
}

void TableAttr::print(AsmPrinter &printer) const {
  printer << "<\"" << getName() << "\", " << getElementType() << ", " << getRank()
          << (getSorted() ? ", sorted>" : ">");
}

Attribute CacheAttr::parse(AsmParser &parser, Type) {
  std::string axis;
  int64_t pin = 0, ring = 0;
  Type elementType;
  if (parser.parseLess() || parser.parseString(&axis) || parser.parseComma() ||
      parser.parseKeyword("pin") || parser.parseInteger(pin) || parser.parseComma() ||
      parser.parseKeyword("ring") || parser.parseInteger(ring) || parser.parseComma() ||
      parser.parseType(elementType) || parser.parseComma())
    return {};
  auto granularity = FieldParser<Granularity>::parse(parser);
  if (failed(granularity) || parser.parseComma())
    return {};
  auto write = FieldParser<WritePolicy>::parse(parser);
  if (failed(write))
    return {};
  bool roped = succeeded(parser.parseOptionalComma());
  if ((roped && parser.parseKeyword("roped")) || parser.parseGreater())
    return {};
  return parser.getChecked<CacheAttr>(parser.getContext(), axis, pin, ring, elementType,
                                      *granularity, *write, roped);
}

void CacheAttr::print(AsmPrinter &printer) const {
  printer << "<\"" << getAxis() << "\", pin " << getPin() << ", ring " << getRing() << ", "
          << getElementType() << ", " << stringifyGranularity(getGranularity()) << ", "
          << stringifyWritePolicy(getWrite()) << (getRoped() ? ", roped>" : ">");
}

//===-- Verifiers of attributes -------------------------------------------------===//

LogicalResult AxisAttr::verify(Emit emit, StringRef name, AxisKind kind, int64_t extent) {
  if (name.empty())
    return emit() << "axis has no name";
  if (extent < 0)
    return emit() << "axis '" << name << "' has extent " << extent << "; must be at least 0";
  if (extent != 0 && (kind == AxisKind::stream || kind == AxisKind::packed))
    return emit() << "axis '" << name << "' is " << stringifyAxisKind(kind) << " and has extent "
                  << extent << "; such an axis is unbounded, use 0";
  return success();
}

LogicalResult SpaceAttr::verify(Emit emit, StringRef name, ArrayRef<AxisAttr> axes) {
  if (axes.empty())
    return emit() << "space '" << name << "' has no axes";
  llvm::StringSet<> names;
  for (auto [index, axis] : llvm::enumerate(axes)) {
    if (!names.insert(axis.getName()).second)
      return emit() << "space '" << name << "' has two axes '" << axis.getName() << "'";
    if (axis.getKind() == AxisKind::stream && index != 0)
      return emit() << "axis '" << axis.getName() << "' of space '" << name
                    << "' is a stream; only the outermost axis may be one";
  }
  return success();
}

LogicalResult TokensAttr::verify(Emit emit, StringRef name, ArrayRef<StringAttr> spaces) {
  if (spaces.empty())
    return emit() << "tokens '" << name << "' name no space";
  return success();
}

static bool isTensorElement(Type type) { return type.isF32() || type.isF16() || type.isBF16(); }

LogicalResult TypesAttr::verify(Emit emit, Type q, Type k, Type v, Type o) {
  if (!isTensorElement(q))
    return emit() << "q has element type " << q << "; must be f32, f16 or bf16";
  for (Type type : {k, v})
    if (!isTensorElement(type) && !type.isInteger(8))
      return emit() << "k or v has element type " << type << "; must be f32, f16, bf16 or i8";
  if (!isTensorElement(o))
    return emit() << "o has element type " << o << "; must be f32, f16 or bf16";
  return success();
}

LogicalResult ParamAttr::verify(Emit emit, StringRef name, TypedAttr minimum, TypedAttr maximum) {
  Type type = minimum.getType();
  if (type != maximum.getType() || !(type.isInteger(32) || type.isF32()))
    return emit() << "bounds of parameter '" << name << "' have types " << type << " and "
                  << maximum.getType() << "; must both be i32 or both f32";
  bool ordered = type.isF32()
                     ? !(cast<FloatAttr>(maximum).getValue() < cast<FloatAttr>(minimum).getValue())
                     : cast<IntegerAttr>(minimum).getInt() <= cast<IntegerAttr>(maximum).getInt();
  if (!ordered)
    return emit() << "parameter '" << name << "' has an empty range";
  return success();
}

LogicalResult TableAttr::verify(Emit emit, StringRef name, Type elementType, unsigned rank,
                                bool sorted) {
  if (rank < 1 || rank > 4)
    return emit() << "table '" << name << "' has rank " << rank << "; must be 1 to 4";
  if (!isTensorElement(elementType) && !elementType.isInteger(32) && !elementType.isInteger(8))
    return emit() << "table '" << name << "' has element type " << elementType
                  << "; must be f32, f16, bf16, i32 or i8";
  if (sorted && (rank != 1 || !elementType.isInteger(32)))
    return emit() << "table '" << name << "' is sorted; that needs rank 1 and i32";
  return success();
}

LogicalResult InputAttr::verify(Emit emit, StringRef name, Type elementType,
                                ArrayRef<StringAttr> dims) {
  if (!isTensorElement(elementType))
    return emit() << "input '" << name << "' has element type " << elementType
                  << "; must be f32, f16 or bf16";
  int last = -1;
  for (StringAttr dim : dims) {
    int place = dim.getValue() == "q"      ? 0
                : dim.getValue() == "head" ? 1
                : dim.getValue() == "dim"  ? 2
                                           : -1;
    if (place <= last)
      return emit() << "input '" << name << "' has dim " << dim
                    << "; must be q, head and dim in this order, each at most once";
    last = place;
  }
  return success();
}

LogicalResult QueryBlockAttr::verify(Emit emit, StringRef axis, int64_t minimum, int64_t maximum) {
  if (minimum < 1 || maximum < minimum)
    return emit() << "a call brings " << minimum << " to " << maximum << " blocks of '" << axis
                  << "'; must be at least 1 and in order";
  return success();
}

LogicalResult RopeAxisAttr::verify(Emit emit, StringRef name, int64_t dims) {
  if (dims <= 0 || dims % 2 != 0)
    return emit() << "axis '" << name << "' rotates " << dims << " dims; must be positive and even";
  return success();
}

LogicalResult RopeAttr::verify(Emit emit, RopeKind kind, TypedAttr theta, RopeOrigin origin,
                               ArrayRef<RopeAxisAttr> axes) {
  if (axes.empty())
    return emit() << "rope names no axis";
  return success();
}

LogicalResult CacheAttr::verify(Emit emit, StringRef axis, int64_t pin, int64_t ring,
                                Type elementType, Granularity granularity, WritePolicy write,
                                bool roped) {
  if (pin < 0 || ring < 0)
    return emit() << "cache pins " << pin << " blocks and keeps the newest " << ring
                  << "; must be at least 0";
  if (!isTensorElement(elementType) && !elementType.isInteger(8))
    return emit() << "cache has element type " << elementType << "; must be f32, f16, bf16 or i8";
  return success();
}
