// Pictures and the writers: bytes of the files, and failures while writing.
#include "runtime/base/npy.h"
#include "runtime/stream/frame_writer.h"
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <unistd.h>

using namespace attn;
using namespace attn::stream;
namespace fs = std::filesystem;

class Frames : public testing::Test {
protected:
  fs::path dir = fs::temp_directory_path() / ("attn_frames_" + std::to_string(getpid()));
  FrameFormat format{6, 4, 12, 4};
  void SetUp() override { fs::create_directories(dir); }
  void TearDown() override { fs::remove_all(dir); }
  Picture picture(int shade) {
    Picture p{6, 4, {}};
    for (int i = 0; i < 72; ++i)
      p.rgb.push_back(static_cast<uint8_t>(shade + i));
    return p;
  }
};

TEST(Picture, RoundsClipsAndKeepsChannelsApart) {
  float s[6] = {-1, 1, 0, 5, -7, NAN};
  Picture p;
  to_picture(s, 3, 1, 2, -1, 1, p);
  EXPECT_EQ(p.rgb, (std::vector<uint8_t>{0, 128, 0, 255, 255, 0}));
  to_picture(s, 1, 1, 2, -1, 1, p);
  EXPECT_EQ(p.rgb, (std::vector<uint8_t>{0, 0, 0, 255, 255, 255}));
}

TEST(Picture, ShowsMoreChannelsAsSumsOfThem) {
  float s[4] = {1, -1, 0.5f, 0.25f}; // one pixel of four channels
  const float rows[12] = {1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 2};
  Picture p;
  to_picture(s, 4, 1, 1, -1, 1, p, rows);
  EXPECT_EQ(p.rgb, (std::vector<uint8_t>{255, 0, 255}));
  s[0] = 0;
  to_picture(s, 4, 1, 1, -1, 1, p, rows);
  EXPECT_EQ(p.rgb[0], 128);
}

TEST(Picture, EnlargesToWholePixels) {
  Picture p{2, 1, {1, 2, 3, 4, 5, 6}}, q;
  enlarge(p, 2, q);
  EXPECT_EQ(q.width, 4);
  EXPECT_EQ(q.rgb, (std::vector<uint8_t>{1, 2, 3, 1, 2, 3, 4, 5, 6, 4, 5, 6,
                                         1, 2, 3, 1, 2, 3, 4, 5, 6, 4, 5, 6}));
}

TEST(Picture, PngHasTheKnownBytesOfOnePixel) {
  Picture p{1, 1, {255, 0, 0}};
  std::vector<uint8_t> png = encode_png(p);
  // IDAT: zlib header, one stored block of 4 bytes, Adler-32 of 00 ff 00 00.
  const uint8_t idat[] = {'I',  'D', 'A', 'T', 0x78, 0x01, 1,    4,    0,   0xfb,
                          0xff, 0,   255, 0,   0,    0x03, 0x01, 0x01, 0x00};
  auto at = std::search(png.begin(), png.end(), std::begin(idat), std::end(idat));
  EXPECT_NE(at, png.end());
  const uint8_t end[] = {0, 0, 0, 0, 'I', 'E', 'N', 'D', 0xae, 0x42, 0x60, 0x82};
  EXPECT_TRUE(std::equal(png.end() - 12, png.end(), std::begin(end)));
}

TEST_F(Frames, NpyHoldsAllFramesUnscaled) {
  std::string path = (dir / "x.npy").string();
  auto w = open_frame_writer(path, format);
  ASSERT_TRUE(w.ok()) << w.status().to_string();
  for (int i = 0; i < 3; ++i)
    ASSERT_TRUE((*w)->write(picture(i)).ok());
  ASSERT_TRUE((*w)->finish().ok());
  auto array = read_npy(path);
  ASSERT_TRUE(array.ok()) << array.status().to_string();
  EXPECT_EQ(array->shape, (std::vector<int64_t>{1, 3, 4, 6, 3}));
  EXPECT_EQ(static_cast<uint8_t *>(array->data.data())[72], 1);
}

TEST_F(Frames, FolderGetsOnePngPerFrame) {
  auto w = open_frame_writer((dir / "shots").string(), format);
  ASSERT_TRUE(w.ok()) << w.status().to_string();
  ASSERT_TRUE((*w)->write(picture(0)).ok());
  ASSERT_TRUE((*w)->write(picture(9)).ok());
  EXPECT_TRUE(fs::exists(dir / "shots/frame_000001.png"));
}

TEST_F(Frames, FullDiskIsAnEnvironmentError) {
  fs::create_symlink("/dev/full", dir / "x.npy");
  auto w = open_frame_writer((dir / "x.npy").string(), format);
  Status status = w.status();
  for (int i = 0; status.ok() && i < 200; ++i)
    status = (*w)->write(picture(i));
  if (status.ok())
    status = (*w)->finish();
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.exit_code(), 3);
  EXPECT_NE(status.to_string().find("No space left"), std::string::npos) << status.to_string();
}

TEST_F(Frames, FfmpegWritesAVideo) {
  if (std::system("ffmpeg -version >/dev/null 2>&1"))
    GTEST_SKIP() << "ffmpeg is not installed";
  for (const char *name : {"v.mp4", "v.gif"}) {
    std::string path = (dir / name).string();
    auto w = open_frame_writer(path, format);
    ASSERT_TRUE(w.ok()) << w.status().to_string();
    for (int i = 0; i < 6; ++i)
      ASSERT_TRUE((*w)->write(picture(10 * i)).ok());
    Status status = (*w)->finish();
    ASSERT_TRUE(status.ok()) << status.to_string();
    EXPECT_GT(fs::file_size(path), 100u);
  }
}

TEST_F(Frames, FfmpegFailuresSayWhy) {
  if (std::system("ffmpeg -version >/dev/null 2>&1"))
    GTEST_SKIP() << "ffmpeg is not installed";
  auto w = open_frame_writer((dir / "missing/v.mp4").string(), format);
  Status status = w.status();
  for (int i = 0; status.ok() && i < 100000; ++i)
    status = (*w)->write(picture(i));
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.exit_code(), 3);
  EXPECT_NE(status.message().find("No such file"), std::string::npos) << status.to_string();
}

TEST_F(Frames, MissingFfmpegIsNamed) {
  std::string path = std::getenv("PATH");
  setenv("PATH", "/nonexistent", 1);
  auto w = open_frame_writer((dir / "v.mp4").string(), format);
  setenv("PATH", path.c_str(), 1);
  ASSERT_FALSE(w.ok());
  EXPECT_EQ(w.status().exit_code(), 3);
  EXPECT_NE(w.status().message().find("install it"), std::string::npos);
}
