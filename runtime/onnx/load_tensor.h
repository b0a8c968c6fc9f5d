// Reads one TensorProto: dims, type and data enter, a Tensor leaves that points
// into the mapped bytes wherever they are dense, or owns a converted copy.
#pragma once

#include "runtime/base/status.h"
#include "runtime/onnx/model.h"
#include "runtime/onnx/wire_reader.h"
#include <map>

namespace attn::onnx {

class TensorLoader {
public:
  // `directory` is where external data lies; "" refuses it.
  explicit TensorLoader(std::string directory) : directory_(std::move(directory)) {}
  Status load(WireReader reader, Tensor &tensor);
  const std::vector<std::shared_ptr<const void>> &files() const { return files_; }
  uint64_t mapped_bytes() const { return mapped_bytes_; }
  uint64_t copied_bytes() const { return copied_bytes_; }

private:
  struct External {
    std::string location;
    uint64_t offset = 0, length = 0;
    bool has_length = false;
  };
  Status attach_external(const External &external, size_t need, Tensor &tensor);

  std::string directory_;
  std::map<std::string, Bytes> opened_;
  std::vector<std::shared_ptr<const void>> files_;
  uint64_t mapped_bytes_ = 0, copied_bytes_ = 0;
};

} // namespace attn::onnx
