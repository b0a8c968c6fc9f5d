// Formats failures: a code, a message and a place in, readable text and exit
// codes out.
#include "runtime/base/status.h"

#include <cmath>
#include <cstdio>

namespace attn {

namespace detail {
void append(std::string &out, std::string_view text) { out.append(text); }
void append(std::string &out, bool value) { out.append(value ? "true" : "false"); }
void append(std::string &out, char value) { out.push_back(value); }
void append(std::string &out, double value) {
  char text[40];
  // Whole numbers exactly, as far as doubles are exact about them.
  bool whole = std::abs(value) < 9e15 && value == std::floor(value);
  std::snprintf(text, sizeof text, whole ? "%.0f" : "%.9g", value);
  out.append(text);
}
void append_signed(std::string &out, long long value) { out.append(std::to_string(value)); }
void append_unsigned(std::string &out, unsigned long long value) {
  out.append(std::to_string(value));
}
} // namespace detail

static const std::string empty_text;

Status::Status(StatusCode code, std::string message, std::string place) {
  if (code != StatusCode::ok)
    error_ = std::make_shared<const Error>(Error{code, std::move(message), std::move(place)});
}

const std::string &Status::message() const { return error_ ? error_->message : empty_text; }
const std::string &Status::place() const { return error_ ? error_->place : empty_text; }

Status Status::at(std::string_view place) const {
  if (ok())
    return *this;
  std::string joined(place);
  if (!error_->place.empty())
    joined += ": " + error_->place;
  return Status(error_->code, error_->message, std::move(joined));
}

std::string Status::to_string() const {
  if (ok())
    return "ok";
  return error_->place.empty() ? error_->message : error_->place + ": " + error_->message;
}

int Status::exit_code() const {
  switch (code()) {
  case StatusCode::ok:
    return 0;
  case StatusCode::invalid_input:
    return 1;
  case StatusCode::usage:
    return 2;
  case StatusCode::environment:
  case StatusCode::internal:
  case StatusCode::cancelled:
    return 3;
  }
  return 3;
}

} // namespace attn
