// Reads stream.toml with toml++; every key is checked, unknown ones are refused
// so that a misspelt key is not silently a default.
#include "runtime/stream/description.h"

#include "runtime/base/mapped_file.h"
#include <cmath>
#include <limits>
#include <map>
#include <set>
#include <tuple>
#define TOML_EXCEPTIONS 0
#define TOML_ENABLE_FORMATTERS 0
#include <toml++/toml.h>

namespace attn::stream {

bool matches_pattern(const std::string &pattern, const std::string &name) {
  size_t p = 0, n = 0, star = std::string::npos, mark = 0;
  while (n < name.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      mark = n;
    } else if (p < pattern.size() && pattern[p] == name[n]) {
      ++p;
      ++n;
    } else if (star != std::string::npos) {
      p = star + 1;
      n = ++mark;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*')
    ++p;
  return p == pattern.size();
}

namespace {

// One table being read: keys that were asked for are remembered.
class Section {
public:
  Section(const toml::table *table, std::string name, const std::string &path, Status &status)
      : table_(table), name_(std::move(name)), path_(path), status_(status) {}

  bool exists() const { return table_ != nullptr; }

  const toml::node *get(const char *key, bool required) {
    asked_.insert(key);
    const toml::node *node = table_ ? table_->get(key) : nullptr;
    if (!node && required)
      fail(key, "is missing");
    return node;
  }
  void text(const char *key, std::string &out, bool required = true) {
    if (const toml::node *node = get(key, required)) {
      if (auto value = node->value_exact<std::string>())
        out = *value;
      else
        fail(key, "must be a text", node);
    }
  }
  void integer(const char *key, int64_t &out, int64_t low, int64_t high, bool required = true) {
    if (const toml::node *node = get(key, required)) {
      auto value = node->value_exact<int64_t>();
      if (value && *value >= low && *value <= high)
        out = *value;
      else
        fail(key, concat("must be an integer from ", low, " to ", high), node);
    }
  }
  template <typename T> void number(const char *key, T &out, bool required = true) {
    if (const toml::node *node = get(key, required)) {
      auto value = node->value<double>();
      if (value && fits_float(*value))
        out = static_cast<T>(*value);
      else
        fail(key, kFinite, node);
    }
  }
  void numbers(const char *key, std::vector<double> &out, size_t low, size_t high,
               bool required = true) {
    const toml::node *node = get(key, required);
    if (!node)
      return;
    const toml::array *array = node->as_array();
    bool good = array && array->size() >= low && array->size() <= high;
    for (size_t i = 0; good && i < array->size(); ++i) {
      auto value = (*array)[i].value<double>();
      good = value && fits_float(*value);
      if (good)
        out.push_back(*value);
    }
    if (!good)
      fail(key,
           concat("must be a list of ", low, low == high ? "" : concat(" to ", high),
                  " finite numbers"),
           node);
  }
  // One of a few words; returns its index.
  size_t choice(const char *key, std::initializer_list<const char *> words, bool required = true) {
    std::string value = *words.begin(), list;
    text(key, value, required);
    size_t index = 0;
    for (const char *word : words) {
      if (value == word)
        return index;
      list += (list.empty() ? "'" : ", '") + std::string(word) + "'";
      ++index;
    }
    fail(key, concat("is '", value, "'; it must be one of ", list),
         table_ ? table_->get(key) : nullptr);
    return 0;
  }
  void fail(const char *key, const std::string &what, const toml::node *node = nullptr) {
    if (!status_.ok())
      return;
    const toml::node *where = node ? node : static_cast<const toml::node *>(table_);
    std::string place = path_;
    if (where && where->source().begin)
      place += concat(":", where->source().begin.line, ":", where->source().begin.column);
    std::string full = name_.empty() ? key : name_ + "." + key;
    status_ = Status::invalid_input(full, " ", what).at(place);
  }
  void refuse_unknown() {
    if (!table_)
      return;
    for (auto &&[key, value] : *table_)
      if (!asked_.count(std::string(key.str())))
        fail(std::string(key.str()).c_str(), "is no key of a stream description", &value);
  }
  const toml::table *table() const { return table_; }

private:
  static constexpr const char *kFinite = "must be a finite number";
  static bool fits_float(double value) {
    return std::abs(value) <= double(std::numeric_limits<float>::max());
  }

  const toml::table *table_;
  std::string name_;
  const std::string &path_;
  Status &status_;
  std::set<std::string> asked_;
};

std::string fill_layer(std::string pattern, int64_t layer) {
  size_t at = pattern.find("{layer}");
  return at == std::string::npos ? pattern : pattern.replace(at, 7, std::to_string(layer));
}

void read_cache(Section &s, Description &d) {
  int64_t layers = 0;
  s.integer("layers", layers, 1, 4096);
  const char *keys[] = {"k_in", "v_in", "k_out", "v_out"};
  std::vector<std::string> *lists[] = {&d.k_in, &d.v_in, &d.k_out, &d.v_out};
  for (int i = 0; i < 4; ++i) {
    std::string pattern;
    s.text(keys[i], pattern);
    if (layers > 1 && !pattern.empty() && pattern.find("{layer}") == std::string::npos)
      s.fail(keys[i], "must contain {layer}");
    for (int64_t l = 0; l < layers; ++l)
      lists[i]->push_back(fill_layer(pattern, l));
  }
  if (d.k_in == d.v_in && !d.k_in.empty())
    s.fail("v_in", "names the inputs of k_in; keys and values have caches of their own",
           s.get("v_in", false));
  s.integer("sink_frames", d.sink_frames, 0, 1 << 20);
  s.integer("window_frames", d.window_frames, 1, 1 << 20);
  d.positions = s.choice("positions", {"contiguous", "stream"}, false) ? Positions::stream
                                                                       : Positions::contiguous;
  if (d.sink_frames % d.frames_per_block)
    s.fail("sink_frames", concat("must be a multiple of frames_per_block, ", d.frames_per_block));
  if (d.window_frames % d.frames_per_block)
    s.fail("window_frames", concat("must be a multiple of frames_per_block, ", d.frames_per_block));
}

// Which of a model's position inputs there are, and whether they say enough.
void read_inputs(Section &s, Description &d, const Status &status) {
  const std::tuple<const char *, std::string *, bool> roles[] = {
      {"sample", &d.sample, true},
      {"timestep", &d.timestep, true},
      {"prompt", &d.prompt, true},
      {"write_index", &d.write_index, true},
      {"kv_length", &d.kv_length, true},
      {"q_positions", &d.q_positions, false},
      {"k_positions", &d.k_positions, false},
      {"q_frames", &d.q_frames, false},
  };
  std::map<std::string, const char *> role_of;
  for (auto [role, name, required] : roles) {
    s.text(role, *name, required);
    if (name->empty())
      continue;
    if (auto [other, is_new] = role_of.emplace(*name, role); !is_new && status.ok())
      s.fail(role, concat("is '", *name, "', as inputs.", other->second, " is; name another input"),
             s.get(role, false));
  }
  if (d.q_positions.empty() && d.q_frames.empty())
    s.fail("q_positions", "is missing, and inputs.q_frames too: one of them tells the model "
                          "where its frames stand");
}

// Keys that are stored rotated cannot follow when the rank of their frame changes.
void check_positions(Section &cache, const Description &d) {
  if (d.positions == Positions::contiguous && d.k_positions.empty())
    cache.fail(
        "positions",
        "is 'contiguous', which needs inputs.k_positions to rotate cached keys anew; a model "
        "that caches rotated keys takes 'stream'",
        cache.get("positions", false));
}

void read_decoder(Section &s, Section &model, Description &d, const Status &status) {
  const bool linear = s.choice("kind", {"pixels", "linear"}) == 1;
  if (linear) {
    std::vector<double> matrix;
    const size_t entries = d.sample_shape.empty() ? 3 : 3 * static_cast<size_t>(d.sample_shape[0]);
    s.numbers("to_rgb", matrix, entries, entries);
    d.to_rgb.assign(matrix.begin(), matrix.end());
  } else if (s.get("to_rgb", false)) {
    s.fail("to_rgb", "is for kind 'linear'", s.get("to_rgb", false));
  }
  std::vector<double> range;
  s.numbers("range", range, 2, 2, false);
  if (range.size() == 2) {
    d.range_low = static_cast<float>(range[0]);
    d.range_high = static_cast<float>(range[1]);
    if (!(d.range_low < d.range_high))
      s.fail("range",
             concat("is [", range[0], ", ", range[1], "]; the first must be below the second"),
             s.get("range", false));
  }
  s.number("fps", d.fps, false);
  if (!(d.fps > 0 && d.fps <= 1000))
    s.fail("fps", "must be above 0, at most 1000");
  s.integer("scale", d.scale, 1, 64, false);
  s.refuse_unknown();
  if (status.ok() && !linear && d.sample_shape[0] != 3 && d.sample_shape[0] != 1)
    model.fail("sample_shape", "must have 1 or 3 channels to be shown as pixels; more are shown by "
                               "decoder.kind 'linear'");
}

void read_schedule(Section &s, Description &d) {
  std::vector<double> timesteps;
  s.numbers("timesteps", timesteps, 1, 1000);
  d.renoise = s.choice("renoise", {"euler", "fresh"}) ? Renoise::fresh : Renoise::euler;
  const toml::node *list = s.get("timesteps", false);
  for (double value : timesteps) {
    const float t = static_cast<float>(value);
    if (t <= 0 || (!d.timesteps.empty() && t >= d.timesteps.back()))
      s.fail("timesteps",
             concat("has ", value, d.timesteps.empty() ? "" : " behind ",
                    d.timesteps.empty() ? "" : concat(d.timesteps.back()),
                    "; timesteps must fall and stay above 0, as [1.0, 0.5]"),
             list);
    d.timesteps.push_back(t);
  }
  // x - t v and (1 - t) x0 + t noise mean noise levels; the ratios of euler any scale.
  if (!d.timesteps.empty() && d.timesteps.front() > 1 &&
      (d.kind == Prediction::flow || d.renoise == Renoise::fresh))
    s.fail("timesteps",
           concat("has ", d.timesteps.front(),
                  "; with prediction.kind 'flow' or renoise 'fresh' they are noise "
                  "levels of at most 1"),
           list);
  s.number("clean_timestep", d.clean_timestep, false);
  if (!d.timesteps.empty() && !(d.clean_timestep >= 0 && d.clean_timestep <= d.timesteps.front()))
    s.fail("clean_timestep",
           concat("is ", d.clean_timestep,
                  "; it must lie between 0, which is no "
                  "noise, and the first of timesteps, ",
                  d.timesteps.front()),
           s.get("clean_timestep", false));
}

void read_attention(Section &s, Description &d) {
  if (!s.exists())
    return;
  for (auto &&[key, value] : *s.table()) {
    std::string name(key.str());
    const toml::node *node = s.get(name.c_str(), true);
    AttentionBinding binding{name, "", ""};
    if (const toml::table *table = node->as_table()) {
      if (auto nodes = (*table)["nodes"].value<std::string>())
        binding.nodes = *nodes;
      if (auto spec = (*table)["spec"].value<std::string>())
        binding.spec = *spec;
    }
    if (binding.nodes.empty() || binding.spec.empty())
      s.fail(name.c_str(), "must be a table with nodes and spec", node);
    d.attention.push_back(std::move(binding));
  }
}

} // namespace

Result<Description> parse_description(const std::string &text, const std::string &path) {
  toml::parse_result parsed = toml::parse(text, path);
  if (!parsed) {
    const auto &where = parsed.error().source().begin;
    return Status::invalid_input(parsed.error().description())
        .at(concat(path, ":", where.line, ":", where.column));
  }
  const toml::table &root = parsed.table();
  Status status;
  Description d;
  d.path = path;
  Section top(&root, "", path, status);
  auto section = [&](const char *name, bool required = true) {
    const toml::node *node = top.get(name, required);
    if (node && !node->is_table())
      top.fail(name, "must be a table", node);
    return Section(node ? node->as_table() : nullptr, name, path, status);
  };
  int64_t format = 0;
  top.integer("format", format, 1, 1);
  top.text("name", d.name, false);

  Section model = section("model");
  model.integer("frames_per_block", d.frames_per_block, 1, 1 << 16);
  model.integer("tokens_per_frame", d.tokens_per_frame, 1, 1 << 24);
  std::vector<double> shape;
  model.numbers("sample_shape", shape, 3, 3);
  for (double v : shape) {
    if (v < 1 || v > 1 << 16 || v != std::floor(v))
      model.fail("sample_shape", "must be channels, height and width, from 1 to 65536");
    else
      d.sample_shape.push_back(static_cast<int64_t>(v));
  }
  model.choice("dtype", {"f32"}, false);
  model.refuse_unknown();

  Section in = section("inputs");
  read_inputs(in, d, status);
  in.refuse_unknown();
  Section out = section("outputs");
  out.text("prediction", d.prediction);
  out.refuse_unknown();

  Section prediction = section("prediction");
  d.kind = prediction.choice("kind", {"x0", "flow"}) ? Prediction::flow : Prediction::x0;
  std::vector<double> clamp;
  prediction.numbers("clamp", clamp, 2, 2, false);
  if (clamp.size() == 2) {
    d.clamp = true;
    d.clamp_low = static_cast<float>(clamp[0]);
    d.clamp_high = static_cast<float>(clamp[1]);
    if (!(d.clamp_low < d.clamp_high))
      prediction.fail(
          "clamp",
          concat("is [", clamp[0], ", ", clamp[1], "]; the first must be below the second"),
          prediction.get("clamp", false));
  }
  prediction.refuse_unknown();

  Section cache = section("cache");
  read_cache(cache, d);
  check_positions(cache, d);
  cache.refuse_unknown();
  Section schedule = section("schedule");
  read_schedule(schedule, d);
  schedule.refuse_unknown();

  Section recache = section("recache", false);
  if (recache.exists()) {
    recache.choice("on", {"prompt"});
    recache.integer("replay_frames", d.replay_frames, 0, 1 << 20);
    if (d.frames_per_block > 0 && d.replay_frames % d.frames_per_block)
      recache.fail("replay_frames",
                   concat("must be a multiple of frames_per_block, ", d.frames_per_block));
    if (d.replay_frames > d.window_frames)
      recache.fail("replay_frames",
                   concat("is ", d.replay_frames, ", but only ", d.window_frames,
                          " are kept (cache.window_frames); at most that many can "
                          "be re-run"),
                   recache.table()->get("replay_frames"));
    recache.choice("order", {"sequential"}, false);
    d.sink = recache.choice("sink", {"refresh", "keep"}, false) ? SinkRecache::keep
                                                                : SinkRecache::refresh;
    recache.refuse_unknown();
  }

  Section prompt = section("prompt");
  prompt.choice("kind", {"words"});
  prompt.integer("words", d.prompt_words, 1, 1 << 16);
  std::string vocabulary;
  prompt.text("vocabulary", vocabulary);
  size_t slash = path.rfind('/');
  d.vocabulary_path = slash == std::string::npos || vocabulary.starts_with('/')
                          ? vocabulary
                          : path.substr(0, slash + 1) + vocabulary;
  prompt.text("default", d.default_prompt, false);
  prompt.refuse_unknown();

  Section decoder = section("decoder");
  read_decoder(decoder, model, d, status);

  Section attention = section("attention", false);
  read_attention(attention, d);
  top.refuse_unknown();
  if (!status.ok())
    return status;
  return d;
}

Result<Description> read_description(const std::string &path) {
  ATTN_ASSIGN_OR_RETURN(MappedFile file, MappedFile::open(path));
  std::string text(reinterpret_cast<const char *>(file.bytes().data()), file.bytes().size());
  return parse_description(text, path);
}

} // namespace attn::stream
