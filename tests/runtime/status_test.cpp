// Status and Result: messages, places, exit codes, propagation.
#include "runtime/base/status.h"

#include <gtest/gtest.h>

using namespace attn;

TEST(Status, DefaultIsSuccess) {
  Status status;
  EXPECT_TRUE(status.ok());
  EXPECT_EQ(status.to_string(), "ok");
  EXPECT_EQ(status.exit_code(), 0);
}

TEST(Status, JoinsStringsAndNumbers) {
  Status status =
      Status::invalid_input("got ", -3, ", ", 7u, ", ", 1.5, ", ", true, std::string("!"));
  EXPECT_EQ(status.message(), "got -3, 7, 1.5, true!");
}

TEST(Status, PlacesNestFromTheOutside) {
  Status status = Status::invalid_input("bad").at("kernel 3").at("a.attnb");
  EXPECT_EQ(status.to_string(), "a.attnb: kernel 3: bad");
  EXPECT_TRUE(Status().at("anywhere").ok());
}

TEST(Status, ExitCodesFollowTheContract) {
  EXPECT_EQ(Status::invalid_input("").exit_code(), 1);
  EXPECT_EQ(Status::usage("").exit_code(), 2);
  EXPECT_EQ(Status::environment("").exit_code(), 3);
}

static Result<int> half(int value) {
  if (value % 2)
    return Status::invalid_input(value, " is odd");
  return value / 2;
}

static Result<int> quarter(int value) {
  ATTN_ASSIGN_OR_RETURN(int once, half(value));
  ATTN_ASSIGN_OR_RETURN(int twice, half(once));
  return twice;
}

TEST(Result, MacrosPassValuesAndFailuresOn) {
  ASSERT_TRUE(quarter(12).ok());
  EXPECT_EQ(*quarter(12), 3);
  EXPECT_EQ(quarter(6).status().message(), "3 is odd");
}

TEST(Result, SuccessWithoutAValueIsAFailure) {
  Result<int> result = Status();
  EXPECT_FALSE(result.ok());
  EXPECT_EQ(result.status().code(), StatusCode::internal);
}
