// .npy files: what NumPy writes is read, everything else is refused with a
// reason, truncated and hostile headers included.
#include "runtime/base/npy.h"

#include <cstring>
#include <filesystem>
#include <gtest/gtest.h>

using namespace attn;

static std::string npy(const std::string &header, size_t data_bytes, char version = 1) {
  std::string file("\x93NUMPY", 6);
  file += version;
  file += '\0';
  file += static_cast<char>(header.size() & 0xff);
  file += static_cast<char>(header.size() >> 8);
  if (version > 1)
    file += std::string(2, '\0');
  file += header + std::string(data_bytes, '\0');
  return file;
}

static Result<NpyArray> parse(const std::string &file) {
  return parse_npy(std::as_bytes(std::span(file)));
}

static std::string header(const char *descr, const char *shape, const char *order = "False") {
  return std::string("{'descr': '") + descr + "', 'fortran_order': " + order +
         ", 'shape': " + shape + ", }  \n";
}

TEST(Npy, RoundTripOfEveryType) {
  std::string path = testing::TempDir() + "attn_round_trip.npy";
  for (ElementType type : {ElementType::f32, ElementType::f16, ElementType::bf16, ElementType::i8,
                           ElementType::i32, ElementType::u8, ElementType::i64})
    for (std::vector<int64_t> shape : {std::vector<int64_t>{2, 3, 5}, {7}, {}, {0, 4}}) {
      Result<NpyArray> array = make_npy(type, shape);
      ASSERT_TRUE(array.ok());
      auto *bytes = static_cast<unsigned char *>(array->data.data());
      for (size_t i = 0; i < array->bytes(); ++i)
        bytes[i] = static_cast<unsigned char>(i * 37);
      ASSERT_TRUE(write_npy(path, *array).ok());
      EXPECT_EQ((std::filesystem::file_size(path) - array->bytes()) % 64, 0u);
      Result<NpyArray> back = read_npy(path);
      ASSERT_TRUE(back.ok()) << back.status().to_string();
      EXPECT_EQ(back->type, type);
      EXPECT_EQ(back->shape, shape);
      if (array->bytes())
        EXPECT_EQ(std::memcmp(back->data.data(), bytes, array->bytes()), 0);
    }
  std::filesystem::remove(path);
}

TEST(Npy, ReadsVersionsTwoAndThree) {
  for (char version : {1, 2, 3}) {
    Result<NpyArray> array = parse(npy(header("<f4", "(2, 3)"), 24, version));
    ASSERT_TRUE(array.ok()) << array.status().to_string();
    EXPECT_EQ(array->shape, (std::vector<int64_t>{2, 3}));
  }
  EXPECT_FALSE(parse(npy(header("<f4", "(2, 3)"), 24, 4)).ok());
}

TEST(Npy, RefusesWithAReason) {
  struct {
    std::string file;
    const char *says;
  } const cases[] = {
      {"PK\x03\x04 a zip archive", "not a .npy file"},
      {npy(header("<f8", "(2,)"), 16), "'<f8'"},
      {npy(header(">f4", "(2,)"), 8), "'>f4'"},
      {npy(header("<f4", "(2, 2)", "True"), 16), "Fortran"},
      {npy(header("<f4", "(2,)"), 4), "needs 8 bytes of data, the file has 4"},
      {npy(header("<f4", "(2,)"), 12), "needs 8 bytes of data, the file has 12"},
      {npy(header("<f4", "(4294967296, 4294967296, 4)"), 8), "too many elements"},
      {npy(header("<f4", "(99999999999999999999,)"), 8), "malformed"},
      {npy(header("<f4", "(-1,)"), 8), "malformed"},
      {npy("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,)}", 4), "structured"},
      {npy("{'descr': '<f4', 'shape': (1,)}", 4), "malformed"},
      {npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1,), 'x': 1}", 4), "malformed"},
      {npy("", 0), "malformed"},
  };
  for (const auto &c : cases) {
    Result<NpyArray> array = parse(c.file);
    ASSERT_FALSE(array.ok()) << c.says;
    EXPECT_EQ(array.status().code(), StatusCode::invalid_input);
    EXPECT_NE(array.status().message().find(c.says), std::string::npos) << array.status().message();
  }
}

TEST(Npy, RefusesEveryTruncation) {
  std::string file = npy(header("<f4", "(2, 3)"), 24);
  ASSERT_TRUE(parse(file).ok());
  for (size_t length = 0; length < file.size(); ++length)
    EXPECT_FALSE(parse(file.substr(0, length)).ok()) << length;
}

TEST(Npy, SurvivesEveryByteFlip) {
  std::string file = npy(header("<f4", "(2, 3)"), 24);
  for (size_t at = 0; at < file.size() - 24; ++at)
    for (int bit = 0; bit < 8; ++bit) {
      std::string flipped = file;
      flipped[at] = static_cast<char>(flipped[at] ^ 1 << bit);
      Result<NpyArray> array = parse(flipped); // accepted or refused, never a crash
      if (array.ok())
        EXPECT_EQ(array->bytes(), 24u);
    }
}

TEST(Npy, MissingFileNamesItself) {
  Result<NpyArray> array = read_npy("/nonexistent/x.npy");
  ASSERT_FALSE(array.ok());
  EXPECT_EQ(array.status().code(), StatusCode::environment);
  EXPECT_EQ(array.status().place(), "/nonexistent/x.npy");
}

TEST(Npy, FullDiskLeavesNothingBehind) {
  NpyArray array = *make_npy(ElementType::f32, {4});
  Status status = write_npy("/dev/full", array);
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.code(), StatusCode::environment);
  EXPECT_NE(status.message().find("No space left"), std::string::npos) << status.message();
  EXPECT_FALSE(write_npy("/nonexistent/folder/x.npy", array).ok());
}
