#include "tools/attn-stream/serve/access.h"

#include <random>

namespace attn::tool {
namespace {

// "host:port" without the port.
std::string_view host_name(std::string_view authority) {
  if (authority.starts_with('['))
    return authority.substr(0, authority.find(']') + 1);
  return authority.substr(0, authority.find(':'));
}

// In a time that does not depend on where they differ.
bool equal_secrets(std::string_view a, std::string_view b) {
  unsigned difference = a.size() != b.size();
  for (size_t i = 0; i < a.size() && i < b.size(); ++i)
    difference |= static_cast<unsigned char>(a[i]) ^ static_cast<unsigned char>(b[i]);
  return difference == 0;
}

std::string_view cookie_value(std::string_view cookies, std::string_view name) {
  while (!cookies.empty()) {
    size_t end = cookies.find(';');
    std::string_view pair = cookies.substr(0, end);
    while (pair.starts_with(' '))
      pair.remove_prefix(1);
    if (pair.size() > name.size() && pair.starts_with(name) && pair[name.size()] == '=')
      return pair.substr(name.size() + 1);
    cookies.remove_prefix(end == std::string_view::npos ? cookies.size() : end + 1);
  }
  return {};
}

} // namespace

std::string_view path_of(std::string_view target) { return target.substr(0, target.find('?')); }

std::string_view query_value(std::string_view target, std::string_view name) {
  size_t mark = target.find('?');
  std::string_view query =
      mark == std::string_view::npos ? std::string_view() : target.substr(mark + 1);
  while (!query.empty()) {
    size_t end = query.find('&');
    std::string_view pair = query.substr(0, end);
    if (pair.size() > name.size() && pair.starts_with(name) && pair[name.size()] == '=')
      return pair.substr(name.size() + 1);
    query.remove_prefix(end == std::string_view::npos ? query.size() : end + 1);
  }
  return {};
}

Status check_access(const AccessRules &rules, const AccessRequest &request) {
  std::string_view name = host_name(request.host);
  if (rules.loopback && name != "localhost" && name != "127.0.0.1" && name != "[::1]")
    return Status::usage("this server answers to localhost only, not to '", name, "'");
  if (!request.origin.empty()) {
    size_t scheme = request.origin.find("://");
    if (scheme == std::string_view::npos || request.origin.substr(scheme + 3) != request.host)
      return Status::usage("pages of '", request.origin, "' may not use this server");
  }
  if (rules.token.empty())
    return {};
  if (equal_secrets(query_value(request.target, "token"), rules.token) ||
      equal_secrets(cookie_value(request.cookie, "attn_token"), rules.token))
    return {};
  return Status::usage("a token is needed: open the address that attn-stream printed");
}

std::string make_token() {
  std::random_device device;
  std::string token;
  for (int i = 0; i < 32; ++i)
    token += "0123456789abcdef"[device() & 15];
  return token;
}

} // namespace attn::tool
