// Prints templates.
#include "tests/fuzz/draft.h"

namespace attn::fuzz {

static std::string fill(const std::string &format, const std::vector<Node> &children) {
  std::string text;
  size_t next = 0;
  for (char c : format)
    if (c == '$')
      text += children[next++].text();
    else
      text += c;
  return text;
}

std::string Node::text() const { return fill(format, children); }

size_t Node::size() const {
  size_t nodes = 1;
  for (const Node &child : children)
    nodes += child.size();
  return nodes;
}

std::string Clause::text() const { return fill(format, children); }

std::string Draft::text() const {
  std::string text = "attention fuzzed {\n";
  for (const Clause &clause : clauses)
    text += "  " + clause.text() + "\n";
  return text + "}\n";
}

size_t Draft::size() const {
  size_t nodes = 0;
  for (const Clause &clause : clauses) {
    nodes += 1;
    for (const Node &child : clause.children)
      nodes += child.size();
  }
  return nodes;
}

const Clause *Draft::find(const std::string &word) const {
  for (const Clause &clause : clauses)
    if (clause.format.starts_with(word + " "))
      return &clause;
  return nullptr;
}

} // namespace attn::fuzz
