// The tests' small stream model as a package without kernels.
#pragma once

#include "runtime/bundle/bundle_writer.h"
#include "runtime/graph/build.h"
#include "runtime/graph/package.h"
#include "runtime/graph/recognise_attention.h"
#include "runtime/onnx/load_model.h"
#include "runtime/stream/model.h"
#include "tests/stream/tiny_model.h"

namespace attn::test {

// As `attnc model --package` makes it; `columns` of its panels.
inline Status write_tiny_package(const std::filesystem::path &path, const TinyStream &s,
                                 uint32_t columns) {
  const std::string onnx = tiny_onnx(s), toml = tiny_toml(s), words = "north\nsouth\neast\nwest\n";
  const std::span bytes(reinterpret_cast<const uint8_t *>(onnx.data()), onnx.size());
  ATTN_ASSIGN_OR_RETURN(onnx::Model model, onnx::parse_model(bytes, ""));
  ATTN_ASSIGN_OR_RETURN(graph::Graph graph, graph::build_graph(model));
  graph::recognise_attention(graph);
  ATTN_RETURN_IF_ERROR(graph::pack_graph(graph, columns));
  BundleWriter writer;
  writer.add_graph(stream::kPackedModel, std::move(graph));
  writer.add_blob(stream::kPackedDescription, std::as_bytes(std::span(toml)));
  writer.add_blob(stream::kPackedVocabulary, std::as_bytes(std::span(words)));
  return writer.write(path.string());
}

} // namespace attn::test
