// The element-wise instructions: a table from opcode to a function of up to
// three operands, and decode(), which picks an instruction's handler.
#include "tests/ptxemu/handlers.h"

#include "runtime/base/half.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

namespace ptxemu {
namespace {

template <class T> T from(uint64_t bits) {
  T value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}
template <class T> uint64_t to(T value) {
  uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof value);
  return bits;
}

using Table = std::map<std::string, ScalarOp>;
using U = uint64_t;

template <class T> void add_compare(Table &t, const std::string &type) {
  t["setp.eq." + type] = [](U a, U b, U) -> U { return from<T>(a) == from<T>(b); };
  t["setp.ne." + type] = [](U a, U b, U) -> U { return from<T>(a) != from<T>(b); };
  t["setp.lt." + type] = [](U a, U b, U) -> U { return from<T>(a) < from<T>(b); };
  t["setp.le." + type] = [](U a, U b, U) -> U { return from<T>(a) <= from<T>(b); };
  t["setp.gt." + type] = [](U a, U b, U) -> U { return from<T>(a) > from<T>(b); };
  t["setp.ge." + type] = [](U a, U b, U) -> U { return from<T>(a) >= from<T>(b); };
}

template <class T> void add_integer(Table &t, const std::string &type) {
  using Wide = std::conditional_t<std::is_signed_v<T>, __int128, unsigned __int128>;
  using Unsigned = std::make_unsigned_t<T>;
  constexpr int width = sizeof(T) * 8;
  auto &add = t["add." + type];
  add = [](U a, U b, U) { return to<Unsigned>(from<Unsigned>(a) + from<Unsigned>(b)); };
  t["sub." + type] = [](U a, U b, U) {
    return to<Unsigned>(from<Unsigned>(a) - from<Unsigned>(b));
  };
  t["mul.lo." + type] = [](U a, U b, U) { return to<Unsigned>(static_cast<Unsigned>(a * b)); };
  t["mad.lo." + type] = [](U a, U b, U c) {
    return to<Unsigned>(static_cast<Unsigned>(a * b + c));
  };
  t["mul.hi." + type] = [](U a, U b, U) {
    return to<T>(static_cast<T>((Wide(from<T>(a)) * Wide(from<T>(b))) >> width));
  };
  t["min." + type] = [](U a, U b, U) { return to<T>(std::min(from<T>(a), from<T>(b))); };
  t["max." + type] = [](U a, U b, U) { return to<T>(std::max(from<T>(a), from<T>(b))); };
  t["div." + type] = [](U a, U b, U) {
    return from<T>(b) ? to<T>(from<T>(a) / from<T>(b)) : to<T>(-1);
  };
  t["rem." + type] = [](U a, U b, U) { return from<T>(b) ? to<T>(from<T>(a) % from<T>(b)) : a; };
  t["neg." + type] = [](U a, U, U) { return to<Unsigned>(static_cast<Unsigned>(0 - a)); };
  t["abs." + type] = [](U a, U, U) {
    return to<T>(from<T>(a) < T(0) ? static_cast<T>(0 - from<Unsigned>(a)) : from<T>(a));
  };
  t["shr." + type] = [](U a, U b, U) {
    uint32_t by = std::min<uint32_t>(from<uint32_t>(b), width);
    if (by == width)
      return to<T>(from<T>(a) < T(0) ? T(-1) : T(0));
    return to<T>(static_cast<T>(from<T>(a) >> by));
  };
  add_compare<T>(t, type);
}

template <class T> void add_bits(Table &t, const std::string &type) {
  constexpr uint32_t width = sizeof(T) * 8;
  t["and." + type] = [](U a, U b, U) { return to<T>(T(a & b)); };
  t["or." + type] = [](U a, U b, U) { return to<T>(T(a | b)); };
  t["xor." + type] = [](U a, U b, U) { return to<T>(T(a ^ b)); };
  t["not." + type] = [](U a, U, U) { return to<T>(T(~a)); };
  t["shl." + type] = [](U a, U b, U) {
    return from<uint32_t>(b) >= width ? U(0) : to<T>(T(from<T>(a) << from<uint32_t>(b)));
  };
  for (const std::string &name :
       {std::string("b"), std::string("u"), std::string("s"), std::string("f")}) {
    std::string same = name + std::to_string(width);
    t["mov." + same] = [](U a, U, U) { return to<T>(T(a)); };
    t["selp." + same] = [](U a, U b, U c) { return to<T>(T(c & 1 ? a : b)); };
  }
  add_compare<T>(t, type);
}

float flush(float v) { return std::fpclassify(v) == FP_SUBNORMAL ? std::copysign(0.f, v) : v; }

template <float (*F)(float)> U unary(U a, U, U) { return to(F(from<float>(a))); }
template <float (*F)(float)> U flushed(U a, U, U) { return to(flush(F(flush(from<float>(a))))); }
float reciprocal(float v) { return 1 / v; }
float negated(float v) { return -v; }

void add_float(Table &t) {
  for (std::string rounding : {"", ".rn"}) {
    t["add" + rounding + ".f32"] = [](U a, U b, U) { return to(from<float>(a) + from<float>(b)); };
    t["sub" + rounding + ".f32"] = [](U a, U b, U) { return to(from<float>(a) - from<float>(b)); };
    t["mul" + rounding + ".f32"] = [](U a, U b, U) { return to(from<float>(a) * from<float>(b)); };
  }
  t["fma.rn.f32"] = [](U a, U b, U c) {
    return to(std::fma(from<float>(a), from<float>(b), from<float>(c)));
  };
  t["div.rn.f32"] = t["div.full.f32"] =
      t["div.approx.f32"] = [](U a, U b, U) { return to(from<float>(a) / from<float>(b)); };
  t["rcp.rn.f32"] = t["rcp.approx.f32"] = unary<reciprocal>;
  t["sqrt.rn.f32"] = unary<std::sqrt>;
  t["neg.f32"] = unary<negated>;
  t["abs.f32"] = unary<std::fabs>;
  t["min.f32"] = [](U a, U b, U) { return to(std::fmin(from<float>(a), from<float>(b))); };
  t["max.f32"] = [](U a, U b, U) { return to(std::fmax(from<float>(a), from<float>(b))); };
  t["ex2.approx.ftz.f32"] = flushed<std::exp2>;
  t["lg2.approx.ftz.f32"] = flushed<std::log2>;
  t["lg2.approx.f32"] = unary<std::log2>;
  t["rcp.approx.ftz.f32"] = flushed<reciprocal>;
  add_compare<float>(t, "f32");
  // The unordered comparisons: true if an operand is not a number.
  t["setp.nan.f32"] = [](U a, U b, U) -> U {
    return std::isnan(from<float>(a)) || std::isnan(from<float>(b));
  };
  t["setp.num.f32"] = [](U a, U b, U) -> U {
    return !std::isnan(from<float>(a)) && !std::isnan(from<float>(b));
  };
  t["setp.ltu.f32"] = [](U a, U b, U) -> U { return !(from<float>(a) >= from<float>(b)); };
  t["setp.leu.f32"] = [](U a, U b, U) -> U { return !(from<float>(a) > from<float>(b)); };
  t["setp.gtu.f32"] = [](U a, U b, U) -> U { return !(from<float>(a) <= from<float>(b)); };
  t["setp.geu.f32"] = [](U a, U b, U) -> U { return !(from<float>(a) < from<float>(b)); };
  t["setp.neu.f32"] = [](U a, U b, U) -> U { return !(from<float>(a) == from<float>(b)); };
}

template <class T> U float_to(float v) { // saturates, as the hardware does
  if (std::isnan(v))
    return 0;
  double limited = std::clamp<double>(v, double(std::numeric_limits<T>::min()),
                                      double(std::numeric_limits<T>::max()));
  return to<T>(static_cast<T>(limited));
}

void add_conversions(Table &t) {
  t["cvt.u64.u32"] = t["cvt.u64.u16"] = t["cvt.u32.u16"] =
      t["cvt.s64.u32"] = [](U a, U, U) { return a; };
  t["cvt.u32.u64"] = [](U a, U, U) { return a & 0xffffffffu; };
  t["cvt.u16.u32"] = t["cvt.u16.u64"] = [](U a, U, U) { return a & 0xffffu; };
  t["cvt.s64.s32"] = [](U a, U, U) { return to<int64_t>(from<int32_t>(a)); };
  t["cvt.s32.s16"] = [](U a, U, U) { return to<int32_t>(from<int16_t>(a)); };
  t["cvt.s32.s8"] = [](U a, U, U) { return to<int32_t>(from<int8_t>(a)); };
  t["cvt.s16.s8"] = [](U a, U, U) { return to<int16_t>(from<int8_t>(a)); };
  t["cvt.u32.u8"] = t["cvt.u16.u8"] = [](U a, U, U) { return a & 0xffu; };
  t["cvt.rn.f32.s32"] = [](U a, U, U) { return to(static_cast<float>(from<int32_t>(a))); };
  t["cvt.rn.f32.u32"] = [](U a, U, U) { return to(static_cast<float>(from<uint32_t>(a))); };
  t["cvt.rn.f32.s16"] = [](U a, U, U) { return to(static_cast<float>(from<int16_t>(a))); };
  t["cvt.rn.f32.s8"] = [](U a, U, U) { return to(static_cast<float>(from<int8_t>(a))); };
  t["cvt.rzi.s32.f32"] = [](U a, U, U) { return float_to<int32_t>(std::trunc(from<float>(a))); };
  t["cvt.rni.s32.f32"] = [](U a, U, U) {
    return float_to<int32_t>(std::nearbyint(from<float>(a)));
  };
  t["cvt.rmi.s32.f32"] = [](U a, U, U) { return float_to<int32_t>(std::floor(from<float>(a))); };
  t["cvt.rzi.u32.f32"] = [](U a, U, U) { return float_to<uint32_t>(std::trunc(from<float>(a))); };
  t["cvt.rni.f32.f32"] = unary<std::nearbyint>;
  t["cvt.rmi.f32.f32"] = unary<std::floor>;
  t["cvt.rpi.f32.f32"] = unary<std::ceil>;
  t["cvt.rzi.f32.f32"] = unary<std::trunc>;
  t["abs.f16"] = t["abs.bf16"] = [](U a, U, U) -> U { return a & 0x7fff; };
  t["cvt.f32.f16"] = [](U a, U, U) { return to(attn::f16_to_f32(a)); };
  t["cvt.f32.bf16"] = [](U a, U, U) { return to(attn::bf16_to_f32(a)); };
  t["cvt.rn.f16.f32"] = [](U a, U, U) -> U { return attn::f32_to_f16(from<float>(a)); };
  t["cvt.rn.bf16.f32"] = [](U a, U, U) -> U { return attn::f32_to_bf16(from<float>(a)); };
  t["cvt.rn.f16x2.f32"] = [](U a, U b, U) -> U { // the first operand is the high half
    return uint32_t(attn::f32_to_f16(from<float>(a))) << 16 | attn::f32_to_f16(from<float>(b));
  };
  t["cvt.rn.bf16x2.f32"] = [](U a, U b, U) -> U {
    return uint32_t(attn::f32_to_bf16(from<float>(a))) << 16 | attn::f32_to_bf16(from<float>(b));
  };
  t["cvt.rna.tf32.f32"] = [](U a, U, U) -> U { // 10 bits of mantissa, ties away from zero
    uint32_t bits = from<uint32_t>(a);
    if ((bits & 0x7f800000u) != 0x7f800000u)
      bits += 0x1000u;
    return bits & 0xffffe000u;
  };
}

uint32_t permute(uint32_t a, uint32_t b, uint32_t selector) {
  uint64_t bytes = uint64_t(b) << 32 | a;
  uint32_t result = 0;
  for (int i = 0; i < 4; ++i) {
    uint32_t s = selector >> (4 * i) & 15, byte = bytes >> (8 * (s & 7)) & 0xff;
    result |= (s & 8 ? (byte & 0x80 ? 0xffu : 0u) : byte) << (8 * i);
  }
  return result;
}

Table make_table() {
  Table t;
  add_integer<int16_t>(t, "s16");
  add_integer<uint16_t>(t, "u16");
  add_integer<int32_t>(t, "s32");
  add_integer<uint32_t>(t, "u32");
  add_integer<int64_t>(t, "s64");
  add_integer<uint64_t>(t, "u64");
  add_bits<uint16_t>(t, "b16");
  add_bits<uint32_t>(t, "b32");
  add_bits<uint64_t>(t, "b64");
  add_float(t);
  add_conversions(t);
  t["and.pred"] = [](U a, U b, U) { return a & b & 1; };
  t["or.pred"] = [](U a, U b, U) { return (a | b) & 1; };
  t["xor.pred"] = [](U a, U b, U) { return (a ^ b) & 1; };
  t["not.pred"] = [](U a, U, U) { return ~a & 1; };
  t["mov.pred"] = [](U a, U, U) { return a & 1; };
  t["selp.pred"] = [](U a, U b, U c) { return (c & 1 ? a : b) & 1; };
  t["popc.b32"] = [](U a, U, U) { return U(std::popcount(from<uint32_t>(a))); };
  t["popc.b64"] = [](U a, U, U) { return U(std::popcount(from<uint64_t>(a))); };
  t["mul.wide.u32"] = [](U a, U b, U) { return U(from<uint32_t>(a)) * from<uint32_t>(b); };
  t["mul.wide.s32"] = [](U a, U b, U) { return to(int64_t(from<int32_t>(a)) * from<int32_t>(b)); };
  t["mul.wide.u16"] = [](U a, U b, U) -> U {
    return uint32_t(from<uint16_t>(a)) * from<uint16_t>(b);
  };
  t["mul.wide.s16"] = [](U a, U b, U) { return to(int32_t(from<int16_t>(a)) * from<int16_t>(b)); };
  t["mad.wide.u32"] = [](U a, U b, U c) { return U(from<uint32_t>(a)) * from<uint32_t>(b) + c; };
  t["mad.wide.s32"] = [](U a, U b, U c) {
    return to(int64_t(from<int32_t>(a)) * from<int32_t>(b) + from<int64_t>(c));
  };
  t["max.relu.s32"] = [](U a, U b, U) {
    return to(std::max({from<int32_t>(a), from<int32_t>(b), 0}));
  };
  t["min.relu.s32"] = [](U a, U b, U) {
    return to(std::max(std::min(from<int32_t>(a), from<int32_t>(b)), 0));
  };
  t["bfe.u32"] = [](U a, U b, U c) {
    uint32_t length = c & 0xff, field = (b & 0xff) > 31 ? 0 : from<uint32_t>(a) >> (b & 0xff);
    return to<uint32_t>(length > 31 ? field : field & ((1u << length) - 1));
  };
  t["bfe.s32"] = [](U a, U b, U c) {
    uint32_t position = std::min<uint32_t>(b & 0xff, 31), length = c & 0xff;
    if (length == 0)
      return U(0);
    uint32_t top = std::min(position + length, 32u);
    return to<int32_t>(static_cast<int32_t>(from<uint32_t>(a) << (32 - top)) >>
                       (32 - top + position));
  };
  t["prmt.b32"] = [](U a, U b, U c) { return to(permute(a, b, c)); };
  t["cvta.to.global.u64"] = t["cvta.param.u64"] = [](U a, U, U) { return a; };
  return t;
}

void run_scalar(Warp &warp, const Instruction &i, uint32_t lanes) {
  static const Operand zero;
  const Operand &a = i.operands[1];
  const Operand &b = i.operands.size() > 2 ? i.operands[2] : zero;
  const Operand &c = i.operands.size() > 3 ? i.operands[3] : zero;
  for (int lane = 0; lane < 32; ++lane)
    if (lanes >> lane & 1)
      warp.set(i.operands[0], lane,
               i.scalar(warp.get(a, lane), warp.get(b, lane), warp.get(c, lane)));
}

} // namespace

void decode(Instruction &instruction) {
  static const Table table = make_table();
  auto found = table.find(instruction.opcode);
  bool vectors =
      !instruction.operands.empty() && (instruction.operands[0].kind == OperandKind::vector ||
                                        instruction.operands.back().kind == OperandKind::vector);
  if (found != table.end() && !vectors) {
    if (instruction.operands.size() < 2 || instruction.operands.size() > 4)
      throw Error("ptx line " + std::to_string(instruction.line) + ": " + instruction.opcode +
                  " with " + std::to_string(instruction.operands.size()) + " operands");
    instruction.scalar = found->second;
    instruction.handler = run_scalar;
    return;
  }
  if (!decode_memory(instruction) && !decode_warp(instruction) && !decode_async(instruction) &&
      !decode_wgmma(instruction))
    throw Error("ptx line " + std::to_string(instruction.line) + ": unknown opcode '" +
                instruction.opcode + "'");
}

} // namespace ptxemu
