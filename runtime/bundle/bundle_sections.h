// Where the records of a bundle's sections lie, and checked ways to what they name.
// For the readers in this folder only.
#pragma once

#include "runtime/base/status.h"
#include "runtime/bundle/bundle_format.h"
#include "runtime/bundle/bundle_reader.h"
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace attn {

// Decodes fixed-size records; the caller has checked that they lie within.
struct Record {
  const std::byte *at;
  template <typename T> T get(size_t offset) const {
    T value;
    std::memcpy(&value, at + offset, sizeof value);
    return value;
  }
  uint32_t u32(size_t offset) const { return get<uint32_t>(offset); }
  uint64_t u64(size_t offset) const { return get<uint64_t>(offset); }
  bool zero(size_t offset, size_t bytes) const {
    for (size_t i = 0; i < bytes; ++i)
      if (at[offset + i] != std::byte(0))
        return false;
    return true;
  }
};

class SectionTable {
public:
  explicit SectionTable(std::span<const std::byte> bytes) : bytes_(bytes) {}

  Status sections();
  Record record(SectionKind kind, size_t index, size_t record_bytes) const {
    return {sections_[kind].bytes.data() + index * record_bytes};
  }
  uint32_t count(SectionKind kind) const { return sections_[kind].count; }
  // The string that a record refers to at `offset`; as std::string a name.
  Status text(Record record, size_t offset, std::string_view &out) const;
  Status text(Record record, size_t offset, std::string &out) const;
  Status range(uint64_t offset, uint64_t size, size_t alignment,
               std::span<const std::byte> &out) const;

protected:
  struct Section {
    uint32_t count = 0;
    std::span<const std::byte> bytes;
  };
  std::span<const std::byte> bytes_;
  Section sections_[kSectionKinds];
};

// Decodes the graphs of a package (graph_reader.cpp).
Status read_graphs(const SectionTable &table, std::vector<PackedGraph> &out);

} // namespace attn
