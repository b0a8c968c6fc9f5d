// What every fallible runtime function returns: a Status, or a Result<T> that
// holds a value or a Status. No exceptions, no abort.
#pragma once

#include <concepts>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace attn {

enum class StatusCode : uint8_t {
  ok = 0,
  invalid_input = 1, // a file, tensor or spec that cannot be accepted
  usage = 2,         // the caller broke the interface's rules
  environment = 3,   // device, driver, memory, file system
  internal = 4,      // a bug of ours
  cancelled = 5      // stopped because the caller asked for it
};

namespace detail {
void append(std::string &out, std::string_view text);
void append(std::string &out, double value);
void append(std::string &out, bool value);
void append(std::string &out, char value);
void append_signed(std::string &out, long long value);
void append_unsigned(std::string &out, unsigned long long value);
template <std::integral T> void append(std::string &out, T value) {
  if constexpr (std::signed_integral<T>)
    append_signed(out, value);
  else
    append_unsigned(out, value);
}
inline void append(std::string &out, const char *text) { append(out, std::string_view(text)); }
inline void append(std::string &out, const std::string &text) {
  append(out, std::string_view(text));
}
inline void append(std::string &out, float value) { append(out, static_cast<double>(value)); }
} // namespace detail

// Joins strings and numbers into one string.
template <typename... Parts> std::string concat(const Parts &...parts) {
  std::string text;
  (detail::append(text, parts), ...);
  return text;
}

// Success, or a code with a message (lower case, no period: what was found,
// what is allowed, how to mend it) and the place that it is about.
class [[nodiscard]] Status {
public:
  Status() = default; // success
  Status(StatusCode code, std::string message, std::string place = {});

  template <typename... Parts> static Status invalid_input(const Parts &...parts) {
    return Status(StatusCode::invalid_input, concat(parts...));
  }
  template <typename... Parts> static Status usage(const Parts &...parts) {
    return Status(StatusCode::usage, concat(parts...));
  }
  template <typename... Parts> static Status environment(const Parts &...parts) {
    return Status(StatusCode::environment, concat(parts...));
  }
  template <typename... Parts> static Status internal(const Parts &...parts) {
    return Status(StatusCode::internal, concat(parts...));
  }

  bool ok() const { return !error_; }
  StatusCode code() const { return error_ ? error_->code : StatusCode::ok; }
  const std::string &message() const;
  const std::string &place() const;

  // The same failure, said to be about `place`. An inner place is kept:
  // "outer: inner". Success stays success.
  Status at(std::string_view place) const;

  // "place: message", or "ok".
  std::string to_string() const;

  // What a tool exits with: 0 done, 1 input rejected, 2 usage, 3 environment.
  int exit_code() const;

private:
  struct Error {
    StatusCode code;
    std::string message;
    std::string place;
  };
  std::shared_ptr<const Error> error_;
};

// A T or the Status that says why there is none.
template <typename T> class [[nodiscard]] Result {
public:
  Result(T value) : value_(std::move(value)) {}
  Result(Status status) : status_(std::move(status)) {
    if (status_.ok())
      status_ = Status::internal("a result was made from success without a value");
  }

  bool ok() const { return value_.has_value(); }
  const Status &status() const { return status_; }
  T &value() & { return *value_; }
  const T &value() const & { return *value_; }
  T value() && { return std::move(*value_); }
  T *operator->() { return &*value_; }
  const T *operator->() const { return &*value_; }
  T &operator*() & { return *value_; }
  T operator*() && { return std::move(*value_); }
  const T &operator*() const & { return *value_; }

private:
  std::optional<T> value_;
  Status status_;
};

} // namespace attn

#define ATTN_CONCAT_INNER(a, b) a##b
#define ATTN_CONCAT(a, b) ATTN_CONCAT_INNER(a, b)

// Leaves the function with the status of `expr` unless it is success.
#define ATTN_RETURN_IF_ERROR(expr)                                                                 \
  do {                                                                                             \
    ::attn::Status attn_status_ = (expr);                                                          \
    if (!attn_status_.ok())                                                                        \
      return attn_status_;                                                                         \
  } while (0)

// `lhs` = the value of the Result `expr`, or leaves with its status.
#define ATTN_ASSIGN_OR_RETURN(lhs, expr)                                                           \
  auto ATTN_CONCAT(attn_result_, __LINE__) = (expr);                                               \
  if (!ATTN_CONCAT(attn_result_, __LINE__).ok())                                                   \
    return ATTN_CONCAT(attn_result_, __LINE__).status();                                           \
  lhs = std::move(ATTN_CONCAT(attn_result_, __LINE__)).value()
