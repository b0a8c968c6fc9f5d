// Pastes the choices into the one shape that attention kernels have.
#include "tests/target/spirv/kernel_text.h"

namespace {

std::string tile(int rows, int columns, const std::string &type) {
  return "!tile.tile<" + std::to_string(rows) + "x" +
         (columns ? std::to_string(columns) + "x" : "") + type + ">";
}

struct Types {
  explicit Types(const KernelText &t)
      : q(tile(t.block_q, t.qk_dim, t.type)), k(tile(t.block_k, t.qk_dim, t.int8 ? "i8" : t.type)),
        v(tile(t.block_k, t.v_dim, t.int8 ? "i8" : t.type)),
        v_float(tile(t.block_k, t.v_dim, t.int8 ? "f32" : t.type)),
        scores(tile(t.block_q, t.block_k, "f32")), integers(tile(t.block_q, t.block_k, "i32")),
        row(tile(t.block_q, 0, "f32")), key(tile(t.block_k, 0, "f32")),
        out(tile(t.block_q, t.v_dim, "f32")), q8(tile(t.block_q, t.qk_dim, "i8")) {}
  std::string q, k, v, v_float, scores, integers, row, key, out, q8;
};

std::string body(const KernelText &t, const Types &y, bool masked) {
  std::string s = "^bb0(%keys: !tile.keys, %m1: " + y.row + ", %l1: " + y.row + ", %o1: " + y.out +
                  "):\n%k = tile.load_keys %keys, 1 : " + y.k + "\n";
  std::string score = "%s0";
  if (t.int8)
    s += "%si = tile.dot_qk %q8, %k : (" + y.q8 + ", " + y.k + ") -> " + y.integers +
         "\n%ks = tile.load_keys %keys, " + std::to_string(4 + t.lse) + " : " + y.key +
         "\n%s0 = tile.dequantize_scores %si, %qs, %ks : (" + y.integers + ", " + y.row + ", " +
         y.key + ") -> " + y.scores + "\n";
  else
    s += "%s0 = tile.dot_qk %q, %k : (" + y.q + ", " + y.k + ") -> " + y.scores + "\n";
  if (!t.score.empty()) {
    s += "%s1 = tile.score " + score + ", %keys : " + y.scores +
         " {\n^bb0(%s: f32, %q_position: i32, %k_position: i32, %head: i32, %batch: i32):\n" +
         t.score + "tile.yield %result : f32\n}\n";
    score = "%s1";
  }
  if (masked) {
    s += "%s2 = tile.mask " + score + ", %keys : " + y.scores +
         " {\n^bb0(%q_position: i32, %k_position: i32, %head: i32, %batch: i32):\n" + t.mask +
         "tile.yield %admitted : i1\n}\n";
    score = "%s2";
  }
  s += "%p, %m2, %l2, %alpha = tile.softmax_step " + score + ", %m1, %l1, %f : " + y.scores + ", " +
       y.row + "\n";
  std::string v = "%v";
  s += "%v = tile.load_keys %keys, 2 : " + y.v + "\n";
  if (t.int8) {
    s += "%vs = tile.load_keys %keys, " + std::to_string(5 + t.lse) + " : " + y.key +
         "\n%vf = tile.dequantize_keys %v, %vs : (" + y.v + ", " + y.key + ") -> " + y.v_float +
         "\n";
    v = "%vf";
  }
  return s + "%o2 = tile.dot_pv %p, " + v + ", %o1, %alpha : (" + y.scores + ", " + y.v_float +
         ", " + y.out + ", " + y.row + ") -> " + y.out + "\ntile.yield %m2, %l2, %o2 : " + y.row +
         ", " + y.row + ", " + y.out + "\n";
}

} // namespace

std::string KernelText::str() const {
  Types y(*this);
  std::string kv = int8 ? "i8" : type;
  // Order: q, k, v, o, [lse], [k_scale, v_scale], more.
  std::string bindings = "#tile.binding<\"q\", q, " + type + ", 4>, #tile.binding<\"k\", k, " + kv +
                         ", 4>, #tile.binding<\"v\", v, " + kv + ", 4>, #tile.binding<\"o\", o, " +
                         type + ", 4>";
  if (lse)
    bindings += ", #tile.binding<\"lse\", lse, f32, 3>";
  if (int8)
    bindings += ", #tile.binding<\"k_scale\", k_scale, f32, 3>, "
                "#tile.binding<\"v_scale\", v_scale, f32, 3>";
  std::string states = y.row + ", " + y.row + ", " + y.out;
  std::string s = "tile.kernel @" + name + " bindings [" + bindings + more_bindings + "] params [" +
                  params + "] block_q " + std::to_string(block_q) + " block_k " +
                  std::to_string(block_k) + " qk_dim " + std::to_string(qk_dim) + " v_dim " +
                  std::to_string(v_dim) + " {\n" + sort + "%q = tile.load_queries 0 : " + y.q +
                  "\n";
  if (int8)
    s += "%q8, %qs = tile.quantize %q : " + y.q + " -> " + y.q8 + ", " + y.row + "\n";
  s += sink + "%f = tile.score_factor " + (score.empty() ? "" : "plain") +
       "\n%m0, %l0, %o0 = tile.softmax_init : " + states +
       "\n%m, %l, %o = tile.for_keys (%m0, %l0, %o0) : (" + states + ") -> (" + states +
       ")\nclassify {\n^bb0(%q_lo: i32, %q_hi: i32, %k_lo: i32, %k_hi: i32, %head: i32, %batch: "
       "i32):\n" +
       classify + "tile.yield %any, %all : i1, i1\n} full {\n" + body(*this, y, false) +
       "} partial {\n" + body(*this, y, true) +
       "}\n%out, %lse = tile.softmax_finish %m, %l, %o, %f " + (sink.empty() ? "" : "sink %sink ") +
       ": " + y.row + ", " + y.out + "\ntile.store_queries %out, 3 : " + y.out + "\n";
  if (lse)
    s += "tile.store_queries %lse, 4 : " + y.row + "\n";
  return s + "}\n";
}
