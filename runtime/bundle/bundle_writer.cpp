// Kernel records, images and spec sources enter; the bytes described in
// bundle_format.h leave.
#include "runtime/bundle/bundle_writer.h"

#include "runtime/base/write_file.h"
#include "runtime/bundle/bundle_format.h"
#include "runtime/bundle/checksum.h"
#include "runtime/bundle/section_bytes.h"
#include <algorithm>
#include <cstring>

namespace attn {

namespace {

void put_kernel(const KernelInfo &kernel, StringTable &strings, SectionBytes &kernels,
                SectionBytes &bindings, SectionBytes &params) {
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

void BundleWriter::add_graph(std::string_view name, graph::Graph graph) {
  graphs_.push_back({std::string(name), std::move(graph)});
}

Status BundleWriter::check() const {
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
  return {};
}

// Header, section table, sections, images, blobs, small constants; then, behind what is
// checked, the large ones.
Result<BundleWriter::Parts> BundleWriter::lay_out() const {
  ATTN_RETURN_IF_ERROR(check());
  StringTable strings;
  SectionBytes specs, images, kernels, bindings, params, blobs;
  GraphSections graphs;
  for (const Spec &spec : specs_) {
    strings.put(specs, spec.name);
    strings.put(specs, spec.source);
  }
  for (const KernelInfo &kernel : kernels_)
    put_kernel(kernel, strings, kernels, bindings, params);
  for (const Graph &graph : graphs_)
    ATTN_RETURN_IF_ERROR(put_graph(graph.name, graph.graph, strings, graphs));
  images.zeros(images_.size() * kImageRecordBytes); // filled in below, when places are known
  for (const Blob &blob : blobs_) {
    strings.put(blobs, blob.name);
    blobs.zeros(16);
  }
  if (strings.text.size() > UINT32_MAX)
    return Status::invalid_input("names and sources exceed 4 GiB");

  SectionBytes text;
  const std::span<const std::byte> text_bytes = std::as_bytes(std::span(strings.text));
  text.data.assign(text_bytes.begin(), text_bytes.end());
  struct Section {
    SectionKind kind;
    const SectionBytes &bytes;
    size_t record;
    uint64_t offset = 0;
  };
  std::vector<Section> sections = {{kSectionStrings, text, 0},
                                   {kSectionSpecs, specs, kSpecRecordBytes},
                                   {kSectionImages, images, kImageRecordBytes},
                                   {kSectionKernels, kernels, kKernelRecordBytes},
                                   {kSectionBindings, bindings, kBindingRecordBytes},
                                   {kSectionParams, params, kParamRecordBytes},
                                   {kSectionBlobs, blobs, kBlobRecordBytes}};
  if (!graphs_.empty())
    for (Section section : {Section{kSectionGraphs, graphs.graphs, kGraphRecordBytes},
                            Section{kSectionValues, graphs.values, kValueRecordBytes},
                            Section{kSectionNodes, graphs.nodes, kNodeRecordBytes},
                            Section{kSectionAttributes, graphs.attributes, kAttributeRecordBytes},
                            Section{kSectionLinks, graphs.links, kLinkRecordBytes},
                            Section{kSectionNumbers, graphs.numbers, kNumberRecordBytes}})
      sections.push_back(section);
  uint64_t at = kBundleHeaderBytes + sections.size() * kSectionRecordBytes;
  for (Section &section : sections) {
    section.offset = at = (at + 7) / 8 * 8;
    at += section.bytes.data.size();
  }

  Parts parts;
  // Where a piece that is written behind the sections begins.
  auto place = [&](std::span<const std::byte> bytes) {
    const uint64_t offset = (at + kImageAlignment - 1) / kImageAlignment * kImageAlignment;
    parts.pieces.push_back({offset, bytes});
    at = offset + bytes.size();
    return offset;
  };
  for (size_t i = 0; i < images_.size(); ++i) {
    const size_t record = i * kImageRecordBytes;
    images.put_at(record, place(images_[i].bytes));
    images.put_at(record + 8, uint64_t(images_[i].bytes.size()));
    images.put_at(record + 16, static_cast<uint32_t>(images_[i].target));
  }
  for (size_t i = 0; i < blobs_.size(); ++i) {
    blobs.put_at(i * kBlobRecordBytes + 8, place(blobs_[i].bytes));
    blobs.put_at(i * kBlobRecordBytes + 16, uint64_t(blobs_[i].bytes.size()));
  }
  parts.checked = 0;
  for (bool large : {false, true}) {
    for (const GraphSections::Constant &constant : graphs.constants)
      if ((constant.bytes.size() > kMaxCheckedConstant) == large) {
        graphs.values.put_at(constant.place, place(constant.bytes));
        graphs.values.put_at(constant.place + 8, uint64_t(constant.bytes.size()));
      }
    if (!large && !graphs_.empty())
      parts.checked = at = (at + kImageAlignment - 1) / kImageAlignment * kImageAlignment;
  }
  if (parts.checked / kImageAlignment > UINT32_MAX)
    return Status::invalid_input("kernels and data exceed 256 GiB");
  parts.size = at;

  SectionBytes head;
  head.data.resize(sizeof kBundleMagic);
  std::memcpy(head.data.data(), kBundleMagic, sizeof kBundleMagic);
  head.put(kBundleVersion);
  head.put(uint32_t(ATTN_KERNEL_ABI_VERSION));
  head.put(parts.size);
  head.zeros(8); // the checksum, see write()
  head.put(static_cast<uint32_t>(sections.size()));
  head.put(static_cast<uint32_t>(parts.checked / kImageAlignment));
  for (const Section &section : sections) {
    head.put(static_cast<uint32_t>(section.kind));
    head.put(
        static_cast<uint32_t>(section.record ? section.bytes.data.size() / section.record : 0));
    head.put(section.offset);
    head.put(uint64_t(section.bytes.data.size()));
  }
  for (const Section &section : sections) {
    head.align(8);
    head.data.insert(head.data.end(), section.bytes.data.begin(), section.bytes.data.end());
  }
  // What is checked is put together here; large constants stay where they are.
  const uint64_t checked = parts.checked ? parts.checked : parts.size;
  size_t inside = 0;
  for (; inside < parts.pieces.size() && parts.pieces[inside].offset < checked; ++inside) {
    const Piece &piece = parts.pieces[inside];
    head.zeros(piece.offset - head.data.size());
    head.data.insert(head.data.end(), piece.bytes.begin(), piece.bytes.end());
  }
  head.zeros(checked - head.data.size());
  parts.pieces.erase(parts.pieces.begin(), parts.pieces.begin() + static_cast<long>(inside));
  head.put_at(24, checksum64(std::span(head.data).subspan(kChecksumBegin)));
  parts.head = std::move(head.data);
  return parts;
}

Result<std::vector<std::byte>> BundleWriter::finish() const {
  ATTN_ASSIGN_OR_RETURN(Parts parts, lay_out());
  std::vector<std::byte> file = std::move(parts.head);
  for (const Piece &piece : parts.pieces) {
    file.resize(piece.offset);
    file.insert(file.end(), piece.bytes.begin(), piece.bytes.end());
  }
  file.resize(parts.size);
  return file;
}

Status BundleWriter::write(const std::string &path) const {
  Result<Parts> parts = lay_out();
  if (!parts.ok())
    return parts.status().at(path);
  static constexpr std::byte kGap[kImageAlignment] = {};
  std::vector<std::span<const std::byte>> spans = {parts->head};
  uint64_t at = parts->head.size();
  for (const Piece &piece : parts->pieces) {
    spans.push_back({kGap, piece.offset - at});
    spans.push_back(piece.bytes);
    at = piece.offset + piece.bytes.size();
  }
  return write_file(path, spans);
}

} // namespace attn
