// Sections as they are being written. For the writers in this folder only.
#pragma once

#include "runtime/base/status.h"
#include "runtime/bundle/bundle_format.h"
#include "runtime/graph/graph.h"
#include <cstring>
#include <map>
#include <span>
#include <string>
#include <vector>

namespace attn {

// Appends numbers to one section's bytes.
struct SectionBytes {
  std::vector<std::byte> data;
  template <typename T> void put(T value) {
    const auto *begin = reinterpret_cast<const std::byte *>(&value);
    data.insert(data.end(), begin, begin + sizeof value);
  }
  template <typename T> void put_at(size_t at, T value) {
    std::memcpy(data.data() + at, &value, sizeof value);
  }
  void zeros(size_t bytes) { data.resize(data.size() + bytes); }
  void align(size_t alignment) {
    data.resize((data.size() + alignment - 1) / alignment * alignment);
  }
};

struct StringTable {
  std::string text;
  std::map<std::string, uint32_t, std::less<>> known;

  void put(SectionBytes &record, const std::string &string) {
    auto [entry, added] = known.try_emplace(string, static_cast<uint32_t>(text.size()));
    if (added)
      text += string;
    record.put(entry->second);
    record.put(static_cast<uint32_t>(string.size()));
  }
};

struct GraphSections {
  struct Constant {
    size_t place; // in `values`, of its offset and size
    std::span<const std::byte> bytes;
  };
  SectionBytes graphs, values, nodes, attributes, links, numbers;
  std::vector<Constant> constants;
};

// Adds a graph (graph_writer.cpp). Its constants are to be placed by the caller.
Status put_graph(const std::string &name, const graph::Graph &graph, StringTable &strings,
                 GraphSections &to);

} // namespace attn
