// Opens a model's files, each checked by its own reader.
#include "runtime/stream/model.h"
#include "runtime/base/mapped_file.h"

#include "runtime/bundle/checksum.h"
#include "runtime/graph/build.h"
#include "runtime/graph/package.h"
#include "runtime/onnx/load_model.h"

namespace attn::stream {

Result<std::shared_ptr<const Model>> Model::open(const ModelPaths &paths) {
  std::shared_ptr<const Bundle> bundle;
  if (!paths.bundle_path.empty()) {
    ATTN_ASSIGN_OR_RETURN(Bundle opened, Bundle::open(paths.bundle_path));
    bundle = std::make_shared<const Bundle>(std::move(opened));
  }
  return open(paths.model_path, std::move(bundle), paths.description_path);
}

Result<std::shared_ptr<const Model>> Model::open(std::shared_ptr<const Bundle> package) {
  auto made = std::make_shared<Model>();
  const std::string place = package->place();
  made->path_ = place;
  made->is_package_ = true;
  const PackedGraph *graph = package->find_graph(kPackedModel);
  if (!graph)
    return Status::invalid_input("the bundle holds kernels alone, no model; open an ONNX file with "
                                 "it, or make a package with `attnc model MODEL.onnx --package`")
        .at(place);
  const Bundle::Blob *description = package->find_blob(kPackedDescription),
                     *vocabulary = package->find_blob(kPackedVocabulary);
  if (!description || !vocabulary)
    return Status::invalid_input("the package's model is no stream: it was made without a "
                                 "stream.toml beside the model; run it with `attn-run model`")
        .at(place);
  auto text_of = [](const Bundle::Blob &blob) {
    return std::string(reinterpret_cast<const char *>(blob.bytes.data()), blob.bytes.size());
  };
  ATTN_ASSIGN_OR_RETURN(made->description_,
                        parse_description(text_of(*description), place + "/stream.toml"));
  ATTN_ASSIGN_OR_RETURN(made->tokenizer_,
                        Tokenizer::from_text(text_of(*vocabulary), made->description_.prompt_words,
                                             place + "/vocabulary"));
  made->graph_ = graph->graph;
  if (Status status = graph::restore_graph(made->graph_); !status.ok())
    return status.at(place);
  made->graph_.files.push_back(package);
  if (!package->kernels().empty())
    made->bundle_ = std::move(package);
  return std::shared_ptr<const Model>(std::move(made));
}

Result<std::shared_ptr<const Model>> Model::open(const std::string &path,
                                                 std::shared_ptr<const Bundle> bundle,
                                                 const std::string &description_path) {
  if (is_bundle_file(path)) {
    if (bundle || !description_path.empty())
      return Status::usage("a package has its own ", bundle ? "kernels" : "description",
                           "; give it alone")
          .at(path);
    ATTN_ASSIGN_OR_RETURN(Bundle opened, Bundle::open(path));
    return open(std::make_shared<const Bundle>(std::move(opened)));
  }
  ATTN_RETURN_IF_ERROR(MappedFile::open(path).status()); // before what lies beside it is asked for
  auto made = std::make_shared<Model>();
  made->path_ = path;
  made->bundle_ = std::move(bundle);
  const size_t slash = path.rfind('/');
  const std::string folder = slash == std::string::npos ? "" : path.substr(0, slash + 1);
  auto description =
      read_description(description_path.empty() ? folder + "stream.toml" : description_path);
  if (!description.ok() && description.status().code() == StatusCode::environment &&
      description_path.empty())
    return Status::environment("is no package, and a model needs its description: ",
                               description.status().to_string())
        .at(path);
  ATTN_ASSIGN_OR_RETURN(made->description_, std::move(description));
  const Description &d = made->description_;
  ATTN_ASSIGN_OR_RETURN(Tokenizer tokenizer, Tokenizer::open(d.vocabulary_path, d.prompt_words));
  made->tokenizer_ = std::move(tokenizer);
  ATTN_ASSIGN_OR_RETURN(onnx::Model model, onnx::load_model(path));
  auto built = graph::build_graph(model);
  if (!built.ok())
    return built.status().at(path);
  made->graph_ = std::move(*built);
  return std::shared_ptr<const Model>(std::move(made));
}

uint64_t Model::fingerprint() const {
  // The graph and a sample of every weight: reading gigabytes would take longer
  // than restoring.
  constexpr size_t kMost = 4096;
  std::string text = concat(bundle_ ? bundle_->hash() : 0, "\n");
  for (const graph::Node &node : graph_.nodes)
    text += concat(node.op, " ", node.name, "\n");
  for (const graph::Value &value : graph_.values) {
    text += concat(value.name, " ", value.type.text(), "\n");
    if (value.is_constant())
      text.append(static_cast<const char *>(value.data), std::min(value.type.bytes(), kMost));
  }
  return checksum64(std::as_bytes(std::span<const char>(text)));
}

} // namespace attn::stream
