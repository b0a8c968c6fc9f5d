// The bytes of a bundle (.attnb): compiled kernels of one or more specs for one
// or more targets. Written by bundle_writer, read by bundle_reader.
//
// All numbers are little-endian. Offsets count from the start of the file.
// Reserved bytes are 0 and checked.
//
// Header, 40 bytes
//   at  size
//    0     8  magic 89 41 54 54 4E 42 0D 0A ("\x89ATTNB\r\n")
//    8     4  format version, kBundleVersion
//   12     4  kernel ABI version, ATTN_KERNEL_ABI_VERSION
//   16     8  size of the whole file
//   24     8  XXH64 (seed 0) of the bytes from 32 to the end of the file
//   32     4  number of sections, at most kMaxSections
//   36     4  reserved
//
// Section table, from byte 40: one record of 24 bytes per section
//    0     4  kind, a SectionKind; readers skip kinds that they do not know
//    4     4  number of records (strings: 0)
//    8     8  offset, a multiple of 8
//   16     8  size in bytes = records * record size (strings: any)
// A kind occurs at most once. An absent section is an empty one.
//
// String reference, 8 bytes, inside records
//    0     4  offset within the strings section
//    4     4  length; no terminator, UTF-8. Names (everything but a spec's
//             source) consist of printable ASCII
//
// kSectionStrings: bytes.
//
// kSectionSpecs: 16 bytes
//    0     8  file name (string)       8     8  source text (string)
//
// kSectionImages: 24 bytes. Images start at multiples of 64 anywhere behind the
// section table; cpu: an ELF shared object (or the
// name of kernels that a program links, see device/linked_kernels.h), ptx: a cubin (an ELF file) or
// PTX text without terminator, spirv: a SPIR-V module.
//    0     8  offset                   8     8  size, > 0
//   16     4  target, a TargetKind    20     4  reserved
//
// kSectionKernels: 128 bytes
//    0     8  name (string)            8     8  variant (string)
//   16     8  arch (string)           24     8  symbol (string)
//   32     4  target, a TargetKind    36     4  features, Feature bits
//   40     4  priority                44     4  spec index
//   48     4  image index             52     4  qk_dim
//   56     4  v_dim                   60     4  heads
//   64     4  kv_heads                68     4  block_q
//   72     4  block_k                 76    12  workgroup x, y, z
//   88     4  shared_bytes            92     4  arena_bytes
//   96     4  compute_capability     100     4  error_bound, f32
//  104     4  first binding          108     4  number of bindings
//  112     4  first param            116     4  number of params
//  120     4  scale, f32, 0 for 1 / sqrt(qk_dim)
//  124     4  reserved
//
// kSectionBindings: 16 bytes
//    0     8  name (string)            8     1  role, a BindingRole
//    9     1  type, an ElementType    10     1  rank, 1 to 4
//   11     1  written, 0 or 1         12     2  map_rows, 1 to 256, 0: no tensor map
//   14     1  map_bytes, 32, 64 or 128, the swizzle's width; 0 without a map
//   15     1  reserved
//
// kSectionParams: 32 bytes
//    0     8  name (string)            8     1  type, i32 or f32
//    9     7  reserved                16     8  minimum, f64
//   24     8  maximum, f64
//
// kSectionBlobs: named bytes beside the kernels (a model's plan; "cache/SPEC": what a
// spec declares of its cache, see cache/policy.h), 64-byte aligned like images: 24 bytes
//    0     8  name (string)            8     8  offset
//   16     8  size
#pragma once

#include "runtime/base/status.h"
#include "runtime/bundle/kernel_abi.h"
#include "runtime/bundle/kernel_info.h"
#include <cstddef>
#include <cstdint>

namespace attn {

inline constexpr unsigned char kBundleMagic[8] = {0x89, 'A', 'T', 'T', 'N', 'B', '\r', '\n'};
inline constexpr uint32_t kBundleVersion = 2;
inline constexpr size_t kBundleHeaderBytes = 40;
inline constexpr size_t kChecksumBegin = 32;
inline constexpr size_t kImageAlignment = 64;

enum SectionKind : uint32_t {
  kSectionStrings = 1,
  kSectionSpecs = 2,
  kSectionImages = 3,
  kSectionKernels = 4,
  kSectionBindings = 5,
  kSectionParams = 6,
  kSectionBlobs = 7
};

inline constexpr size_t kSectionRecordBytes = 24;
inline constexpr size_t kSpecRecordBytes = 16;
inline constexpr size_t kImageRecordBytes = 24;
inline constexpr size_t kKernelRecordBytes = 128;
inline constexpr size_t kBindingRecordBytes = 16;
inline constexpr size_t kParamRecordBytes = 32;
inline constexpr size_t kBlobRecordBytes = 24;

// Bounds on what a record may claim. They are far above what kernels use and
// keep a hostile record from asking for absurd memory.
inline constexpr uint32_t kMaxSections = 64;
inline constexpr uint32_t kMaxNameBytes = 256;
inline constexpr uint32_t kMaxKernels = 4096;
inline constexpr uint32_t kMaxBindings = 32;
inline constexpr uint32_t kMaxParams = 64;
inline constexpr uint32_t kMaxHeadDim = 4096;
inline constexpr uint32_t kMaxHeads = 65535;
inline constexpr uint32_t kMaxBlock = 65536;
inline constexpr uint32_t kMaxArenaBytes = 256u << 20;
inline constexpr uint32_t kMaxSharedBytes = 1u << 20;

// The rules of a kernel record that hold whatever file it is in: the writer
// refuses to write what the reader would refuse to read.
Status check_kernel_info(const KernelInfo &kernel);
// Names go to terminals: printable ASCII only, at most kMaxNameBytes.
bool is_printable_name(const std::string &name);

} // namespace attn
