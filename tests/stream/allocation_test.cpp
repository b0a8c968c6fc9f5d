// After its first blocks a stream asks for no memory: every allocation of the
// process is counted.
#include "runtime/stream/stats.h"
#include "runtime/stream/streamer.h"
#include "tests/stream/tiny_model.h"
#include <atomic>
#include <cstdlib>
#include <gtest/gtest.h>
#include <unistd.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ATTN_SANITIZED 1
#endif
#endif
#if defined(__GLIBC__) && !defined(ATTN_SANITIZED) && !defined(__SANITIZE_ADDRESS__)
#define ATTN_COUNTS 1

static std::atomic<uint64_t> allocations{0};

extern "C" {
void *__libc_malloc(size_t);
void *__libc_calloc(size_t, size_t);
void *__libc_realloc(void *, size_t);
void *__libc_memalign(size_t, size_t);

void *malloc(size_t bytes) { return ++allocations, __libc_malloc(bytes); }
void *calloc(size_t n, size_t bytes) { return ++allocations, __libc_calloc(n, bytes); }
void *realloc(void *p, size_t bytes) { return ++allocations, __libc_realloc(p, bytes); }
void *aligned_alloc(size_t to, size_t bytes) { return ++allocations, __libc_memalign(to, bytes); }
int posix_memalign(void **out, size_t to, size_t bytes) {
  ++allocations;
  *out = __libc_memalign(to, bytes);
  return *out ? 0 : 12;
}
}
#endif

using namespace attn;
using namespace attn::stream;

TEST(Allocations, AStreamMakesNonePerBlock) {
#ifndef ATTN_COUNTS
  GTEST_SKIP() << "allocations cannot be counted in this build";
#else
  const auto dir =
      std::filesystem::temp_directory_path() / ("attn_allocations_" + std::to_string(getpid()));
  test::TinyStream model;
  model.spec = "dense";
  test::write_tiny_stream(dir, model);
  for (bool compiled : {false, true})
    for (CacheType cache : {CacheType::f32, CacheType::int8}) {
      if (compiled && cache == CacheType::int8)
        continue; // the reference bundle has f32 kernels
      StreamerOptions options;
      options.model_path = (dir / "step.onnx").string();
      options.bundle_path = compiled ? ATTN_REFERENCE_BUNDLE : "";
      options.allow_reference = !compiled;
      options.cache_type = cache;
      options.threads = 2;
      auto stream = Streamer::create(options);
      ASSERT_TRUE(stream.ok()) << stream.status().to_string();
      StreamStats stats;
      stats.start();
      uint64_t before = 0;
      for (int i = 0; i < 120; ++i) {
        if (i == 20) // the ring has turned
          before = allocations;
        ASSERT_TRUE((*stream)->next_block().ok());
        stats.block((*stream)->times(), 1, 0);
      }
      EXPECT_EQ(allocations - before, 0u) << compiled << static_cast<int>(cache);
    }
  std::filesystem::remove_all(dir);
  EXPECT_GT(allocations, 100u) << "the counter works";
#endif
}
