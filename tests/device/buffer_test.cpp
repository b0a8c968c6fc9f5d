// Memory and transfers, the same on every device.
#include "conformance.h"

#include <numeric>

using namespace attn;

class DeviceBuffer : public ConformanceTest {};

TEST_F(DeviceBuffer, NewMemoryIsZero) {
  for (size_t bytes : {1u, 17u, 4096u, 5u << 20}) {
    std::unique_ptr<Buffer> memory = buffer(bytes);
    EXPECT_EQ(memory->size(), bytes);
    for (uint8_t byte : read<uint8_t>(*memory, bytes))
      ASSERT_EQ(byte, 0);
  }
}

TEST_F(DeviceBuffer, UploadsAndDownloadsAnyRange) {
  std::unique_ptr<Buffer> memory = buffer(1000);
  std::vector<uint8_t> source(300);
  std::iota(source.begin(), source.end(), 1);
  ASSERT_TRUE(device_->upload(*memory, 501, source.data(), 300).ok());
  std::vector<uint8_t> back(302);
  ASSERT_TRUE(device_->download(*memory, 500, back.data(), 302).ok());
  EXPECT_EQ(back.front(), 0);
  EXPECT_EQ(back.back(), 0);
  EXPECT_TRUE(std::equal(source.begin(), source.end(), back.begin() + 1));
}

TEST_F(DeviceBuffer, LargeTransfersPassThroughStaging) {
  std::vector<uint32_t> source((9u << 20) / 4 + 3);
  std::iota(source.begin(), source.end(), 7u);
  std::unique_ptr<Buffer> memory = buffer(source.size() * 4), other = buffer(source.size() * 4);
  // Work in flight, so that the upload cannot go straight into the memory.
  ASSERT_TRUE(device_->fill(*other, 0, source.size() * 4, 1).ok());
  ASSERT_TRUE(device_->upload(*memory, 0, source.data(), source.size() * 4).ok());
  ASSERT_TRUE(device_->copy(*other, 0, *memory, 0, source.size() * 4).ok());
  EXPECT_EQ(read<uint32_t>(*other, source.size()), source);
}

TEST_F(DeviceBuffer, CommandsTakeEffectInOrder) {
  std::unique_ptr<Buffer> a = buffer(64), b = buffer(64);
  for (uint32_t round = 1; round <= 50; ++round) {
    uint32_t value = 1000 + round;
    ASSERT_TRUE(device_->fill(*a, 0, 64, round).ok());
    ASSERT_TRUE(device_->copy(*b, 0, *a, 0, 32).ok());
    ASSERT_TRUE(device_->upload(*a, 0, &value, 4).ok());
    ASSERT_TRUE(device_->copy(*b, 32, *a, 0, 8).ok());
    value = 0; // the source may be reused at once
  }
  std::vector<uint32_t> back = read<uint32_t>(*b, 16);
  for (int i = 0; i < 8; ++i)
    EXPECT_EQ(back[i], 50u);
  EXPECT_EQ(back[8], 1050u);
  EXPECT_EQ(back[9], 50u);
  EXPECT_EQ(back[10], 0u);
}

TEST_F(DeviceBuffer, RangesOutsideTheBufferAreRefused) {
  std::unique_ptr<Buffer> memory = buffer(64), other = buffer(64);
  char bytes[64];
  for (auto [offset, size] : {std::pair<size_t, size_t>{65, 0}, {0, 65}, {60, 8}, {SIZE_MAX, 2}}) {
    EXPECT_EQ(device_->upload(*memory, offset, bytes, size).code(), StatusCode::usage);
    EXPECT_EQ(device_->download(*memory, offset, bytes, size).code(), StatusCode::usage);
    EXPECT_EQ(device_->fill(*memory, offset, size, 0).code(), StatusCode::usage);
    EXPECT_EQ(device_->copy(*memory, offset, *other, 0, size).code(), StatusCode::usage);
    EXPECT_EQ(device_->copy(*other, 0, *memory, offset, size).code(), StatusCode::usage);
  }
  EXPECT_EQ(device_->fill(*memory, 2, 4, 0).code(), StatusCode::usage);
}

TEST_F(DeviceBuffer, AbsurdSizesAreRefused) {
  for (size_t bytes : {size_t(0), SIZE_MAX, SIZE_MAX / 2, size_t(1) << 60}) {
    Result<std::unique_ptr<Buffer>> memory = device_->allocate(bytes);
    ASSERT_FALSE(memory.ok()) << bytes;
    if (bytes)
      EXPECT_EQ(memory.status().code(), StatusCode::environment);
  }
  EXPECT_TRUE(device_->synchronise().ok()) << "the device still works";
}

TEST_F(DeviceBuffer, CountsWhatItHolds) {
  uint64_t before = device_->stats().bytes_allocated;
  {
    std::unique_ptr<Buffer> memory = buffer(1000);
    EXPECT_EQ(device_->stats().bytes_allocated, before + 1000);
  }
  EXPECT_EQ(device_->stats().bytes_allocated, before);
  EXPECT_GE(device_->stats().peak_bytes_allocated, before + 1000);
}

TEST_F(DeviceBuffer, HostMemoryIsUsedInPlaceOrRefused) {
  std::vector<uint32_t> host(16, 5);
  Result<std::unique_ptr<Buffer>> wrapped = device_->wrap(host.data(), 64);
  if (!wrapped.ok()) {
    EXPECT_EQ(wrapped.status().code(), StatusCode::usage);
    return;
  }
  EXPECT_EQ((*wrapped)->host(), host.data());
  ASSERT_TRUE(device_->fill(**wrapped, 4, 4, 9).ok());
  ASSERT_TRUE(device_->synchronise().ok());
  EXPECT_EQ(host[1], 9u);
  EXPECT_EQ(host[2], 5u);
}

TEST_F(DeviceBuffer, DescribesItself) {
  const DeviceInfo &info = device_->info();
  EXPECT_FALSE(info.name.empty());
  EXPECT_GE(info.units, 1u);
  EXPECT_GT(info.max_buffer_bytes, 1u << 20);
  uint32_t alignment = info.buffer_offset_alignment;
  EXPECT_TRUE(alignment > 0 && (alignment & (alignment - 1)) == 0);
  Result<std::unique_ptr<Device>> again = open_device(info.id);
  ASSERT_TRUE(again.ok()) << again.status().to_string();
  EXPECT_EQ((*again)->info().name, info.name);
}
