// What the files that execute instructions share.
#pragma once

#include "tests/ptxemu/machine.h"

namespace ptxemu {

// Each recognises some opcodes, sets the handler, and says whether it did.
bool decode_memory(Instruction &instruction); // ld, st, cp.async, mov of vectors
bool decode_warp(Instruction &instruction);   // branches, barriers, shuffles, mma
bool decode_async(Instruction &instruction);  // mbarriers, bulk copies, fences, setmaxnreg
bool decode_wgmma(Instruction &instruction);  // warpgroup products

// Where byte `address` lies under a swizzle of this width (0: none).
uint64_t swizzled(uint64_t address, uint32_t width);

// The parts of an opcode between its dots.
std::vector<std::string> opcode_parts(const std::string &opcode);

} // namespace ptxemu
