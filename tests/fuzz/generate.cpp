// Random declarations, and a mask and score over them.
#include "tests/fuzz/draft.h"
#include "tests/fuzz/expressions.h"

namespace attn::fuzz {

namespace {

class Generator {
public:
  explicit Generator(uint64_t seed) : random_(seed), maker_(random_, names_) {}

  Draft draft() {
    params();
    tokens();
    heads();
    tables();
    for (int64_t i = random_.below(3); i > 0; --i) {
      std::string name = "let" + std::to_string(i);
      add("let " + name + " = $", {maker_.boolean(2)});
      names_.lets.push_back(name);
    }
    mask();
    if (random_.one_in(3)) {
      Number score = maker_.score();
      draft_.score_error = score.error;
      add("score $", {std::move(score.node)});
    }
    if (random_.one_in(5)) {
      Number logit = maker_.logit();
      draft_.score_error = std::max(draft_.score_error, logit.error);
      add("softmax with $", {std::move(logit.node)});
    }
    if (random_.one_in(2))
      add("emit lse");
    return std::move(draft_);
  }

private:
  void add(std::string format, std::vector<Node> children = {}) {
    draft_.clauses.push_back({std::move(format), std::move(children)});
  }
  std::string number(int64_t low, int64_t high) { return std::to_string(random_.between(low, high)); }

  void params() {
    if (random_.one_in(2)) {
      add("param n in " + random_.pick(std::vector<std::string>{"0..9", "1..12", "-4..4"}));
      names_.ints.push_back("n");
    }
    if (random_.one_in(4)) {
      add("param gain: float in 0.25..2.0");
      names_.numbers.push_back("gain");
    }
    if (random_.one_in(4)) {
      add("const C = " + number(1, 20));
      names_.ints.push_back("C");
    }
  }

  // `ambiguous`: another space has an axis of that name.
  void axis(const std::string &space, const std::string &name, int64_t extent, bool query, bool key,
            bool ambiguous = false) {
    std::string full = (ambiguous ? space + "." : "") + name;
    names_.axes.push_back({query ? "q." + full : "", key ? "k." + full : "",
                           ambiguous ? "" : name, extent, space});
  }

  // A grid whose first axis is a stream or has an end.
  void grid(const std::string &name, bool stream, bool query, bool key) {
    int64_t rank = random_.between(1, 4);
    static const char *const axes[] = {"t", "z", "y", "x"};
    std::string text;
    int64_t first_extent = random_.between(2, 40);
    for (int64_t i = 0; i < rank; ++i) {
      std::string axis_name = axes[i];
      if (i == 0) {
        text += axis_name + ": " + (stream ? "stream" : std::to_string(first_extent));
        axis(name, axis_name, stream ? 0 : first_extent, query, key);
        continue;
      }
      if (random_.one_in(8)) {
        std::string param = "E" + std::to_string(i);
        add("param " + param + " in " + number(2, 3) + ".." + number(4, 9));
        names_.ints.push_back(param);
        text += ", " + axis_name + ": " + param;
        axis(name, axis_name, 2, query, key);
      } else {
        int64_t extent = random_.between(2, 9);
        text += ", " + axis_name + ": " + std::to_string(extent);
        axis(name, axis_name, extent, query, key);
      }
    }
    add("space " + name + "(" + text + ")");
    if (random_.one_in(3)) {
      add("axis b = " + name + ".t // " + number(2, 4));
      axis(name, "b", stream ? 0 : 1, query, key);
    }
    if (rank > 1 && random_.one_in(5)) {
      std::string last = axes[rank - 1];
      add("axis c = " + name + "." + last + " " + random_.pick(std::vector<std::string>{"//", "%"}) +
          " 2");
      axis(name, "c", 1, query, key);
    }
  }

  void tokens() {
    int64_t choice = random_.below(10);
    if (choice < 4) { // self-attention over a grid
      grid("video", choice < 2, true, true);
      add("query video");
      add("keys video");
    } else if (choice == 4) { // ragged
      add("space tok(i: ragged <= " + number(40, 400) + ")");
      axis("tok", "i", 0, true, true);
      if (random_.one_in(2))
        names_.lengths.push_back("len(tok)");
      add("query tok");
      add("keys tok");
    } else if (choice == 5) { // packed documents
      add("space tok(doc: packed, i: ragged <= " + number(200, 400) + ")");
      axis("tok", "doc", 0, true, true);
      axis("tok", "i", 0, true, true);
      add("query tok");
      add("keys tok");
    } else if (choice < 8) { // a prefix beside a grid
      bool ragged = random_.one_in(2);
      add(std::string("space text(i: ") + (ragged ? "ragged <= " : "") + number(3, 60) + ")");
      axis("text", "i", ragged ? 0 : 3, true, true);
      grid("video", random_.one_in(2), true, true);
      add("tokens seq = text ++ video");
      groups_ = {"text", "video", "seq"};
      add("query seq");
      add("keys seq");
    } else if (choice == 8) { // cross-attention
      grid("video", random_.one_in(2), true, false);
      add("space text(i: " + std::string(random_.one_in(2) ? "ragged <= " : "") + number(20, 200) + ")");
      axis("text", "i", 0, false, true);
      add("query video");
      add("keys text");
    } else { // two spaces with an axis of the same name
      add("space left(i: " + number(5, 50) + ")");
      add("space right(i: " + number(5, 60) + ", j: " + number(2, 5) + ")");
      axis("left", "i", 0, true, true, true);
      axis("right", "i", 0, true, true, true);
      axis("right", "j", 2, true, true);
      add("tokens seq = left ++ right");
      groups_ = {"left", "right", "seq"};
      add("query seq");
      add("keys seq");
    }
  }

  void heads() {
    static const std::vector<std::string> counts = {"1", "2", "4 kv 2", "6 kv 2", "3 kv 1",
                                                    "any", "any kv 1", "8 kv 2", "5"};
    static const std::vector<int64_t> dims = {8, 16, 16, 32, 20, 12, 36, 7, 64};
    std::string text = "heads " + random_.pick(counts) + " dim " + std::to_string(random_.pick(dims));
    if (random_.one_in(2))
      text += " value " + std::to_string(random_.pick({16, 24, 32, 48, 64, 19}));
    add(text);
    if (random_.one_in(6))
      add("scale " + random_.pick(std::vector<std::string>{"0.25", "0.5", "0.125"}));
  }

  void tables() {
    static const std::vector<std::string> dims = {"head", "batch", "entry", "3", "8", "heads"};
    static const std::vector<std::string> types = {"i32", "i32", "u8", "f32", "f32", "bf16", "f16"};
    for (int64_t i = random_.below(4); i > 1; --i) {
      NamedTable table{"tab" + std::to_string(i), int(random_.between(1, 4)), false};
      std::string text;
      for (int d = 0; d < table.rank; ++d)
        text += (d ? ", " : "") + (table.rank < 3 ? random_.pick(dims) : number(1, 5));
      std::string type = random_.pick(types);
      table.real = type[0] == 'f' || type[0] == 'b';
      add("table " + table.name + "[" + text + "]: " + type);
      names_.tables.push_back(table);
    }
  }

  void mask() {
    if (!groups_.empty() && random_.one_in(2)) {
      std::string text = "mask case {";
      std::vector<Node> lines;
      for (int64_t i = random_.between(1, 4); i > 0; --i) {
        std::string query = random_.pick(groups_), key = random_.pick(groups_);
        text += " " + query + " -> " + key + ": $;";
        Vocabulary names = names_.between(query == "seq" ? "" : query, key == "seq" ? "" : key);
        ExpressionMaker maker(random_, names);
        lines.push_back(random_.one_in(4) ? Node{Kind::boolean, "all"}
                                          : maker.boolean(int(random_.between(0, 3))));
      }
      add(text + " }", std::move(lines));
      return;
    }
    add("mask $", {maker_.boolean(int(random_.between(0, 4)))});
  }

  Random random_;
  Vocabulary names_;
  ExpressionMaker maker_;
  Draft draft_;
  std::vector<std::string> groups_;
};

} // namespace

Draft generate(uint64_t seed) { return Generator(seed).draft(); }

} // namespace attn::fuzz
