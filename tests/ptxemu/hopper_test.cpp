// The emulator's sm_90a instructions against hand-written PTX: results, and that
// each fault is found.
#include "tests/ptxemu/machine.h"

#include "runtime/base/half.h"

#include <gtest/gtest.h>

#include <cstring>

namespace ptxemu {
namespace {

// A tensor of 64 rows of 64 bf16 values in 128-byte rows: element (row, column) of
// tensor t is small and different in every place.
float element(int t, int row, int column) { return float((row * 7 + column * 3 + t * 5) % 17) - 8; }

struct Device {
  std::vector<uint16_t> tensors[2];
  std::vector<float> out = std::vector<float>(128 * 64, -1);
  int threads = 128;

  Device() {
    for (int t : {0, 1})
      for (int row = 0; row < 64; ++row)
        for (int column = 0; column < 64; ++column)
          tensors[t].push_back(attn::f32_to_bf16(element(t, row, column)));
  }

  // The fault's message, empty if there was none. %rd2 is the output, %r1 the thread,
  // %p0 says that it is thread 0; maps are parameters 1 and 2.
  std::string operator()(const std::string &body, uint64_t seed = 0) {
    std::string text =
        ".version 8.0\n.target sm_90a\n.address_size 64\n.extern .shared .align 1024 .b8 "
        "memory[];\n"
        ".visible .entry k(\n.param .u64 k_param_0,\n.param .align 64 .b8 k_param_1[128],\n"
        ".param .align 64 .b8 k_param_2[128]\n)\n.reqntid " +
        std::to_string(threads) +
        ", 1, 1\n{\nld.param.b64 %rd2, [k_param_0];\nmov.b64 %rd3, k_param_1;\n"
        "cvta.param.u64 %rd4, %rd3;\nmov.b64 %rd5, k_param_2;\ncvta.param.u64 %rd6, %rd5;\n"
        "mov.u32 %r1, %tid.x;\nsetp.eq.s32 %p0, %r1, 0;\nmov.b32 %r0, 0;\nmov.b32 %r9, 1;\n" +
        body + "\nret;\n}\n";
    try {
      Module module = parse_module(text);
      GlobalMemory global;
      Launch call;
      call.seed = seed;
      call.shared_bytes = 32768;
      call.params = {global.add(out.data(), out.size() * 4, true), 0, 0};
      for (size_t t : {0, 1}) {
        TensorMap &map = call.maps[t + 1];
        map.address = global.add(tensors[t].data(), tensors[t].size() * 2, false);
        map.swizzle_bytes = 128;
        map.dims = {64, 64};
        map.strides = {2, 128};
        map.box = {64, 64};
      }
      launch(module, "k", call, global);
    } catch (const Error &error) {
      return error.what();
    }
    return "";
  }
};

// The barrier is at 24576; both tensors are copied to 0 and 8192 by thread 0.
const std::string kInit =
    "@!%p0 bra $Ready;\nmbarrier.init.shared::cta.b64 [24576], %r9;\n$Ready:\n"
    "bar.sync 0;\n";
const std::string kCopies =
    "@!%p0 bra $Started;\nmbarrier.arrive.expect_tx.shared::cta.b64 _, [24576], 16384;\n"
    "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [0], [%rd4, "
    "{%r0, %r0}], [24576];\n"
    "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [8192], "
    "[%rd6, {%r0, %r0}], [24576];\n$Started:\n";
const std::string kWait = "{\n.reg .pred done;\nagain:\nmbarrier.try_wait.parity.shared::cta.b64 "
                          "done, [24576], %r0;\n@!done bra again;\n}\n";

TEST(HopperEmulator, BulkCopiesAreSwizzledByRows) {
  Device run;
  // Thread i reads chunk 1 of row i, which lies at chunk 1 ^ (i mod 8).
  std::string read =
      "setp.ge.s32 %p1, %r1, 64;\n@%p1 bra $Done;\nand.b32 %r2, %r1, 7;\n"
      "xor.b32 %r3, %r2, 1;\nshl.b32 %r4, %r3, 4;\nshl.b32 %r5, %r1, 7;\n"
      "add.s32 %r6, %r5, %r4;\nld.shared.b32 %r7, [%r6];\nmul.wide.u32 %rd7, %r1, 4;\n"
      "add.s64 %rd8, %rd2, %rd7;\nst.global.b32 [%rd8], %r7;\n$Done:\n";
  for (uint64_t seed : {0, 1, 2, 3}) {
    ASSERT_EQ(run(kInit + kCopies + kWait + read, seed), "");
    for (int row = 0; row < 64; ++row) {
      uint32_t bits;
      std::memcpy(&bits, &run.out[row], 4);
      EXPECT_EQ(attn::bf16_to_f32(bits & 0xffff), element(0, row, 8));
      EXPECT_EQ(attn::bf16_to_f32(bits >> 16), element(0, row, 9));
    }
    EXPECT_NE(run(kInit + kCopies + read + kWait, seed), "") << "read before the wait";
    EXPECT_NE(run(kInit + kCopies + read, seed), "") << "no wait";
  }
  EXPECT_NE(run(kCopies + kWait).find("never written"), std::string::npos);
}

// D = A B for 64 x 64 x 64: four steps of 16. `b` is K-major or, transposed, N-major.
std::string product(bool transposed,
                    const std::string &wait = "wgmma.wait_group.sync.aligned 0;\n") {
  std::string registers, text = "wgmma.fence.sync.aligned;\n";
  for (int r = 0; r < 32; ++r)
    registers += (r ? ", %f" : "%f") + std::to_string(r);
  uint64_t rows = 1ull << 62 | uint64_t(1024 >> 4) << 32 | 1ull << 16;
  for (int step = 0; step < 4; ++step) {
    uint64_t a = rows | uint64_t(step * 32) >> 4;
    uint64_t b = rows | uint64_t(8192 + (transposed ? step * 16 * 128 : step * 32)) >> 4;
    text += "mov.b64 %rd10, " + std::to_string(a) + ";\nmov.b64 %rd11, " + std::to_string(b) +
            ";\nsetp.ne.b32 %p3, " + std::to_string(step) + ", 0;\n" +
            "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {" + registers +
            "}, %rd10, %rd11, %p3, 1, 1, 0, " + (transposed ? "1" : "0") + ";\n";
  }
  text += "wgmma.commit_group.sync.aligned;\n" + wait;
  text += "mul.wide.u32 %rd7, %r1, 128;\nadd.s64 %rd8, %rd2, %rd7;\n";
  for (int r = 0; r < 32; ++r)
    text += "st.global.b32 [%rd8+" + std::to_string(4 * r) + "], %f" + std::to_string(r) + ";\n";
  return text;
}

TEST(HopperEmulator, ProductsReadBothOrdersOfB) {
  for (bool transposed : {false, true}) {
    Device run;
    ASSERT_EQ(run(kInit + kCopies + kWait + product(transposed), 1), "");
    for (int thread = 0; thread < 128; ++thread)
      for (int r = 0; r < 32; ++r) {
        int row = thread / 32 * 16 + thread % 32 / 4 + 8 * (r / 2 % 2);
        int column = r / 4 * 8 + thread % 4 * 2 + r % 2;
        float expected = 0;
        for (int k = 0; k < 64; ++k)
          expected +=
              element(0, row, k) * (transposed ? element(1, k, column) : element(1, column, k));
        ASSERT_EQ(run.out[thread * 32 + r], expected) << transposed << " " << row << " " << column;
      }
  }
}

TEST(HopperEmulator, ProductsInFlightAreGuarded) {
  Device run;
  EXPECT_NE(run(kInit + kCopies + kWait + product(false, "")).find("in flight"), std::string::npos);
  EXPECT_NE(run(kInit + kCopies + product(false)), "");
  std::string unfenced = product(false);
  unfenced.erase(0, unfenced.find('\n'));
  EXPECT_NE(run(kInit + kCopies + kWait + unfenced).find("wgmma.fence"), std::string::npos);
}

TEST(HopperEmulator, WritesNeedTheFenceOfTheAsynchronousProxy) {
  Device run;
  std::string clear = "shl.b32 %r2, %r1, 2;\nst.shared.b32 [%r2], %r0;\n";
  std::string fence = "fence.proxy.async.shared::cta;\n", sync = "bar.sync 1, 128;\n";
  EXPECT_EQ(run(kInit + kCopies + kWait + clear + fence + sync + product(false)), "");
  EXPECT_NE(run(kInit + kCopies + kWait + clear + sync + product(false)).find("fence.proxy.async"),
            std::string::npos);
  EXPECT_NE(run(kInit + kCopies + kWait + clear + fence + product(false)).find("race"),
            std::string::npos);
}

TEST(HopperEmulator, BarriersCountAndDeadlocksAreNamed) {
  Device run;
  EXPECT_NE(run(kInit + kWait).find("deadlock"), std::string::npos);
  EXPECT_NE(run("bar.sync 1, 256;\n").find("deadlock"), std::string::npos);
  EXPECT_NE(run(kInit + kCopies).find("ends while copies"), std::string::npos);
}

// 384 threads have 168 registers each: 1024 are left, and what some give others take.
TEST(HopperEmulator, RegistersAreHandedOver) {
  Device run;
  run.threads = 384;
  std::string first = "setp.lt.s32 %p1, %r1, 128;\n@%p1 bra $First;\n"
                      "setmaxnreg.inc.sync.aligned.u32 176;\nbra.uni $End;\n$First:\n";
  EXPECT_EQ(run(first + "setmaxnreg.dec.sync.aligned.u32 152;\n$End:\n", 1), "");
  EXPECT_NE(run(first + "$End:\n").find("deadlock"), std::string::npos);
}

} // namespace
} // namespace ptxemu
