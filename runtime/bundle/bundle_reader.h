// A checked, mapped view of a bundle. Every offset and record is verified when
// it is opened, so that nothing read from it later can fail.
#pragma once

#include "runtime/base/mapped_file.h"
#include "runtime/base/status.h"
#include "runtime/bundle/kernel_info.h"
#include "runtime/graph/graph.h"
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace attn {

// The graph of a packaged model. Its constants point into the bundle; the values that its
// nodes make have no types yet (see graph/package.h).
struct PackedGraph {
  std::string name;
  graph::Graph graph;
  uint64_t constants_hash = 0; // what hash_constants() of an undamaged file gives
};

class Bundle {
public:
  struct Spec {
    std::string_view name;   // file name
    std::string_view source; // text
  };
  struct Image {
    TargetKind target;
    std::span<const std::byte> bytes;
  };
  struct Blob {
    std::string_view name;
    std::span<const std::byte> bytes;
  };

  // Maps the file for as long as the bundle lives.
  static Result<Bundle> open(const std::string &path);
  // Views `bytes`, which the caller keeps alive and unchanged. `place` names
  // them in messages.
  static Result<Bundle> from_memory(std::span<const std::byte> bytes, std::string_view place);

  const std::vector<KernelInfo> &kernels() const { return kernels_; }
  const std::vector<Spec> &specs() const { return specs_; }
  const std::vector<Image> &images() const { return images_; }
  const std::vector<Blob> &blobs() const { return blobs_; }
  const std::vector<PackedGraph> &graphs() const { return graphs_; }

  // The graph, or the blob, of that name, or null.
  const PackedGraph *find_graph(std::string_view name) const;
  const Blob *find_blob(std::string_view name) const;
  // Path or name under which it was opened.
  const std::string &place() const { return place_; }
  // The file's checksum: equal hash, equal content but for a model's constants.
  uint64_t hash() const { return hash_; }
  size_t size() const { return bytes_.size(); }

private:
  Status parse();
  MappedFile file_;
  std::span<const std::byte> bytes_;
  std::string place_;
  uint64_t hash_ = 0;
  std::vector<KernelInfo> kernels_;
  std::vector<Spec> specs_;
  std::vector<Image> images_;
  std::vector<Blob> blobs_;
  std::vector<PackedGraph> graphs_;
};

// Whether a file begins as bundles do; false if it cannot be read.
bool is_bundle_file(const std::string &path);

// The checksum of all constants of a graph. Reads them, which opening a bundle does not.
uint64_t hash_constants(const graph::Graph &graph);

} // namespace attn
