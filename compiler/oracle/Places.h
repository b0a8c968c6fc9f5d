// Tokens by name: which space a position lies in and what its coordinates are,
// and the other way round. For messages and for tools; kernels know positions.
#pragma once

#include "compiler/oracle/Evaluate.h"

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace attn::oracle {

class Places {
public:
  // Both must outlive this.
  Places(const spec::AttentionSpec &spec, const Bindings &bindings)
      : spec(spec), bindings(bindings) {}

  // Axis names and values; the first entry is the space's name, without value.
  // Empty if the position belongs to no space.
  struct Place {
    std::string space;
    std::vector<std::pair<std::string, int32_t>> coordinates;
  };
  Place at(spec::Side side, int32_t position) const;
  // "video t=3 y=4 x=7"
  std::string describe(spec::Side side, int32_t position) const;
  // "video t=3 y=0..4 x=0..51" if the positions are a box of coordinates, else
  // from the first token to the last.
  std::string describe(spec::Side side, const std::vector<int32_t> &positions) const;

  // The first of `count` positions from `first` on with these coordinates.
  std::optional<int32_t> find(spec::Side side, int32_t first, int64_t count,
                              const std::map<std::string, int64_t> &coordinates) const;
  std::vector<std::string> names(spec::Side side) const;

private:
  const spec::TokensInfo &tokens(spec::Side side) const {
    return side == spec::Side::Query ? spec.query : spec.keys;
  }
  const spec::AttentionSpec &spec;
  const Bindings &bindings;
};

} // namespace attn::oracle
