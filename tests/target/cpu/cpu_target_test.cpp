// What holds for every kernel's machine code: formats, refusals, compile time.
#include "tests/target/cpu/cpu_kernel_fixture.h"

namespace {

TEST(CpuTarget, NeonMakesAnAarch64SharedObject) {
  KernelText text;
  text.block_q = 48;
  for (const char *type : {"f32", "bf16", "f16"}) {
    text.type = type;
    auto kernel = compile_cpu(text.str(), "neon", /*load=*/false);
    EXPECT_EQ(kernel->error, "");
    ASSERT_GT(kernel->image.size(), 64u);
    EXPECT_EQ(kernel->image.substr(0, 4), "\x7f"
                                          "ELF");
    EXPECT_EQ(kernel->image[16], 3);            // ET_DYN
    EXPECT_EQ(uint8_t(kernel->image[18]), 183); // EM_AARCH64
  }
}

// A float remainder is a call to fmodf in LLVM; the image must not ask for one.
TEST(CpuTarget, RefusesUndefinedSymbols) {
  KernelText text;
  text.block_q = 48;
  text.score = "%c = arith.constant 3.0 : f32\n%result = arith.remf %s, %c : f32\n";
  auto kernel = compile_cpu(text.str(), "avx2");
  EXPECT_EQ(kernel->entry, nullptr);
  EXPECT_NE(kernel->error.find("undefined symbol: fmodf"), std::string::npos) << kernel->error;
}

TEST(CpuTarget, RejectsBlocksThatDoNotFit) {
  KernelText text;
  text.block_q = 40;
  EXPECT_NE(compile_cpu(text.str(), "avx512")->error.find("takes multiples of 48"),
            std::string::npos);
  EXPECT_NE(compile_cpu(text.str(), "mips")->error.find("unknown cpu architecture"),
            std::string::npos);
}

// LLVM's and lld's work included; the first compilation also loads dialects. The
// goal is 300 ms; the bound leaves room for a busy machine.
TEST(CpuTarget, CompilesWithinBudget) {
  KernelText text;
  text.classify = kSinkWindowClassify;
  text.mask = kSinkWindowMask;
  text.qk_dim = text.v_dim = 128;
  text.block_q = 192, text.block_k = 96;
  for (const char *arch : {"avx512", "avx2"}) {
    compile_cpu(text.str(), arch, false);
    EXPECT_LE(compile_cpu(text.str(), arch, false)->milliseconds, 600) << arch;
  }
}

} // namespace
