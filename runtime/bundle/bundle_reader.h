// A checked, mapped view of a bundle. Every offset and record is verified when
// it is opened, so that nothing read from it later can fail.
#pragma once

#include "runtime/base/mapped_file.h"
#include "runtime/base/status.h"
#include "runtime/bundle/kernel_info.h"
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace attn {

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

  // The blob of that name, or null.
  const Blob *find_blob(std::string_view name) const;
  // Path or name under which it was opened.
  const std::string &place() const { return place_; }
  // The file's checksum: equal hash, equal content.
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
};

} // namespace attn
