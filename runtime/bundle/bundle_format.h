// The bytes of a bundle (.attnb): compiled kernels of one or more specs for one
// or more targets; and of a package (.attnp), a bundle that holds a model, too.
// Written by bundle_writer, read by bundle_reader.
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
//   24     8  XXH64 (seed 0) of the bytes from 32 to the end of what is checked
//   32     4  number of sections, at most kMaxSections
//   36     4  end of what is checked, divided by 64; 0: the end of the file. In a
//             package it is where the model's constants begin, so that opening
//             one does not read its weights
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
//
// A package has the sections below and, for a stream, the blobs "model/stream.toml" and
// "model/vocabulary". Counts refer to records that are taken in turn: the values of the
// second graph follow those of the first, the links of a node those of the node before.
//
// kSectionGraphs: 48 bytes. "model" is the model itself
//    0     8  name (string)            8     8  opset
//   16     4  number of values        20     4  number of inputs (links)
//   24     4  number of outputs       28     4  number of nodes
//   32     8  XXH64 of its constants' bytes, in the order of its values
//   40     8  reserved
//
// kSectionValues: 96 bytes. What nodes make has no type here: it follows
//    0     8  name (string)            8     1  kind: 0 made by a node, 1 input, 2 constant
//    9     1  type, a graph::DType    10     1  rank, 0 to 8
//   11     1  reserved                12     4  columns of a panel, 0: dense, row by row
//   16     8  offset, a multiple of   24     8  size in bytes (both 0 unless constant)
//             64 behind what is checked
//   32    64  extents, i64; 0 beyond the rank
// A constant in panels is a matrix of f32, cut into panels of 8, 16 or 32 columns: each
// holds its rows one after another, missing columns of the last one are zero. It is what
// the products of a processor with vectors of that width read, in place.
//
// kSectionNodes: 40 bytes; inputs before outputs
//    0     8  name (string)            8     8  operator (string)
//   16     8  domain (string)         24     4  number of inputs (links)
//   28     4  number of outputs       32     4  number of attributes
//   36     4  reserved
//
// kSectionAttributes: 32 bytes
//    0     8  name (string)            8     4  kind, a PackedAttribute
//   12     4  f32                     16     8  i64
//   24     8  text (string), or 24: number of numbers (u32), 28: reserved
//
// kSectionLinks: 4 bytes: the index of a value within its graph, 0xffffffff: none
//
// kSectionNumbers: 8 bytes: i64, or f64 in a list of floats
#pragma once

#include "runtime/base/status.h"
#include "runtime/bundle/kernel_abi.h"
#include "runtime/bundle/kernel_info.h"
#include "runtime/graph/types.h"
#include <cstddef>
#include <cstdint>

namespace attn {

inline constexpr unsigned char kBundleMagic[8] = {0x89, 'A', 'T', 'T', 'N', 'B', '\r', '\n'};
inline constexpr uint32_t kBundleVersion = 3;
inline constexpr size_t kBundleHeaderBytes = 40;
inline constexpr size_t kChecksumBegin = 32;
inline constexpr size_t kImageAlignment = 64;
inline constexpr size_t kMaxCheckedConstant = 4096; // larger ones lie behind what is checked

enum SectionKind : uint32_t {
  kSectionStrings = 1,
  kSectionSpecs = 2,
  kSectionImages = 3,
  kSectionKernels = 4,
  kSectionBindings = 5,
  kSectionParams = 6,
  kSectionBlobs = 7,
  kSectionGraphs = 8,
  kSectionValues = 9,
  kSectionNodes = 10,
  kSectionAttributes = 11,
  kSectionLinks = 12,
  kSectionNumbers = 13,
  kSectionKinds // one more than the last
};

enum class PackedValue : uint8_t { made = 0, input = 1, constant = 2 };
enum class PackedAttribute : uint32_t {
  number = 1,
  integer = 2,
  text = 3,
  integers = 4,
  numbers = 5
};
inline constexpr uint32_t kNoValue = 0xffffffff;

inline constexpr size_t kSectionRecordBytes = 24;
inline constexpr size_t kSpecRecordBytes = 16;
inline constexpr size_t kImageRecordBytes = 24;
inline constexpr size_t kKernelRecordBytes = 128;
inline constexpr size_t kBindingRecordBytes = 16;
inline constexpr size_t kParamRecordBytes = 32;
inline constexpr size_t kBlobRecordBytes = 24;
inline constexpr size_t kGraphRecordBytes = 48;
inline constexpr size_t kValueRecordBytes = 96;
inline constexpr size_t kNodeRecordBytes = 40;
inline constexpr size_t kAttributeRecordBytes = 32;
inline constexpr size_t kLinkRecordBytes = 4;
inline constexpr size_t kNumberRecordBytes = 8;

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
inline constexpr int64_t kMaxExtent = int64_t(1) << 40; // and elements of a tensor

// The rules of a kernel record that hold whatever file it is in: the writer
// refuses to write what the reader would refuse to read.
Status check_kernel_info(const KernelInfo &kernel);
// Bytes of a constant of that type: k x n in panels of `columns`, if they are not 0.
uint64_t constant_bytes(const graph::TensorType &type, uint32_t columns);
// Names go to terminals: printable ASCII only, at most kMaxNameBytes.
bool is_printable_name(const std::string &name);

} // namespace attn
