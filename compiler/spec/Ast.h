// The syntax tree of one `.attn` file: what was written, with names unresolved.
// The parser makes it, the checker reads it; later phases see CheckedSpec.h.
#pragma once

#include "compiler/spec/SourceRange.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace attn::spec::ast {

struct Name {
  std::string text;
  SourceRange range;
};

struct Expr;
using ExprPtr = std::unique_ptr<Expr>;

enum class UnaryOp : uint8_t { Not, Negate, BitNot };
enum class BinaryOp : uint8_t {
  Or,
  And,
  Equal,
  NotEqual,
  Less,
  LessEqual,
  Greater,
  GreaterEqual,
  BitOr,
  BitXor,
  BitAnd,
  ShiftLeft,
  ShiftRight,
  Add,
  Subtract,
  Multiply,
  FloorDiv,
  Div,
  Mod,
};

struct IntLiteral {
  int64_t value = 0;
};
struct FloatLiteral {
  double value = 0;
};
struct BoolLiteral {
  bool value = false;
};
struct Reference {
  std::vector<Name> path;
}; // b | q.b | q.video.t
struct Unary {
  UnaryOp op;
  ExprPtr operand;
};
struct Binary {
  BinaryOp op;
  ExprPtr lhs, rhs;
};
struct Conditional {
  ExprPtr condition, then, otherwise;
};
struct Index {
  Name table;
  std::vector<ExprPtr> indices;
}; // bias[head, q.t]
// sum(n in 0..3: expr), any(...), all(...): unrolled, bounds are constants.
struct Reduction {
  Name kind;
  Name variable;
  ExprPtr first, last, body;
};

// `stride 2`, `edge clamp`: an argument by name.
struct NamedArg {
  Name name;
  ExprPtr value;
};
// One argument of a call: `axis: value stride 2`, `value`, or by name.
struct Arg {
  std::optional<Name> label; // `t` of `t: 5 stride 2`
  ExprPtr value;             // null if only named
  std::vector<NamedArg> named;
  SourceRange range;
};
struct Call {
  Name callee;
  std::vector<Arg> args;
};

struct Expr {
  SourceRange range;
  uint32_t depth = 1; // of the tree below; the parser keeps it bounded
  std::variant<IntLiteral, FloatLiteral, BoolLiteral, Reference, Unary, Binary, Conditional, Index,
               Reduction, Call>
      node;
};

struct Binding {
  Name name;
  ExprPtr value;
};

// pattern NAME(a: axis, n, stride = 1, edge: clamp | shrink) require L: e = e
struct PatternParam {
  Name name;
  bool isAxis = false;
  std::vector<Name> choices; // `clamp | shrink`; the first is the default
  ExprPtr defaultValue;
};
struct Requirement {
  Name label;
  ExprPtr condition;
};
struct Pattern {
  Name name;
  std::vector<PatternParam> params;
  std::vector<Requirement> requirements;
  std::vector<Binding> lets;
  ExprPtr body;
};

struct Param {
  Name name;
  bool isFloat = false;
  ExprPtr minimum, maximum;
};

enum class ExtentKind : uint8_t { Fixed, Stream, Ragged, Packed };
struct Axis {
  Name name;
  ExtentKind kind = ExtentKind::Fixed;
  ExprPtr extent;
  SourceRange range;
};
// order (x, t, y) | order tiled (y: 4, x: 4) | order morton (y, x)
struct TokenOrder {
  Name kind;                  // "permuted", "tiled", "morton"
  std::vector<Name> axes;     // permuted: slowest first; morton: interleaved
  std::vector<Binding> tiles; // tiled
  SourceRange range;
};
struct Space {
  Name name;
  std::vector<Axis> axes;
  std::optional<TokenOrder> order;
};
struct Derived {
  Name name;
  ExprPtr value;
}; // axis b = video.t // 3
struct Tokens {
  Name name;
  std::vector<Name> parts;
};             // tokens seq = text ++ video
struct Cells { // cells c = video(t: 2, y: 4) edge short
  Name name, space;
  std::vector<Binding> sizes;
  Name edge;
};
struct Query {
  Name tokens;
  std::optional<Name> blockAxis;
  ExprPtr minimum, maximum; // equal node absent: maximum null
  std::optional<Name> from; // param: the call's first block
  SourceRange range;
};
struct Keys {
  Name tokens;
};
struct Heads {
  ExprPtr heads, kv, dim, vDim;
  SourceRange range;
}; // any may be null
struct Types {
  std::vector<std::pair<std::string, Name>> entries;
  SourceRange range;
};
struct Table {
  Name name;
  std::vector<Name> dims;
  Name element;
};
struct Input {
  Name name;
  std::vector<Name> dims;
  Name element;
};
struct Rope {
  Name kind, origin;
  ExprPtr theta;
  std::vector<Binding> axes;
  SourceRange range;
};
struct Case {
  Name from, to;
  ExprPtr value;
};
struct Mask {
  ExprPtr value;
  std::vector<Case> cases;
  SourceRange range;
}; // exactly one is set
struct Scalar {
  ExprPtr value;
  SourceRange range;
}; // score, softmax with, output, scale
struct Emit {
  Name what;
};
struct Select {
  Name name, over;
  std::vector<Name> per;
  ExprPtr rank;
  std::optional<Name> norm;
  ExprPtr share, count; // take until share >= x | take n
  std::optional<Name> scope;
  ExprPtr force;
  SourceRange range;
};
struct CacheItem {
  enum class Kind : uint8_t { Pin, Ring, Whole, Refill, Store, Write, Spare, Lanes, Tail, OfKind } kind;
  ExprPtr count;               // Pin, Ring, Spare, Lanes
  bool adjacent = false;       // Pin
  ExprPtr pin, of;             // OfKind, with count: ring; may be absent
  Name word;                   // Refill: event; Store: raw | roped; Write: every | last; Tail: param; OfKind: its name
  std::optional<Name> element; // Store
  std::vector<Name> per;       // Store
  SourceRange range;
};
struct Cache {
  Name axis;
  std::vector<CacheItem> items;
  SourceRange range;
};
struct RecacheItem {
  enum class Kind : uint8_t { Replay, Mask, Pin } kind;
  ExprPtr value; // Replay, Mask
  Name word;     // Pin: keep | refresh | move
  SourceRange range;
};
struct Recache {
  Name event;
  std::vector<RecacheItem> items;
  SourceRange range;
};

struct Attention {
  Name name;
  std::vector<Binding> consts, lets;
  std::vector<Param> params;
  std::vector<Space> spaces;
  std::vector<Derived> axes;
  std::vector<Tokens> tokens;
  std::vector<Cells> cells;
  std::vector<Table> tables;
  std::vector<Input> inputs;
  std::vector<Select> selects;
  // At most one of each in a valid spec; all that were written are kept, so
  // that the checker can point at the second.
  std::vector<Query> queries;
  std::vector<Keys> keys;
  std::vector<Heads> heads;
  std::vector<Types> types;
  std::vector<Rope> ropes;
  std::vector<Mask> masks;
  std::vector<Scalar> scores, softmaxes, outputs, scales;
  std::vector<Emit> emits;
  std::vector<Cache> caches;
  std::vector<Recache> recaches;
  SourceRange range; // the whole definition
};

struct File {
  std::vector<Pattern> patterns;
  std::vector<Attention> attentions;
};

} // namespace attn::spec::ast
