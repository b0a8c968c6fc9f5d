// Values enter in order, JSON text leaves.
#include "tools/attn-run/json.h"

#include <cmath>
#include <cstdio>

namespace attn {

void Json::separate() {
  if (!first_)
    text_ += ", ";
  first_ = false;
}

Json &Json::open(char bracket) {
  separate();
  text_ += bracket;
  first_ = true;
  return *this;
}

Json &Json::close(char bracket) {
  text_ += bracket;
  first_ = false;
  return *this;
}

Json &Json::key(std::string_view name) {
  value(name);
  text_ += ": ";
  first_ = true;
  return *this;
}

Json &Json::value(std::string_view text) {
  separate();
  text_ += '"';
  for (char c : text) {
    char escape[8];
    if (c == '"' || c == '\\') {
      text_ += '\\';
      text_ += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      std::snprintf(escape, sizeof escape, "\\u%04x", c);
      text_ += escape;
    } else {
      text_ += c;
    }
  }
  text_ += '"';
  return *this;
}

Json &Json::value(bool truth) {
  separate();
  text_ += truth ? "true" : "false";
  return *this;
}

Json &Json::value(double number) {
  separate();
  char digits[40];
  bool whole = std::abs(number) < 9e15 && number == std::floor(number);
  std::snprintf(digits, sizeof digits, whole ? "%.0f" : "%.9g", number);
  text_ += std::isfinite(number) ? digits : "null";
  return *this;
}

Json &Json::value(int64_t number) {
  separate();
  text_ += std::to_string(number);
  return *this;
}

Json &Json::value(uint64_t number) {
  separate();
  text_ += std::to_string(number);
  return *this;
}

} // namespace attn
