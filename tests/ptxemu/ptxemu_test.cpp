// The emulator against hand-written PTX: results, and that each fault is found.
#include "tests/ptxemu/machine.h"

#include <gtest/gtest.h>

namespace ptxemu {
namespace {

std::string kernel(const std::string &body, int threads = 64) {
  return ".version 7.0\n.target sm_80\n.address_size 64\n"
         ".extern .shared .align 128 .b8 memory[];\n"
         ".visible .entry k(\n.param .u64 k_param_0,\n.param .u64 k_param_1\n)\n.reqntid " +
         std::to_string(threads) + ", 1, 1\n{\n" + body + "\nret;\n}\n";
}

struct Device {
  std::vector<uint32_t> in = std::vector<uint32_t>(256), out = std::vector<uint32_t>(256);
  // The fault's message, empty if there was none.
  std::string operator()(const std::string &body, int threads = 64, uint64_t seed = 0) {
    try {
      Module module = parse_module(kernel(body, threads));
      GlobalMemory global;
      Launch call;
      call.seed = seed;
      call.shared_bytes = 1024;
      call.params = {global.add(in.data(), in.size() * 4, false),
                     global.add(out.data(), out.size() * 4, true)};
      launch(module, "k", call, global);
    } catch (const Error &error) {
      return error.what();
    }
    return "";
  }
};

const std::string kPointers = "ld.param.b64 %rd1, [k_param_0];\nld.param.b64 %rd2, [k_param_1];\n"
                              "mov.u32 %r1, %tid.x;\nmul.wide.u32 %rd3, %r1, 4;\n"
                              "add.s64 %rd4, %rd1, %rd3;\nadd.s64 %rd5, %rd2, %rd3;\n"
                              "shl.b32 %r2, %r1, 2;\n";

TEST(PtxEmulator, DivergentBranchesReconverge) {
  Device run;
  std::string fault = run(kPointers + "setp.lt.u32 %p1, %r1, 5;\n@%p1 bra $L1;\n"
                                      "add.s32 %r3, %r1, 100;\nbra.uni $L2;\n$L1:\n"
                                      "mov.b32 %r3, 7;\n$L2:\n"
                                      "shfl.sync.bfly.b32 %r4, %r3, 1, 31, -1;\n"
                                      "st.global.b32 [%rd5], %r4;");
  EXPECT_EQ(fault, "");
  EXPECT_EQ(run.out[4], 105u);
  EXPECT_EQ(run.out[5], 7u);
  EXPECT_EQ(run.out[9], 108u);
}

TEST(PtxEmulator, MultipliesSixteenBitTiles) {
  Device run;
  // A and B hold ones everywhere (1.0 is 0x3f80 in bf16); C is 0.5.
  std::string fault =
      run(kPointers + "mov.b32 %r3, 0x3f803f80;\nmov.b32 %f1, 0f3F000000;\n"
                      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%f2, %f3, %f4, %f5}, "
                      "{%r3, %r3, %r3, %r3}, {%r3, %r3}, {%f1, %f1, %f1, %f1};\n"
                      "st.global.b32 [%rd5], %f5;",
          32);
  EXPECT_EQ(fault, "");
  EXPECT_EQ(run.out[31], 0x41840000u); // 16.5
}

TEST(PtxEmulator, MultipliesInt8Tiles) {
  Device run;
  for (uint32_t lane = 0; lane < 32; ++lane)
    run.in[lane] = (lane == 4 * 3 + 1) ? 0x0000ff00u : 0; // A[3][5] = -1
  std::string fault =
      run(kPointers + "ld.global.nc.b32 %r3, [%rd4];\nmov.b32 %r4, 0;\nmov.b32 %r5, 0x02020702;\n"
                      "mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%r6, %r7, %r8, %r9}, "
                      "{%r3, %r4, %r4, %r4}, {%r5, %r5}, {%r4, %r4, %r4, %r4};\n"
                      "st.global.b32 [%rd5], %r6;",
          32);
  EXPECT_EQ(fault, "");
  EXPECT_EQ(run.out[4 * 3], static_cast<uint32_t>(-7)); // B[5][0] = 7
  EXPECT_EQ(run.out[0], 0u);
}

TEST(PtxEmulator, TransposesMatrices) {
  Device run;
  // Each lane stores 16 bytes whose 16-bit elements are 8 lane .. 8 lane + 7.
  std::string fill =
      "shl.b32 %r3, %r1, 4;\nmov.b32 %r4, memory;\nadd.s32 %r5, %r3, %r4;\n"
      "shl.b32 %r6, %r1, 3;\nadd.s32 %r7, %r6, 1;\nshl.b32 %r8, %r7, 16;\n"
      "or.b32 %r9, %r8, %r6;\nadd.s32 %r10, %r9, 0x20002;\nadd.s32 %r11, %r9, 0x40004;\n"
      "add.s32 %r12, %r9, 0x60006;\nst.shared.v4.b32 [%r5], {%r9, %r10, %r11, %r12};\n";
  std::string fault =
      run(kPointers + fill +
              "ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%r13, %r14, %r15, %r16}, [%r5];\n"
              "st.global.b32 [%rd5], %r14;",
          32);
  EXPECT_EQ(fault, "");
  // Matrix 1 has rows 8 .. 15 of 8 elements: lane 4 r + c sees rows 2 c, 2 c + 1 of column r.
  EXPECT_EQ(run.out[4 * 3 + 1], uint32_t((8 + 3) * 8 + 3) << 16 | ((8 + 2) * 8 + 3));
}

TEST(PtxEmulator, FindsMissingBarrier) {
  std::string body = kPointers + "st.shared.b32 [%r2], %r1;\n{barrier}xor.b32 %r3, %r2, 128;\n"
                                 "ld.shared.b32 %r4, [%r3];\nst.global.b32 [%rd5], %r4;";
  std::string with = body, without = body;
  with.replace(with.find("{barrier}"), 9, "bar.sync 0;\n");
  without.replace(without.find("{barrier}"), 9, "");
  Device run;
  for (uint64_t seed : {0, 1, 2}) {
    EXPECT_EQ(run(with, 64, seed), "");
    EXPECT_EQ(run.out[0], 32u);
    EXPECT_NE(run(without, 64, seed), "") << seed;
  }
}

TEST(PtxEmulator, FindsReadOfCopyInFlight) {
  std::string body = kPointers + "cp.async.ca.shared.global [%r2], [%rd4], 4, {bytes};\n"
                                 "cp.async.commit_group;\n{wait}ld.shared.b32 %r4, [%r2];\n"
                                 "st.global.b32 [%rd5], %r4;";
  auto text = [&](std::string bytes, std::string wait) {
    std::string s = body;
    s.replace(s.find("{bytes}"), 7, bytes);
    s.replace(s.find("{wait}"), 6, wait);
    return s;
  };
  Device run;
  run.in[3] = 42;
  EXPECT_EQ(run(text("4", "cp.async.wait_group 0;\n")), "");
  EXPECT_EQ(run.out[3], 42u);
  EXPECT_EQ(run(text("0", "cp.async.wait_group 0;\n")), "");
  EXPECT_EQ(run.out[3], 0u);
  EXPECT_NE(run(text("4", "cp.async.wait_group 1;\n")).find("before its copy has landed"),
            std::string::npos);
}

TEST(PtxEmulator, FindsOverwriteOfWhatOthersRead) {
  Device run;
  std::string fault =
      run(kPointers + "st.shared.b32 [%r2], %r1;\nbar.sync 0;\nxor.b32 %r3, %r2, 128;\n"
                      "ld.shared.b32 %r4, [%r3];\nst.shared.b32 [%r2], %r4;");
  EXPECT_NE(fault.find("race"), std::string::npos) << fault;
}

TEST(PtxEmulator, NamesWhatItRejects) {
  Device run;
  EXPECT_NE(run("frob.b32 %r1, %r2;").find("line 11: unknown opcode 'frob.b32'"),
            std::string::npos);
  EXPECT_NE(run(kPointers + "ld.shared.b32 %r3, [%r2];").find("never written"), std::string::npos);
  EXPECT_NE(run(kPointers + "ld.global.b32 %r3, [%rd5+1000];").find("buffer 1"), std::string::npos);
  EXPECT_NE(run(kPointers + "st.global.b32 [%rd4], %r1;").find("read-only"), std::string::npos);
  EXPECT_NE(run(kPointers + "ld.global.b64 %rd7, [%rd4];").find("misaligned"), std::string::npos);
}

} // namespace
} // namespace ptxemu
