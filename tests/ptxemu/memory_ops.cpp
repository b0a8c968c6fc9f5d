// Loads, stores, asynchronous copies, and moves between registers and vectors.
#include "tests/ptxemu/handlers.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

namespace ptxemu {

std::vector<std::string> opcode_parts(const std::string &opcode) {
  std::vector<std::string> parts;
  for (size_t begin = 0; begin <= opcode.size();) {
    size_t end = std::min(opcode.find('.', begin), opcode.size());
    parts.push_back(opcode.substr(begin, end - begin));
    begin = end + 1;
  }
  return parts;
}

namespace {

enum Space : uint64_t { kGlobal, kShared, kParam };

// The registers of a memory operand: one, or those of a vector.
const Operand *registers_of(const Operand &operand, size_t &count) {
  bool vector = operand.kind == OperandKind::vector;
  count = vector ? operand.elements.size() : 1;
  return vector ? operand.elements.data() : &operand;
}

uint64_t sign_extended(uint64_t value, int bytes) {
  int shift = 64 - 8 * bytes;
  return static_cast<uint64_t>(static_cast<int64_t>(value << shift) >> shift) & 0xffffffffu;
}

void run_load(Warp &warp, const Instruction &i, uint32_t lanes) {
  size_t count;
  const Operand *targets = registers_of(i.operands[0], count);
  for (int lane = 0; lane < 32; ++lane) {
    if (!(lanes >> lane & 1))
      continue;
    uint64_t address = i.flags == kShared ? warp.shared_address(i.operands[1], lane)
                                          : warp.address(i.operands[1], lane);
    uint8_t bytes[16] = {};
    size_t total = count * i.bytes;
    if (i.flags == kGlobal) {
      std::memcpy(bytes, warp.block.global.at(address, total, false), total);
    } else if (i.flags == kShared) {
      warp.block.shared.read(bytes, address, total, warp.access());
    } else {
      uint64_t value = warp.block.launch.params.at(address / 8) >> (8 * (address % 8));
      std::memcpy(bytes, &value, 8);
    }
    for (size_t e = 0; e < count; ++e) {
      uint64_t value = 0;
      std::memcpy(&value, bytes + e * i.bytes, i.bytes);
      warp.set(targets[e], lane,
               i.is_signed && i.bytes < 4 ? sign_extended(value, i.bytes) : value);
    }
  }
}

void run_store(Warp &warp, const Instruction &i, uint32_t lanes) {
  size_t count;
  const Operand *sources = registers_of(i.operands[1], count);
  for (int lane = 0; lane < 32; ++lane) {
    if (!(lanes >> lane & 1))
      continue;
    uint64_t address = i.flags == kShared ? warp.shared_address(i.operands[0], lane)
                                          : warp.address(i.operands[0], lane);
    uint8_t bytes[16];
    for (size_t e = 0; e < count; ++e) {
      uint64_t value = warp.get(sources[e], lane);
      std::memcpy(bytes + e * i.bytes, &value, i.bytes);
    }
    size_t total = count * i.bytes;
    if (i.flags == kGlobal)
      std::memcpy(warp.block.global.at(address, total, true), bytes, total);
    else
      warp.block.shared.write(bytes, address, total, warp.access());
  }
}

void run_copy_async(Warp &warp, const Instruction &i, uint32_t lanes) {
  for (int lane = 0; lane < 32; ++lane) {
    if (!(lanes >> lane & 1))
      continue;
    int bytes = static_cast<int>(warp.get(i.operands[2], lane)), valid = bytes;
    if (i.operands.size() > 3)
      valid = static_cast<int>(warp.get(i.operands[3], lane));
    if (valid < 0 || valid > bytes)
      throw Error("copies " + std::to_string(valid) + " of " + std::to_string(bytes) + " bytes");
    warp.copy_async(lane, warp.shared_address(i.operands[0], lane),
                    warp.address(i.operands[1], lane), bytes, valid);
  }
}

// mov.b32 r, {lo, hi} and mov.b32 {lo, hi}, r: equal parts, lowest first.
void run_pack(Warp &warp, const Instruction &i, uint32_t lanes) {
  const std::vector<Operand> &parts = i.operands[1].elements;
  int width = i.bytes * 8 / parts.size();
  for (int lane = 0; lane < 32; ++lane) {
    if (!(lanes >> lane & 1))
      continue;
    uint64_t value = 0;
    for (size_t e = 0; e < parts.size(); ++e)
      value |= (warp.get(parts[e], lane) & ((1ull << width) - 1)) << (e * width);
    warp.set(i.operands[0], lane, value);
  }
}

void run_unpack(Warp &warp, const Instruction &i, uint32_t lanes) {
  const std::vector<Operand> &parts = i.operands[0].elements;
  int width = i.bytes * 8 / parts.size();
  for (int lane = 0; lane < 32; ++lane) {
    if (!(lanes >> lane & 1))
      continue;
    uint64_t value = warp.get(i.operands[1], lane);
    for (size_t e = 0; e < parts.size(); ++e)
      warp.set(parts[e], lane, value >> (e * width) & ((1ull << width) - 1));
  }
}

} // namespace

bool decode_memory(Instruction &i) {
  std::vector<std::string> parts = opcode_parts(i.opcode);
  const std::string &type = parts.back();
  if (i.opcode == "cp.async.cg.shared.global" || i.opcode == "cp.async.ca.shared.global") {
    i.handler = run_copy_async;
    return true;
  }
  i.bytes = type.size() > 1 ? std::atoi(type.c_str() + 1) / 8 : 0;
  i.is_signed = type[0] == 's';
  if (parts[0] == "mov" && i.operands.size() == 2 && i.bytes) {
    i.handler = i.operands[0].kind == OperandKind::vector ? run_unpack : run_pack;
    return i.operands[0].kind == OperandKind::vector || i.operands[1].kind == OperandKind::vector;
  }
  if ((parts[0] != "ld" && parts[0] != "st") || parts.size() < 3 || !i.bytes)
    return false;
  for (size_t p = 2; p + 1 < parts.size(); ++p)
    if (parts[p] != "nc" && parts[p] != "v2" && parts[p] != "v4")
      return false;
  if (parts[1] == "global")
    i.flags = kGlobal;
  else if (parts[1] == "shared")
    i.flags = kShared;
  else if (parts[1] == "param" && parts[0] == "ld")
    i.flags = kParam;
  else
    return false;
  i.handler = parts[0] == "ld" ? run_load : run_store;
  return true;
}

} // namespace ptxemu
