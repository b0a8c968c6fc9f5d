// Policies as text and back.
#include "runtime/cache/policy.h"

#include "runtime/bundle/bundle_format.h"
#include <charconv>

namespace attn::cache {

namespace {

constexpr int64_t kMostBlocks = 1 << 20, kMostLanes = 64;

// Every number of a policy with its name and range; `visit(name, value, least, most)`.
template <typename P, typename Visit> void each_number(P &p, Visit visit) {
  visit("pin", p.pin, 0, kMostBlocks);
  visit("ring", p.ring, 0, kMostBlocks);
  visit("spare", p.spare, 0, kMostBlocks);
  visit("lanes", p.lanes, 1, kMostLanes);
  visit("call_least", p.call_least, 1, kMostBlocks);
  visit("call_most", p.call_most, 1, kMostBlocks);
  visit("pin_adjacent", p.pin_adjacent, 0, 1);
  visit("write_last", p.write_last, 0, 1);
  visit("roped", p.roped, 0, 1);
  visit("by_place", p.by_place, 0, 1);
  visit("recache", p.recache, 0, 2);
  visit("replay", p.replay, 0, 2 * kMostBlocks);
  visit("pinned", p.pinned, 0, 2);
}

template <typename P, typename Visit> void each_name(P &p, Visit visit) {
  visit("first_param", p.first_param);
  visit("tail_param", p.tail_param);
  visit("length_param", p.length_param);
}

} // namespace

// "text 512 512 1"
static Result<Kind> parse_kind(std::string_view text) {
  Kind kind;
  const size_t end = text.find(' ');
  kind.name = text.substr(0, end);
  text.remove_prefix(std::min(text.size(), kind.name.size()));
  for (int64_t *number : {&kind.pin, &kind.ring, &kind.of}) {
    text.remove_prefix(std::min<size_t>(text.size(), 1));
    auto [at, error] = std::from_chars(text.data(), text.data() + text.size(), *number);
    if (error != std::errc())
      return Status::invalid_input("a cache's record has a kind without three numbers");
    text.remove_prefix(static_cast<size_t>(at - text.data()));
  }
  if (!text.empty())
    return Status::invalid_input("a cache's record has a kind with more than three numbers");
  return kind;
}

std::string policy_text(const Policy &policy) {
  std::string text;
  for (const Kind &k : policy.kinds)
    text += concat("kind ", k.name, " ", k.pin, " ", k.ring, " ", k.of, "\n");
  each_number(policy, [&](const char *name, auto value, int64_t, int64_t) {
    text += concat(name, " ", static_cast<int64_t>(value), "\n");
  });
  each_name(policy, [&](const char *name, const std::string &value) {
    if (!value.empty())
      text += concat(name, " ", value, "\n");
  });
  return text;
}

Status check_policy(const Policy &policy) {
  Status status;
  each_number(policy, [&](const char *name, auto value, int64_t least, int64_t most) {
    const int64_t number = static_cast<int64_t>(value);
    if (status.ok() && (number < least || number > most))
      status = Status::invalid_input("a cache's ", name, " is ", number, "; ", least, "..", most,
                                     " is allowed");
  });
  ATTN_RETURN_IF_ERROR(status);
  if (policy.call_least > policy.call_most)
    return Status::invalid_input("a cache's calls have ", policy.call_least, "..", policy.call_most,
                                 " blocks");
  if (policy.replay > policy.pin + policy.ring)
    return Status::invalid_input("a cache of ", policy.pin + policy.ring, " blocks replays ",
                                 policy.replay);
  if (policy.lanes > 1 && policy.call_most > 1)
    return Status::invalid_input("a cache of several lanes takes calls of one block, not ",
                                 policy.call_most);
  for (const Kind &k : policy.kinds)
    if (k.name.empty() || !is_printable_name(k.name) || k.pin < 0 || k.ring < 1 || k.of < 1 ||
        k.pin > kMostBlocks || k.ring > kMostBlocks / k.of)
      return Status::invalid_input("a cache's kind has pin ", k.pin, ", ring ", k.ring, " of ",
                                   k.of);
  if (!policy.kinds.empty() &&
      (policy.pin || policy.ring || policy.spare || policy.lanes > 1 || policy.replay))
    return Status::invalid_input("a cache of kinds has no pin, ring, spare, lanes or replay");
  each_name(policy, [&](const char *name, const std::string &value) {
    if (status.ok() && !is_printable_name(value))
      status = Status::invalid_input("a cache's ", name, " is not a name");
  });
  return status;
}

Result<Policy> parse_policy(std::string_view text) {
  Policy policy;
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
    const size_t space = line.find(' ');
    if (space == std::string_view::npos)
      return Status::invalid_input("a cache's record has a line without a value");
    const std::string_view name = line.substr(0, space), value = line.substr(space + 1);
    int64_t number = 0;
    auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
    bool known = false;
    if (name == "kind") {
      ATTN_ASSIGN_OR_RETURN(Kind kind, parse_kind(value));
      policy.kinds.push_back(std::move(kind));
      continue;
    }
    each_name(policy, [&](std::string_view each, std::string &field) {
      if (each == name) {
        field = value;
        known = true;
      }
    });
    if (error == std::errc() && end == value.data() + value.size())
      each_number(policy, [&](std::string_view each, auto &field, int64_t least, int64_t most) {
        if (each != name || number < least || number > most)
          return;
        field = static_cast<std::remove_reference_t<decltype(field)>>(number);
        known = true;
      });
    if (!known)
      return Status::invalid_input("a cache's record has the line '",
                                   is_printable_name(std::string(line)) ? std::string(line)
                                                                        : std::string("?"),
                                   "', which means nothing");
  }
  ATTN_RETURN_IF_ERROR(check_policy(policy));
  return policy;
}

Result<Policy> find_policy(const Bundle &bundle, std::string_view name) {
  const Bundle::Blob *blob = bundle.find_blob(concat("cache/", name));
  if (!blob)
    return Status::invalid_input("the bundle has no cache of a spec '", name,
                                 "': the spec needs a cache clause")
        .at(bundle.place());
  auto policy =
      parse_policy({reinterpret_cast<const char *>(blob->bytes.data()), blob->bytes.size()});
  if (!policy.ok())
    return policy.status().at(bundle.place());
  return policy;
}

} // namespace attn::cache
