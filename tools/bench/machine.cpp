// Loops of one instruction, a loop that only reads, and noise to compute with.
#include "tools/bench/machine.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <immintrin.h>
#include <random>
#include <sys/mman.h>

double thread_seconds() {
  timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return double(t.tv_sec) + 1e-9 * double(t.tv_nsec);
}

// Twelve independent accumulators: more than latency times throughput needs.
#define TWELVE(op, r)                                                                              \
  op r "0\n" op r "1\n" op r "2\n" op r "3\n" op r "4\n" op r "5\n" op r "6\n" op r "7\n" op r     \
       "8\n" op r "9\n" op r "10\n" op r "11\n"
#define BURST(name, op, r)                                                                         \
  __attribute__((target("avx512f"))) double name(long count) {                                     \
    double start = thread_seconds();                                                               \
    asm volatile("1:\n" TWELVE(op, r) "dec %0\njnz 1b"                                             \
                 : "+r"(count)::"cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6",      \
                   "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm14", "xmm15");                    \
    return thread_seconds() - start;                                                               \
  }
BURST(burst_zmm, "vfmadd231ps %%zmm14,%%zmm15,", "%%zmm")
BURST(burst_ymm, "vfmadd231ps %%ymm14,%%ymm15,", "%%ymm")
BURST(burst_bf16, "vdpbf16ps %%zmm14,%%zmm15,", "%%zmm")
BURST(burst_int8, "vpdpbusd %%zmm14,%%zmm15,", "%%zmm")

double peak(Product product) {
  const long count = 400000;
  switch (product) {
  case Product::fma_ymm:
    return double(count) * 12 * 16 / burst_ymm(count) / 1e9;
  case Product::fma_zmm:
    return double(count) * 12 * 32 / burst_zmm(count) / 1e9;
  case Product::bf16:
    return double(count) * 12 * 64 / burst_bf16(count) / 1e9;
  case Product::int8:
    return double(count) * 12 * 128 / burst_int8(count) / 1e9;
  }
  return 0;
}

double peak(Product qk, int qk_dim, Product pv, int v_dim) {
  double first = peak(qk);
  return qk == pv ? first : (qk_dim + v_dim) / (qk_dim / first + v_dim / peak(pv));
}

__attribute__((target("avx512f"))) double read_seconds(const char *from, size_t bytes) {
  const size_t ahead = 2048;
  double start = thread_seconds();
  __m512i bits[4] = {};
  for (size_t i = 0; i + 256 <= bytes; i += 256)
    for (int j = 0; j < 4; ++j) {
      _mm_prefetch(from + i + 64 * j + ahead, _MM_HINT_T0);
      bits[j] = _mm512_or_si512(bits[j], _mm512_loadu_si512(from + i + 64 * j));
    }
  bits[0] = _mm512_or_si512(_mm512_or_si512(bits[0], bits[1]), _mm512_or_si512(bits[2], bits[3]));
  asm volatile("" ::"v"(bits[0]));
  return thread_seconds() - start;
}

char *allocate(size_t bytes) {
  const size_t huge = 2u << 20;
  bytes = (bytes + huge - 1) / huge * huge;
  void *memory = std::aligned_alloc(huge, bytes);
  madvise(memory, bytes, MADV_HUGEPAGE);
  return static_cast<char *>(memory);
}

char *noise(size_t count, const std::string &type, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  size_t size = type == "f32" ? 4 : type == "i8" ? 1 : 2;
  char *bytes = allocate(count * size + 64);
  for (size_t i = 0; i < count; ++i) {
    float x = normal(random);
    uint32_t bits;
    std::memcpy(&bits, &x, 4);
    uint16_t half = type == "bf16" ? uint16_t(bits >> 16) : uint16_t(_cvtss_sh(x, 0));
    int8_t byte = int8_t(std::clamp(x * 40, -127.0f, 127.0f));
    std::memcpy(&bytes[i * size],
                size == 4   ? static_cast<void *>(&x)
                : size == 2 ? static_cast<void *>(&half)
                            : static_cast<void *>(&byte),
                size);
  }
  return bytes;
}
