// Element types, on the architectures that differ in them alone too.
#include "tests/target/cpu/cpu_kernel_fixture.h"

namespace {

class CpuTypesTest : public CpuKernelTest {};

TEST_P(CpuTypesTest, Bf16) {
  for (int dim : {64, 128, 41}) {
    CpuCase c = causal();
    c.kernel.type = "bf16";
    c.kernel.qk_dim = dim, c.kernel.v_dim = dim + 2;
    c.q_len = 70;
    auto kernel = compile(c);
    for (int length : {1, 37, 70}) {
      c.segments = {{2, length, 0}};
      c.q_position = length;
      c.slots = length + 3;
      SCOPED_TRACE(testing::Message() << "dim " << dim << " length " << length);
      expect_within(c, *kernel, 6e-3);
    }
  }
}

TEST_P(CpuTypesTest, StreamedBf16) {
  if (arch() != "avx512-bf16") // others convert values first, as they do for all calls
    return;
  for (int dim : {64, 128}) {
    SCOPED_TRACE(dim);
    CpuCase c = streamed(dim, dim + 8, 6400000 / dim);
    c.kernel.type = "bf16";
    expect_within(c, *compile(c), Form::few_rows, 6e-3);
  }
}

TEST_P(CpuTypesTest, F16) {
  CpuCase c = causal();
  c.kernel.type = "f16";
  c.q_len = 70;
  c.segments = {{0, 70, 0}};
  expect_within(c, 6e-4);
}

// Against what int8 can say: a query's rounding may fall either way of a tie.
class CpuInt8Test : public CpuTypesTest {
protected:
  void check(const std::string &type, double bound);
};
void CpuInt8Test::check(const std::string &type, double bound) {
  const std::vector<int> few = {64, 41}, all = {64, 128, 36, 41};
  for (int dim : type == "f16" ? few : all) {
    CpuCase c = causal();
    c.kernel.int8 = true;
    c.kernel.type = type;
    c.kernel.qk_dim = dim, c.kernel.v_dim = 64;
    c.heads = 4, c.layout = Layout::tokens_first;
    c.q_len = 70;
    auto kernel = compile(c);
    for (int length : {1, 37, 70}) {
      c.segments = {{2, length, 0}};
      c.q_position = length;
      c.slots = length + 3;
      SCOPED_TRACE(testing::Message() << "dim " << dim << " length " << length);
      expect_within(c, *kernel, bound);
    }
  }
}
TEST_P(CpuInt8Test, F32) { check("f32", 1e-5); }
TEST_P(CpuInt8Test, F16) { check("f16", 6e-4); }
TEST_P(CpuInt8Test, Bf16) { check("bf16", 6e-3); }

const auto kTypeArchs =
    testing::Values("avx2", "avx512", "avx512-bf16", "avx512-vnni", "avx512-vnni-bf16", "neon");
INSTANTIATE_TEST_SUITE_P(Arch, CpuTypesTest, kTypeArchs, arch_name);
INSTANTIATE_TEST_SUITE_P(Arch, CpuInt8Test, kTypeArchs, arch_name);

} // namespace
