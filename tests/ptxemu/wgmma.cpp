// Warpgroup products: started, in flight, done at the latest when they are waited
// for. A warp computes its 16 of the group's 64 rows.
#include "tests/ptxemu/handlers.h"

#include "runtime/base/half.h"

#include <bit>
#include <cstdlib>
#include <cstring>

namespace ptxemu {
namespace {

// One operand in shared memory, as its descriptor says.
struct Descriptor {
  uint64_t address, leading, stride;
  uint32_t swizzle; // bytes

  explicit Descriptor(uint64_t bits)
      : address((bits & 0x3fff) << 4), leading((bits >> 16 & 0x3fff) << 4),
        stride((bits >> 32 & 0x3fff) << 4) {
    static const uint32_t widths[] = {0, 128, 64, 32};
    swizzle = widths[bits >> 62];
    if (!swizzle || bits >> 46 & 0xffff)
      throw Error("its descriptor has no swizzle or an offset");
  }
  // 8 elements (16 bytes) from k of row r, where k is consecutive.
  uint64_t along_k(uint64_t row, uint64_t k) const {
    return swizzled(address + row / 8 * stride + row % 8 * swizzle + k * 2, swizzle);
  }
  // 8 elements from column n of step k, where n is consecutive.
  uint64_t along_n(uint64_t k, uint64_t n) const {
    uint64_t panel = swizzle / 2;
    return swizzled(
        address + n / panel * leading + k / 8 * stride + k % 8 * swizzle + n % panel * 2, swizzle);
  }
};

enum Flags : uint64_t { kBF16 = 1, kRegistersA = 2, kTransposedB = 4 };

float widen(uint16_t bits, uint64_t flags) {
  return flags & kBF16 ? attn::bf16_to_f32(bits) : attn::f16_to_f32(bits);
}

void run_start(Warp &warp, const Instruction &i, uint32_t) {
  bool registers = i.flags & kRegistersA;
  warp.start_product({&i, registers ? 0 : warp.get(i.operands[1], 0), warp.get(i.operands[2], 0),
                      (warp.get(i.operands[3], 0) & 1) != 0});
}
void run_fence(Warp &warp, const Instruction &, uint32_t) { warp.fence_products(); }
void run_commit(Warp &warp, const Instruction &, uint32_t) { warp.commit_products(); }
void run_wait(Warp &warp, const Instruction &i, uint32_t) {
  warp.wait_products(i.operands[0].value);
}

// wgmma.mma_async.sync.aligned.m64nNk16.f32.T.T d, a, b, p, 1, 1[, trans a], trans b
bool decode_product(Instruction &i) {
  std::vector<std::string> parts = opcode_parts(i.opcode);
  if (parts.size() != 8 || i.opcode.rfind("wgmma.mma_async.sync.aligned.m64n", 0) != 0 ||
      parts[5] != "f32" || parts[6] != parts[7] || (parts[6] != "bf16" && parts[6] != "f16"))
    return false;
  size_t columns = std::atoi(parts[4].c_str() + 4);
  bool registers = i.operands.size() > 1 && i.operands[1].kind == OperandKind::vector;
  if (parts[4] != "m64n" + std::to_string(columns) + "k16" || columns % 8 || columns > 256 ||
      i.operands.size() != (registers ? 7u : 8u) || i.operands[0].elements.size() != columns / 2 ||
      (registers && i.operands[1].elements.size() != 4))
    return false;
  if (i.operands[4].value != 1 || i.operands[5].value != 1 ||
      (!registers && i.operands[6].value != 0))
    return false;
  i.bytes = columns;
  i.flags = (parts[6] == "bf16" ? kBF16 : 0) | (registers ? kRegistersA : 0) |
            (i.operands.back().value ? kTransposedB : 0);
  i.handler = run_start;
  return true;
}

} // namespace

uint64_t swizzled(uint64_t address, uint32_t width) {
  // Chunks of 16 bytes; their number within a row of the swizzle changes with the
  // row of 128 bytes.
  return width ? address ^ ((address >> 7 & (width / 16 - 1)) << 4) : address;
}

bool decode_wgmma(Instruction &i) {
  if (i.opcode == "wgmma.fence.sync.aligned")
    i.handler = run_fence;
  else if (i.opcode == "wgmma.commit_group.sync.aligned")
    i.handler = run_commit;
  else if (i.opcode == "wgmma.wait_group.sync.aligned" && i.operands.size() == 1)
    i.handler = run_wait;
  else if (!decode_product(i))
    return false;
  i.collective = true;
  return true;
}

void Warp::start_product(const Product &product) {
  const Instruction &i = *product.instruction;
  auto check = [&](const Operand &operand) {
    if (!fenced || touched[operand.reg])
      throw Error("no wgmma.fence stands between a use of a register and the product");
  };
  bool chained =
      !open_products.empty() && open_products.back().instruction->operands[0].elements[0].reg ==
                                    i.operands[0].elements[0].reg;
  for (const Operand &d : i.operands[0].elements) {
    if (!chained && in_flight[d.reg])
      throw Error("accumulates into registers of another product in flight");
    check(d);
    in_flight[d.reg] = true;
  }
  if (i.flags & kRegistersA)
    for (const Operand &a : i.operands[1].elements) {
      check(a);
      in_flight[a.reg] = true;
    }
  run_product(product, /*only_check=*/true); // what it reads must be there already
  open_products.push_back(product);
}

void Warp::wait_products(size_t pending) {
  if (!open_products.empty())
    throw Error("products were not committed");
  while (product_groups.size() > pending) {
    for (const Product &product : product_groups.front()) {
      const Instruction &i = *product.instruction;
      run_product(product, /*only_check=*/false);
      for (const Operand &d : i.operands[0].elements)
        in_flight[d.reg] = false;
      if (i.flags & kRegistersA)
        for (const Operand &a : i.operands[1].elements)
          in_flight[a.reg] = false;
    }
    product_groups.pop_front();
  }
}

// D[16 x N] += A[16 x 16] B[16 x N] for this warp's rows; fragments as of mma.sync.
void Warp::run_product(const Product &product, bool only_check) {
  const Instruction &i = *product.instruction;
  size_t columns = i.bytes;
  static thread_local float a[16][16], b[256][16];
  uint16_t chunk[8];
  if (i.flags & kRegistersA) {
    for (int lane = 0; lane < 32 && !only_check; ++lane)
      for (int j = 0; j < 4; ++j)
        for (int e = 0; e < 2; ++e)
          a[lane / 4 + 8 * (j % 2)][j / 2 * 8 + lane % 4 * 2 + e] =
              widen(registers[i.operands[1].elements[j].reg][lane] >> (16 * e), i.flags);
  } else {
    Descriptor from(product.a);
    for (int row = 0; row < 16; ++row)
      for (int k = 0; k < 16; k += 8) {
        block.shared.read_async(chunk, from.along_k(index % 4 * 16 + row, k), 16, access());
        for (int e = 0; e < 8; ++e)
          a[row][k + e] = widen(chunk[e], i.flags);
      }
  }
  Descriptor from(product.b);
  for (size_t outer = 0; outer < (i.flags & kTransposedB ? 16 : columns); ++outer)
    for (size_t inner = 0; inner < (i.flags & kTransposedB ? columns : 16); inner += 8) {
      bool transposed = i.flags & kTransposedB;
      block.shared.read_async(chunk,
                              transposed ? from.along_n(outer, inner) : from.along_k(outer, inner),
                              16, access());
      for (int e = 0; e < 8; ++e)
        (transposed ? b[inner + e][outer] : b[outer][inner + e]) = widen(chunk[e], i.flags);
    }
  if (only_check)
    return;
  for (int lane = 0; lane < 32; ++lane)
    for (size_t r = 0; r < columns / 2; ++r) {
      int row = lane / 4 + 8 * (r / 2 % 2);
      size_t column = r / 4 * 8 + lane % 4 * 2 + r % 2;
      auto &bits = registers[i.operands[0].elements[r].reg][lane];
      float sum = product.accumulate ? std::bit_cast<float>(static_cast<uint32_t>(bits)) : 0;
      float dot = 0;
      for (int k = 0; k < 16; ++k)
        dot += a[row][k] * b[column][k];
      bits = std::bit_cast<uint32_t>(sum + dot);
    }
}

} // namespace ptxemu
