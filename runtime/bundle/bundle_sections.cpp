// The section table of a bundle: bytes enter, where each section's records lie leaves.
#include "runtime/bundle/bundle_sections.h"

namespace attn {

Status SectionTable::range(uint64_t offset, uint64_t size, size_t alignment,
                           std::span<const std::byte> &out) const {
  if (offset > bytes_.size() || size > bytes_.size() - offset)
    return Status::invalid_input("bytes ", offset, " to ", offset, " + ", size,
                                 " leave the file of ", bytes_.size(), " bytes");
  if (offset % alignment)
    return Status::invalid_input("offset ", offset, " is no multiple of ", alignment);
  out = bytes_.subspan(offset, size);
  return {};
}

Status SectionTable::sections() {
  static constexpr size_t kRecordBytes[kSectionKinds] = {0,
                                                         0,
                                                         kSpecRecordBytes,
                                                         kImageRecordBytes,
                                                         kKernelRecordBytes,
                                                         kBindingRecordBytes,
                                                         kParamRecordBytes,
                                                         kBlobRecordBytes,
                                                         kGraphRecordBytes,
                                                         kValueRecordBytes,
                                                         kNodeRecordBytes,
                                                         kAttributeRecordBytes,
                                                         kLinkRecordBytes,
                                                         kNumberRecordBytes};
  Record header{bytes_.data()};
  uint32_t sections = header.u32(32);
  if (sections > kMaxSections ||
      sections * kSectionRecordBytes > bytes_.size() - kBundleHeaderBytes)
    return Status::invalid_input("bad section count ", sections);
  bool seen[kSectionKinds] = {};
  for (uint32_t i = 0; i < sections; ++i) {
    Record record{bytes_.data() + kBundleHeaderBytes + i * kSectionRecordBytes};
    uint32_t kind = record.u32(0);
    if (kind == 0 || kind >= kSectionKinds)
      continue; // of a later writer
    std::string place = concat("section ", kind);
    if (seen[kind])
      return Status::invalid_input("occurs twice").at(place);
    seen[kind] = true;
    Section &section = sections_[kind];
    section.count = record.u32(4);
    Status status = range(record.u64(8), record.u64(16), 8, section.bytes);
    if (!status.ok())
      return status.at(place);
    uint64_t size = uint64_t(section.count) * kRecordBytes[kind];
    if (kind == kSectionStrings ? section.count != 0 : size != section.bytes.size())
      return Status::invalid_input("has ", section.bytes.size(), " bytes for ", section.count,
                                   " records of ", kRecordBytes[kind])
          .at(place);
  }
  return {};
}

Status SectionTable::text(Record record, size_t offset, std::string_view &out) const {
  std::span<const std::byte> strings = sections_[kSectionStrings].bytes;
  uint32_t begin = record.u32(offset), length = record.u32(offset + 4);
  if (begin > strings.size() || length > strings.size() - begin)
    return Status::invalid_input("string at ", begin, " of ", length,
                                 " bytes leaves the string section of ", strings.size());
  out = {reinterpret_cast<const char *>(strings.data()) + begin, length};
  return {};
}

Status SectionTable::text(Record record, size_t offset, std::string &out) const {
  std::string_view view;
  ATTN_RETURN_IF_ERROR(text(record, offset, view));
  if (view.size() > kMaxNameBytes) // before copying: many records may share one string
    return Status::invalid_input("a name has ", view.size(), " bytes; at most ", kMaxNameBytes,
                                 " are allowed");
  out = view;
  return {};
}

} // namespace attn
