// Who may use the live page: a request's headers go in, yes or the reason why not
// comes out.
#pragma once

#include "runtime/base/status.h"
#include <string>
#include <string_view>

namespace attn::tool {

struct AccessRules {
  bool loopback = true; // bound to the loopback interface only
  std::string token;    // "": none is asked for
};

struct AccessRequest {
  std::string_view host, origin; // headers; "": absent
  std::string_view target;       // path and query
  std::string_view cookie;
};

// Refuses a foreign Origin (another site's page using this server), a Host that is
// not this machine while bound to loopback (a foreign name that resolves to it), and
// a missing or wrong token, given as ?token= or in the cookie attn_token.
Status check_access(const AccessRules &rules, const AccessRequest &request);

// The value of `name` in the query of `target`; "" if absent.
std::string_view query_value(std::string_view target, std::string_view name);
std::string_view path_of(std::string_view target);

// 128 random bits in hexadecimal.
std::string make_token();

} // namespace attn::tool
