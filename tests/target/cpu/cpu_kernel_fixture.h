// What the tests of CPU kernels share: masks, and a case that fits an architecture.
#pragma once

#include "tests/target/cpu/cpu_case.h"

#include <algorithm>
#include <gtest/gtest.h>

inline const char *kCausalClassify = "%any = arith.cmpi sge, %q_hi, %k_lo : i32\n"
                                     "%all = arith.cmpi sge, %q_lo, %k_hi : i32\n";
inline const char *kCausalMask = "%admitted = arith.cmpi sge, %q_position, %k_position : i32\n";

// A sink of the first 8 keys and a causal window of the last 24.
inline const char *kSinkWindowClassify = R"(
    %c8 = arith.constant 8 : i32
    %c24 = arith.constant 24 : i32
    %low = arith.subi %q_lo, %c24 : i32
    %high = arith.subi %q_hi, %c24 : i32
    %behind = arith.cmpi sge, %q_hi, %k_lo : i32
    %near = arith.cmpi sgt, %k_hi, %low : i32
    %sinks = arith.cmpi slt, %k_lo, %c8 : i32
    %either = arith.ori %near, %sinks : i1
    %any = arith.andi %behind, %either : i1
    %all_behind = arith.cmpi sge, %q_lo, %k_hi : i32
    %all_near = arith.cmpi sgt, %k_lo, %high : i32
    %all_sinks = arith.cmpi slt, %k_hi, %c8 : i32
    %all_either = arith.ori %all_near, %all_sinks : i1
    %all = arith.andi %all_behind, %all_either : i1
)";
inline const char *kSinkWindowMask = R"(
    %c8 = arith.constant 8 : i32
    %c24 = arith.constant 24 : i32
    %behind = arith.cmpi sge, %q_position, %k_position : i32
    %first = arith.subi %q_position, %c24 : i32
    %near = arith.cmpi sgt, %k_position, %first : i32
    %sink = arith.cmpi slt, %k_position, %c8 : i32
    %either = arith.ori %near, %sink : i1
    %admitted = arith.andi %behind, %either : i1
)";
inline bool sink_window_admits(int q, int k, int) { return q >= k && (k > q - 24 || k < 8); }

class CpuKernelTest : public testing::TestWithParam<const char *> {
protected:
  void SetUp() override {
    std::string reason;
    if (!cpu_runs(GetParam(), reason))
      GTEST_SKIP() << reason;
  }
  std::string arch() const { return GetParam(); }

  // Fits the case's block sizes to the architecture: two sub-tiles of queries.
  CpuCase make() const {
    CpuCase c;
    c.kernel.block_q = arch() == "avx2" ? 48 : arch() == "neon" ? 24 : 96;
    c.kernel.block_k = 32;
    return c;
  }
  CpuCase causal() const {
    CpuCase c = make();
    c.kernel.classify = kCausalClassify;
    c.kernel.mask = kCausalMask;
    c.admitted = [](int q, int k, int) { return q >= k; };
    return c;
  }
  // Few rows over more keys than caches hold, in a ring that has turned. Not a whole number
  // of blocks is admitted, and rows fill no group.
  CpuCase streamed(int qk_dim, int v_dim, int tokens) const {
    CpuCase c = causal();
    c.kernel.qk_dim = qk_dim, c.kernel.v_dim = v_dim;
    c.heads = 3, c.kv_heads = 1, c.q_len = 1, c.q_position = tokens - 5;
    const int turn = tokens / 3;
    c.segments = {{3, tokens - turn, turn}, {tokens - turn + 9, turn, 0}};
    c.slots = tokens + 12;
    return c;
  }
  CpuCase sink_window() const {
    CpuCase c = make();
    c.kernel.classify = kSinkWindowClassify;
    c.kernel.mask = kSinkWindowMask;
    c.admitted = sink_window_admits;
    return c;
  }
  std::shared_ptr<CpuKernel> compile(const CpuCase &c) const {
    auto kernel = compile_cpu(c.kernel.str(), arch());
    EXPECT_EQ(kernel->error, "");
    EXPECT_TRUE(kernel->runs());
    return kernel;
  }
  // Limits of the numeric contract; a row may be four times worse than the norm.
  void expect_within(const CpuCase &c, const CpuKernel &kernel, double bound = 1e-5) const {
    if (!kernel.runs())
      return;
    for (Form form : {Form::whole_tiles, Form::few_rows})
      expect_within(c, kernel, form, bound);
  }
  void expect_within(const CpuCase &c, const CpuKernel &kernel, Form form, double bound) const {
    SCOPED_TRACE(form == Form::few_rows ? "few rows" : "whole tiles");
    CpuErrors e = run_cpu(c, kernel, form);
    EXPECT_LE(e.frobenius, bound);
    EXPECT_LE(e.worst_row, 4 * bound + 1e-6);
    EXPECT_LE(e.lse, bound < 1e-4 ? 2e-5 : 2e-2);
    EXPECT_FALSE(e.strayed);
  }
  void expect_mask(const CpuCase &c, const CpuKernel &kernel) const {
    EXPECT_EQ(mask_mismatches(c, kernel, Form::whole_tiles), 0);
    EXPECT_EQ(mask_mismatches(c, kernel, Form::few_rows), 0);
  }
  void expect_within(const CpuCase &c, double bound = 1e-5) const {
    expect_within(c, *compile(c), bound);
  }
};

inline std::string arch_name(const testing::TestParamInfo<const char *> &info) {
  std::string name = info.param;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}
