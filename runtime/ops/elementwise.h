// Elementwise programs: what an attn::Elementwise node carries. Registers
// 0..inputs-1 are the inputs; instruction i writes register inputs + i; the last
// one is the result.
#pragma once

#include "runtime/graph/graph.h"
#include "runtime/ops/isa.h"

namespace attn::ops {

inline constexpr int kMaxInstructions = 12, kMaxOperands = 8;

struct Instruction {
  bool binary = false;
  int code = 0; // Unary or Binary
  int a = 0, b = 0;
};

// The single instruction that an ONNX elementwise node stands for; false if the
// node is none or needs more than f32 programs can say.
bool instruction_of(const graph::Node &node, Instruction &out);

std::vector<int64_t> encode_program(const std::vector<Instruction> &program);
std::vector<Instruction> decode_program(std::span<const int64_t> code);

} // namespace attn::ops
