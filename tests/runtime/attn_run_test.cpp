// attn-run as its users meet it: files in, files and exit codes out.
#include "runtime/base/npy.h"

#include <array>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <gtest/gtest.h>
#include <sys/wait.h>

using namespace attn;

struct Outcome {
  int code = -1;
  std::string text; // stdout and stderr
};

static Outcome attn_run(const std::string &arguments) {
  Outcome outcome;
  FILE *pipe = popen((std::string(ATTN_RUN) + " " + arguments + " 2>&1").c_str(), "r");
  if (!pipe)
    return outcome;
  std::array<char, 4096> piece;
  while (size_t n = fread(piece.data(), 1, piece.size(), pipe))
    outcome.text.append(piece.data(), n);
  int status = pclose(pipe);
  outcome.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return outcome;
}

class AttnRun : public testing::Test {
protected:
  void SetUp() override {
    folder_ = testing::TempDir() + "attn_run_test_" + std::to_string(getpid());
    std::filesystem::create_directories(folder_);
    write("q", {1, 2, 5, 16});
    write("k", {1, 1, 5, 16});
    write("v", {1, 1, 5, 16});
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::string path(const std::string &name) const { return folder_ + "/" + name; }
  void write(const char *name, std::vector<int64_t> shape, ElementType type = ElementType::f32) {
    NpyArray array = *make_npy(type, shape);
    for (int64_t i = 0; i < array.count() && type == ElementType::f32; ++i)
      static_cast<float *>(array.data.data())[i] =
          static_cast<float>((i * 31 + name[0]) % 17) / 8 - 1;
    ASSERT_TRUE(write_npy(path(std::string(name) + ".npy"), array).ok());
  }
  std::string arrays() const {
    return " --q " + path("q.npy") + " --k " + path("k.npy") + " --v " + path("v.npy") + " --out " +
           path("o.npy") + " ";
  }
  std::string bundle_ = ATTN_REFERENCE_BUNDLE, folder_;
};

TEST_F(AttnRun, RunsAKernelOnArrays) {
  Outcome outcome =
      attn_run("run " + bundle_ + " --kernel causal --lse " + path("l.npy") + arrays());
  ASSERT_EQ(outcome.code, 0) << outcome.text;
  Result<NpyArray> o = read_npy(path("o.npy")), lse = read_npy(path("l.npy"));
  ASSERT_TRUE(o.ok() && lse.ok());
  EXPECT_EQ(o->shape, (std::vector<int64_t>{1, 2, 5, 16}));
  EXPECT_EQ(lse->shape, (std::vector<int64_t>{1, 2, 5}));
  NpyArray v = *read_npy(path("v.npy"));
  for (int h = 0; h < 2; ++h) // the first row of each head sees the first key
    for (int d = 0; d < 16; ++d)
      EXPECT_EQ(static_cast<float *>(o->data.data())[h * 80 + d],
                static_cast<float *>(v.data.data())[d]);
}

TEST_F(AttnRun, SegmentsAndParametersReachTheKernel) {
  std::string run = "run " + bundle_ + " --kernel window --set size=1 ";
  Outcome outcome = attn_run(run + "--segments 3:2:0,0:3:2 --q-position 2" + arrays());
  ASSERT_EQ(outcome.code, 0) << outcome.text;
  NpyArray o = *read_npy(path("o.npy")), v = *read_npy(path("v.npy"));
  // Position 2 is slot 0; rows behind the last key see nothing.
  EXPECT_EQ(static_cast<float *>(o.data.data())[0], static_cast<float *>(v.data.data())[0]);
  EXPECT_EQ(static_cast<float *>(o.data.data())[3 * 16], 0.0f);
  EXPECT_EQ(attn_run(run + "--segments 3:2" + arrays()).code, 2);
  EXPECT_EQ(attn_run(run + "--segments 3:9:0" + arrays()).code, 2);
  EXPECT_EQ(attn_run("run " + bundle_ + " --kernel window" + arrays()).code, 2) << "no size";
  EXPECT_EQ(attn_run("run " + bundle_ + " --kernel window --set size=0" + arrays()).code, 2);
  EXPECT_EQ(attn_run("run " + bundle_ + " --kernel window --set size=x" + arrays()).code, 2);
}

TEST_F(AttnRun, BadInputIsNamed) {
  Outcome outcome = attn_run("run " + bundle_ + " --kernel none" + arrays());
  EXPECT_EQ(outcome.code, 2);
  EXPECT_NE(outcome.text.find("dense, causal, window"), std::string::npos) << outcome.text;

  write("k", {1, 1, 5, 8});
  outcome = attn_run("run " + bundle_ + " --kernel causal" + arrays());
  EXPECT_EQ(outcome.code, 1);
  EXPECT_NE(outcome.text.find("k has head dim 8"), std::string::npos) << outcome.text;

  write("k", {5, 16});
  EXPECT_EQ(attn_run("run " + bundle_ + " --kernel causal" + arrays()).code, 1);
  write("k", {1, 1, 5, 16}, ElementType::i32);
  outcome = attn_run("run " + bundle_ + " --kernel causal" + arrays());
  EXPECT_EQ(outcome.code, 1);
  EXPECT_NE(outcome.text.find("k.npy"), std::string::npos) << outcome.text;

  write("k", {1, 1, 5, 16});
  EXPECT_EQ(attn_run("run /nonexistent.attnb" + arrays()).code, 3);
  EXPECT_EQ(attn_run("run " + path("q.npy") + arrays()).code, 1) << "no bundle";
  EXPECT_EQ(attn_run("run " + bundle_ + " --kernel causal --device cuda:9" + arrays()).code, 3);
  EXPECT_EQ(attn_run("run " + bundle_ + " --kernel causal --device tpu" + arrays()).code, 2);
  EXPECT_EQ(attn_run("run " + bundle_ + " --kernel causal --lse /dev/full" + arrays()).code, 3);
  EXPECT_EQ(attn_run("run").code, 2);
  EXPECT_EQ(attn_run("").code, 2);
  EXPECT_EQ(attn_run("--help").code, 0);
}

TEST_F(AttnRun, VerifyPassesRightKernelsAndFindsTheWrongOne) {
  Outcome outcome = attn_run("verify " + bundle_ + " --variant f32");
  EXPECT_EQ(outcome.code, 0) << outcome.text;
  outcome = attn_run("verify " + bundle_ + " --kernel causal --variant wrong");
  EXPECT_EQ(outcome.code, 1);
  EXPECT_NE(outcome.text.find("batch 0, head 0, q 0 (position 0), k slot 1"), std::string::npos)
      << outcome.text;
  outcome = attn_run("verify " + bundle_ + " --json");
  EXPECT_EQ(outcome.code, 1);
  EXPECT_NE(outcome.text.find("\"failures\": 1"), std::string::npos) << outcome.text;
  EXPECT_EQ(attn_run("verify " + bundle_ + " --kernel none").code, 2);
}

TEST_F(AttnRun, BenchInspectAndDevicesPrintJson) {
  for (const std::string &command :
       {"bench " + bundle_ + " --kernel causal --q-len 8 --kv-len 8 --repeats 1",
        "inspect " + bundle_ + " --json", std::string("devices --json")}) {
    Outcome outcome = attn_run(command);
    EXPECT_EQ(outcome.code, 0) << outcome.text;
    EXPECT_TRUE(outcome.text.starts_with("{") || outcome.text.starts_with("[")) << outcome.text;
  }
  EXPECT_EQ(attn_run("bench " + bundle_ + " --kernel causal --q-len 0").code, 2);
}
