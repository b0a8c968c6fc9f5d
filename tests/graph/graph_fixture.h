// Builds, plans and runs a small ONNX graph in one call.
#pragma once

#include "runtime/graph/build.h"
#include "runtime/graph/session.h"
#include "runtime/onnx/load_model.h"
#include "tests/onnx/onnx_builder.h"
#include <cstring>
#include <gtest/gtest.h>
#include <random>

namespace attn::test {

class Runner {
public:
  // `threads` 2 shows races to the sanitizers even on small graphs.
  explicit Runner(const OnnxBuilder &builder, bool fuse = true, bool memoise = true,
                  graph::CacheChoice int8_caches = {})
      : bytes_(builder.model()), pool_(2) {
    auto model =
        onnx::parse_model({reinterpret_cast<const uint8_t *>(bytes_.data()), bytes_.size()}, "");
    status_ = model.status();
    if (!model.ok())
      return;
    auto graph = graph::build_graph(*model);
    status_ = graph.status();
    if (!graph.ok())
      return;
    graph::SessionOptions options;
    options.fuse = fuse;
    options.plan.memoise = memoise;
    options.int8_caches = std::move(int8_caches);
    auto session = graph::Session::create(std::move(*graph), pool_, options);
    status_ = session.status();
    if (session.ok())
      session_ = std::move(*session);
  }
  const Status &status() const { return status_; }
  graph::Session &session() { return *session_; }
  template <typename T> Runner &set(const char *name, const std::vector<T> &values) {
    const graph::Tensor *t = session_->find(name);
    EXPECT_TRUE(t) << name;
    EXPECT_EQ(t->elements(), static_cast<int64_t>(values.size())) << name;
    std::memcpy(t->data, values.data(), values.size() * sizeof(T));
    return *this;
  }
  Runner &run(int schedule = 0) {
    status_ = session_->run(schedule);
    EXPECT_TRUE(status_.ok()) << status_.to_string();
    return *this;
  }
  template <typename T = float> std::vector<T> get(const char *name) {
    const graph::Tensor *t = session_->find(name);
    EXPECT_TRUE(t) << name;
    std::vector<T> out(static_cast<size_t>(t->elements()));
    std::memcpy(out.data(), t->data, out.size() * sizeof(T));
    return out;
  }
  size_t count(const std::string &op) {
    size_t n = 0;
    for (const graph::Node &node : session_->graph().nodes)
      n += node.op == op;
    return n;
  }

private:
  std::string bytes_;
  ThreadPool pool_;
  Status status_;
  std::unique_ptr<graph::Session> session_;
};

inline std::vector<float> random_floats(size_t n, uint32_t seed) {
  std::mt19937 engine(seed);
  std::normal_distribution<float> normal;
  std::vector<float> v(n);
  for (float &x : v)
    x = normal(engine);
  return v;
}

inline void expect_near(const std::vector<float> &a, const std::vector<float> &b, float tolerance) {
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i)
    ASSERT_NEAR(a[i], b[i], tolerance) << "element " << i;
}

} // namespace attn::test
