// Collects compiled kernels and writes them as one bundle.
#pragma once

#include "runtime/base/status.h"
#include "runtime/bundle/kernel_info.h"
#include "runtime/graph/graph.h"
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace attn {

class BundleWriter {
public:
  // Returns the index for KernelInfo::spec. The same name and source twice
  // give one entry.
  uint32_t add_spec(std::string_view name, std::string_view source);
  // Returns the index for KernelInfo::image. Equal bytes give one entry.
  uint32_t add_image(TargetKind target, std::span<const std::byte> bytes);
  void add_kernel(KernelInfo kernel) { kernels_.push_back(std::move(kernel)); }
  void add_blob(std::string_view name, std::span<const std::byte> bytes);
  // A model's graph as pack_graph() made it; makes the bundle a package.
  void add_graph(std::string_view name, graph::Graph graph);

  // The file's bytes. Fails for a record that readers would refuse. The same
  // content added in the same order gives the same bytes.
  Result<std::vector<std::byte>> finish() const;
  // Writes to a temporary file beside `path` and renames it.
  Status write(const std::string &path) const;

private:
  struct Spec {
    std::string name, source;
  };
  struct Image {
    TargetKind target;
    std::vector<std::byte> bytes;
  };
  struct Blob {
    std::string name;
    std::vector<std::byte> bytes;
  };
  struct Graph {
    std::string name;
    graph::Graph graph;
  };
  struct Piece {
    uint64_t offset;
    std::span<const std::byte> bytes;
  };
  // The file: `head`, then `pieces` where they belong, zeros between them.
  struct Parts {
    std::vector<std::byte> head;
    std::vector<Piece> pieces;
    uint64_t checked = 0, size = 0;
  };
  Status check() const;
  Result<Parts> lay_out() const;

  std::vector<Graph> graphs_;
  std::vector<Spec> specs_;
  std::vector<Image> images_;
  std::vector<Blob> blobs_;
  std::vector<KernelInfo> kernels_;
};

} // namespace attn
