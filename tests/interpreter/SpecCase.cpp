// Reads a spec, gives its params and tables small random contents, lowers it.
#include "tests/interpreter/SpecCase.h"

#include "compiler/import/ImportSpec.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace attn::interpreter {

std::vector<std::string> shippedSpecs() {
  std::vector<std::string> names;
  for (const auto &entry : std::filesystem::directory_iterator(ATTN_SPECS_DIR))
    if (entry.path().extension() == ".attn")
      names.push_back(entry.path().stem());
  std::sort(names.begin(), names.end());
  return names;
}

std::vector<std::string> publishedSpecs() {
  std::vector<std::string> names;
  if (const char *asked = std::getenv("ATTN_PUBLISHED_SPECS")) {
    std::istringstream list(asked);
    for (std::string name; std::getline(list, name, ',');)
      names.push_back(name);
    return names;
  }
  return {"fa4/xor_pattern",       "fastvideo/teacher_forcing", "flashinfer/block_sparse_masked",
          "flex/bias_bhqk",        "gym/shared_prefix",         "gym/sta3d",
          "natten/natten3d",       "papers/s2_attn"};
}

std::vector<std::string> allSpecs() {
  std::vector<std::string> names = shippedSpecs();
  for (const auto &entry : std::filesystem::recursive_directory_iterator(ATTN_SPECS_DIR)) {
    std::string folder = entry.path().parent_path().filename();
    if (entry.path().extension() == ".attn" && entry.path().parent_path() != ATTN_SPECS_DIR &&
        folder != "std")
      names.push_back(folder + "/" + entry.path().stem().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::string SpecCase::shippedText(const std::string &name) {
  std::ifstream file(std::string(ATTN_SPECS_DIR) + "/" + name + ".attn");
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

SpecCase::SpecCase(const std::string &name, uint32_t seed)
    : SpecCase(name, shippedText(name), seed) {}

SpecCase::SpecCase(const std::string &name, const std::string &text, uint32_t seed) : random(seed) {
  spec::Diagnostics diagnostics;
  checked = spec::parseAndCheck(text, name + ".attn", diagnostics);
  if (!checked) {
    problem = diagnostics.render();
    return;
  }
  chooseBindings();
}

// Params are as small as the spec allows, but not degenerate.
void SpecCase::chooseBindings() {
  const spec::AttentionSpec &a = attention();
  bindings.heads = a.heads ? a.heads : 4;
  bindings.kvHeads = a.kvHeads ? a.kvHeads : a.heads ? bindings.heads : 2;
  for (const spec::ParamInfo &param : a.params)
    bindings.params.push_back(std::clamp(7.0 + double(below(3)), param.minimum, param.maximum));
  for (const spec::SpaceInfo &space : a.spaces) {
    int64_t inner = 1;
    for (size_t i = 1; i < space.axes.size(); ++i)
      if (space.axes[i].extent.isStatic() && space.axes[i].kind == spec::AxisKind::Fixed)
        inner *= space.axes[i].extent.value;
    unit = std::max(unit, inner);
  }
  queryEnd = tokensEnd(a.query);
  keyEnd = tokensEnd(a.keys);
  for (const spec::TableInfo &info : a.tables) {
    bindings.tables.emplace_back();
    fillTable(info, bindings.tables.back());
  }
}

int64_t SpecCase::tokensEnd(const spec::TokensInfo &tokens) {
  const spec::TokenGroup &last = tokens.groups.back();
  oracle::Evaluator evaluator(bindings);
  auto number = [&](const spec::Extent &extent) {
    return extent.isStatic() ? extent.value : int64_t(evaluator.value(*extent.dynamic, {}));
  };
  const spec::SpaceInfo &space = attention().spaces[last.space];
  if (space.axes.front().kind == spec::AxisKind::Packed)
    return 90;
  if (last.length)
    return number(last.base) + number(*last.length);
  // A ragged last space has at most its largest length; a stream never ends.
  if (space.axes.front().kind == spec::AxisKind::Ragged)
    return number(last.base) + std::min<int64_t>(90, space.axes.front().extent.value);
  return number(last.base) + std::max<int64_t>(90, 14 * unit);
}

void SpecCase::fillTable(const spec::TableInfo &info, oracle::TableData &data) {
  int64_t count = 1;
  for (const std::string &dim : info.dims) {
    int64_t extent = info.implicit   ? std::max(queryEnd, keyEnd)
                     : dim == "head" ? bindings.heads
                                     : 8;
    if (!info.implicit && !dim.empty() && std::isdigit(static_cast<unsigned char>(dim[0])))
      extent = std::stoll(dim);
    data.extents.push_back(extent);
    count *= extent;
  }
  bool real = info.element != spec::Element::Int32 && info.element != spec::Element::UInt8;
  if (info.implicit) {
    // Documents one after another; the tables of one space agree on them.
    std::mt19937 documents(17);
    bool starts = info.name.ends_with("_start");
    for (int64_t position = 0, document = 0, start = 0; position < count; ++position) {
      if (position > start && documents() % 11 == 0) {
        ++document;
        start = position;
      }
      data.values.push_back(double(starts ? start : document));
    }
    return;
  }
  for (int64_t i = 0; i < count; ++i)
    data.values.push_back(real ? double(below(4001)) / 1000 - 2 : double(below(8)));
}

// What a declaration leaves out has an extent of 1. Every value is a bf16.
void SpecCase::fillInputs(oracle::Call &call) {
  for (const spec::InputInfo &info : attention().inputs) {
    auto extent = [&](const char *dim, int64_t whole) {
      return std::find(info.dims.begin(), info.dims.end(), dim) == info.dims.end() ? 1 : whole;
    };
    oracle::InputData input{call.batch,
                            extent("q", call.queryLength),
                            extent("head", call.heads),
                            extent("dim", attention().vDim),
                            {}};
    for (int64_t i = input.batch * input.rows * input.heads * input.dims; i > 0; --i)
      input.values.push_back(double(below(257)) / 64 - 2);
    call.bindings.inputs.push_back(std::move(input));
  }
}

int64_t SpecCase::position(int64_t limit) {
  if (below(3) == 0)
    return below(limit);
  int64_t border = unit * below(limit / unit + 1) + below(25) - 12;
  return std::clamp<int64_t>(border, 0, limit - 1);
}

bool SpecCase::import() {
  context.disableMultithreading();
  context.loadDialect<mlir::tile::TileDialect>();
  module = mlir::attn::importAttention(&context, *checked, attention());
  return bool(module);
}

mlir::tile::KernelOp SpecCase::lowerMerge(const mlir::attn::TileOptions &options) {
  if (!import())
    return {};
  mlir::OpBuilder builder(&context);
  builder.setInsertionPointToEnd(module->getBody());
  auto kernel = mlir::attn::lowerMergeToTile(*module->getOps<mlir::attn::AttentionOp>().begin(),
                                             *module->getOps<mlir::attn::MergeOp>().begin(),
                                             builder, options);
  return mlir::failed(kernel) ? mlir::tile::KernelOp() : *kernel;
}

mlir::tile::KernelOp SpecCase::lower(const mlir::attn::TileOptions &options, bool recache) {
  if (!import())
    return {};
  auto op = *module->getOps<mlir::attn::AttentionOp>().begin();
  mlir::attn::RecacheOp recacheOp;
  if (recache)
    recacheOp = *module->getOps<mlir::attn::RecacheOp>().begin();
  mlir::OpBuilder builder(&context);
  builder.setInsertionPointToEnd(module->getBody());
  auto kernel = mlir::attn::lowerToTile(op, recacheOp, builder, options);
  return mlir::failed(kernel) ? mlir::tile::KernelOp() : *kernel;
}

} // namespace attn::interpreter
