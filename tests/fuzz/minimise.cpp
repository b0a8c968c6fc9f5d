// Greedy: drops clauses, then puts a child or a constant in a node's place.
#include "tests/fuzz/minimise.h"

#include <cstddef>

namespace attn::fuzz {

namespace {

class Minimiser {
public:
  Minimiser(Draft draft, const std::function<bool(const Draft &)> &fails, int attempts)
      : best_(std::move(draft)), fails_(fails), attempts_(attempts) {}

  Draft run() {
    bool smaller = true;
    while (smaller && attempts_ > 0) {
      smaller = drop_clauses();
      for (size_t clause = 0; clause < best_.clauses.size(); ++clause)
        for (size_t child = 0; child < best_.clauses[clause].children.size(); ++child)
          smaller |= shrink([=](Draft &d) -> Node & { return d.clauses[clause].children[child]; });
    }
    return best_;
  }

private:
  using Place = std::function<Node &(Draft &)>;

  bool take(const Draft &draft) {
    if (attempts_-- <= 0 || !fails_(draft))
      return false;
    best_ = draft;
    return true;
  }

  bool drop_clauses() {
    bool dropped = false;
    for (size_t i = best_.clauses.size(); i-- > 0;) {
      Draft smaller = best_;
      smaller.clauses.erase(smaller.clauses.begin() + static_cast<std::ptrdiff_t>(i));
      dropped |= take(smaller);
    }
    return dropped;
  }

  bool replace(const Place &place, Node node) {
    Draft smaller = best_;
    place(smaller) = std::move(node);
    return smaller.size() < best_.size() && take(smaller);
  }

  bool shrink(const Place &place) {
    bool smaller = false;
    for (bool again = true; again;) {
      again = false;
      Node node = place(best_);
      for (const char *constant : {"true", "false", "1", "0", "1.0"})
        if (!again && node.children.size() && fits(node.kind, constant))
          again = replace(place, {node.kind, constant});
      for (const Node &child : node.children)
        if (!again && child.kind == node.kind)
          again = replace(place, child);
      smaller |= again;
    }
    for (size_t i = 0; i < place(best_).children.size(); ++i)
      smaller |= shrink([=](Draft &d) -> Node & { return place(d).children[i]; });
    return smaller;
  }

  static bool fits(Kind kind, const std::string &constant) {
    bool number = constant.find('.') != std::string::npos;
    bool boolean = constant[0] == 't' || constant[0] == 'f';
    return kind == Kind::boolean ? boolean : kind == Kind::number ? number : !number && !boolean;
  }

  Draft best_;
  const std::function<bool(const Draft &)> &fails_;
  int attempts_;
};

} // namespace

Draft minimise(Draft draft, const std::function<bool(const Draft &)> &fails, int attempts) {
  return Minimiser(std::move(draft), fails, attempts).run();
}

} // namespace attn::fuzz
