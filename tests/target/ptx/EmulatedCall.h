// One call of a compiled kernel: inputs are made up, the kernel runs in the
// emulator, and a double-precision reference says what should come out.
#pragma once

#include "runtime/bundle/kernel_info.h"

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace attn::test {

struct Segment {
  int slot, length, position;
};

struct Call {
  int batch = 1, heads = 1, kvHeads = 1;
  int queries = 64, queryPosition = 0;
  int slots = 0; ///< of K and V; 0: as many as the segments use
  std::vector<Segment> segments;
  bool misaligned = false; ///< rows begin at odd elements
  uint64_t seed = 0;       ///< of the inputs and of the emulator's scheduling
  std::vector<double> params;
  double scale = 0; ///< 0: 1 / sqrt(dim)
  struct Table {
    std::vector<int64_t> extents;
    std::vector<double> values;
  };
  std::vector<Table> tables; ///< of a spec, in its order
  /// Of the output expression: (batch, query, head, dim), without the axes that
  /// it does not have.
  struct Input {
    bool query, head, dim;
    std::vector<double> values;
  };
  std::vector<Input> inputs;
  /// Of merge kernels: (batch, head, query, dim) and (batch, head, query).
  struct Part {
    std::vector<float> out, lse;
  };
  std::vector<Part> parts;
  std::vector<float> logits; ///< sink logit per head
  std::function<bool(int q, int k, int head)> mask = [](int, int, int) { return true; };
  std::function<double(double s, int q, int k, int head)> score;
};

struct Attention {
  std::vector<double> out, lse; ///< (batch, head, query[, dim])
};

/// The tensors of a call, as f32 values that the storage types hold exactly.
struct Tensors {
  std::vector<float> q, k, v;        ///< (batch, head, token, dim)
  std::vector<float> kScale, vScale; ///< (batch, kv head, slot); empty unless int8
};

/// Random tensors; slots that no segment names hold NaN (int8: scale NaN).
Tensors makeTensors(const KernelInfo &kernel, const Call &call);

/// Softmax attention in double precision. int8 kernels: on the quantised values.
Attention reference(const KernelInfo &kernel, const Call &call, const Tensors &tensors);

/// Runs the kernel of `ptx` in the emulator; throws ptxemu::Error on a fault.
Attention emulate(const std::string &ptx, const KernelInfo &kernel, const Call &call,
                  const Tensors &tensors);

/// Relative Frobenius distance of the outputs, and the largest such of one row
/// divided by 4 (the numeric contract bounds both).
double outputError(const KernelInfo &kernel, const Attention &got, const Attention &expected);

/// Largest difference of the LSEs; infinite if one is -inf and the other is not.
double lseError(const Attention &got, const Attention &expected);

/// Puts NaN into a key and a query row of a call with one batch entry and one head.
/// Returns the first element that is not NaN though its row admits one, or that changed
/// though its row does not; "" if there is none.
std::string checkNan(const std::string &ptx, const KernelInfo &kernel, const Call &call, int row,
                     int key);

/// Recovers which (query, key) pairs a kernel admits: with q = 0 and one-hot V the
/// support of the output is the mask. Returns the first wrong pair, or "".
std::string checkMask(const std::string &ptx, const KernelInfo &kernel, Call call);

} // namespace attn::test
