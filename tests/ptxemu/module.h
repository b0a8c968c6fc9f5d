// A PTX text as the emulator runs it: kernels of decoded instructions.
#pragma once

#include <cstdint>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

namespace ptxemu {

// Anything wrong with a text or with what it does when it runs; names the line.
struct Error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

enum class OperandKind { none, reg, immediate, address, vector, special, label };
enum class Special { tid_x, ctaid_x, ctaid_y, ctaid_z, ntid_x, nctaid_x, nctaid_y, nctaid_z };

struct Operand {
  OperandKind kind = OperandKind::none;
  int reg = -1;                  // reg; base of an address (-1: absolute)
  uint64_t value = 0;            // immediate bits; address offset; label target; Special
  std::vector<Operand> elements; // of a vector; coordinates within an address
};

// The address of parameter i, where an instruction takes a parameter's address.
inline constexpr uint64_t kParameterAddress = 1ull << 62;

class Warp;
struct Instruction;
using Handler = void (*)(Warp &, const Instruction &, uint32_t lanes);
using ScalarOp = uint64_t (*)(uint64_t a, uint64_t b, uint64_t c);

struct Instruction {
  int line = 0;
  std::string opcode; // with all suffixes
  std::vector<Operand> operands;
  int guard = -1; // predicate register
  bool guard_negated = false;
  Handler handler = nullptr;
  ScalarOp scalar = nullptr; // of element-wise instructions
  bool collective = false;   // all 32 lanes must arrive together
  int bytes = 0;             // of one element of a memory access
  bool is_signed = false;    // narrow loads extend the sign
  uint64_t flags = 0;        // meaning belongs to the handler
};

struct Kernel {
  std::string name;
  std::vector<Instruction> code;
  int registers = 0;
  int params = 0;
  std::vector<bool> is_map; // by parameter: it holds a tensor map, not a pointer
  uint32_t threads = 0; // .reqntid
};

struct Module {
  std::map<std::string, Kernel> kernels;
};

// Reads the subset of PTX that attnc emits; throws Error on anything else.
Module parse_module(const std::string &text);

// Finds the handler of `instruction.opcode`; throws Error if there is none.
void decode(Instruction &instruction);

} // namespace ptxemu
