// Packages: a graph that was written is read back and computes the same bits, weights stay
// where the file is mapped, and damaged or hostile files are refused with a reason.
#include "bundle_samples.h"
#include "runtime/bundle/bundle_format.h"
#include "runtime/bundle/bundle_reader.h"
#include "runtime/bundle/checksum.h"
#include "runtime/graph/build.h"
#include "runtime/graph/package.h"
#include "runtime/graph/session.h"
#include "runtime/ops/isa.h"

#include <cstring>
#include <gtest/gtest.h>

using namespace attn;

namespace {

// Types as the builder of an ONNX file gives them.
graph::Graph typed(graph::Graph g) {
  for (const graph::Node &node : g.nodes)
    EXPECT_TRUE(graph::infer_node(g, node).ok());
  g.values[static_cast<size_t>(g.outputs[0])].is_output = true;
  g.renumber_producers();
  return g;
}

std::vector<std::byte> package_of(graph::Graph graph, uint32_t columns) {
  EXPECT_TRUE(graph::pack_graph(graph, columns).ok());
  BundleWriter writer;
  writer.add_graph("model", std::move(graph));
  auto file = writer.finish();
  EXPECT_TRUE(file.ok()) << file.status().to_string();
  return file.ok() ? *file : std::vector<std::byte>();
}

// Aligned as a mapped file is.
struct File {
  AlignedMemory block;
  size_t size;
  explicit File(const std::vector<std::byte> &bytes)
      : block(bytes.size() + 64), size(bytes.size()) {
    if (size)
      std::memcpy(block.data(), bytes.data(), size);
  }
  std::span<const std::byte> bytes() const {
    return {static_cast<const std::byte *>(block.data()), size};
  }
};

std::vector<float> result_of(graph::Graph g) {
  ThreadPool pool(1);
  auto session = graph::Session::create(std::move(g), pool);
  EXPECT_TRUE(session.ok()) << session.status().to_string();
  if (!session.ok())
    return {};
  const graph::Tensor *x = (*session)->find("x"), *y = (*session)->find("Transpose.out");
  for (int64_t i = 0; i < x->elements(); ++i)
    x->as<float>()[i] = float(i % 5) - 1.5f;
  EXPECT_TRUE((*session)->run().ok());
  return {y->as<float>(), y->as<float>() + y->elements()};
}

Result<graph::Graph> restored(std::span<const std::byte> file) {
  ATTN_ASSIGN_OR_RETURN(Bundle bundle, Bundle::from_memory(file, "memory"));
  const PackedGraph *packed = bundle.find_graph("model");
  if (!packed)
    return Status::invalid_input("no graph");
  graph::Graph g = packed->graph;
  ATTN_RETURN_IF_ERROR(graph::restore_graph(g));
  return g;
}

template <typename T> T get(const std::vector<std::byte> &file, size_t at) {
  T value;
  std::memcpy(&value, file.data() + at, sizeof value);
  return value;
}
template <typename T> void put(std::vector<std::byte> &file, size_t at, T value) {
  std::memcpy(file.data() + at, &value, sizeof value);
}
void seal(std::vector<std::byte> &file) {
  const size_t end = size_t(get<uint32_t>(file, 36)) * kImageAlignment;
  if (end >= kBundleHeaderBytes && end <= file.size())
    put(file, 24, checksum64(std::span(file).subspan(kChecksumBegin, end - kChecksumBegin)));
}
// Where the records of a section begin.
size_t records(const std::vector<std::byte> &file, SectionKind kind) {
  for (uint32_t i = 0; i < get<uint32_t>(file, 32); ++i)
    if (get<uint32_t>(file, 40 + 24 * i) == kind)
      return get<uint64_t>(file, 48 + 24 * i);
  ADD_FAILURE() << "no section " << kind;
  return 0;
}
std::string refusal(std::vector<std::byte> file) {
  seal(file);
  return restored(File(file).bytes()).status().to_string();
}
// The records of sample_graph: x, w, u, b, then what the nodes make.
constexpr size_t kX = 0, kW = 1, kU = 2;
size_t value_at(const std::vector<std::byte> &file, size_t value) {
  return records(file, kSectionValues) + value * kValueRecordBytes;
}

#define EXPECT_SAYS(words, file)                                                                   \
  do {                                                                                             \
    const std::string said = refusal(file);                                                        \
    EXPECT_NE(said.find(words), std::string::npos) << said;                                        \
  } while (0)

} // namespace

TEST(Package, ComputesTheSameBitsWhateverTheWidthOfItsPanels) {
  const std::vector<float> expected = result_of(typed(sample_graph()));
  ASSERT_EQ(expected.size(), 24u);
  for (uint32_t columns : {0u, 8u, 16u, 32u}) {
    const File file(package_of(sample_graph(), columns));
    auto g = restored(file.bytes());
    ASSERT_TRUE(g.ok()) << g.status().to_string();
    EXPECT_EQ(result_of(std::move(*g)), expected) << columns;
  }
}

TEST(Package, EqualContentGivesEqualBytes) {
  EXPECT_EQ(package_of(sample_graph(), 16), package_of(sample_graph(), 16));
}

TEST(Package, PanelsOfThisMachineStayInTheFileOthersAreMadeDense) {
  const uint32_t mine = static_cast<uint32_t>(ops::isa().nr), other = mine == 8 ? 16 : 8;
  for (uint32_t columns : {mine, other}) {
    const File file(package_of(sample_graph(), columns));
    auto g = restored(file.bytes());
    ASSERT_TRUE(g.ok()) << g.status().to_string();
    for (const char *name : {"w", "u"}) {
      const graph::Value &v = g->values[static_cast<size_t>(g->find(name))];
      const auto *data = static_cast<const std::byte *>(v.data);
      const bool mapped = data >= file.bytes().data() && data < file.bytes().data() + file.size;
      EXPECT_EQ(mapped, columns == mine) << name;
      EXPECT_EQ(v.owner == nullptr, columns == mine) << name;
      EXPECT_EQ(v.panel_columns, columns == mine ? mine : 0u) << name;
      EXPECT_EQ(v.type.shape, (name[0] == 'w' ? graph::Shape{8, 10} : graph::Shape{10, 6}))
          << "turned once, when it was written";
    }
  }
}

TEST(Package, ConstantsThatOthersReadStayDense) {
  graph::Graph g = sample_graph();
  g.nodes[0].inputs[1] = g.nodes[1].inputs[1] = g.find("u"); // as it is, and turned
  ASSERT_TRUE(graph::pack_graph(g, 8).ok());
  for (const graph::Value &value : g.values)
    EXPECT_EQ(value.panel_columns, 0u) << value.name;
  g = sample_graph();
  g.outputs.push_back(g.find("w"));
  ASSERT_TRUE(graph::pack_graph(g, 8).ok());
  EXPECT_EQ(g.values[static_cast<size_t>(g.find("w"))].panel_columns, 0u);
  EXPECT_EQ(g.values[static_cast<size_t>(g.find("u"))].panel_columns, 8u);
  g = sample_graph();
  onnx::Attribute alpha;
  alpha.name = "alpha";
  alpha.kind = onnx::Attribute::Kind::number;
  alpha.number = 0.5f;
  g.nodes[1].attributes.push_back(alpha);
  ASSERT_TRUE(graph::pack_graph(g, 8).ok());
  EXPECT_EQ(g.values[static_cast<size_t>(g.find("u"))].panel_columns, 0u);
  EXPECT_EQ(g.nodes[1].integer("transB", 0), 1);
}

// Opening reads no large weights; whoever wants to know asks.
TEST(Package, DamageOfLargeConstantsIsFoundWhenTheyAreSummed) {
  std::vector<std::byte> file = package_of(sample_graph(200), 16);
  const size_t checked = get<uint32_t>(file, 36) * kImageAlignment;
  ASSERT_EQ(file.size() - checked, 200 * 16 * sizeof(float)) << "w alone, in one panel";
  auto whole = [&] {
    const File copy(file);
    auto bundle = Bundle::from_memory(copy.bytes(), "memory");
    EXPECT_TRUE(bundle.ok()) << bundle.status().to_string();
    const PackedGraph &packed = *bundle->find_graph("model");
    return hash_constants(packed.graph) == packed.constants_hash;
  };
  EXPECT_TRUE(whole());
  file.back() ^= std::byte(1);
  EXPECT_FALSE(whole());
  file.back() ^= std::byte(1);
  file[checked - 1] ^= std::byte(1);
  EXPECT_EQ(Bundle::from_memory(File(file).bytes(), "memory").status().code(),
            StatusCode::invalid_input);
}

TEST(PackageHostile, EveryTruncationIsRefused) {
  const std::vector<std::byte> file = package_of(sample_graph(200), 16);
  for (size_t size = 0; size < file.size(); size += size < 4096 ? 1 : 97) {
    std::vector<std::byte> cut(file.begin(), file.begin() + static_cast<long>(size));
    Status status = Bundle::from_memory(File(cut).bytes(), "memory").status();
    ASSERT_EQ(status.code(), StatusCode::invalid_input) << size;
    if (size >= kBundleHeaderBytes) {
      ASSERT_NE(status.message().find("truncated"), std::string::npos) << status.message();
    }
  }
  std::vector<std::byte> longer = file;
  longer.push_back(std::byte(0));
  EXPECT_SAYS("oversized bundle", longer);
}

TEST(PackageHostile, NumbersOfAnotherByteOrderAreNamed) {
  std::vector<std::byte> file = package_of(sample_graph(), 0);
  put(file, 8, __builtin_bswap32(kBundleVersion));
  EXPECT_SAYS("its numbers are big-endian; bundles are little-endian", file);
  put(file, 8, kBundleVersion + 1);
  EXPECT_SAYS("use a newer runtime", file);
  put(file, 8, kBundleVersion - 1);
  EXPECT_SAYS("compile the bundle again", file);
}

TEST(PackageHostile, SaysWhatIsWrongWithARecord) {
  const std::vector<std::byte> good = package_of(sample_graph(), 8);
  ASSERT_EQ(refusal(good), "ok");
  auto changed = [&](size_t at, auto value) {
    std::vector<std::byte> file = good;
    put(file, at, value);
    return file;
  };
  const size_t x = value_at(good, kX), w = value_at(good, kW), u = value_at(good, kU);
  EXPECT_SAYS("value 0: has kind 7", changed(x + 8, uint8_t(7)));
  EXPECT_SAYS("type 13", changed(x + 9, uint8_t(13)));
  EXPECT_SAYS("rank 9", changed(x + 10, uint8_t(9)));
  EXPECT_SAYS("has the extent -1 at axis 0", changed(x + 32, int64_t(-1)));
  EXPECT_SAYS("has the extent 5 at axis 2 of 2", changed(x + 48, int64_t(5)));
  EXPECT_SAYS("has the extent 1099511627776 at axis 1", changed(x + 40, int64_t(1) << 40));
  EXPECT_SAYS("is no constant, but has 4 bytes", changed(x + 24, uint64_t(4)));
  EXPECT_SAYS("matrices of float32 may be in panels of 8, 16 or 32", changed(w + 12, 12u));
  EXPECT_SAYS("value 1: is float32 [8, 10], which takes 512 bytes; it has 511",
              changed(w + 24, uint64_t(511)));
  EXPECT_SAYS("leave the file", changed(w + 16, uint64_t(0) - 64));
  EXPECT_SAYS("is no multiple of 64", changed(w + 16, get<uint64_t>(good, w + 16) + 8));
  EXPECT_SAYS("takes more than the 8 records", changed(records(good, kSectionGraphs) + 16, 9u));
  EXPECT_SAYS("section 9: has 8 records; the graphs take 7",
              [&] { // the last value, which is the output, is left out
                auto file = changed(records(good, kSectionGraphs) + 16, 7u);
                for (size_t link = 0; link < 14; ++link)
                  if (get<uint32_t>(file, records(file, kSectionLinks) + 4 * link) == 7)
                    put(file, records(file, kSectionLinks) + 4 * link, 6u);
                return file;
              }());
  EXPECT_SAYS("names value 8 of 8", changed(records(good, kSectionLinks), 8u));
  EXPECT_SAYS("an input of the graph is none of its input values",
              changed(records(good, kSectionLinks), 1u));
  EXPECT_SAYS("node 'the MatMul' (MatMul): reads 'Gemm.out' before it is made",
              changed(records(good, kSectionLinks) + 8, 5u));
  EXPECT_SAYS("makes 'x', which is there already", changed(records(good, kSectionLinks) + 16, 0u));
  EXPECT_SAYS("reads 'MatMul.out' before it is made",
              changed(records(good, kSectionLinks) + 16, kNoValue));
  EXPECT_SAYS("an output of the graph is not made",
              changed(records(good, kSectionLinks) + 4, kNoValue));
  EXPECT_SAYS("cannot multiply [4, 10] by [8, 10]", changed(records(good, kSectionLinks) + 24, 1u));
  EXPECT_SAYS("has the unknown kind 9", changed(records(good, kSectionAttributes) + 8, 9u));
  EXPECT_SAYS("300 bytes leaves the string section", changed(u + 4, 300u));
}

TEST(PackageHostile, OperatorsAreCheckedAsThoseOfAnOnnxFileAre) {
  auto written = [](const graph::Graph &g) {
    BundleWriter writer;
    writer.add_graph("model", g);
    return *writer.finish();
  };
  graph::Graph g = sample_graph();
  g.nodes[2].op = "Sparkle";
  EXPECT_SAYS("node 'the Softmax' (Sparkle): is an operator that this runtime lacks", written(g));
  g = sample_graph();
  g.nodes[0].op = "Gemm"; // the fused one trusts its sizes
  g.nodes[0].domain = "attn";
  EXPECT_SAYS("node 'the MatMul' (Gemm): is an operator that the runtime makes itself", written(g));

  g = sample_graph();
  AlignedMemory panels(8 * 16 * sizeof(float));
  graph::Value &w = g.values[static_cast<size_t>(g.find("w"))];
  w.data = panels.data();
  w.panel_columns = 16;
  EXPECT_EQ(refusal(written(g)), "ok");
  graph::Node add;
  add.op = "Add";
  add.inputs = {g.find("w"), g.find("w")};
  add.outputs = {g.add_value("sum", {})};
  g.nodes.push_back(add);
  EXPECT_SAYS("'w' is in panels, but something else than products reads it", written(g));
}

TEST(PackageHostile, WhatCannotBePackagedIsNamed) {
  graph::Graph g = sample_graph();
  g.values[0].name = "\xc3\xa9";
  BundleWriter writer;
  writer.add_graph("model", g);
  EXPECT_NE(writer.finish().status().message().find("a value has a name that is not printable"),
            std::string::npos);
  g = sample_graph();
  g.nodes[0].attributes.emplace_back().name = "body";
  BundleWriter other;
  other.add_graph("model", g);
  EXPECT_NE(other.finish().status().message().find(
                "attribute body of node 'the MatMul' (MatMul) is neither numbers nor a text"),
            std::string::npos);
}

// With the checksum put right, every 32-bit word of the model's sections takes hostile
// values. The file may still be acceptable; making it ready to run must not crash.
TEST(PackageHostile, HostileWordsWithARightChecksumNeverCrash) {
  ThreadPool pool(1);
  size_t refused = 0, tried = 0;
  for (uint32_t columns : {0u, 8u}) {
    const std::vector<std::byte> good = package_of(sample_graph(), columns);
    const size_t begin = records(good, kSectionGraphs),
                 end = records(good, kSectionNumbers) + 2 * kNumberRecordBytes;
    for (size_t at = begin; at + 4 <= end; at += 4)
      for (uint32_t value : {0u, 1u, 2u, 7u, 64u, 0x7fffffffu, 0x80000000u, 0xffffffffu}) {
        std::vector<std::byte> other = good;
        put(other, at, value);
        seal(other);
        const File file(other);
        auto g = restored(file.bytes());
        ++tried;
        refused += !g.ok();
        int64_t elements = 0;
        for (size_t v = 0; g.ok() && v < g->values.size(); ++v)
          elements += g->values[v].type.elements();
        if (!g.ok() || elements > 1 << 16)
          continue;
        auto session = graph::Session::create(std::move(*g), pool);
        if (session.ok())
          (void)(*session)->run().ok();
      }
  }
  EXPECT_GT(refused, tried / 4) << "hardly any hostile word is noticed";
}
