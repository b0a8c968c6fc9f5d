// The wire reader on well-formed messages and on every way to be malformed.
#include "runtime/onnx/wire_reader.h"
#include "tests/onnx/onnx_builder.h"
#include <gtest/gtest.h>

using namespace attn;
using namespace attn::onnx;
using attn::test::WireWriter;

static Bytes view(const std::string &s) {
  return {reinterpret_cast<const uint8_t *>(s.data()), s.size()};
}

TEST(WireReader, ReadsEveryWireType) {
  std::string text = WireWriter().integer(1, -5).bytes(2, "abc").number(3, 1.5f).out;
  WireReader r(view(text));
  ASSERT_TRUE(r.next());
  EXPECT_EQ(r.field(), 1u);
  EXPECT_EQ(r.as_int64(), -5);
  ASSERT_TRUE(r.next());
  EXPECT_EQ(r.as_text(), "abc");
  ASSERT_TRUE(r.next());
  EXPECT_EQ(r.as_float(), 1.5f);
  EXPECT_FALSE(r.next());
  EXPECT_TRUE(r.ok());
}

TEST(WireReader, ReadsPackedAndSingleNumbers) {
  WireWriter packed;
  packed.varint(3);
  packed.varint(300);
  std::string text = WireWriter().bytes(7, packed.out).integer(7, 9).out;
  std::vector<int64_t> got;
  WireReader r(view(text));
  while (r.next())
    r.each_int64([&](int64_t v) { got.push_back(v); });
  EXPECT_EQ(got, (std::vector<int64_t>{3, 300, 9}));
}

TEST(WireReader, RejectsAWrongWireType) {
  std::string text = WireWriter().integer(1, 7).out;
  WireReader r(view(text));
  ASSERT_TRUE(r.next());
  EXPECT_TRUE(r.as_bytes().empty());
  EXPECT_FALSE(r.ok());
  EXPECT_EQ(r.status().code(), StatusCode::invalid_input);
}

TEST(WireReader, RejectsTruncation) {
  std::string text = WireWriter().bytes(1, "hello").number(2, 1).integer(3, 1 << 20).out;
  for (size_t n = 1; n < text.size(); ++n) {
    std::string cut = text.substr(0, n);
    WireReader r(view(cut));
    size_t fields = 0;
    while (r.next())
      ++fields;
    // Cuts between fields are whole messages; all others must fail.
    bool border = n == 7 || n == 12;
    EXPECT_EQ(r.ok(), border) << n;
    EXPECT_LT(fields, 3u);
  }
}

TEST(WireReader, RejectsHugeLengthsAndLongNumbers) {
  std::string huge = "\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f";
  WireReader a(view(huge));
  EXPECT_FALSE(a.next());
  EXPECT_FALSE(a.ok());
  std::string longer = "\x08" + std::string(11, '\xff');
  WireReader b(view(longer));
  EXPECT_FALSE(b.next());
  EXPECT_FALSE(b.ok());
  std::string zero_field("\x00\x01", 2), group = "\x0b";
  EXPECT_FALSE(WireReader(view(zero_field)).next());
  WireReader c(view(group));
  EXPECT_FALSE(c.next());
  EXPECT_FALSE(c.ok());
}
