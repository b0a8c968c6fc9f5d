// What the files that execute instructions share.
#pragma once

#include "tests/ptxemu/machine.h"

namespace ptxemu {

// Each recognises some opcodes, sets the handler, and says whether it did.
bool decode_memory(Instruction &instruction); // ld, st, cp.async, mov of vectors
bool decode_warp(Instruction &instruction);   // branches, barriers, shuffles, mma

// The parts of an opcode between its dots.
std::vector<std::string> opcode_parts(const std::string &opcode);

} // namespace ptxemu
