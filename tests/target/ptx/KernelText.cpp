// Writes tile kernels as MLIR text; see KernelText.h.
#include "tests/target/ptx/KernelText.h"

#include <map>

using namespace attn::test;

// Replaces every `{name}` of `text`.
static std::string fill(std::string text, const std::map<std::string, std::string> &values) {
  for (const auto &[name, value] : values) {
    std::string key = "{" + name + "}";
    for (size_t at = 0; (at = text.find(key, at)) != std::string::npos; at += value.size())
      text.replace(at, key.size(), value);
  }
  return text;
}

static const char *kModule = R"(
tile.kernel @test.{type} bindings [#tile.binding<"q", q, {qt}, 4>, #tile.binding<"k", k, {kt}, 4>,
    #tile.binding<"v", v, {kt}, 4>, #tile.binding<"o", o, {qt}, 4>{bindings}] params [{params}]
    block_q {bq} block_k {bk} qk_dim {dq} v_dim {dv} {
  %q0 = tile.load_queries 0 : !tile.tile<{bq}x{dq}x{qt}>
  {quantize}
  %f = tile.score_factor {plain}
  %m0, %l0, %o0 = tile.softmax_init : !tile.tile<{bq}xf32>, !tile.tile<{bq}xf32>, !tile.tile<{bq}x{dv}xf32>
  %m, %l, %o = tile.for_keys (%m0, %l0, %o0) : (!tile.tile<{bq}xf32>, !tile.tile<{bq}xf32>, !tile.tile<{bq}x{dv}xf32>) -> (!tile.tile<{bq}xf32>, !tile.tile<{bq}xf32>, !tile.tile<{bq}x{dv}xf32>)
  classify {
  ^bb0(%q_lo: i32, %q_hi: i32, %k_lo: i32, %k_hi: i32, %head: i32, %batch: i32):
    {classify}
    tile.yield %any, %all : i1, i1
  } full {
    {full}
  } partial {
    {partial}
  }
  {sink}
  %out, %lse = tile.softmax_finish %m, %l, %o, %f {sinkuse} : !tile.tile<{bq}xf32>, !tile.tile<{bq}x{dv}xf32>
  tile.store_queries %out, 3 : !tile.tile<{bq}x{dv}xf32>
  {storelse}
}
)";

static const char *kBody = R"(
  ^bb0(%keys: !tile.keys, %m1: !tile.tile<{bq}xf32>, %l1: !tile.tile<{bq}xf32>, %o1: !tile.tile<{bq}x{dv}xf32>):
    %kt = tile.load_keys %keys, 1 : !tile.tile<{bk}x{dq}x{kt}>
    {dot}
    {score}
    {mask}
    %p, %m2, %l2, %alpha = tile.softmax_step %s2, %m1, %l1, %f : !tile.tile<{bq}x{bk}xf32>, !tile.tile<{bq}xf32>
    %v0 = tile.load_keys %keys, 2 : !tile.tile<{bk}x{dv}x{kt}>
    {values}
    tile.yield %m2, %l2, %o2 : !tile.tile<{bq}xf32>, !tile.tile<{bq}xf32>, !tile.tile<{bq}x{dv}xf32>
)";

std::string KernelText::module() const {
  bool int8 = type == "int8";
  std::string bindings;
  int next = 4;
  int kScale = -1, vScale = -1, lseBinding = -1, logits = -1;
  auto bind = [&](const char *name, const char *role, int rank) {
    bindings += std::string(", #tile.binding<\"") + name + "\", " + role + ", f32, " +
                std::to_string(rank) + ">";
    return next++;
  };
  if (lse)
    lseBinding = bind("lse", "lse", 3);
  if (int8) {
    kScale = bind("k_scale", "k_scale", 3);
    vScale = bind("v_scale", "v_scale", 3);
  }
  if (sinkLogit)
    logits = bind("logits", "table", 1);
  std::map<std::string, std::string> values = {
      {"type", type},
      {"qt", int8 ? "bf16" : type},
      {"kt", int8 ? "i8" : type},
      {"bq", std::to_string(blockQ)},
      {"bk", std::to_string(blockK)},
      {"dq", std::to_string(qkDim)},
      {"dv", std::to_string(vDim)},
      {"params", params},
      {"bindings", bindings},
      {"plain", score.empty() ? "" : "plain"},
      {"ks", std::to_string(kScale)},
      {"vs", std::to_string(vScale)},
      {"classify",
       classify.empty() ? "%any = arith.constant true\n %all = arith.constant true" : classify},
  };
  values["quantize"] = int8 ? fill("%qi, %qs = tile.quantize %q0 : !tile.tile<{bq}x{dq}xbf16> -> "
                                   "!tile.tile<{bq}x{dq}xi8>, !tile.tile<{bq}xf32>",
                                   values)
                            : "";
  values["dot"] = fill(
      int8 ? "%si = tile.dot_qk %qi, %kt : (!tile.tile<{bq}x{dq}xi8>, !tile.tile<{bk}x{dq}xi8>) "
             "-> !tile.tile<{bq}x{bk}xi32>\n"
             "%ks = tile.load_keys %keys, {ks} : !tile.tile<{bk}xf32>\n"
             "%s0 = tile.dequantize_scores %si, %qs, %ks : (!tile.tile<{bq}x{bk}xi32>, "
             "!tile.tile<{bq}xf32>, !tile.tile<{bk}xf32>) -> !tile.tile<{bq}x{bk}xf32>"
           : "%s0 = tile.dot_qk %q0, %kt : (!tile.tile<{bq}x{dq}x{kt}>, "
             "!tile.tile<{bk}x{dq}x{kt}>) -> !tile.tile<{bq}x{bk}xf32>",
      values);
  values["values"] =
      fill(int8 ? "%vs = tile.load_keys %keys, {vs} : !tile.tile<{bk}xf32>\n"
                  "%v = tile.dequantize_keys %v0, %vs : (!tile.tile<{bk}x{dv}xi8>, "
                  "!tile.tile<{bk}xf32>) -> !tile.tile<{bk}x{dv}xf32>\n"
                  "%o2 = tile.dot_pv %p, %v, %o1, %alpha : (!tile.tile<{bq}x{bk}xf32>, "
                  "!tile.tile<{bk}x{dv}xf32>, !tile.tile<{bq}x{dv}xf32>, !tile.tile<{bq}xf32>) -> "
                  "!tile.tile<{bq}x{dv}xf32>"
                : "%o2 = tile.dot_pv %p, %v0, %o1, %alpha : (!tile.tile<{bq}x{bk}xf32>, "
                  "!tile.tile<{bk}x{dv}x{kt}>, !tile.tile<{bq}x{dv}xf32>, !tile.tile<{bq}xf32>) -> "
                  "!tile.tile<{bq}x{dv}xf32>",
           values);
  std::string scored = score.empty() ? "%s0" : "%s1";
  values["score"] = score.empty()
                        ? ""
                        : fill("%s1 = tile.score %s0, %keys : !tile.tile<{bq}x{bk}xf32> {\n"
                               "^bb0(%s: f32, %q: i32, %k: i32, %head: i32, %batch: i32):\n" +
                                   score + "\n tile.yield %scored : f32\n}",
                               values);
  std::string maskOps = mask.empty() ? "%admitted = arith.constant true" : mask;
  auto body = [&](bool partial) {
    std::map<std::string, std::string> v = values;
    v["mask"] = fill("%s2 = tile.mask " + scored +
                         ", %keys : !tile.tile<{bq}x{bk}xf32> {\n"
                         "^bb0(%q: i32, %k: i32, %head: i32, %batch: i32):\n" +
                         maskOps + "\n tile.yield %admitted : i1\n}",
                     values);
    std::string text = kBody;
    if (!partial) {
      v["mask"] = "";
      size_t at = text.find("%s2,");
      text.replace(at, 4, scored + ",");
    }
    return fill(text, v);
  };
  values["full"] = body(false);
  values["partial"] = body(true);
  values["sink"] = logits < 0 ? ""
                              : "%h = tile.item 0\n %logit = tile.table_load " +
                                    std::to_string(logits) + "[%h] : f32";
  values["sinkuse"] = logits < 0 ? "" : "sink %logit";
  values["storelse"] = lse ? fill("tile.store_queries %lse, " + std::to_string(lseBinding) +
                                      " : !tile.tile<{bq}xf32>",
                                  values)
                           : "";
  return fill(kModule, values);
}
