// One call of a compiled kernel on a Vulkan device beside its definition in
// double precision: a case enters, the largest errors leave.
#pragma once

#include "compiler/target/Target.h"
#include "runtime/device/device.h"
#include "tests/target/spirv/kernel_text.h"

#include <functional>
#include <map>

struct Segment {
  int slot, length, position;
};

// A call, and what its answer is by definition.
struct KernelCase {
  KernelText kernel;
  int batch = 1, heads = 2, kv_heads = 2, q_len = 40, q_position = 0, layer = 0;
  std::vector<Segment> segments = {{0, 100, 0}};
  int slots = 0; // of K and V; 0: as many as the segments use
  std::vector<uint32_t> params;
  std::map<std::string, std::vector<uint32_t>> tables; // words, by binding name
  std::map<std::string, std::vector<uint32_t>> extents;
  std::function<bool(int q, int k, int head)> admitted = [](int, int, int) { return true; };
  std::function<double(double s, int q, int k, int head)> score; // none: s
  std::function<double(int head)> sink;                          // none: no sink logit
  // Fills K rows and V rows of slots outside every segment with NaN.
  bool poison_unused = true;
};

struct Errors {
  double frobenius = 0;    // relative, of O
  double worst_row = 0;    // largest relative norm of a row's error
  double lse = 0;          // largest absolute error; infinite if -inf is missed
  int mask_mismatches = 0; // of recover_mask
  std::string tier = "t0"; // with the worst row or log-sum-exp
};

// One compiled kernel; fails the test if compilation or spirv-val does.
struct Compiled {
  attn::KernelInfo info;
  std::string image;
  double cpu_milliseconds = 0; // of the compiler, without spirv-val
  bool ok = false;
};
Compiled compile(const std::string &text, const std::string &arch = "t0");

// Every tier that is worth having for a kernel: "t1" alone gains nothing in f32.
std::vector<std::string> tiers(const KernelText &kernel);

// The device under test, with validation layers; opened once.
attn::Device &device();

// On every tier; the worst.
Errors run(const KernelCase &c);
Errors run(const KernelCase &c, const Compiled &kernel);

// Recovers the mask from the kernel: with q = 0 and one-hot V the support of
// the output is the mask, on every tier. Needs v_dim >= the number of keys.
Errors recover_mask(KernelCase c);
