// Damaged and hostile bundles: refused with a reason, never a crash. Under the
// sanitizers a read outside the file ends the test.
#include "bundle_samples.h"
#include "runtime/bundle/bundle_format.h"
#include "runtime/bundle/bundle_reader.h"
#include "runtime/bundle/checksum.h"

#include <cstring>
#include <gtest/gtest.h>
#include <memory>

using namespace attn;

// In a block of its own, so that reading past its end is seen.
static Result<Bundle> open(const std::vector<std::byte> &file, size_t size) {
  std::unique_ptr<std::byte[]> exact(new std::byte[size]);
  std::memcpy(exact.get(), file.data(), size);
  Result<Bundle> bundle = Bundle::from_memory({exact.get(), size}, "memory");
  if (bundle.ok()) // touch what it promises
    for (const Bundle::Image &image : bundle->images())
      checksum64(image.bytes);
  if (bundle.ok())
    return Status::internal("accepted");
  return bundle.status();
}
static Status refusal(const std::vector<std::byte> &file) {
  return open(file, file.size()).status();
}

static void seal(std::vector<std::byte> &file) {
  uint64_t checksum = checksum64(std::span(file).subspan(kChecksumBegin));
  std::memcpy(file.data() + 24, &checksum, 8);
}

template <typename T> static T get(const std::vector<std::byte> &file, size_t at) {
  T value;
  std::memcpy(&value, file.data() + at, sizeof value);
  return value;
}
template <typename T> static void put(std::vector<std::byte> &file, size_t at, T value) {
  std::memcpy(file.data() + at, &value, sizeof value);
}
static size_t section_at(const std::vector<std::byte> &file, SectionKind kind) {
  for (uint32_t i = 0; i < get<uint32_t>(file, 32); ++i)
    if (get<uint32_t>(file, 40 + 24 * i) == kind)
      return 40 + 24 * i;
  return 0;
}

TEST(BundleHostile, EveryTruncationIsRefused) {
  std::vector<std::byte> file = *sample_writer().finish();
  for (size_t size = 0; size < file.size(); ++size) {
    Status status = open(file, size).status();
    ASSERT_EQ(status.code(), StatusCode::invalid_input) << size;
    if (size >= kBundleHeaderBytes)
      ASSERT_NE(status.message().find("truncated"), std::string::npos) << status.message();
  }
}

TEST(BundleHostile, ExtraBytesAreRefused) {
  std::vector<std::byte> file = *sample_writer().finish();
  file.push_back(std::byte(0));
  EXPECT_NE(refusal(file).message().find("oversized"), std::string::npos);
}

TEST(BundleHostile, EveryByteFlipIsRefused) {
  std::vector<std::byte> file = *sample_writer().finish();
  for (size_t at = 0; at < file.size(); ++at) {
    std::vector<std::byte> flipped = file;
    flipped[at] ^= std::byte(1 << at % 8);
    ASSERT_EQ(refusal(flipped).code(), StatusCode::invalid_input) << at;
  }
}

TEST(BundleHostile, SaysWhatIsWrongWithTheHeader) {
  std::vector<std::byte> file = *sample_writer().finish();
  auto changed = [&](size_t at, uint32_t value) {
    std::vector<std::byte> other = file;
    put(other, at, value);
    seal(other);
    return refusal(other).message();
  };
  EXPECT_NE(changed(0, 0x46454c7f).find("wrong magic"), std::string::npos);
  EXPECT_NE(changed(8, kBundleVersion + 1).find("use a newer runtime"), std::string::npos);
  EXPECT_NE(changed(8, 0).find("compile the bundle again"), std::string::npos);
  EXPECT_NE(changed(12, 99).find("ABI version 99"), std::string::npos);
  EXPECT_NE(changed(32, 65).find("section count"), std::string::npos);
  std::vector<std::byte> damaged = file;
  damaged.back() ^= std::byte(1);
  EXPECT_NE(refusal(damaged).message().find("checksum mismatch"), std::string::npos);
}

// With the checksum put right, every 32-bit word of the tables and records
// takes hostile values. The file may still be acceptable; it must not crash.
TEST(BundleHostile, HostileWordsWithARightChecksumNeverCrash) {
  std::vector<std::byte> file = *sample_writer().finish();
  size_t end = get<uint64_t>(file, section_at(file, kSectionBlobs) + 8) + kBlobRecordBytes;
  size_t refused = 0, tried = 0;
  for (size_t at = kChecksumBegin; at + 4 <= end; at += 4)
    for (uint32_t value :
         {0u, 1u, 2u, 7u, 64u, 0x7fffffffu, 0x80000000u, 0xfffffff0u, 0xffffffffu}) {
      std::vector<std::byte> other = file;
      put(other, at, value);
      seal(other);
      ++tried;
      refused += refusal(other).code() == StatusCode::invalid_input;
    }
  EXPECT_GT(refused, tried / 4) << "hardly any hostile word is noticed";
}

TEST(BundleHostile, OffsetsThatWrapAroundAreRefused) {
  for (SectionKind kind : {kSectionStrings, kSectionSpecs, kSectionImages, kSectionKernels,
                           kSectionBindings, kSectionParams, kSectionBlobs}) {
    std::vector<std::byte> file = *sample_writer().finish();
    put(file, section_at(file, kind) + 8, uint64_t(0) - 8);
    seal(file);
    EXPECT_EQ(refusal(file).code(), StatusCode::invalid_input) << kind;
  }
  std::vector<std::byte> file = *sample_writer().finish();
  size_t images = get<uint64_t>(file, section_at(file, kSectionImages) + 8);
  put(file, images, uint64_t(64));
  put(file, images + 8, uint64_t(0) - 64);
  seal(file);
  EXPECT_NE(refusal(file).message().find("leave the file"), std::string::npos);
}

TEST(BundleHostile, RecordCountsMustMatchTheSection) {
  std::vector<std::byte> file = *sample_writer().finish();
  size_t kernels = section_at(file, kSectionKernels);
  put(file, kernels + 4, 0x10000000u); // times 128 wraps in 32 bits
  seal(file);
  EXPECT_NE(refusal(file).message().find("records"), std::string::npos);
}

TEST(BundleHostile, SectionsMustNotRepeat) {
  std::vector<std::byte> file = *sample_writer().finish();
  put(file, section_at(file, kSectionParams), uint32_t(kSectionBindings));
  seal(file);
  EXPECT_NE(refusal(file).message().find("twice"), std::string::npos);
}

TEST(BundleHostile, UnknownSectionsAreSkipped) {
  std::vector<std::byte> file = *sample_writer().finish();
  put(file, section_at(file, kSectionBlobs), 1000u);
  seal(file);
  Result<Bundle> bundle = Bundle::from_memory(file, "memory");
  ASSERT_TRUE(bundle.ok()) << bundle.status().to_string();
  EXPECT_EQ(bundle->kernels().size(), 3u);
  EXPECT_TRUE(bundle->blobs().empty());
}
