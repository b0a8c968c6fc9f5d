// One attention call on arrays in host memory: converts and packs them for the
// kernel, runs it on the device, and brings the results back as f32.
#pragma once

#include "runtime/base/status.h"
#include "runtime/call/attention_call.h"
#include "runtime/device/device.h"
#include <string>
#include <vector>

namespace attn {

// Values with their shape. Numbers are kept as f32 (f64 for integers of tables).
struct HostArray {
  std::vector<int64_t> shape;
  std::vector<double> values;
  int64_t count() const;
};

struct NamedArray {
  std::string name;
  HostArray array;
};

// Contiguous (batch, heads, tokens, dim) f32 arrays.
struct HostTensor {
  int64_t shape[4] = {};
  std::vector<float> values;
  int64_t count() const { return shape[0] * shape[1] * shape[2] * shape[3]; }
};

// How Q, K, V and O lie in device memory. Rows start at multiples of 16 bytes.
enum class HostLayout : uint8_t {
  heads_first,  // (batch, heads, tokens, dim)
  tokens_first, // (batch, tokens, heads, dim)
  padded        // heads_first with room between rows, heads and batch entries
};

struct HostArgs {
  HostTensor q, k, v;
  std::vector<NamedArray> tensors; // tables, and inputs as (batch, heads, rows, dim)
  std::vector<std::pair<std::string, double>> params;
  std::vector<Segment> segments;
  uint32_t segments_per_batch = 0;
  int32_t q_position = 0, layer = 0;
  HostLayout layout = HostLayout::heads_first;
  float scale = std::numeric_limits<float>::quiet_NaN();
};

// Partial results over disjoint keys: o as in HostTensor, lse (batch, heads, tokens).
struct HostMerge {
  std::vector<HostTensor> o;
  std::vector<std::vector<float>> lse;
  std::vector<NamedArray> tensors;
  std::vector<std::pair<std::string, double>> params;
  int32_t q_position = 0, layer = 0;
};

struct HostResult {
  HostTensor o;
  std::vector<float> lse; // empty where the kernel has none
  bool strayed = false;   // the kernel wrote between the rows of O
};

// What the kernel sees of values of a type: rounds to 16 bits and back; other
// types are returned as they are.
void round_to_type(std::vector<float> &values, ElementType type);

// int8 per row of `dim`: scale = amax / 127 in f32, round to nearest even. A NaN or
// infinity in a row becomes its scale, beside zeros.
void quantise_rows(const std::vector<float> &values, int64_t dim, std::vector<int8_t> &quantised,
                   std::vector<float> &scales);

// Device memory and words of a call, made once and launched any number of
// times. Outputs are filled with NaN beforehand, so that what the kernel does
// not write is seen.
class HostCall {
public:
  static Result<HostCall> create(Device &device, Kernel &kernel, const HostArgs &args);
  static Result<HostCall> create(Device &device, Kernel &kernel, const HostMerge &args);
  Status launch();
  Result<HostResult> read();
  // The KV ranges of a query tile as the kernel's own function says
  // (kernel_abi.h), at most out.size() / 4; 0 where the kernel exports none.
  uint32_t ranges(uint32_t batch, uint32_t head, uint32_t q_tile, std::span<uint32_t> out) const;

private:
  HostCall(Device &device, Kernel &kernel) : device_(&device), kernel_(&kernel) {}
  Status prepare(const HostArgs &args);
  Status prepare(const HostMerge &args);
  // Every table and input of the kernel, from what is given by name; `rows` are
  // (batch, heads, tokens, dim) of the output.
  Status upload_named(const std::vector<NamedArray> &given, const int64_t (&rows)[4],
                      std::vector<NamedTensor> &tensors);
  Result<TensorView> upload(const HostTensor &tensor, ElementType type,
                            HostLayout layout = HostLayout::heads_first);
  // One f32 for each row: (batch, heads, tokens, 1).
  Result<TensorView> upload_rows(const HostTensor &rows);
  Result<TensorView> make_output(const int64_t (&shape)[4], ElementType type, bool has_dim,
                                 HostLayout layout = HostLayout::heads_first);
  Result<TensorView> upload_bytes(const std::vector<std::byte> &bytes, ElementType type,
                                  const int64_t (&shape)[4], int64_t row);
  Result<TensorView> upload_table(const HostArray &array, const BindingInfo &binding);
  Result<Buffer *> new_buffer(size_t bytes);

  Device *device_;
  Kernel *kernel_;
  std::vector<std::unique_ptr<Buffer>> buffers_;
  TensorView o_, lse_;
  AttentionCall call_;
};

// create, launch, read.
Result<HostResult> run_on_device(Device &device, Kernel &kernel, const HostArgs &args);
Result<HostResult> merge_on_device(Device &device, Kernel &kernel, const HostMerge &args);

} // namespace attn
