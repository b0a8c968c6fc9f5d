// Arguments and a spec enter; the rule that they break leaves.
#include "tools/attn-run/check_arguments.h"

#include "compiler/oracle/Evaluate.h"

#include <algorithm>
#include <charconv>
#include <optional>

namespace attn {

namespace {

using Range = std::pair<int64_t, size_t>; // where it begins; of which segment

// The first two of `ranges`, sorted, that overlap.
std::optional<std::pair<size_t, size_t>> find_overlap(const std::vector<Segment> &segments,
                                                      int32_t Segment::*first) {
  std::vector<Range> ranges;
  for (size_t i = 0; i < segments.size(); ++i)
    if (segments[i].length > 0)
      ranges.emplace_back(segments[i].*first, i);
  std::sort(ranges.begin(), ranges.end());
  for (size_t i = 1; i < ranges.size(); ++i)
    if (ranges[i - 1].first + segments[ranges[i - 1].second].length > ranges[i].first)
      return std::minmax(ranges[i - 1].second, ranges[i].second);
  return std::nullopt;
}

class SpecCheck {
public:
  SpecCheck(const spec::AttentionSpec &spec, const HostArgs &args) : spec_(spec), args_(args) {
    for (const spec::ParamInfo &param : spec.params) {
      std::optional<double> value = given(param.name);
      known_ &= value.has_value();
      bindings_.params.push_back(value.value_or(0));
    }
  }

  Status run() const {
    for (const spec::TableInfo &table : spec_.tables)
      ATTN_RETURN_IF_ERROR(check_table(table));
    int64_t end = args_.q_position + args_.q.shape[2];
    ATTN_RETURN_IF_ERROR(check_end("query rows", spec_.query, end, "give fewer rows"));
    end = args_.segments.empty() ? args_.k.shape[2] : 0;
    for (const Segment &segment : args_.segments)
      end = std::max(end, int64_t(segment.first_position) + segment.length);
    return check_end("keys", spec_.keys, end,
                     "give fewer keys, or say with --segments which slots hold some");
  }

private:
  std::optional<double> given(const std::string &name) const {
    for (const auto &[known, value] : args_.params)
      if (known == name)
        return value;
    return std::nullopt;
  }

  std::optional<int64_t> value(const spec::Extent &extent) const {
    if (extent.isStatic())
      return extent.value;
    if (!known_)
      return std::nullopt;
    return static_cast<int64_t>(oracle::Evaluator(bindings_).value(*extent.dynamic, {}));
  }

  // One past the last position of a side, and what says so, if it has an end that is known.
  std::optional<std::pair<int64_t, std::string>> end_of(const spec::TokensInfo &tokens) const {
    const spec::TokenGroup &last = tokens.groups.back();
    const spec::SpaceInfo &space = spec_.spaces[last.space];
    std::optional<int64_t> count = value(last.base);
    if (!count || space.axes.front().kind == spec::AxisKind::Stream)
      return std::nullopt;
    int64_t tokens_of_space = 1;
    std::string why = concat("`", tokens.name, "` has ");
    for (const spec::SpaceAxis &axis : space.axes) {
      std::optional<int64_t> extent = value(axis.extent);
      if (axis.kind == spec::AxisKind::Packed)
        continue; // documents: the ragged axis behind it bounds them all
      if (axis.kind == spec::AxisKind::Ragged)
        if (std::optional<double> length = given("len_" + space.name)) {
          extent = static_cast<int64_t>(*length);
          why = concat("--set len_", space.name, "=", *length, " leaves ");
        }
      if (!extent)
        return std::nullopt;
      tokens_of_space *= *extent;
    }
    return std::pair(*count + tokens_of_space, why);
  }

  Status check_end(const char *what, const spec::TokensInfo &tokens, int64_t end,
                   const char *remedy) const {
    auto limit = end_of(tokens);
    if (!limit || end <= limit->first)
      return {};
    return Status::invalid_input(what, " reach position ", end - 1, "; ", limit->second,
                                 limit->first, " positions; ", remedy);
  }

  Status check_table(const spec::TableInfo &table) const {
    const HostArray *array = nullptr;
    for (const NamedArray &tensor : args_.tensors)
      if (tensor.name == table.name)
        array = &tensor.array;
    if (!array || array->shape.size() != table.dims.size())
      return {}; // refused where it is read
    for (size_t i = 0; i < table.dims.size(); ++i) {
      std::optional<int64_t> extent = dimension(table.dims[i]);
      if (extent && array->shape[i] != *extent)
        return Status::invalid_input("table ", table.name, " has extent ", array->shape[i],
                                     " on axis ", i, ", which is `", table.dims[i], "`: ", *extent);
    }
    return {};
  }

  std::optional<int64_t> dimension(const std::string &dim) const {
    int64_t number = 0;
    const char *end = dim.data() + dim.size();
    if (std::from_chars(dim.data(), end, number).ptr == end)
      return number;
    for (const spec::ConstInfo &constant : spec_.consts)
      if (constant.name == dim && std::holds_alternative<int64_t>(constant.value))
        return std::get<int64_t>(constant.value);
    if (dim == "batch")
      return args_.q.shape[0];
    if (dim == "head" || dim == "heads")
      return args_.q.shape[1];
    if (dim == "kv_head" || dim == "kv_heads")
      return args_.k.shape[1];
    return std::nullopt;
  }

  const spec::AttentionSpec &spec_;
  const HostArgs &args_;
  oracle::Bindings bindings_;
  bool known_ = true; // every parameter
};

} // namespace

Status check_segments(const std::vector<Segment> &segments, int64_t slots) {
  for (size_t i = 0; i < segments.size(); ++i) {
    const Segment &s = segments[i];
    if (int64_t(s.first_slot) + s.length > slots)
      return Status::usage("segment ", i, " has slots ", s.first_slot, " + ", s.length,
                           "; the array of keys has ", slots)
          .at("--segments");
    if (int64_t(s.first_position) + s.length > ATTN_POSITION_LIMIT)
      return Status::usage("segment ", i, " has positions ", s.first_position, " + ", s.length,
                           "; at most ", ATTN_POSITION_LIMIT, " are possible")
          .at("--segments");
  }
  for (auto [what, first] :
       {std::pair("slots", &Segment::first_slot), std::pair("positions", &Segment::first_position)})
    if (auto pair = find_overlap(segments, first))
      return Status::usage("segments ", pair->first, " and ", pair->second, " share ", what,
                           "; a key that is in both would count twice")
          .at("--segments");
  return {};
}

Status check_against_spec(const spec::AttentionSpec &spec, const HostArgs &args) {
  return SpecCheck(spec, args).run();
}

} // namespace attn
