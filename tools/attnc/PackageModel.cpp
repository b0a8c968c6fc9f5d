// attnc model --package: the model beside its kernels, as runtime/bundle/bundle_format.h
// describes it.
#include "tools/attnc/PackageModel.h"

#include "runtime/base/mapped_file.h"
#include "runtime/graph/package.h"
#include "runtime/stream/model.h"

#include <algorithm>

namespace attn::tools {

// Columns of the panels that the widest processor among the targets reads in place; the
// products beside a GPU's attention run on the host, of which the widest is assumed.
static uint32_t panelColumns(const std::vector<std::string> &targets) {
  uint32_t columns = 0;
  for (const std::string &target : targets)
    if (target.starts_with("cpu"))
      columns = std::max(columns, target == "cpu:neon" ? 8u : target == "cpu:avx2" ? 16u : 32u);
  return columns ? columns : 32;
}

static Status addFile(const std::string &path, const char *name, BundleWriter &package) {
  ATTN_ASSIGN_OR_RETURN(MappedFile file, MappedFile::open(path));
  package.add_blob(name, file.bytes());
  return {};
}

Status packageModel(graph::Graph graph, const stream::Description *description,
                    const std::vector<std::string> &targets, BundleWriter &package) {
  ATTN_RETURN_IF_ERROR(graph::pack_graph(graph, panelColumns(targets)));
  package.add_graph(stream::kPackedModel, std::move(graph));
  if (!description)
    return {};
  ATTN_RETURN_IF_ERROR(addFile(description->path, stream::kPackedDescription, package));
  // Read once as the runtime will: a package that opens nowhere is not written.
  ATTN_RETURN_IF_ERROR(
      stream::Tokenizer::open(description->vocabulary_path, description->prompt_words).status());
  return addFile(description->vocabulary_path, stream::kPackedVocabulary, package);
}

} // namespace attn::tools
