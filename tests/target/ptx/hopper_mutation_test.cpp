// Every wait, fence, arrival, copy and mask of a scheduled kernel is needed: without
// any one of them the emulator reports a fault, or the results are wrong.
#include "tests/target/ptx/Compile.h"
#include "tests/target/ptx/EmulatedCall.h"
#include "tests/target/ptx/KernelText.h"

#include "tests/ptxemu/module.h"

#include <gtest/gtest.h>

#include <map>
#include <regex>
#include <set>

namespace attn::test {
namespace {

// Keys below 40 and the 150 keys up to the query.
bool window(int q, int k, int) { return k <= q && (k < 40 || k > q - 150); }

class HopperMutation : public testing::Test {
protected:
  HopperMutation() {
    KernelText text;
    text.blockQ = 128;
    text.mask = R"(
      %c40 = arith.constant 40 : i32
      %c150 = arith.constant 150 : i32
      %low = arith.subi %q, %c150 : i32
      %near = arith.cmpi sgt, %k, %low : i32
      %sink = arith.cmpi slt, %k, %c40 : i32
      %either = arith.ori %sink, %near : i1
      %past = arith.cmpi sle, %k, %q : i32
      %admitted = arith.andi %either, %past : i1)";
    text.classify = R"(
      %c40 = arith.constant 40 : i32
      %c150 = arith.constant 150 : i32
      %low = arith.subi %q_lo, %c150 : i32
      %near = arith.cmpi sgt, %k_hi, %low : i32
      %sink = arith.cmpi slt, %k_lo, %c40 : i32
      %either = arith.ori %sink, %near : i1
      %past = arith.cmpi sle, %k_lo, %q_hi : i32
      %any = arith.andi %either, %past : i1
      %before = arith.cmpi sle, %k_hi, %q_lo : i32
      %high = arith.subi %q_hi, %c150 : i32
      %inside = arith.cmpi sgt, %k_lo, %high : i32
      %all = arith.andi %before, %inside : i1)";
    compiled = compileText(text.module(), "sm_90a:keys64");
    // Short blocks first and in between, full ones between partial ones.
    call.queries = 70;
    call.queryPosition = 300;
    call.slots = 700;
    call.segments = {{0, 20, 0},     {30, 150, 220},  {200, 64, 280},
                     {300, 64, 200}, {400, 128, 150}, {560, 90, 210}};
    call.mask = window;
    makeExpected();
  }

  void makeExpected() {
    call.seed = 1;
    tensors = makeTensors(compiled.info, call);
    expected = reference(compiled.info, call, tensors);
  }

  // What is wrong with a kernel's run, or an empty string.
  std::string fault(const std::string &ptx) {
    try {
      Attention got = emulate(ptx, compiled.info, call, tensors);
      double error = outputError(compiled.info, got, expected);
      return error <= 1e-2 ? "" : "error " + std::to_string(error);
    } catch (const ptxemu::Error &error) {
      return error.what();
    }
  }

  // Removes each match of `pattern` in turn; the number of matches. What other waits
  // imply in this schedule, though not in every one, is named by its number.
  int expectAllNeeded(const std::string &pattern, int implied = -1) {
    std::regex regex(pattern);
    const std::string &text = compiled.ptx;
    int count = 0;
    for (auto at = std::sregex_iterator(text.begin(), text.end(), regex);
         at != std::sregex_iterator(); ++at, ++count) {
      std::string without =
          text.substr(0, at->position()) + text.substr(at->position() + at->length());
      EXPECT_EQ(fault(without) == "", count == implied)
          << "number " << count << ": " << at->str().substr(0, 200);
    }
    return count;
  }

  Compiled compiled;
  Call call;
  Tensors tensors;
  Attention expected;
};

TEST_F(HopperMutation, TheKernelIsCorrect) {
  ASSERT_TRUE(compiled.ok) << compiled.diagnostics;
  for (call.seed = 0; call.seed < 20; ++call.seed) // inputs stay, schedules change
    EXPECT_EQ(fault(compiled.ptx), "") << "seed " << call.seed;
}

// Before the producer announces the end it waits for the stage; the wait for the stage
// of the last values has implied it here.
constexpr int kWaitForTheEndsStage = 9;

TEST_F(HopperMutation, EveryWaitIsNeeded) {
  EXPECT_EQ(expectAllNeeded("mbarrier\\.try_wait[^;]*;\\n@!done bra again;", kWaitForTheEndsStage),
            10);
  EXPECT_EQ(expectAllNeeded("wgmma\\.wait_group[^;]*;"), 6);
  EXPECT_EQ(expectAllNeeded("\\bbar(rier)?\\.sync[^;]*;"), 3);
}

TEST_F(HopperMutation, EveryFenceIsNeeded) {
  EXPECT_EQ(expectAllNeeded("wgmma\\.fence[^;]*;"), 6);
  EXPECT_EQ(expectAllNeeded("wgmma\\.commit_group[^;]*;"), 6);
  EXPECT_EQ(expectAllNeeded("fence\\.proxy\\.async[^;]*;"), 2);
}

TEST_F(HopperMutation, EveryArrivalIsNeeded) {
  EXPECT_EQ(expectAllNeeded("@[^;\\n]*mbarrier\\.arrive\\.shared[^;]*;"), 5);
  EXPECT_EQ(expectAllNeeded("\\n\\s*mbarrier\\.arrive[^;]*;"), 4);
  EXPECT_EQ(expectAllNeeded("mbarrier\\.init[^;]*;"), 9);
  EXPECT_EQ(expectAllNeeded("cp\\.async\\.bulk[^;]*;"), 3);
}

// A mask is a chain of selp.f32 d, score, -1e30, admitted: one for each condition.
TEST_F(HopperMutation, EveryMaskIsNeeded) {
  KernelText text;
  text.blockQ = 128;
  text.mask = "%admitted = arith.cmpi sle, %k, %q : i32";
  text.classify = "%any = arith.cmpi sle, %k_lo, %q_hi : i32\n"
                  "%all = arith.cmpi sle, %k_hi, %q_lo : i32";
  compiled = compileText(text.module(), "sm_90a:keys64");
  // The first block and another, each with keys that some row of each lane must not see.
  call.mask = [](int q, int k, int) { return k <= q; };
  call.segments = {{0, 64, 309}, {100, 64, 309}};
  makeExpected();
  ASSERT_EQ(fault(compiled.ptx), "");
  std::regex pattern("selp\\.f32\\s+(%\\w+), (%\\w+), 0fF149F2CA, %p\\d+;");
  std::map<std::string, std::string> score; // by what a selp gives
  std::set<std::string> inner;
  std::vector<std::smatch> matches;
  for (auto at = std::sregex_iterator(compiled.ptx.begin(), compiled.ptx.end(), pattern);
       at != std::sregex_iterator(); ++at) {
    matches.push_back(*at);
    bool chained = score.count((*at)[2]);
    score[(*at)[1]] = chained ? score[(*at)[2]] : (*at)[2].str();
    if (chained)
      inner.insert((*at)[2]);
  }
  int masks = 0;
  for (const std::smatch &match : matches) {
    if (inner.count(match[1]) || masks++ % 5)
      continue;
    std::string without = compiled.ptx.substr(0, match.position()) + "mov.b32 " + match[1].str() +
                          ", " + score[match[1]] + ";" +
                          compiled.ptx.substr(match.position() + match.length());
    EXPECT_NE(fault(without), "") << match.str();
  }
  EXPECT_EQ(masks, 2 * 32); // a lane's scores of 64 keys, in two bodies
}

// The schedule alone would rarely show this one: values are given back before the
// product that reads them is done.
TEST_F(HopperMutation, EarlyReleaseIsFound) {
  std::string text = compiled.ptx, wait = "wgmma.wait_group.sync.aligned 0;";
  size_t at = text.find(wait, text.find("wgmma.wait_group.sync.aligned 1;"));
  ASSERT_NE(at, std::string::npos);
  text.erase(at, wait.size());
  at = text.find('\n', text.find("mbarrier.arrive.shared", at));
  text.insert(at + 1, wait + "\n");
  for (call.seed = 0; call.seed < 5; ++call.seed)
    EXPECT_NE(fault(text), "") << call.seed;
}

} // namespace
} // namespace attn::test
