// Decodes the graphs of a package: records enter, graphs leave whose constants point into
// the file and whose lists name values that exist. What nodes mean is not looked at.
#include "runtime/bundle/bundle_sections.h"
#include "runtime/bundle/checksum.h"

namespace attn {

uint64_t hash_constants(const graph::Graph &graph) {
  std::vector<uint64_t> sums;
  for (const graph::Value &value : graph.values)
    if (value.is_constant())
      sums.push_back(checksum64({static_cast<const std::byte *>(value.data),
                                 constant_bytes(value.type, value.panel_columns)}));
  return checksum64(std::as_bytes(std::span(sums)));
}

namespace {

// Takes the records of all graphs, one after another.
class GraphReader {
public:
  explicit GraphReader(const SectionTable &table) : table_(table) {}

  Status read(std::vector<PackedGraph> &out) {
    for (uint32_t i = 0; i < table_.count(kSectionGraphs); ++i) {
      PackedGraph packed;
      Status status = graph(table_.record(kSectionGraphs, i, kGraphRecordBytes), packed);
      if (!status.ok())
        return status.at(concat("graph ", i));
      out.push_back(std::move(packed));
    }
    for (SectionKind kind :
         {kSectionValues, kSectionNodes, kSectionAttributes, kSectionLinks, kSectionNumbers})
      if (taken_[kind] != table_.count(kind))
        return Status::invalid_input("has ", table_.count(kind), " records; the graphs take ",
                                     taken_[kind])
            .at(concat("section ", int(kind)));
    return {};
  }

private:
  // The next record of a section.
  Status next(SectionKind kind, size_t bytes, Record &out) {
    if (taken_[kind] >= table_.count(kind))
      return Status::invalid_input("takes more than the ", table_.count(kind),
                                   " records of section ", int(kind));
    out = table_.record(kind, taken_[kind]++, bytes);
    return {};
  }

  Status name(Record record, size_t offset, std::string &out) const {
    ATTN_RETURN_IF_ERROR(table_.text(record, offset, out));
    return is_printable_name(out) ? Status() : Status::invalid_input("a name is not printable");
  }

  Status links(uint32_t count, size_t values, std::vector<int> &out) {
    for (uint32_t i = 0; i < count; ++i) {
      Record record;
      ATTN_RETURN_IF_ERROR(next(kSectionLinks, kLinkRecordBytes, record));
      const uint32_t index = record.u32(0);
      if (index != kNoValue && index >= values)
        return Status::invalid_input("names value ", index, " of ", values);
      out.push_back(index == kNoValue ? graph::kAbsent : static_cast<int>(index));
    }
    return {};
  }

  Status value(graph::Value &out) {
    Record record;
    ATTN_RETURN_IF_ERROR(next(kSectionValues, kValueRecordBytes, record));
    ATTN_RETURN_IF_ERROR(name(record, 0, out.name));
    const auto kind = record.get<uint8_t>(8), type = record.get<uint8_t>(9),
               rank = record.get<uint8_t>(10);
    if (kind > uint8_t(PackedValue::constant) || type > uint8_t(graph::DType::boolean) ||
        rank > graph::kMaxRank || !record.zero(11, 1))
      return Status::invalid_input("has kind ", int(kind), ", type ", int(type), ", rank ",
                                   int(rank), "; one of them is unknown");
    out.type.dtype = static_cast<graph::DType>(type);
    int64_t elements = 1;
    for (int i = 0; i < graph::kMaxRank; ++i) {
      const auto extent = record.get<int64_t>(32 + 8 * static_cast<size_t>(i));
      if (i >= rank && extent == 0)
        continue;
      if (i >= rank || extent < 0 || extent > kMaxExtent ||
          __builtin_mul_overflow(elements, extent, &elements) || elements > kMaxExtent)
        return Status::invalid_input("has the extent ", extent, " at axis ", i, " of ", int(rank));
      out.type.shape.push(extent);
    }
    out.is_input = kind == uint8_t(PackedValue::input);
    const uint32_t columns = record.u32(12);
    const uint64_t offset = record.u64(16), size = record.u64(24);
    if (kind != uint8_t(PackedValue::constant))
      return columns || offset || size
                 ? Status::invalid_input("is no constant, but has ", size, " bytes")
                 : Status();
    if (columns && ((columns != 8 && columns != 16 && columns != 32) || rank != 2 ||
                    out.type.dtype != graph::DType::f32))
      return Status::invalid_input("is ", out.type.text(), " in panels of ", columns,
                                   "; matrices of float32 may be in panels of 8, 16 or 32");
    out.panel_columns = columns;
    if (size != constant_bytes(out.type, columns))
      return Status::invalid_input("is ", out.type.text(), ", which takes ",
                                   constant_bytes(out.type, columns), " bytes; it has ", size);
    std::span<const std::byte> bytes;
    ATTN_RETURN_IF_ERROR(table_.range(offset, size, kImageAlignment, bytes));
    out.data = size ? bytes.data() : reinterpret_cast<const std::byte *>("");
    return {};
  }

  Status attribute(onnx::Attribute &out) {
    using Kind = onnx::Attribute::Kind;
    Record record;
    ATTN_RETURN_IF_ERROR(next(kSectionAttributes, kAttributeRecordBytes, record));
    ATTN_RETURN_IF_ERROR(name(record, 0, out.name));
    out.number = record.get<float>(12);
    out.integer = record.get<int64_t>(16);
    switch (static_cast<PackedAttribute>(record.u32(8))) {
    case PackedAttribute::number:
      out.kind = Kind::number;
      return {};
    case PackedAttribute::integer:
      out.kind = Kind::integer;
      return {};
    case PackedAttribute::text:
      out.kind = Kind::text;
      return name(record, 24, out.text);
    case PackedAttribute::integers:
    case PackedAttribute::numbers:
      break;
    default:
      return Status::invalid_input("attribute ", out.name, " has the unknown kind ", record.u32(8));
    }
    const bool whole = record.u32(8) == uint32_t(PackedAttribute::integers);
    out.kind = whole ? Kind::integers : Kind::numbers;
    if (!record.zero(28, 4))
      return Status::invalid_input("attribute ", out.name, " has reserved bytes set");
    for (uint32_t i = 0, count = record.u32(24); i < count; ++i) {
      Record number;
      ATTN_RETURN_IF_ERROR(next(kSectionNumbers, kNumberRecordBytes, number));
      if (whole)
        out.integers.push_back(number.get<int64_t>(0));
      else
        out.numbers.push_back(static_cast<float>(number.get<double>(0)));
    }
    return {};
  }

  Status node(size_t values, graph::Node &out) {
    Record record;
    ATTN_RETURN_IF_ERROR(next(kSectionNodes, kNodeRecordBytes, record));
    ATTN_RETURN_IF_ERROR(name(record, 0, out.name));
    ATTN_RETURN_IF_ERROR(name(record, 8, out.op));
    ATTN_RETURN_IF_ERROR(name(record, 16, out.domain));
    if (!record.zero(36, 4))
      return Status::invalid_input("has reserved bytes set");
    ATTN_RETURN_IF_ERROR(links(record.u32(24), values, out.inputs));
    ATTN_RETURN_IF_ERROR(links(record.u32(28), values, out.outputs));
    for (uint32_t i = 0, count = record.u32(32); i < count; ++i) {
      onnx::Attribute made;
      ATTN_RETURN_IF_ERROR(attribute(made));
      out.attributes.push_back(std::move(made));
    }
    return {};
  }

  Status graph(Record record, PackedGraph &out) {
    ATTN_RETURN_IF_ERROR(name(record, 0, out.name));
    if (!record.zero(40, 8))
      return Status::invalid_input("has reserved bytes set");
    out.graph.opset = record.get<int64_t>(8);
    out.constants_hash = record.u64(32);
    const uint32_t values = record.u32(16);
    for (uint32_t i = 0; i < values; ++i) {
      graph::Value made;
      Status status = value(made);
      if (!status.ok())
        return status.at(concat("value ", i));
      out.graph.values.push_back(std::move(made));
    }
    ATTN_RETURN_IF_ERROR(links(record.u32(20), values, out.graph.inputs));
    ATTN_RETURN_IF_ERROR(links(record.u32(24), values, out.graph.outputs));
    for (uint32_t i = 0, count = record.u32(28); i < count; ++i) {
      graph::Node made;
      Status status = node(values, made);
      if (!status.ok())
        return status.at(concat("node ", i));
      out.graph.nodes.push_back(std::move(made));
    }
    return {};
  }

  const SectionTable &table_;
  uint32_t taken_[kSectionKinds] = {};
};

} // namespace

Status read_graphs(const SectionTable &table, std::vector<PackedGraph> &out) {
  return GraphReader(table).read(out);
}

} // namespace attn
