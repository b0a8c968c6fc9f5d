// What a checked spec is: every name resolved, every call expanded, every
// expression typed. The compiler's importer and the float64 oracle read this
// and nothing else of the front end.
#pragma once

#include "compiler/spec/SourceRange.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace attn::spec {

// ---- Expressions ------------------------------------------------------------

// Int is a 32-bit two's complement integer that wraps; Float is f32 in kernels
// (the oracle computes in f64). Operands of one operation have one type: the
// checker has inserted ToFloat where the user mixed them.
enum class Type : uint8_t { Bool, Int, Float };

enum class Side : uint8_t { Query, Key };

enum class Op : uint8_t {
  // Leaves. The payload (below) says which.
  BoolConstant,  // bool
  IntConstant,   // int64_t, in int32 range
  FloatConstant, // double
  Position,      // Side: position of the query row or of the key (Int)
  // CoordinateRef: one axis decoded from a position (Int). Where tokens are
  // tiled or in Z-order, operand 0 puts it together from several decodes.
  Coordinate,
  Head,        // query head (Int)
  Batch,       // batch entry (Int)
  Layer,       // ATTN_W_LAYER (Int)
  Heads,       // number of query heads at run time (Int)
  KvHeads,     // number of KV heads at run time (Int)
  Param,       // index into AttentionSpec::params (Int or Float)
  Score,       // `s` in a score expression: scale * (q . k) (Float)
  OutputValue, // `o` in an output expression (Float)
  LogSumExp,   // `lse` in an output expression; -1e30 for a row that attends nothing (Float)
  InputValue,  // index into AttentionSpec::inputs: this row, head, dim (Float)
  // Operands: indices, outermost first; payload: index into tables. An index
  // outside the table reads the nearest element (it is clamped per dimension).
  Gather,
  // Unary.
  Not,    // Bool
  Negate, // Int, Float
  BitNot, // Int
  Abs,    // Int, Float
  Exp,
  Exp2,
  Log,
  Log2,
  Sqrt,
  Tanh,
  Sin,
  Cos,
  Sigmoid,
  Floor,
  Ceil,      // Float
  ToFloat,   // Int -> Float
  ToInt,     // Float -> Int, towards zero, saturating, NaN -> 0
  BoolToInt, // Bool -> Int, 0 or 1
  // Binary. FloorDiv and Mod round towards -inf (the remainder has the sign of
  // the divisor); a divisor of 0 gives 0. Div is Float only. Shift amounts are
  // taken modulo 32; ShiftRight keeps the sign.
  Add,
  Subtract,
  Multiply, // Int, Float
  Div,      // Float
  FloorDiv,
  Mod, // Int
  BitAnd,
  BitOr,
  BitXor,
  ShiftLeft,
  ShiftRight, // Int
  Min,
  Max, // Int, Float
  And,
  Or, // Bool, lazy
  Equal,
  NotEqual,
  Less,
  LessEqual,
  Greater,
  GreaterEqual, // Int, Float -> Bool
  // Ternary: condition, then, else; only the chosen branch counts.
  Select,
  // A call of a named boolean pattern (payload PatternCall), kept visible for
  // whoever knows its name. Operand 0 is its expansion: equal in meaning.
  Pattern,
};

// The checker rejects what is larger, so recursion over an expression is safe.
constexpr uint32_t maxTreeSize = 50000;
constexpr uint32_t maxTreeDepth = 1000;

struct Expr;
// Expressions are immutable and may be shared (a `let` used twice is one node).
using ExprPtr = std::shared_ptr<const Expr>;

// A number that is known now, or an Int expression over parameters alone.
struct Extent {
  int64_t value = 0; // meaningful if isStatic()
  ExprPtr dynamic;   // null: static
  bool isStatic() const { return !dynamic; }
};

// How a coordinate follows from a position:
//   (position - base) floordiv divisor, then mod modulus unless that is 0.
// The outermost axis of a space has modulus 0.
struct Decode {
  Extent base{0, nullptr};
  Extent divisor{1, nullptr};
  Extent modulus{0, nullptr}; // static 0: none
};

struct CoordinateRef {
  Side side = Side::Query;
  uint32_t space = 0; // index into AttentionSpec::spaces
  uint32_t axis = 0;  // index into SpaceInfo::axes
  Decode decode;
};

// An axis as seen from one side of the attention.
struct AxisSide {
  ExprPtr value;                // Int expression over that side's coordinates
  std::optional<Decode> decode; // present if the value is one plain decode
  std::optional<Extent> extent; // number of values; absent: unbounded (a stream)
};

// An axis given to a pattern, or named by query/cache. A side whose tokens do
// not have the axis is absent (null value).
struct AxisRef {
  std::string name; // as declared, "t" or "b"
  AxisSide query, key;
  SourceRange range;
};

// An argument of a pattern call, under the parameter's name. Exactly one holds:
// an axis, or an Int/Float/Bool value (defaults are filled in).
struct PatternArg {
  std::string name;
  std::variant<AxisRef, ExprPtr> value;
  std::string word = {}; // of a choice, whose value is the word's number
};

struct PatternCall {
  std::string name; // "causal", "window", ...; names of the standard library are never redefined
  bool standard = false; // defined in specs/std
  std::vector<PatternArg> args;

  const AxisRef *axis(const std::string &argName) const {
    for (const PatternArg &arg : args)
      if (arg.name == argName)
        return std::get_if<AxisRef>(&arg.value);
    return nullptr;
  }
  ExprPtr value(const std::string &argName) const {
    for (const PatternArg &arg : args)
      if (arg.name == argName)
        if (const ExprPtr *expr = std::get_if<ExprPtr>(&arg.value))
          return *expr;
    return nullptr;
  }
};

struct Expr {
  Op op = Op::BoolConstant;
  Type type = Type::Bool;
  SourceRange range; // may lie in the standard library (range.file != 0)
  std::vector<ExprPtr> operands;
  std::variant<std::monostate, bool, int64_t, double, Side, CoordinateRef, uint32_t, PatternCall>
      payload;
  uint32_t treeSize = 1; // nodes if written out as a tree; at most maxTreeSize
  uint32_t depth = 1;    // levels of the tree; at most maxTreeDepth

  bool boolValue() const { return std::get<bool>(payload); }
  int64_t intValue() const { return std::get<int64_t>(payload); }
  double floatValue() const { return std::get<double>(payload); }
  Side side() const { return std::get<Side>(payload); } // Position
  const CoordinateRef &coordinate() const { return std::get<CoordinateRef>(payload); }
  uint32_t index() const { return std::get<uint32_t>(payload); } // Param, Gather, InputValue
  const PatternCall &pattern() const { return std::get<PatternCall>(payload); }
};

// The value of an IntConstant, looking through nothing else.
inline std::optional<int64_t> constantInt(const ExprPtr &expr) {
  if (expr && expr->op == Op::IntConstant)
    return expr->intValue();
  return std::nullopt;
}

// ---- Declarations -----------------------------------------------------------

enum class Element : uint8_t { F32, BF16, F16, Int8, Int32, UInt8 };

struct ConstInfo {
  std::string name;
  std::variant<int64_t, double> value;
  SourceRange range;
};

// A run-time scalar; never recompiles. `implicit` ones are made by the checker
// (the run-time length of a ragged space, named "len_<space>").
struct ParamInfo {
  std::string name;
  Type type = Type::Int;           // Int or Float
  double minimum = 0, maximum = 0; // inclusive
  bool implicit = false;
  SourceRange range;
};

enum class AxisKind : uint8_t {
  Fixed,  // a constant or parameter extent
  Stream, // unbounded, grows with time; outermost only
  Ragged, // length known at run time, at most `extent`; outermost only
  Packed, // document number of a packed batch, looked up in a table; outermost only
};

struct SpaceAxis {
  std::string name;
  AxisKind kind = AxisKind::Fixed;
  Extent extent; // Fixed: the extent; Ragged: the largest length; Stream, Packed: static 0
  SourceRange range;
};

// In which order a space's tokens follow each other.
enum class OrderKind : uint8_t {
  RowMajor, // as the axes are declared, the last one fastest
  Permuted, // the axes in another order
  Tiled,    // whole tiles one after another, row-major in and between them
  Morton,   // bits of power-of-two axes interleaved (Z-order)
};
struct OrderInfo {
  OrderKind kind = OrderKind::RowMajor;
  std::vector<uint32_t> axes; // Permuted: slowest first; Morton: interleaved, slowest first
  std::vector<int64_t> tiles; // Tiled: one per axis of the space
};

// A token space: a mixed-radix grid, last axis fastest. Where a space stands in
// a concatenation is in TokensInfo; its axes are decoded in CoordinateRef.
struct SpaceInfo {
  std::string name;
  std::vector<SpaceAxis> axes;
  OrderInfo order;
  SourceRange range;
};

// The tokens of one side: one space, or several one after another (text ++ video).
struct NamedCoordinate {
  std::string name; // of an axis of the space, or of one derived from it
  ExprPtr value;    // from the position of its side
};
struct TokenGroup {
  uint32_t space = 0;                       // index into spaces
  Extent base;                              // first position
  std::optional<Extent> length;             // absent: unbounded (a stream, or ragged and last)
  std::vector<NamedCoordinate> coordinates; // filled in last; for those who speak of tokens
};
struct TokensInfo {
  std::string name;               // the space's or the concatenation's name
  std::vector<TokenGroup> groups; // in position order
};

// A named tensor that masks, scores or the sink logit may read.
struct TableInfo {
  std::string name;
  std::vector<std::string> dims;  // as written: names or numbers; rank 1 to 4
  Element element = Element::F32; // F32, BF16, F16: gathers are Float; Int32, UInt8: Int
  bool implicit = false;          // "<space>_<packed axis>" and "<space>_start" of a packed space
  SourceRange range;
};

// A per-(row, head, dim) tensor that the output expression may read.
struct InputInfo {
  std::string name;
  std::vector<std::string> dims; // "q", "head", "dim" in this order; a missing one is broadcast
  Element element = Element::BF16;
  SourceRange range;
};

// `query video, b: 1 per call`: each call brings whole blocks of `axis`.
struct QueryBlock {
  AxisRef axis;
  int64_t minimum = 1, maximum = 1; // inclusive
  std::optional<uint32_t> from;     // param that holds the call's first block
};

// Element types as the spec says them; the compile command may override.
struct ElementTypes {
  Element q = Element::BF16, k = Element::BF16, v = Element::BF16, o = Element::BF16;
  bool stated = false; // false: the default
  SourceRange range;
};

enum class RopeKind : uint8_t { Interleaved, Half };
enum class RopeOrigin : uint8_t { Stream, Window }; // absolute, or place within the retained keys
struct RopeInfo {
  RopeKind kind = RopeKind::Interleaved;
  double theta = 10000;
  struct AxisDims {
    std::string axis;
    int64_t dims = 0; // even; sum = qk dim
    SourceRange range;
  };
  std::vector<AxisDims> axes;
  RopeOrigin origin = RopeOrigin::Stream;
  SourceRange range;
};

enum class Granularity : uint8_t { PerTokenHead, PerHead, PerTensor };
enum class WritePolicy : uint8_t { EveryPass, LastPass };
struct CacheKind {
  std::string name;
  int64_t pin = 0, ring = 0, of = 1; // the first `pin` tokens; `ring` newest blocks of `of` tokens
};
struct CacheInfo {
  AxisRef axis;       // unset (empty name) if `whole`
  std::string tokens; // `cache text { whole }`: the tokens held whole
  bool whole = false;
  int64_t pin = 0;   // blocks 0..pin-1 stay for ever
  int64_t ring = 0;  // newest blocks kept, the current one included
  int64_t spare = 0; // newest blocks that may be taken back
  std::vector<CacheKind> kinds; // tokens that are kept apart; then there is no pin and ring
  int64_t lanes = 1; // batch entries with caches of their own, each a block behind the one before
  bool pinAdjacent = false; // pinned keys are rotated to lie just before the others
  bool storeRoped = true;
  std::optional<Element> element; // absent: the call's own type
  Granularity granularity = Granularity::PerTokenHead;
  WritePolicy write = WritePolicy::EveryPass;
  std::string tail;     // param: how many equal keys at the end are given as one; empty: none
  std::string refillOn; // event that empties and refills it; empty: none
  SourceRange range;
};

// What becomes of pinned blocks that are not among the replayed ones: they stay, are
// run again, or the oldest replayed ones take their places.
enum class PinRecache : uint8_t { Keep, Refresh, Move };
struct RecacheInfo {
  std::string event;  // "prompt"
  int64_t replay = 0; // blocks re-run
  ExprPtr mask;       // Bool; a constant true is `all`
  PinRecache pin = PinRecache::Keep;
  SourceRange range;
};

struct AttentionSpec {
  std::string name;
  std::vector<ConstInfo> consts;
  std::vector<ParamInfo> params;
  std::vector<SpaceInfo> spaces;
  std::vector<TableInfo> tables;
  std::vector<InputInfo> inputs;
  TokensInfo query, keys;
  std::optional<QueryBlock> queryBlock;
  int64_t heads = 0, kvHeads = 0; // 0: any
  int64_t qkDim = 0, vDim = 0;
  ElementTypes types;
  std::optional<double> scale; // absent: 1 / sqrt(qkDim)
  std::optional<RopeInfo> rope;
  ExprPtr mask;         // Bool; never null: `all` is a constant true
  ExprPtr score;        // Float over `s`; null: s itself
  ExprPtr sinkLogit;    // Float over head, batch, layer, params, tables; null: none
  ExprPtr output;       // Float over `o`; null: o itself
  bool emitLse = false; // also set by partial
  bool partial = false; // o and lse are parts; sink logit and output apply when merged
  std::optional<CacheInfo> cache;
  std::optional<RecacheInfo> recache;
  SourceRange range; // the name after `attention`

  bool maskIsAll() const { return mask->op == Op::BoolConstant && mask->boolValue(); }
};

// One file, checked.
struct CheckedSpec {
  std::string fileName;
  std::string text;
  std::vector<AttentionSpec> attentions; // at least one

  const AttentionSpec *find(const std::string &name) const {
    for (const AttentionSpec &attention : attentions)
      if (attention.name == name)
        return &attention;
    return nullptr;
  }
};

} // namespace attn::spec
