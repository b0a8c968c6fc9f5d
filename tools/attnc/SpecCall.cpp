// Reads --shape, --set and --table against a spec's declarations.
#include "tools/attnc/SpecCall.h"

#include "runtime/device/device.h"
#include "tools/attnc/Commands.h"

#include <charconv>
#include <iostream>

namespace attn::tools {

void CallOptions::add(CLI::App &command) {
  command
      .add_option("--shape", shape,
                  "Sizes: axis=n for streams and ragged axes, param=n, or q=n, kv=n, q_position=n, "
                  "kv_position=n, heads=n, kv_heads=n, head=n, batch=n, layer=n; separated by "
                  "commas")
      ->delimiter(',');
  command.add_option("--set", params, "A parameter: NAME=VALUE; may be repeated");
  command.add_option("--table", tables, "A table's contents: NAME=FILE.npy; may be repeated");
}

namespace {

constexpr int64_t maxSize = 100'000'000;
constexpr int64_t maxAssumedTokens = 8192; // of a side whose extents are assumed

void collect(const spec::Expr &expr, spec::Op what, std::set<uint32_t> &indices) {
  if (expr.op == what)
    indices.insert(expr.index());
  for (const spec::ExprPtr &operand : expr.operands)
    collect(*operand, what, indices);
}

class CallReader {
public:
  CallReader(const spec::AttentionSpec &spec, const CallOptions &options, SpecCall &call,
             std::set<std::string> &used)
      : spec(spec), options(options), call(call), used(used) {}

  int run() {
    if (Status status = parse(); !status.ok())
      return fail(status);
    call.heads = spec.heads ? spec.heads : assume("heads", 1);
    call.kvHeads = spec.kvHeads ? spec.kvHeads : take("kv_heads", call.heads);
    if (call.heads < 1 || call.kvHeads < 1 || call.heads % call.kvHeads != 0) {
      std::cerr << "attnc: error: " << call.heads << " heads cannot share " << call.kvHeads
                << " KV heads; give heads and kv_heads in --shape, one a multiple of the other\n";
      return kUsage;
    }
    if (!readParams())
      return kUsage;
    call.keys = sideLength("kv", spec.keys);
    call.queries = sideLength("q", spec.query);
    call.queryPosition = take("q_position", 0);
    call.keyPosition = take("kv_position", 0);
    call.batch = take("batch", 1);
    if (call.batch < 1)
      return fail(Status::usage("--shape gives batch 0; at least 1 is needed"));
    call.batched = used.count("batch") != 0;
    call.head = take("head", 0);
    call.headChosen = used.count("head") != 0;
    if (call.head >= call.heads) {
      std::cerr << "attnc: error: head " << call.head << " is asked for; there are " << call.heads
                << ", give 0 to " << call.heads - 1 << "\n";
      return kUsage;
    }
    call.bindings.heads = static_cast<int32_t>(call.heads);
    call.bindings.kvHeads = static_cast<int32_t>(call.kvHeads);
    call.bindings.layer = static_cast<int32_t>(take("layer", 0));
    return readTables();
  }

private:
  Status parse() {
    std::string name, value;
    for (const std::string &item : options.shape) {
      const char *form = "axis=n with a whole n from 0 to 100,000,000, separated by commas";
      ATTN_RETURN_IF_ERROR(tool::split_assignment(item, "--shape", form, name, value));
      int64_t number = 0;
      const char *end = value.data() + value.size();
      if (std::from_chars(value.data(), end, number).ptr != end || number < 0 || number > maxSize)
        return Status::usage("--shape has '", item, "'; write ", form);
      if (!given.emplace(name, number).second)
        return Status::usage("--shape gives ", name, " twice; give it once");
    }
    for (const std::string &item : options.params) {
      double number = 0;
      ATTN_RETURN_IF_ERROR(tool::split_assignment(item, "--set", "NAME=NUMBER", name, value));
      ATTN_RETURN_IF_ERROR(tool::parse_number(value, "--set " + name, number));
      if (!numbers.emplace(name, number).second)
        return Status::usage("--set gives ", name, " twice; give it once");
      if (given.count(name))
        return Status::usage(name, " is given by --shape and by --set; give it once");
    }
    return {};
  }

  int64_t take(const std::string &name, int64_t otherwise) {
    auto it = given.find(name);
    if (it == given.end())
      return otherwise;
    used.insert(name);
    return it->second;
  }

  // As take, and says so where nothing is given.
  int64_t assume(const std::string &name, int64_t otherwise) {
    if (!given.count(name))
      noteAssumed({name, "", double(otherwise)});
    return take(name, otherwise);
  }

  void noteAssumed(SpecCall::Assumption made) {
    for (const SpecCall::Assumption &known : call.assumed)
      if (known.name == made.name)
        return;
    call.assumed.push_back(std::move(made));
  }

  double paramValue(const spec::ParamInfo &param) {
    if (auto set = numbers.find(param.name); set != numbers.end()) {
      used.insert(param.name);
      return set->second;
    }
    if (param.implicit)
      return double(raggedLength(param));
    if (given.count(param.name))
      return double(take(param.name, 0));
    return param.maximum;
  }

  // The params that nothing gives. They take their maximum, but extents what gives each
  // side no more than a few thousand tokens.
  void assumeParams() {
    std::set<uint32_t> open, extents;
    for (uint32_t i = 0; i < spec.params.size(); ++i)
      if (const spec::ParamInfo &param = spec.params[i]; !param.implicit && !used.count(param.name))
        open.insert(i);
    for (const spec::SpaceInfo &space : spec.spaces)
      for (const spec::SpaceAxis &axis : space.axes)
        if (axis.extent.dynamic)
          collect(*axis.extent.dynamic, spec::Op::Param, extents);
    std::vector<double> &values = call.bindings.params;
    auto next = [&](uint32_t i) {
      return std::max(std::ceil(values[i] / 2), spec.params[i].minimum);
    };
    std::vector<SpecCall::Assumption> before = call.assumed;
    while (std::max(tokenCount(spec.query), tokenCount(spec.keys)) > maxAssumedTokens) {
      auto larger = [&](uint32_t a, uint32_t b) {
        return values[a] - next(a) < values[b] - next(b);
      };
      std::vector<uint32_t> choices;
      std::set_intersection(open.begin(), open.end(), extents.begin(), extents.end(),
                            std::back_inserter(choices));
      auto most = std::max_element(choices.begin(), choices.end(), larger);
      if (most == choices.end() || next(*most) == values[*most])
        break;
      values[*most] = next(*most);
    }
    call.assumed = std::move(before);
    for (uint32_t i : open)
      noteAssumed({spec.params[i].name, values[i] == spec.params[i].maximum ? "its maximum" : "",
                   values[i]});
  }

  bool readParams() {
    for (const spec::ParamInfo &param : spec.params) {
      double value = paramValue(param);
      if (param.type == spec::Type::Float)
        value = static_cast<float>(value);
      bool whole = param.type == spec::Type::Float || value == double(int64_t(value));
      if (!(value >= param.minimum && value <= param.maximum) || !whole) {
        std::cerr << "attnc: error: parameter " << param.name << " is " << value
                  << "; the spec allows " << (whole ? "" : "whole numbers from ") << param.minimum
                  << " to " << param.maximum << "\n";
        return false;
      }
      call.bindings.params.push_back(value);
    }
    assumeParams();
    return true;
  }

  // The length of a ragged space, which the checker names len_SPACE.
  int64_t raggedLength(const spec::ParamInfo &param) {
    for (const spec::SpaceInfo &space : spec.spaces)
      if (param.name == "len_" + space.name)
        return extentOf(space.axes.front());
    return assume(param.name, int64_t(param.maximum));
  }

  int64_t extentOf(const spec::SpaceAxis &axis) {
    switch (axis.kind) {
    case spec::AxisKind::Stream:
      return assume(axis.name, 12);
    case spec::AxisKind::Packed:
      return assume(axis.name, 4);
    case spec::AxisKind::Ragged:
      return assume(axis.name, std::min<int64_t>(axis.extent.value, 1024));
    case spec::AxisKind::Fixed:
      break;
    }
    if (axis.extent.isStatic())
      return axis.extent.value;
    oracle::Evaluator evaluator(call.bindings); // over params, which are known by now
    return static_cast<int64_t>(evaluator.value(*axis.extent.dynamic, {}));
  }

  // The tokens of a side, if their number is not given outright.
  int64_t sideLength(const std::string &name, const spec::TokensInfo &tokens) {
    std::vector<SpecCall::Assumption> before = call.assumed;
    int64_t count = tokenCount(tokens);
    if (!given.count(name))
      return count;
    call.assumed = std::move(before);
    return take(name, 0);
  }

  int64_t tokenCount(const spec::TokensInfo &tokens) {
    int64_t total = 0;
    for (const spec::TokenGroup &group : tokens.groups) {
      int64_t count = 1;
      const spec::SpaceInfo &space = spec.spaces[group.space];
      bool single = space.axes.size() == 1;
      for (const spec::SpaceAxis &axis : space.axes)
        count *= single && axis.kind == spec::AxisKind::Stream ? assume(axis.name, 1024)
                                                               : extentOf(axis);
      total += count;
    }
    return total;
  }

  int readTables() {
    call.bindings.tables.resize(spec.tables.size());
    std::string name, path;
    std::set<std::string> seen;
    for (const std::string &item : options.tables) {
      if (Status status = tool::split_assignment(item, "--table", "NAME=FILE.npy", name, path);
          !status.ok())
        return fail(status);
      if (!seen.insert(name).second)
        return fail(Status::usage("--table gives ", name, " twice; give it once"));
      for (size_t i = 0; i < spec.tables.size(); ++i) {
        if (spec.tables[i].name != name)
          continue;
        used.insert(name);
        if (int code = readTable(spec.tables[i], path, call.bindings.tables[i]); code != kDone)
          return code;
      }
    }
    return kDone;
  }

  int readTable(const spec::TableInfo &info, const std::string &path, oracle::TableData &table) {
    Result<NpyArray> array = read_npy(path);
    if (!array.ok())
      return fail(array.status());
    auto refuse = [&](const std::string &found, const std::string &wanted) {
      return fail(Status::invalid_input("table `", info.name, "` has ", found,
                                        "; the spec declares ", wanted)
                      .at(path));
    };
    if (array->shape.size() != info.dims.size())
      return refuse(concat(array->shape.size(), " axes"), std::to_string(info.dims.size()));
    if (array->count() == 0)
      return refuse("no elements", "at least one");
    for (size_t i = 0; i < info.dims.size(); ++i) {
      int64_t declared = 0;
      const std::string &dim = info.dims[i];
      const char *end = dim.data() + dim.size();
      bool number = std::from_chars(dim.data(), end, declared).ptr == end;
      for (const spec::ConstInfo &constant : spec.consts)
        if (constant.name == dim && std::holds_alternative<int64_t>(constant.value)) {
          declared = std::get<int64_t>(constant.value);
          number = true;
        }
      if (number && array->shape[i] != declared)
        return refuse(concat("extent ", array->shape[i], " on axis ", i), concat(declared));
    }
    bool whole = info.element == spec::Element::Int32 || info.element == spec::Element::UInt8;
    bool isFloat = array->type == ElementType::f32 || array->type == ElementType::f16 ||
                   array->type == ElementType::bf16;
    if (whole && isFloat)
      return refuse("element type " + std::string(element_type_name(array->type)), "integers");
    table.extents = array->shape;
    table.values.resize(static_cast<size_t>(array->count()));
    for (size_t i = 0; i < table.values.size(); ++i)
      table.values[i] = array->number(i);
    return kDone;
  }

  const spec::AttentionSpec &spec;
  const CallOptions &options;
  SpecCall &call;
  std::set<std::string> &used;
  std::map<std::string, int64_t> given;
  std::map<std::string, double> numbers;
};

} // namespace

std::string describeAssumptions(const SpecCall &call) {
  std::string values, remedy;
  for (const SpecCall::Assumption &made : call.assumed) {
    values += concat(values.empty() ? "" : ", ", made.name, " = ", made.value,
                     made.why.empty() ? "" : " (", made.why, made.why.empty() ? "" : ")");
    remedy += concat(remedy.empty() ? "" : ",", made.name, "=N");
  }
  return values.empty() ? values : concat(values, "; give --shape ", remedy, " for others");
}

void noteAssumptions(const SpecCall &call) {
  if (std::string text = describeAssumptions(call); !text.empty())
    std::cerr << "attnc: note: assumed " << text << "\n";
}

int readCall(const spec::AttentionSpec &spec, const CallOptions &options, SpecCall &call,
             std::set<std::string> &used) {
  return CallReader(spec, options, call, used).run();
}

int readCall(const spec::AttentionSpec &spec, const CallOptions &options, SpecCall &call) {
  std::set<std::string> used;
  int code = readCall(spec, options, call, used);
  return code == kDone ? refuseUnused(options, used, {&spec}) : code;
}

namespace {

// "window has the axis i, the parameter width": what a call may set.
std::string openNames(const spec::AttentionSpec &spec) {
  std::string text;
  auto add = [&](const char *what, const std::string &name) {
    text += concat(text.empty() ? " has " : ", ", what, name);
  };
  for (const spec::SpaceInfo &space : spec.spaces)
    for (const spec::SpaceAxis &axis : space.axes)
      if (axis.kind != spec::AxisKind::Fixed)
        add("the axis ", axis.name);
  for (const spec::ParamInfo &param : spec.params)
    add("the parameter ", param.name);
  for (const spec::TableInfo &table : spec.tables)
    add("the table ", table.name);
  if (spec.heads)
    add("always heads = ", std::to_string(spec.heads));
  return spec.name + (text.empty() ? " leaves nothing open" : text);
}

} // namespace

int refuseUnused(const CallOptions &options, const std::set<std::string> &used,
                 const std::vector<const spec::AttentionSpec *> &specs) {
  struct Kind {
    const std::vector<std::string> &items;
    const char *option, *meaning;
  };
  for (const Kind &kind : {Kind{options.shape, "--shape", "axis or parameter"},
                           {options.params, "--set", "parameter"},
                           {options.tables, "--table", "table"}})
    for (const std::string &item : kind.items) {
      std::string name = item.substr(0, item.find('='));
      if (used.count(name))
        continue;
      std::cerr << "attnc: error: " << kind.option << " names '" << name << "', which is no "
                << kind.meaning << " that is open";
      for (const spec::AttentionSpec *spec : specs)
        std::cerr << "; " << openNames(*spec);
      std::cerr << "\n";
      return kUsage;
    }
  return kDone;
}

bool haveTables(const spec::AttentionSpec &spec, const spec::Expr &expr, const SpecCall &call) {
  std::set<uint32_t> tables;
  collect(expr, spec::Op::Gather, tables);
  for (uint32_t table : tables) {
    if (!call.bindings.tables[table].extents.empty())
      continue;
    const spec::TableInfo &info = spec.tables[table];
    std::string dims;
    for (const std::string &dim : info.dims)
      dims += (dims.empty() ? "" : ", ") + dim;
    std::cerr << "attnc: error: " << spec.name << " reads the table `" << info.name << "[" << dims
              << "]`; give its contents with --table " << info.name << "=FILE.npy\n";
    return false;
  }
  return true;
}

const spec::AttentionSpec *pickAttention(const spec::CheckedSpec &checked,
                                         const std::string &name) {
  if (name.empty())
    return &checked.attentions.front();
  const spec::AttentionSpec *found = checked.find(name);
  if (!found)
    std::cerr << "attnc: error: " << checked.fileName << " defines no attention '" << name << "'\n";
  return found;
}

} // namespace attn::tools
