// Bundle bytes enter; kernel records, spec sources and image views leave, or a
// Status that says which byte range or record is wrong.
#include "runtime/bundle/bundle_reader.h"

#include "runtime/bundle/bundle_format.h"
#include "runtime/bundle/bundle_sections.h"
#include "runtime/bundle/checksum.h"
#include <cstring>

namespace attn {

namespace {

class Parser : public SectionTable {
public:
  using SectionTable::SectionTable;

  Status header();
  Status specs(std::vector<Bundle::Spec> &out);
  Status images(std::vector<Bundle::Image> &out);
  Status blobs(std::vector<Bundle::Blob> &out);
  Status kernels(size_t specs, const std::vector<Bundle::Image> &images,
                 std::vector<KernelInfo> &out);

private:
  Status bindings(Record record, KernelInfo &kernel) const;
  Status params(Record record, KernelInfo &kernel) const;
};

Status Parser::header() {
  if (bytes_.size() < kBundleHeaderBytes)
    return Status::invalid_input("the file has ", bytes_.size(), " bytes; a bundle has at least ",
                                 kBundleHeaderBytes);
  Record header{bytes_.data()};
  if (std::memcmp(bytes_.data(), kBundleMagic, sizeof kBundleMagic) != 0)
    return Status::invalid_input("not a bundle (wrong magic); make one with `attnc compile`");
  if (const uint32_t turned = __builtin_bswap32(header.u32(8)); turned && turned <= 0xffff)
    return Status::invalid_input("its numbers are big-endian; bundles are little-endian on every "
                                 "machine: write it again with `attnc`");
  if (header.u32(8) != kBundleVersion)
    return Status::invalid_input(
        "bundle format version ", header.u32(8), "; this runtime reads version ", kBundleVersion,
        header.u32(8) > kBundleVersion ? ", use a newer runtime" : ", compile the bundle again");
  if (header.u32(12) != ATTN_KERNEL_ABI_VERSION)
    return Status::invalid_input("kernels of ABI version ", header.u32(12),
                                 "; this runtime launches version ", ATTN_KERNEL_ABI_VERSION,
                                 ", compile the bundle again");
  if (header.u64(16) != bytes_.size())
    return Status::invalid_input(header.u64(16) > bytes_.size() ? "truncated" : "oversized",
                                 " bundle: its header says ", header.u64(16),
                                 " bytes, the file has ", bytes_.size());
  // Constants of a model lie behind what the checksum covers: opening reads no weights.
  const uint64_t checked = uint64_t(header.u32(36)) * kImageAlignment;
  if (checked && (checked < kBundleHeaderBytes || checked > bytes_.size()))
    return Status::invalid_input("its checksum covers bytes up to ", checked, "; the file has ",
                                 bytes_.size());
  if (checksum64(bytes_.subspan(kChecksumBegin, (checked ? checked : bytes_.size()) -
                                                    kChecksumBegin)) != header.u64(24))
    return Status::invalid_input(
        "checksum mismatch: the bundle is damaged, copy or compile it again");
  return {};
}

Status Parser::specs(std::vector<Bundle::Spec> &out) {
  for (uint32_t i = 0; i < count(kSectionSpecs); ++i) {
    Record record = this->record(kSectionSpecs, i, kSpecRecordBytes);
    Bundle::Spec spec;
    Status status = text(record, 0, spec.name);
    if (status.ok())
      status = text(record, 8, spec.source);
    if (status.ok() && !is_printable_name(std::string(spec.name.substr(0, kMaxNameBytes + 1))))
      status = Status::invalid_input("name is not printable ASCII");
    if (!status.ok())
      return status.at(concat("spec ", i));
    out.push_back(spec);
  }
  return {};
}

Status Parser::images(std::vector<Bundle::Image> &out) {
  for (uint32_t i = 0; i < count(kSectionImages); ++i) {
    Record record = this->record(kSectionImages, i, kImageRecordBytes);
    Bundle::Image image;
    Status status = range(record.u64(0), record.u64(8), kImageAlignment, image.bytes);
    if (status.ok() && (image.bytes.empty() || record.u32(20) != 0 ||
                        record.u32(16) > static_cast<uint32_t>(TargetKind::spirv)))
      status = Status::invalid_input("is empty or of an unknown target");
    if (!status.ok())
      return status.at(concat("image ", i));
    image.target = static_cast<TargetKind>(record.u32(16));
    out.push_back(image);
  }
  return {};
}

Status Parser::blobs(std::vector<Bundle::Blob> &out) {
  for (uint32_t i = 0; i < count(kSectionBlobs); ++i) {
    Record record = this->record(kSectionBlobs, i, kBlobRecordBytes);
    Bundle::Blob blob;
    Status status = text(record, 0, blob.name);
    if (status.ok())
      status = range(record.u64(8), record.u64(16), kImageAlignment, blob.bytes);
    if (status.ok() && !is_printable_name(std::string(blob.name.substr(0, kMaxNameBytes + 1))))
      status = Status::invalid_input("name is not printable ASCII");
    if (!status.ok())
      return status.at(concat("blob ", i));
    out.push_back(blob);
  }
  return {};
}

Status Parser::bindings(Record record, KernelInfo &kernel) const {
  uint32_t first = record.u32(104), number = record.u32(108);
  if (first > count(kSectionBindings) || number > count(kSectionBindings) - first ||
      number > kMaxBindings)
    return Status::invalid_input("bindings ", first, " to ", first, " + ", number,
                                 " leave their section of ", count(kSectionBindings));
  for (uint32_t i = 0; i < number; ++i) {
    Record entry = this->record(kSectionBindings, first + i, kBindingRecordBytes);
    BindingInfo binding;
    ATTN_RETURN_IF_ERROR(text(entry, 0, binding.name));
    binding.role = static_cast<BindingRole>(entry.get<uint8_t>(8));
    binding.type = static_cast<ElementType>(entry.get<uint8_t>(9));
    binding.rank = entry.get<uint8_t>(10);
    if (entry.get<uint8_t>(11) > 1 || !entry.zero(15, 1))
      return Status::invalid_input("binding ", first + i, " has reserved bits set");
    binding.written = entry.get<uint8_t>(11) == 1;
    binding.map_rows = entry.get<uint16_t>(12);
    binding.map_bytes = entry.get<uint8_t>(14);
    kernel.bindings.push_back(std::move(binding));
  }
  return {};
}

Status Parser::params(Record record, KernelInfo &kernel) const {
  uint32_t first = record.u32(112), number = record.u32(116);
  if (first > count(kSectionParams) || number > count(kSectionParams) - first ||
      number > kMaxParams)
    return Status::invalid_input("parameters ", first, " to ", first, " + ", number,
                                 " leave their section of ", count(kSectionParams));
  for (uint32_t i = 0; i < number; ++i) {
    Record entry = this->record(kSectionParams, first + i, kParamRecordBytes);
    ParamInfo param;
    ATTN_RETURN_IF_ERROR(text(entry, 0, param.name));
    param.type = static_cast<ElementType>(entry.get<uint8_t>(8));
    if (!entry.zero(9, 7))
      return Status::invalid_input("parameter ", first + i, " has reserved bits set");
    param.minimum = entry.get<double>(16);
    param.maximum = entry.get<double>(24);
    kernel.params.push_back(std::move(param));
  }
  return {};
}

Status Parser::kernels(size_t specs, const std::vector<Bundle::Image> &images,
                       std::vector<KernelInfo> &out) {
  if (count(kSectionKernels) > kMaxKernels)
    return Status::invalid_input("has ", count(kSectionKernels), " kernels; at most ", kMaxKernels,
                                 " are allowed");
  for (uint32_t i = 0; i < count(kSectionKernels); ++i) {
    Record record = this->record(kSectionKernels, i, kKernelRecordBytes);
    KernelInfo kernel;
    auto decode = [&]() -> Status {
      ATTN_RETURN_IF_ERROR(text(record, 0, kernel.name));
      ATTN_RETURN_IF_ERROR(text(record, 8, kernel.variant));
      ATTN_RETURN_IF_ERROR(text(record, 16, kernel.arch));
      ATTN_RETURN_IF_ERROR(text(record, 24, kernel.symbol));
      // Kept out of the enumeration until it is known to be one of its values.
      if (record.u32(32) > static_cast<uint32_t>(TargetKind::spirv))
        return Status::invalid_input("unknown target ", record.u32(32));
      kernel.target = static_cast<TargetKind>(record.u32(32));
      kernel.features = record.u32(36);
      kernel.priority = record.u32(40);
      kernel.spec = record.u32(44);
      kernel.image = record.u32(48);
      kernel.qk_dim = record.u32(52);
      kernel.v_dim = record.u32(56);
      kernel.heads = record.u32(60);
      kernel.kv_heads = record.u32(64);
      kernel.block_q = record.u32(68);
      kernel.block_k = record.u32(72);
      for (int axis = 0; axis < 3; ++axis)
        kernel.workgroup[axis] = record.u32(76 + 4 * axis);
      kernel.shared_bytes = record.u32(88);
      kernel.arena_bytes = record.u32(92);
      kernel.compute_capability = record.u32(96);
      kernel.error_bound = record.get<float>(100);
      kernel.scale = record.get<float>(120);
      if (!record.zero(124, 4))
        return Status::invalid_input("reserved bytes are set");
      ATTN_RETURN_IF_ERROR(bindings(record, kernel));
      ATTN_RETURN_IF_ERROR(params(record, kernel));
      ATTN_RETURN_IF_ERROR(check_kernel_info(kernel));
      if (kernel.spec >= specs || kernel.image >= images.size())
        return Status::invalid_input("names spec ", kernel.spec, " of ", specs, " and image ",
                                     kernel.image, " of ", images.size());
      if (images[kernel.image].target != kernel.target)
        return Status::invalid_input("its image is for another target");
      return {};
    };
    Status status = decode();
    if (!status.ok())
      return status.at(concat("kernel ", i));
    out.push_back(std::move(kernel));
  }
  return {};
}

} // namespace

Status Bundle::parse() {
  Parser parser(bytes_);
  ATTN_RETURN_IF_ERROR(parser.header());
  ATTN_RETURN_IF_ERROR(parser.sections());
  ATTN_RETURN_IF_ERROR(parser.specs(specs_));
  ATTN_RETURN_IF_ERROR(parser.images(images_));
  ATTN_RETURN_IF_ERROR(parser.blobs(blobs_));
  ATTN_RETURN_IF_ERROR(parser.kernels(specs_.size(), images_, kernels_));
  ATTN_RETURN_IF_ERROR(read_graphs(parser, graphs_));
  hash_ = Record{bytes_.data()}.u64(24);
  return {};
}

Result<Bundle> Bundle::from_memory(std::span<const std::byte> bytes, std::string_view place) {
  Bundle bundle;
  bundle.bytes_ = bytes;
  bundle.place_ = place;
  Status status = bundle.parse();
  if (!status.ok())
    return status.at(place);
  return bundle;
}

Result<Bundle> Bundle::open(const std::string &path) {
  ATTN_ASSIGN_OR_RETURN(MappedFile file, MappedFile::open(path));
  ATTN_ASSIGN_OR_RETURN(Bundle bundle, from_memory(file.bytes(), path));
  bundle.file_ = std::move(file); // the mapping, and thus every view, stays in place
  return bundle;
}

bool is_bundle_file(const std::string &path) {
  Result<MappedFile> file = MappedFile::open(path);
  return file.ok() && file->bytes().size() >= sizeof kBundleMagic &&
         std::memcmp(file->bytes().data(), kBundleMagic, sizeof kBundleMagic) == 0;
}

const PackedGraph *Bundle::find_graph(std::string_view name) const {
  for (const PackedGraph &graph : graphs_)
    if (graph.name == name)
      return &graph;
  return nullptr;
}

const Bundle::Blob *Bundle::find_blob(std::string_view name) const {
  for (const Blob &blob : blobs_)
    if (blob.name == name)
      return &blob;
  return nullptr;
}

} // namespace attn
