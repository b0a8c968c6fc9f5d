// Streams through the C++ header: asynchronous blocks, pause and step, several
// streams on one device. Built with and without exceptions and RTTI.
#include <attn/runtime.hpp>

#include "tests/stream/tiny_model.h"
#include <atomic>
#include <cmath>
#include <gtest/gtest.h>
#include <thread>
#include <unistd.h>
#include <vector>

extern "C" int stream_from_c(const char *model_path);

using attn::c::Status;

namespace {

struct Tiny : testing::Test {
  std::filesystem::path dir =
      std::filesystem::temp_directory_path() / ("attn_stream_api_" + std::to_string(getpid()));
  attn::c::Device device;
  attn::c::Model model;
  attn_stream_options_t options = ATTN_INIT(attn_stream_options_t);

  void SetUp() override {
    attn::test::write_tiny_stream(dir);
    ASSERT_TRUE(device.open("cpu"));
    Status status = model.open((dir / "step.onnx").c_str());
    ASSERT_TRUE(status) << status.text();
    options.reference_attention = 1;
  }
  void TearDown() override { std::filesystem::remove_all(dir); }
  attn::c::Stream open(uint64_t seed) {
    attn::c::Stream stream;
    options.seed = seed;
    Status status = stream.create(model, device, &options);
    EXPECT_TRUE(status) << status.text();
    return stream;
  }
  static std::vector<float> copy(const attn_frames_t &f) {
    return {f.data, f.data + f.frames * f.channels * f.height * f.width};
  }
  static std::vector<std::vector<float>> blocks(attn::c::Stream &stream, int count) {
    std::vector<std::vector<float>> all;
    attn_frames_t frames;
    for (int i = 0; i < count; ++i) {
      Status status = stream.next(frames);
      EXPECT_TRUE(status) << status.text();
      all.push_back(copy(frames));
    }
    return all;
  }
};

// Collects what comes, from the stream's thread.
struct Collector {
  std::vector<std::vector<float>> all;
  std::atomic<int> count{0};
  attn_code_t last = ATTN_OK;
  void operator()(const attn_status_t *status, const attn_frames_t *frames) {
    last = attn_status_code(status);
    if (frames) {
      all.emplace_back(frames->data, frames->data + 12);
      ++count;
    }
  }
};

} // namespace

TEST_F(Tiny, FromPlainC) {
  EXPECT_EQ(stream_from_c((dir / "step.onnx").c_str()), 0) << "line of stream_c_test.c";
}

TEST_F(Tiny, AsynchronousBlocksAreTheSameBlocks) {
  attn::c::Stream here = open(3), there = open(3);
  Collector seen;
  ASSERT_TRUE(there.next_async(6, seen));
  ASSERT_TRUE(there.wait());
  EXPECT_EQ(seen.all, blocks(here, 6));
  // A prompt pushed while blocks are made takes effect at the block that it names.
  ASSERT_TRUE(there.push_prompt("south", ATTN_KEEP, 9));
  ASSERT_TRUE(there.next_async(6, seen));
  ASSERT_TRUE(there.wait());
  ASSERT_TRUE(here.push_prompt("south", ATTN_KEEP, 9));
  std::vector<std::vector<float>> rest = blocks(here, 6);
  EXPECT_TRUE(std::equal(rest.begin(), rest.end(), seen.all.begin() + 6));
}

TEST_F(Tiny, ABusyStreamRefusesASecondOwner) {
  attn::c::Stream stream = open(1);
  ASSERT_TRUE(stream.pause());
  Collector seen;
  ASSERT_TRUE(stream.next_async(2, seen));
  attn_frames_t frames;
  EXPECT_EQ(stream.next(frames).code(), ATTN_USAGE);
  EXPECT_EQ(stream.next_async(1, seen).code(), ATTN_USAGE);
  attn::c::Blob blob;
  EXPECT_EQ(stream.snapshot(blob).code(), ATTN_USAGE);
  EXPECT_EQ(stream.set_seed(4).code(), ATTN_USAGE);
  EXPECT_EQ(seen.count, 0);
  ASSERT_TRUE(stream.resume());
  ASSERT_TRUE(stream.wait());
  EXPECT_EQ(seen.count, 2);
}

TEST_F(Tiny, StepsMakeOneBlockEach) {
  attn::c::Stream stream = open(1), plain = open(1);
  ASSERT_TRUE(stream.pause());
  Collector seen;
  ASSERT_TRUE(stream.next_async(0, seen));
  for (int i = 1; i <= 3; ++i) {
    ASSERT_TRUE(stream.step());
    while (seen.count < i)
      std::this_thread::yield();
    std::this_thread::sleep_for(std::chrono::milliseconds(3));
    EXPECT_EQ(seen.count, i);
  }
  ASSERT_TRUE(stream.cancel());
  EXPECT_EQ(stream.wait().code(), ATTN_CANCELLED);
  EXPECT_EQ(seen.last, ATTN_CANCELLED);
  ASSERT_TRUE(stream.resume());
  // A cancelled block was not begun.
  seen.all.push_back(blocks(stream, 1)[0]);
  EXPECT_EQ(seen.all, blocks(plain, 4));
}

TEST_F(Tiny, StructsOfOtherVersions) {
  // A program that was built before the executor came.
  attn_device_options_t old = ATTN_INIT(attn_device_options_t);
  old.struct_size = offsetof(attn_device_options_t, executor);
  old.executor = reinterpret_cast<const attn_executor_t *>(8); // what lies behind its struct
  EXPECT_TRUE(device.open("cpu", &old));
  old.struct_size = 4;
  EXPECT_EQ(device.open("cpu", &old).code(), ATTN_USAGE);
  // One that was built after this library: as long as it does not use what is new.
  struct Later {
    attn_device_options_t known = ATTN_INIT(attn_device_options_t);
    uint64_t more = 0;
  } later;
  later.known.struct_size = sizeof later;
  EXPECT_TRUE(device.open("cpu", &later.known));
  later.more = 1;
  EXPECT_EQ(device.open("cpu", &later.known).code(), ATTN_USAGE);
}

TEST_F(Tiny, ABudgetCutsABlockBetweenPasses) {
  attn::c::Stream stream = open(5), plain = open(5);
  std::vector<std::vector<float>> expected = blocks(plain, 6);
  attn_frames_t frames;
  bool done = false;
  for (const std::vector<float> &block : expected) {
    int calls = 1;
    for (;; ++calls) {
      Status status = stream.run_for(0, frames, done);
      ASSERT_TRUE(status) << status.text();
      if (done)
        break;
      ASSERT_LT(calls, 100);
      // Nothing else may use the stream in the middle of a block.
      EXPECT_EQ(stream.next(frames).code(), ATTN_USAGE);
      EXPECT_EQ(stream.set_seed(9).code(), ATTN_USAGE);
    }
    EXPECT_GT(calls, 1); // several passes, one a call
    EXPECT_EQ(copy(frames), block);
  }
}

TEST_F(Tiny, ABudgetCutsARecacheToo) {
  attn::c::Stream stream = open(5), plain = open(5);
  blocks(stream, 4), blocks(plain, 4);
  ASSERT_TRUE(stream.push_prompt("south"));
  ASSERT_TRUE(plain.push_prompt("south"));
  attn_frames_t frames;
  bool done = false;
  int calls = 0, plain_calls = 0;
  for (; !done; ++calls)
    ASSERT_TRUE(stream.run_for(0, frames, done));
  EXPECT_GT(frames.recache_ms, 0);
  EXPECT_EQ(copy(frames), blocks(plain, 1)[0]);
  for (done = false; !done; ++plain_calls) // without a switch
    ASSERT_TRUE(stream.run_for(0, frames, done));
  EXPECT_GT(calls, plain_calls);
}

TEST_F(Tiny, ABudgetCanBeLongWaitedForPausedAndCancelled) {
  attn::c::Stream stream = open(5), plain = open(5);
  std::vector<std::vector<float>> expected = blocks(plain, 4);
  attn_frames_t frames;
  bool done = false;
  ASSERT_TRUE(stream.run_for(HUGE_VAL, frames, done)); // all the time in the world
  ASSERT_TRUE(done);
  EXPECT_EQ(copy(frames), expected[0]);
  EXPECT_EQ(stream.run_for(-1, frames, done).code(), ATTN_USAGE);
  EXPECT_EQ(stream.run_for(NAN, frames, done).code(), ATTN_USAGE);

  ASSERT_TRUE(stream.run_for(0, frames, done));
  ASSERT_FALSE(done);
  ASSERT_TRUE(stream.wait()); // makes block 1, whose frames nobody took
  ASSERT_TRUE(stream.pause());
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(stream.run_for(1, frames, done));
    EXPECT_FALSE(done);
  }
  ASSERT_TRUE(stream.resume());
  ASSERT_TRUE(stream.run_for(1e6, frames, done));
  ASSERT_TRUE(done);
  EXPECT_EQ(frames.block, 2u);
  EXPECT_EQ(copy(frames), expected[2]);

  ASSERT_TRUE(stream.run_for(0, frames, done));
  ASSERT_FALSE(done);
  ASSERT_TRUE(stream.cancel());
  EXPECT_EQ(stream.run_for(1e6, frames, done).code(), ATTN_CANCELLED);
  ASSERT_TRUE(stream.next(frames)); // was not begun, and is made now
  EXPECT_EQ(copy(frames), expected[3]);
  ASSERT_TRUE(stream.run_for(0, frames, done)); // and a held stream can be released
}

TEST_F(Tiny, CancelledBlocksLeaveNoTrace) {
  // Cancelled at any time, before and after the ring turns, a prompt change among them.
  attn::c::Stream plain = open(5), stream = open(5);
  std::vector<std::vector<float>> want = blocks(plain, 6), got;
  ASSERT_TRUE(plain.push_prompt("west"));
  for (const std::vector<float> &block : blocks(plain, 6))
    want.push_back(block);
  int cancelled = 0;
  bool pushed = false;
  for (int attempt = 0; got.size() < want.size(); ++attempt) {
    if (got.size() == 6 && !pushed && attempt % 3 == 0) {
      ASSERT_TRUE(stream.push_prompt("west"));
      pushed = true;
    } else if (got.size() == 6 && !pushed) {
      ASSERT_TRUE(stream.cancel()); // no seventh block under the old prompt
    }
    std::thread other([&] {
      std::this_thread::sleep_for(std::chrono::microseconds(13 * (attempt % 20)));
      if (attempt % 2) // one that comes too late meets the next attempt
        (void)stream.cancel();
    });
    attn_frames_t frames;
    Status status = stream.next(frames);
    if (status.ok())
      got.push_back(copy(frames));
    else
      ASSERT_EQ(status.code(), ATTN_CANCELLED) << status.text();
    cancelled += !status.ok();
    other.join();
  }
  EXPECT_EQ(got, want);
  EXPECT_GE(cancelled, 6);
}

TEST_F(Tiny, ReleasingABusyStreamEndsIt) {
  attn::c::Stream stream = open(1);
  Collector seen;
  ASSERT_TRUE(stream.next_async(0, seen));
  while (seen.count < 2)
    std::this_thread::yield();
  stream = attn::c::Stream();
  const int made = seen.count;
  std::this_thread::sleep_for(std::chrono::milliseconds(3));
  EXPECT_EQ(seen.count, made);
}

TEST_F(Tiny, StreamsOfOneDeviceAreFairAndIsolated) {
  constexpr int kStreams = 4, kBlocks = 60;
  std::vector<attn::c::Stream> streams, alone;
  std::vector<Collector> seen(kStreams);
  for (int i = 0; i < kStreams; ++i) {
    streams.push_back(open(static_cast<uint64_t>(i)));
    alone.push_back(open(static_cast<uint64_t>(i)));
    ASSERT_TRUE(streams.back().pause());
  }
  for (int i = 0; i < kStreams; ++i)
    ASSERT_TRUE(streams[i].next_async(i == 2 ? 0 : kBlocks, seen[i])); // 2 until it is cancelled
  for (attn::c::Stream &stream : streams)
    ASSERT_TRUE(stream.resume());
  ASSERT_TRUE(streams[0].push_prompt("upwards").code() == ATTN_INVALID_INPUT);
  ASSERT_TRUE(streams[2].cancel());
  for (int i = 0; i < kStreams; ++i) {
    Status status = streams[i].wait();
    EXPECT_EQ(status.code(), i == 2 ? ATTN_CANCELLED : ATTN_OK) << status.text();
  }
  for (int i = 0; i < kStreams; ++i)
    EXPECT_EQ(seen[i].all, blocks(alone[i], static_cast<int>(seen[i].all.size()))) << i;
  EXPECT_EQ(seen[1].count, kBlocks);
  EXPECT_EQ(seen[3].count, kBlocks);
}

TEST_F(Tiny, SnapshotsAreExactAndChecked) {
  attn::c::Stream stream = open(9), other = open(1);
  ASSERT_TRUE(stream.push_prompt("east", ATTN_RECACHE_FULL, 12));
  blocks(stream, 10);
  attn::c::Blob blob;
  ASSERT_TRUE(stream.snapshot(blob));
  std::vector<std::vector<float>> want = blocks(stream, 8); // over the prompt change
  Status status = other.restore(blob.data(), blob.size());
  ASSERT_TRUE(status) << status.text();
  EXPECT_EQ(blocks(other, 8), want);

  // Anything else is refused, and changes nothing.
  const auto *bytes = static_cast<const char *>(blob.data());
  attn::c::Stream untouched = open(1), attacked = open(1);
  blocks(untouched, 3), blocks(attacked, 3);
  for (size_t i = 0; i < blob.size(); i += 1 + i / 7) {
    std::string bad(bytes, blob.size());
    bad[i] = static_cast<char>(bad[i] ^ 0x41);
    EXPECT_EQ(attacked.restore(bad.data(), bad.size()).code(), ATTN_INVALID_INPUT) << "byte " << i;
    EXPECT_EQ(attacked.restore(bytes, i).code(), ATTN_INVALID_INPUT) << "cut at " << i;
  }
  EXPECT_EQ(blocks(attacked, 3), blocks(untouched, 3));
  options.cache = ATTN_CACHE_INT8;
  attn::c::Stream narrow = open(1);
  status = narrow.restore(blob.data(), blob.size());
  EXPECT_EQ(status.code(), ATTN_INVALID_INPUT);
  EXPECT_NE(status.message().find("int8"), std::string::npos) << status.text();
}
