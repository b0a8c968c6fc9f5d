// A stream model as it lies in its files, or in a package: graph, description,
// vocabulary, kernels. Read once, unchanged afterwards, shared by any number of streams.
#pragma once

#include "runtime/bundle/bundle_reader.h"
#include "runtime/graph/graph.h"
#include "runtime/stream/description.h"
#include "runtime/stream/tokenizer.h"
#include <memory>
#include <optional>
#include <string>

namespace attn::stream {

// What a package calls its parts.
inline constexpr const char *kPackedModel = "model", *kPackedDescription = "model/stream.toml",
                            *kPackedVocabulary = "model/vocabulary";

struct ModelPaths {
  std::string model_path, bundle_path; // an ONNX file or a package; bundle "": none
  std::string description_path;        // "": stream.toml beside the model
};

class Model {
public:
  static Result<std::shared_ptr<const Model>> open(const ModelPaths &paths);
  static Result<std::shared_ptr<const Model>> open(const std::string &path,
                                                   std::shared_ptr<const Bundle> bundle,
                                                   const std::string &description_path = {});
  // The model of a package.
  static Result<std::shared_ptr<const Model>> open(std::shared_ptr<const Bundle> package);

  const std::string &path() const { return path_; }
  const Description &description() const { return description_; }
  const Tokenizer &tokenizer() const { return *tokenizer_; }
  const Bundle *bundle() const { return bundle_.get(); } // or null
  const graph::Graph &graph() const { return graph_; }
  bool is_package() const { return is_package_; }
  // Names model and kernels: snapshots are restored where it is the same.
  uint64_t fingerprint() const;

private:
  std::string path_;
  Description description_;
  std::optional<Tokenizer> tokenizer_;
  std::shared_ptr<const Bundle> bundle_;
  graph::Graph graph_; // points into the mapped file
  bool is_package_ = false;
};

} // namespace attn::stream
