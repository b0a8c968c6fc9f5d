// Writes JSON text: just what the tools' reports need.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace attn {

class Json {
public:
  Json &begin_object() { return open('{'); }
  Json &end_object() { return close('}'); }
  Json &begin_array() { return open('['); }
  Json &end_array() { return close(']'); }
  Json &key(std::string_view name);
  Json &value(std::string_view text);
  Json &value(const char *text) { return value(std::string_view(text)); }
  Json &value(bool truth);
  Json &value(double number); // infinities and NaN become null
  Json &value(int64_t number);
  Json &value(uint64_t number);
  Json &value(int number) { return value(int64_t(number)); }
  Json &value(uint32_t number) { return value(uint64_t(number)); }
  template <typename T> Json &field(std::string_view name, const T &content) {
    return key(name).value(content);
  }
  const std::string &text() const { return text_; }

private:
  Json &open(char bracket);
  Json &close(char bracket);
  void separate();
  std::string text_;
  bool first_ = true;
};

} // namespace attn
