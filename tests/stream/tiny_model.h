// A stream model of a few hundred weights: one layer with a cache, a prompt of one
// word, frames of 3 x 2 x 2. Written as files into a folder.
#pragma once

#include "tests/onnx/onnx_builder.h"
#include <cmath>
#include <filesystem>
#include <fstream>
#include <string>

namespace attn::test {

struct TinyStream {
  int64_t frames = 1, sink = 1, window = 3, replay = 2; // frames; T is 4 tokens a frame
  std::string kind = "x0", renoise = "euler", sink_recache = "refresh", spec = "tiny_self",
              nodes = "layer*.attn";
  bool roped = false;   // keys are rotated before they are cached, by stream positions
  bool spelled = false; // attention as MatMul, Mul, Softmax, MatMul, over all slots
};

inline std::vector<float> wave(size_t n, float phase, float size) {
  std::vector<float> v(n);
  for (size_t i = 0; i < n; ++i)
    v[i] =
        size * std::sin(phase + 1.7f * static_cast<float>(i) + 0.01f * static_cast<float>(i * i));
  return v;
}

inline std::string tiny_onnx(const TinyStream &s) {
  OnnxBuilder b;
  const int64_t f = s.frames, n = 4 * f, slots = (s.sink + s.window) * 4, d = 16;
  b.input("sample", kF32, {1, f, 3, 2, 2}).input("t", kF32, {1, f}).input("words", kI64, {1, 1});
  b.input("at", kI64, {1}).input("length", kI64, {1}).input("qp", kI64, {1, n});
  if (!s.roped)
    b.input("kp", kI64, {1, slots});
  b.input("k0", kF32, {1, 1, slots, d}).input("v0", kF32, {1, 1, slots, d});
  b.constant<float>("table", {4, d}, wave(4 * d, 0.3f, 1));
  for (const char *w : {"wq", "wk", "wv", "wo"})
    b.constant<float>(w, {d, d}, wave(d * d, float(w[1]), 0.5f));
  b.constant<float>("win", {3, d}, wave(3 * d, 2, 0.7f))
      .constant<float>("wout", {d, 3}, wave(3 * d, 5, 0.4f));
  b.constant<float>("wt", {d}, wave(d, 4, 1));
  std::vector<float> cosine, sine;
  const int64_t places = s.roped ? 256 : slots;
  for (int64_t p = 0; p < places; ++p)
    for (int i = 0; i < 8; ++i) {
      cosine.push_back(std::cos(float(p) * std::pow(0.3f, float(i))));
      sine.push_back(std::sin(float(p) * std::pow(0.3f, float(i))));
    }
  b.constant("cos", {places, 8}, cosine).constant("sin", {places, 8}, sine);
  b.constant<int64_t>("planes", {3}, {f, 3, 4}).constant<int64_t>("rows", {3}, {1, n, 3});
  b.constant<int64_t>("column", {3}, {1, f, 1}).constant<int64_t>("frames", {3}, {f, 4, 3});
  b.constant<int64_t>("split", {4}, {1, n, 1, d}).constant<int64_t>("merge", {3}, {1, n, d});
  b.constant<int64_t>("grid", {4}, {1, f, 1, d}).constant<int64_t>("by_frame", {4}, {1, f, 4, d});
  b.constant<int64_t>("shape", {5}, {1, f, 3, 2, 2});
  b.node("Reshape", {"sample", "planes"}, {"s1"})
      .node("Transpose", {"s1"}, {"s2"}, {attr("perm", Dims{0, 2, 1})});
  b.node("Reshape", {"s2", "rows"}, {"s3"}).node("MatMul", {"s3", "win"}, {"h0"});
  b.node("Reshape", {"t", "column"}, {"t1"})
      .node("Mul", {"t1", "wt"}, {"t2"})
      .node("Reshape", {"t2", "grid"}, {"t3"});
  b.node("Gather", {"table", "words"}, {"word"}).node("Reshape", {"h0", "by_frame"}, {"h1"});
  b.node("Add", {"h1", "t3"}, {"h2"})
      .node("Reshape", {"h2", "merge"}, {"h3"})
      .node("Add", {"h3", "word"}, {"h"});
  for (const std::string x : {"q", "k", "v"}) {
    b.node("MatMul", {"h", "w" + x}, {x + "1"}).node("Reshape", {x + "1", "split"}, {x + "2"});
    b.node("Transpose", {x + "2"}, {x + "3"}, {attr("perm", Dims{0, 2, 1, 3})});
  }
  if (s.roped)
    b.node("RotaryEmbedding", {"k3", "cos", "sin", "qp"}, {"k4"});
  b.node("TensorScatter", {"k0", s.roped ? "k4" : "k3", "at"}, {"k0.out"})
      .node("TensorScatter", {"v0", "v3", "at"}, {"v0.out"});
  b.node("RotaryEmbedding", {"q3", "cos", "sin", "qp"}, {"qr"});
  if (!s.roped)
    b.node("RotaryEmbedding", {"k0.out", "cos", "sin", "kp"}, {"kr"});
  if (s.spelled) {
    b.constant<float>("scale", {1}, {0.25f});
    b.node("Transpose", {"kr"}, {"kt"}, {attr("perm", Dims{0, 1, 3, 2})})
        .node("MatMul", {"qr", "kt"}, {"s4"})
        .node("Mul", {"s4", "scale"}, {"s5"})
        .node("Softmax", {"s5"}, {"p"}, {attr("axis", -1)})
        .node("MatMul", {"p", "v0.out"}, {"a0"}, {}, "layer0.values");
  } else {
    b.node("Attention", {"qr", s.roped ? "k0.out" : "kr", "v0.out", "", "", "", "length"}, {"a0"},
           {}, "layer0.attn");
  }
  b.node("Transpose", {"a0"}, {"a1"}, {attr("perm", Dims{0, 2, 1, 3})})
      .node("Reshape", {"a1", "merge"}, {"a2"});
  b.node("MatMul", {"a2", "wo"}, {"a3"})
      .node("Add", {"h", "a3"}, {"r"})
      .node("MatMul", {"r", "wout"}, {"o0"});
  b.node("Tanh", {"o0"}, {"o1"}).node("Reshape", {"o1", "frames"}, {"o2"});
  b.node("Transpose", {"o2"}, {"o3"}, {attr("perm", Dims{0, 2, 1})})
      .node("Reshape", {"o3", "shape"}, {"x0"});
  b.output("x0").output("k0.out").output("v0.out");
  return b.model();
}

inline std::string tiny_toml(const TinyStream &s) {
  auto num = [](int64_t v) { return std::to_string(v); };
  return "format = 1\nname = \"tiny\"\n[model]\nframes_per_block = " + num(s.frames) +
         "\ntokens_per_frame = 4\nsample_shape = [3, 2, 2]\ndtype = \"f32\"\n"
         "[inputs]\nsample = \"sample\"\ntimestep = \"t\"\nprompt = \"words\"\nwrite_index = "
         "\"at\"\n"
         "kv_length = \"length\"\nq_positions = \"qp\"\n" +
         (s.roped ? "" : "k_positions = \"kp\"\n") +
         "[outputs]\nprediction = \"x0\"\n[prediction]\nkind = \"" + s.kind +
         "\"\nclamp = [-1.0, 1.0]\n"
         "[cache]\nlayers = 1\nk_in = \"k{layer}\"\nv_in = \"v{layer}\"\nk_out = \"k{layer}.out\"\n"
         "v_out = \"v{layer}.out\"\nsink_frames = " +
         num(s.sink) + "\nwindow_frames = " + num(s.window) + "\npositions = \"" +
         (s.roped ? "stream" : "contiguous") +
         "\"\n[schedule]\ntimesteps = [1.0, 0.5]\nrenoise = \"" + s.renoise +
         "\"\nclean_timestep = 0.0\n[recache]\non = \"prompt\"\nreplay_frames = " + num(s.replay) +
         "\norder = \"sequential\"\nsink = \"" + s.sink_recache +
         "\"\n[prompt]\nkind = \"words\"\nwords = 1\n"
         "vocabulary = \"vocab.txt\"\ndefault = \"north\"\n[decoder]\nkind = \"pixels\"\nrange = "
         "[-1.0, 1.0]\n"
         "fps = 12\nscale = 8\n" +
         (s.nodes.empty()
              ? ""
              : "[attention]\nself = { nodes = \"" + s.nodes + "\", spec = \"" + s.spec + "\" }\n");
}

inline void write_tiny_stream(const std::filesystem::path &folder, const TinyStream &s = {}) {
  std::filesystem::create_directories(folder);
  std::ofstream(folder / "step.onnx", std::ios::binary) << tiny_onnx(s);
  std::ofstream(folder / "stream.toml") << tiny_toml(s);
  std::ofstream(folder / "vocab.txt") << "north\nsouth\neast\nwest\n";
}

} // namespace attn::test
