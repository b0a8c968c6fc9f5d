// Kernel records, images and spec sources enter; the bytes described in
// bundle_format.h leave.
#include "runtime/bundle/bundle_writer.h"

#include "runtime/base/write_file.h"
#include "runtime/bundle/bundle_format.h"
#include "runtime/bundle/checksum.h"
#include <algorithm>
#include <cstring>
#include <map>

namespace attn {

namespace {

// Appends numbers to one section's bytes.
struct Bytes {
  std::vector<std::byte> data;
  template <typename T> void put(T value) {
    const auto *begin = reinterpret_cast<const std::byte *>(&value);
    data.insert(data.end(), begin, begin + sizeof value);
  }
  void zeros(size_t bytes) { data.resize(data.size() + bytes); }
  void align(size_t alignment) {
    data.resize((data.size() + alignment - 1) / alignment * alignment);
  }
};

struct Strings {
  std::string text;
  std::map<std::string, uint32_t, std::less<>> known;

  void put(Bytes &record, const std::string &string) {
    auto [entry, added] = known.try_emplace(string, static_cast<uint32_t>(text.size()));
    if (added)
      text += string;
    record.put(entry->second);
    record.put(static_cast<uint32_t>(string.size()));
  }
};

void put_kernel(const KernelInfo &kernel, Strings &strings, Bytes &kernels, Bytes &bindings,
                Bytes &params) {
  for (const std::string *name : {&kernel.name, &kernel.variant, &kernel.arch, &kernel.symbol})
    strings.put(kernels, *name);
  kernels.put(static_cast<uint32_t>(kernel.target));
  for (uint32_t value :
       {kernel.features, kernel.priority, kernel.spec, kernel.image, kernel.qk_dim, kernel.v_dim,
        kernel.heads, kernel.kv_heads, kernel.block_q, kernel.block_k, kernel.workgroup[0],
        kernel.workgroup[1], kernel.workgroup[2], kernel.shared_bytes, kernel.arena_bytes,
        kernel.compute_capability})
    kernels.put(value);
  kernels.put(kernel.error_bound);
  kernels.put(static_cast<uint32_t>(bindings.data.size() / kBindingRecordBytes));
  kernels.put(static_cast<uint32_t>(kernel.bindings.size()));
  kernels.put(static_cast<uint32_t>(params.data.size() / kParamRecordBytes));
  kernels.put(static_cast<uint32_t>(kernel.params.size()));
  kernels.put(kernel.scale);
  kernels.zeros(4);
  for (const BindingInfo &binding : kernel.bindings) {
    strings.put(bindings, binding.name);
    bindings.put(static_cast<uint8_t>(binding.role));
    bindings.put(static_cast<uint8_t>(binding.type));
    bindings.put(binding.rank);
    bindings.put(static_cast<uint8_t>(binding.written));
    bindings.put(binding.map_rows);
    bindings.put(binding.map_bytes);
    bindings.zeros(1);
  }
  for (const ParamInfo &param : kernel.params) {
    strings.put(params, param.name);
    params.put(static_cast<uint8_t>(param.type));
    params.zeros(7);
    params.put(param.minimum);
    params.put(param.maximum);
  }
}

} // namespace

uint32_t BundleWriter::add_spec(std::string_view name, std::string_view source) {
  for (size_t i = 0; i < specs_.size(); ++i)
    if (specs_[i].name == name && specs_[i].source == source)
      return static_cast<uint32_t>(i);
  specs_.push_back({std::string(name), std::string(source)});
  return static_cast<uint32_t>(specs_.size() - 1);
}

uint32_t BundleWriter::add_image(TargetKind target, std::span<const std::byte> bytes) {
  for (size_t i = 0; i < images_.size(); ++i)
    if (images_[i].target == target && std::ranges::equal(images_[i].bytes, bytes))
      return static_cast<uint32_t>(i);
  images_.push_back({target, {bytes.begin(), bytes.end()}});
  return static_cast<uint32_t>(images_.size() - 1);
}

void BundleWriter::add_blob(std::string_view name, std::span<const std::byte> bytes) {
  blobs_.push_back({std::string(name), {bytes.begin(), bytes.end()}});
}

Result<std::vector<std::byte>> BundleWriter::finish() const {
  for (const KernelInfo &kernel : kernels_) {
    std::string place = concat("kernel ", kernel.name, " ", kernel.variant);
    Status status = check_kernel_info(kernel);
    if (status.ok() && (kernel.spec >= specs_.size() || kernel.image >= images_.size() ||
                        images_[kernel.image].target != kernel.target))
      status = Status::invalid_input("names a spec or an image that was not added for its target");
    if (!status.ok())
      return status.at(place);
  }
  for (const Image &image : images_)
    if (image.bytes.empty())
      return Status::invalid_input("an image has no bytes");
  for (const Spec &spec : specs_)
    if (!is_printable_name(spec.name))
      return Status::invalid_input("a spec's name is not printable ASCII");
  for (const Blob &blob : blobs_)
    if (!is_printable_name(blob.name))
      return Status::invalid_input("a blob's name is not printable ASCII");

  Strings strings;
  Bytes specs, images, kernels, bindings, params, blobs;
  for (const Spec &spec : specs_) {
    strings.put(specs, spec.name);
    strings.put(specs, spec.source);
  }
  for (const KernelInfo &kernel : kernels_)
    put_kernel(kernel, strings, kernels, bindings, params);

  // Lay out: header, section table, the sections in order, images, blobs. The
  // sizes of the image and blob sections are known before their offsets are.
  struct Part {
    SectionKind kind;
    uint32_t count;
    uint64_t size, offset;
  };
  uint64_t image_count = images_.size(), blob_count = blobs_.size();
  Bytes blob_names;
  for (const Blob &blob : blobs_)
    strings.put(blob_names, blob.name);
  if (strings.text.size() > UINT32_MAX)
    return Status::invalid_input("names and sources exceed 4 GiB");
  Part parts[] = {
      {kSectionStrings, 0, strings.text.size(), 0},
      {kSectionSpecs, uint32_t(specs_.size()), specs.data.size(), 0},
      {kSectionImages, uint32_t(image_count), image_count * kImageRecordBytes, 0},
      {kSectionKernels, uint32_t(kernels_.size()), kernels.data.size(), 0},
      {kSectionBindings, uint32_t(bindings.data.size() / kBindingRecordBytes), bindings.data.size(),
       0},
      {kSectionParams, uint32_t(params.data.size() / kParamRecordBytes), params.data.size(), 0},
      {kSectionBlobs, uint32_t(blob_count), blob_count * kBlobRecordBytes, 0}};
  uint64_t at = kBundleHeaderBytes + std::size(parts) * kSectionRecordBytes;
  for (Part &part : parts) {
    part.offset = at = (at + 7) / 8 * 8;
    at += part.size;
  }
  auto place = [&](uint64_t size) {
    uint64_t offset = (at + kImageAlignment - 1) / kImageAlignment * kImageAlignment;
    at = offset + size;
    return offset;
  };
  for (const Image &image : images_) {
    images.put(place(image.bytes.size()));
    images.put(uint64_t(image.bytes.size()));
    images.put(static_cast<uint32_t>(image.target));
    images.zeros(4);
  }
  for (size_t i = 0; i < blobs_.size(); ++i) {
    const std::byte *name = blob_names.data.data() + 8 * i;
    blobs.data.insert(blobs.data.end(), name, name + 8);
    blobs.put(place(blobs_[i].bytes.size()));
    blobs.put(uint64_t(blobs_[i].bytes.size()));
  }

  Bytes file;
  file.data.reserve(at);
  file.data.resize(sizeof kBundleMagic);
  std::memcpy(file.data.data(), kBundleMagic, sizeof kBundleMagic);
  file.put(kBundleVersion);
  file.put(uint32_t(ATTN_KERNEL_ABI_VERSION));
  file.put(at);
  file.zeros(8); // the checksum
  file.put(uint32_t(std::size(parts)));
  file.zeros(4);
  for (const Part &part : parts) {
    file.put(static_cast<uint32_t>(part.kind));
    file.put(part.count);
    file.put(part.offset);
    file.put(part.size);
  }
  auto append = [&](const void *data, size_t size, size_t alignment) {
    file.align(alignment);
    const auto *begin = static_cast<const std::byte *>(data);
    file.data.insert(file.data.end(), begin, begin + size);
  };
  append(strings.text.data(), strings.text.size(), 8);
  for (const Bytes *section : {&specs, &images, &kernels, &bindings, &params, &blobs})
    append(section->data.data(), section->data.size(), 8);
  for (const Image &image : images_)
    append(image.bytes.data(), image.bytes.size(), kImageAlignment);
  for (const Blob &blob : blobs_)
    append(blob.bytes.data(), blob.bytes.size(), kImageAlignment);
  if (file.data.size() != at)
    return Status::internal("bundle layout of ", at, " bytes came out as ", file.data.size());
  uint64_t checksum = checksum64(std::span(file.data).subspan(kChecksumBegin));
  std::memcpy(file.data.data() + 24, &checksum, sizeof checksum);
  return std::move(file.data);
}

Status BundleWriter::write(const std::string &path) const {
  Result<std::vector<std::byte>> bytes = finish();
  if (!bytes.ok())
    return bytes.status().at(path);
  return write_file(path, {std::span<const std::byte>(*bytes)});
}

} // namespace attn
