// Control flow, barriers and what a warp does together: shuffles, ldmatrix, mma.
#include "tests/ptxemu/handlers.h"

#include "runtime/base/half.h"

#include <bit>
#include <cstring>

namespace ptxemu {
namespace {

void run_branch(Warp &warp, const Instruction &i, uint32_t lanes) { warp.branch(i, lanes); }
void run_exit(Warp &warp, const Instruction &, uint32_t lanes) { warp.exit(lanes); }
void run_nothing(Warp &, const Instruction &, uint32_t) {}
// bar.sync id[, threads]; without a number all threads of the block.
void run_barrier(Warp &warp, const Instruction &i, uint32_t) {
  uint32_t threads = i.operands.size() > 1 ? warp.get(i.operands[1], 0) : warp.block.kernel.threads;
  warp.block.barriers.arrive_named(warp.get(i.operands[0], 0), threads, warp, i.flags);
}
void run_vote(Warp &warp, const Instruction &i, uint32_t) {
  bool any = false;
  for (int lane = 0; lane < 32; ++lane)
    any |= warp.get(i.operands[1], lane) & 1;
  for (int lane = 0; lane < 32; ++lane)
    warp.set(i.operands[0], lane, any);
}
void run_commit(Warp &warp, const Instruction &, uint32_t lanes) { warp.commit(lanes); }
void run_wait(Warp &warp, const Instruction &i, uint32_t lanes) {
  warp.wait(lanes, warp.get(i.operands[0], 0));
}

void run_shuffle(Warp &warp, const Instruction &i, uint32_t) {
  uint64_t values[32];
  for (int lane = 0; lane < 32; ++lane)
    values[lane] = warp.get(i.operands[1], lane);
  for (int lane = 0; lane < 32; ++lane) {
    uint32_t by = static_cast<uint32_t>(warp.get(i.operands[2], lane));
    if (warp.get(i.operands[3], lane) != 31 ||
        static_cast<uint32_t>(warp.get(i.operands[4], lane)) != ~0u)
      throw Error("only shuffles of whole warps are known");
    warp.set(i.operands[0], lane, values[(i.flags ? by : lane ^ by) & 31]);
  }
}

// Lane 8 m + r holds the address of row r of matrix m. Without .trans, lane
// 4 r + c receives the c-th 32-bit word of row r; with it, words of the transpose.
void run_ldmatrix(Warp &warp, const Instruction &i, uint32_t) {
  const std::vector<Operand> &targets = i.operands[0].elements;
  for (size_t m = 0; m < targets.size(); ++m) {
    uint16_t matrix[8][8];
    for (int row = 0; row < 8; ++row)
      warp.block.shared.read(matrix[row], warp.shared_address(i.operands[1], 8 * m + row), 16,
                             warp.access());
    for (int lane = 0; lane < 32; ++lane) {
      int a = lane / 4, b = lane % 4 * 2;
      uint32_t low = i.flags ? matrix[b][a] : matrix[a][b];
      uint32_t high = i.flags ? matrix[b + 1][a] : matrix[a][b + 1];
      warp.set(targets[m], lane, high << 16 | low);
    }
  }
}

enum MmaType : uint64_t { kF16, kBF16, kTF32, kS8 };

double element(MmaType type, uint32_t word, int index) {
  switch (type) {
  case kF16:
    return attn::f16_to_f32(word >> (16 * index));
  case kBF16:
    return attn::bf16_to_f32(word >> (16 * index));
  case kTF32:
    return std::bit_cast<float>(word & 0xffffe000u);
  case kS8:
    return static_cast<int8_t>(word >> (8 * index));
  }
  return 0;
}

// D[16x8] = A[16xK] B[Kx8] + C. A word of A or B holds `per` values along k; in
// A, register j covers rows g + 8 (j mod 2) and half j / 2 of k.
void run_mma(Warp &warp, const Instruction &i, uint32_t) {
  auto type = static_cast<MmaType>(i.flags);
  int per = type == kTF32 ? 1 : type == kS8 ? 4 : 2, depth = 8 * per;
  static thread_local double a[16][32], b[8][32];
  auto word = [&](const Operand &operand, int lane) {
    return static_cast<uint32_t>(warp.get(operand, lane));
  };
  for (int lane = 0; lane < 32; ++lane) {
    int g = lane / 4, t = lane % 4;
    for (int j = 0; j < 4; ++j)
      for (int e = 0; e < per; ++e)
        a[g + 8 * (j % 2)][j / 2 * depth / 2 + t * per + e] =
            element(type, word(i.operands[1].elements[j], lane), e);
    for (int j = 0; j < 2; ++j)
      for (int e = 0; e < per; ++e)
        b[g][j * depth / 2 + t * per + e] = element(type, word(i.operands[2].elements[j], lane), e);
  }
  for (int lane = 0; lane < 32; ++lane)
    for (int r = 0; r < 4; ++r) {
      int row = lane / 4 + 8 * (r / 2), column = lane % 4 * 2 + r % 2;
      double sum = 0;
      for (int k = 0; k < depth; ++k)
        sum += a[row][k] * b[column][k];
      uint32_t c = word(i.operands[3].elements[r], lane);
      uint32_t bits =
          type == kS8
              ? c + static_cast<uint32_t>(static_cast<int32_t>(sum))
              : std::bit_cast<uint32_t>(static_cast<float>(sum + double(std::bit_cast<float>(c))));
      warp.set(i.operands[0].elements[r], lane, bits);
    }
}

bool operands_are(const Instruction &i, std::initializer_list<size_t> sizes) {
  if (i.operands.size() != sizes.size())
    return false;
  size_t at = 0;
  for (size_t size : sizes)
    if (i.operands[at++].elements.size() != size)
      return false;
  return true;
}

} // namespace

bool decode_warp(Instruction &i) {
  static const std::map<std::string, MmaType> mmas = {
      {"mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32", kF16},
      {"mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32", kBF16},
      {"mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32", kTF32},
      {"mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32", kS8}};
  const std::string &op = i.opcode;
  if (auto mma = mmas.find(op); mma != mmas.end() && operands_are(i, {4, 4, 2, 4})) {
    i.handler = run_mma;
    i.flags = mma->second;
    i.collective = true;
  } else if (op == "ldmatrix.sync.aligned.m8n8.x4.shared.b16" ||
             op == "ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16") {
    i.handler = run_ldmatrix;
    i.flags = op.find(".trans.") != std::string::npos;
    i.collective = true;
  } else if (op == "shfl.sync.bfly.b32" || op == "shfl.sync.idx.b32") {
    i.handler = run_shuffle;
    i.flags = op == "shfl.sync.idx.b32";
    i.collective = true;
  } else if (op == "bar.sync" || op == "barrier.sync" || op == "barrier.arrive") {
    i.handler = run_barrier;
    i.flags = op != "barrier.arrive";
    i.collective = true;
  } else if (op == "vote.sync.any.pred") {
    i.handler = run_vote;
    i.collective = true;
  } else if (op == "bar.warp.sync") {
    i.handler = run_nothing;
    i.collective = true;
  } else if (op == "bra" || op == "bra.uni") {
    i.handler = run_branch;
  } else if (op == "ret" || op == "exit") {
    i.handler = run_exit;
  } else if (op == "cp.async.commit_group") {
    i.handler = run_commit;
  } else if (op == "cp.async.wait_group") {
    i.handler = run_wait;
  } else {
    return false;
  }
  return true;
}

} // namespace ptxemu
