// Reads a node's shape, finds the band that a constant mask is, and prints a spec.
#include "runtime/graph/derive_spec.h"

#include "runtime/bundle/checksum.h"
#include "runtime/ops/attention.h"
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <optional>
#include <span>

namespace attn::graph {

using ops::AttentionShape;

namespace {

// Biases below this exclude their key: what exporters add for "never" (-inf, or the
// least float) must not come back in rows that see nothing else.
constexpr float kExcluded = -1.0e30f;

// Keys from `back` before the query's own to `ahead` after it.
struct Band {
  int64_t back = std::numeric_limits<int64_t>::max(), ahead = back;
  bool is_all() const { return back == Band().back && ahead == Band().ahead; }
  void narrow(const Band &by) {
    back = std::min(back, by.back);
    ahead = std::min(ahead, by.ahead);
  }
};

Band band_of_attributes(const AttentionShape &s) {
  Band band;
  if (s.left_window >= 0)
    band.back = s.left_window;
  if (s.right_window >= 0)
    band.ahead = s.right_window;
  if (s.causal)
    band.ahead = std::min<int64_t>(band.ahead, 0);
  return band;
}

// The band that a constant mask admits, if it is one and adds nothing within: the
// causal and windowed masks that exporters write out.
std::optional<Band> band_of_mask(const NodeView &node, const AttentionShape &s, int64_t own) {
  const Value *mask = node.in(3);
  const Shape &shape = mask->type.shape;
  if (!mask->is_constant() || s.mask_columns != s.kv_len || shape.rank < 2 ||
      shape.elements() != shape[shape.rank - 2] * s.kv_len)
    return {};
  const int64_t rows = shape[shape.rank - 2];
  if (rows != s.q_len)
    return {};
  auto admits = [&](int64_t i, int64_t j, bool &plain) {
    const int64_t at = i * s.kv_len + j;
    if (mask->type.dtype == DType::boolean)
      return static_cast<const uint8_t *>(mask->data)[at] != 0;
    const float bias = static_cast<const float *>(mask->data)[at];
    plain &= bias == 0 || bias < kExcluded;
    return !(bias < kExcluded);
  };
  bool plain = true;
  int64_t lowest = 0, highest = 0; // of key - query, over admitted pairs
  bool any = false;
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < s.kv_len; ++j)
      if (admits(i, j, plain)) {
        const int64_t d = j - (i + own);
        lowest = any ? std::min(lowest, d) : d;
        highest = any ? std::max(highest, d) : d;
        any = true;
      }
  if (!any || !plain)
    return {};
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < s.kv_len; ++j) {
      const int64_t d = j - (i + own);
      if (admits(i, j, plain) != (d >= lowest && d <= highest))
        return {};
    }
  Band found;
  if (lowest > -own - rows + 1) // otherwise the first key bounds it
    found.back = -lowest;
  if (highest < s.kv_len - 1 - own)
    found.ahead = highest;
  return found;
}

std::string number(double value) {
  char text[40];
  std::snprintf(text, sizeof text, "%.9g", value);
  std::string out = text;
  return out.find_first_of(".e") == std::string::npos ? out + ".0" : out;
}

// "q.i" moved by a constant.
std::string moved(const char *axis, int64_t by) {
  return by ? concat(axis, by > 0 ? " + " : " - ", std::abs(by)) : std::string(axis);
}

std::string mask_of_band(const Band &band) {
  const bool back = band.back != Band().back, ahead = band.ahead != Band().ahead;
  if (!back && !ahead)
    return {};
  if (back && band.back >= 0 && ahead && band.ahead > 0)
    return concat("band(i, ", band.back, ", ", band.ahead, ")");
  std::string text;
  if (ahead)
    text = band.ahead == 0 ? "causal(i)" : concat("k.i <= ", moved("q.i", band.ahead));
  if (back)
    text += concat(text.empty() ? "" : " and ", band.back >= 0
                                                    ? concat("window(i, ", band.back + 1, ")")
                                                    : concat("k.i >= ", moved("q.i", -band.back)));
  return text;
}

} // namespace

Shape mask_axes(const Shape &mask) {
  Shape axes;
  for (int i = 0; i < mask.rank; ++i)
    if (mask[i] != 1 || i == mask.rank - 1)
      axes.push(mask[i]);
  return axes;
}

Result<DerivedSpec> derive_spec(const NodeView &node) {
  AttentionShape s;
  ATTN_RETURN_IF_ERROR(ops::attention_shape(node, s));
  if (s.int8_cache)
    return Status::invalid_input("its cache is int8");
  if (s.products != ops::Products::none)
    return Status::invalid_input("it hands out its products of Q and K");
  if (s.softmax_f64)
    return Status::invalid_input("its softmax_precision is float64");
  if (s.qk_dim > 1024 || s.v_dim > 1024 || s.heads > 4096 || s.batch * s.q_len * s.kv_len == 0)
    return Status::invalid_input("its shape is out of a spec's range");

  DerivedSpec spec;
  spec.q_position = s.past_len;
  if (s.has_lengths) { // aligned at the end: the last valid key stands under the last query
    spec.end = std::max(s.kv_len, s.q_len);
    spec.q_position = spec.end - s.q_len;
  }
  Band band = band_of_attributes(s);
  std::string tables, masks, bias;
  if (s.mask_columns) {
    std::optional<Band> known;
    if (!s.has_lengths)
      known = band_of_mask(node, s, s.past_len);
    if (known) {
      band.narrow(*known);
    } else {
      const Shape &mask = node.shape(3);
      const char *const names[] = {"batch", "head", "row", "key"};
      std::string dims, index;
      for (int i = 0; i < mask.rank; ++i) {
        const int axis = i + 4 - mask.rank;
        if (mask[i] == 1 && i + 1 < mask.rank)
          continue;
        dims += concat(dims.empty() ? "" : ", ", names[axis]);
        index += index.empty() ? "" : ", ";
        if (axis < 2)
          index += names[axis];
        else if (axis == 2)
          index += moved("q.i", -spec.q_position);
        else
          index += s.has_lengths ? "k.i - first[batch]" : "k.i";
      }
      spec.reads_mask = true;
      spec.reads_first = s.has_lengths;
      const bool boolean = node.dtype(3) == DType::boolean;
      tables = concat("  table mask[", dims, "]: ", boolean ? "u8" : "f32", "\n");
      if (spec.reads_first)
        tables += "  table first[batch]: i32\n";
      if (s.mask_columns < s.kv_len)
        masks =
            concat("k.i ", s.has_lengths ? "- first[batch] " : "", "< ", s.mask_columns, " and ");
      masks += concat("mask[", index, boolean ? "] != 0" : "] > -1.0e30");
      if (!boolean)
        bias = concat(" + mask[", index, "]");
    }
  }
  std::string mask = mask_of_band(band);
  if (!masks.empty())
    mask += (mask.empty() ? "" : " and ") + masks;

  std::string body = "  space tok(i: stream)\n  query tok\n  keys  tok\n";
  body += concat("  heads ", s.heads);
  if (s.kv_heads != s.heads)
    body += concat(" kv ", s.kv_heads);
  body += concat(" dim ", s.qk_dim);
  if (s.v_dim != s.qk_dim)
    body += concat(" value ", s.v_dim);
  body += "\n  type  f32\n";
  if (s.scale != 1.0f / std::sqrt(static_cast<float>(s.qk_dim)))
    body += concat("  scale ", number(s.scale), "\n");
  body += tables + concat("  mask  ", mask.empty() ? "all" : mask, "\n");
  if (s.softcap > 0 || !bias.empty())
    body += concat("  score ", s.softcap > 0 ? concat("softcap(s, ", number(s.softcap), ")") : "s",
                   bias, "\n");
  body += "}\n";

  char hash[9];
  std::snprintf(hash, sizeof hash, "%08x",
                static_cast<unsigned>(checksum64(std::as_bytes(std::span<const char>(body)))));
  const bool windowed = band.back != Band().back || (band.ahead != Band().ahead && band.ahead != 0);
  const char *kind = spec.reads_mask ? "masked"
                     : windowed      ? "window"
                     : band.is_all() ? "dense"
                                     : "causal";
  spec.name = concat(kind, "_h", s.heads);
  if (s.kv_heads != s.heads)
    spec.name += concat("_kv", s.kv_heads);
  spec.name += concat("_d", s.qk_dim, "_", hash);
  spec.text = concat("# Derived from an ONNX Attention node.\nattention ", spec.name, " {\n", body);
  return spec;
}

} // namespace attn::graph
