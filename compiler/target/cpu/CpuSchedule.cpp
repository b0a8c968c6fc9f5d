// Reads the table of schedules and chooses from it.
#include "compiler/target/cpu/CpuSchedule.h"

#include "compiler/target/KernelRecord.h"

#include "mlir/IR/BuiltinAttributes.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/FormatVariadic.h"

using namespace mlir;
using namespace mlir::attn;
using ::attn::ElementType;

static constexpr StringRef kShippedTable =
#include "cpu_schedules.inc"
    ;

static StringRef nameOfKeys(ElementType type) {
  switch (type) {
  case ElementType::bf16:
    return "bf16";
  case ElementType::f16:
    return "f16";
  case ElementType::i8:
    return "i8";
  default:
    return "f32";
  }
}

//===-- Table --------------------------------------------------------------------===//

std::optional<CpuScheduleTable> CpuScheduleTable::parse(StringRef text, std::string &error) {
  CpuScheduleTable table;
  SmallVector<StringRef> lines;
  text.split(lines, '\n');
  for (auto [index, line] : llvm::enumerate(lines)) {
    SmallVector<StringRef> words;
    llvm::SplitString(line.split('#').first, words);
    if (words.empty())
      continue;
    auto fail = [&](const Twine &what) {
      error = ("line " + Twine(index + 1) + ": " + what).str();
      return std::nullopt;
    };
    if (words.size() != 8)
      return fail("has " + Twine(words.size()) +
                  " words; a row has 8: arch keys dims rows vectors "
                  "unroll sub_tiles block_k");
    CpuScheduleRow row{words[0].str(), words[1].str(), 0, {}};
    const CpuArch *arch = findCpuArch(row.arch);
    if (!arch)
      return fail("unknown cpu architecture '" + words[0] + "'; there are " + cpuArchNames());
    if (!llvm::is_contained({"*", "f32", "f16", "bf16", "i8"}, words[1]))
      return fail("unknown type of keys '" + words[1] + "'; must be f32, f16, bf16, i8 or *");
    CpuSchedule &s = row.schedule;
    int64_t *numbers[] = {&row.dims, &s.rows, &s.vectors, &s.unroll, &s.subTiles, &s.blockK};
    for (auto [number, word] : llvm::zip_equal(numbers, ArrayRef(words).drop_front(2)))
      if (!(number == &row.dims && word == "*") && (word.getAsInteger(10, *number) || *number <= 0))
        return fail("'" + word + "' is not a positive number");
    std::string problem = checkCpuSchedule(*arch, s);
    if (!problem.empty())
      return fail(problem);
    table.entries.push_back(std::move(row));
  }
  return table;
}

const CpuScheduleTable &CpuScheduleTable::shipped() {
  static const CpuScheduleTable table = [] {
    std::string error;
    std::optional<CpuScheduleTable> table = parse(kShippedTable, error);
    if (!table)
      llvm::report_fatal_error(Twine("kernels-gen/cpu_schedules.txt: ") + error);
    return *table;
  }();
  return table;
}

std::optional<CpuSchedule> CpuScheduleTable::find(const CpuArch &arch,
                                                  const KernelShape &shape) const {
  int64_t widest = std::max(shape.qkDim, shape.vDim);
  for (const CpuScheduleRow &row : entries)
    if (row.arch == arch.name && (row.keys == "*" || row.keys == nameOfKeys(shape.k)) &&
        (row.dims == 0 || widest <= row.dims))
      return row.schedule;
  return std::nullopt;
}

std::string mlir::attn::printCpuScheduleRow(const CpuScheduleRow &row) {
  const CpuSchedule &s = row.schedule;
  std::string text;
  llvm::raw_string_ostream(text) << llvm::left_justify(row.arch, 18)
                                 << llvm::left_justify(row.keys, 6)
                                 << llvm::left_justify(row.dims ? std::to_string(row.dims) : "*", 6)
                                 << llvm::right_justify(std::to_string(s.rows), 3)
                                 << llvm::right_justify(std::to_string(s.vectors), 3)
                                 << llvm::right_justify(std::to_string(s.unroll), 3)
                                 << llvm::right_justify(std::to_string(s.subTiles), 4)
                                 << llvm::right_justify(std::to_string(s.blockK), 5);
  return text;
}

//===-- Choice ---------------------------------------------------------------------===//

std::string mlir::attn::checkCpuSchedule(const CpuArch &arch, const CpuSchedule &s) {
  int64_t held = s.rows * s.vectors + s.vectors + 1;
  if (held > arch.registers)
    return llvm::formatv("a register tile of {0} x {1} holds {2} vectors with its operands; "
                         "cpu:{3} has {4} registers",
                         s.rows, s.vectors, held, arch.name, arch.registers);
  if (s.unroll != 1 && s.unroll != 2 && s.unroll != 4 && s.unroll != 8)
    return llvm::formatv("unroll {0} is not 1, 2, 4 or 8", s.unroll);
  return "";
}

CpuSchedule mlir::attn::findCpuSchedule(const CpuArch &arch, const KernelShape &shape) {
  std::optional<CpuSchedule> found = CpuScheduleTable::shipped().find(arch, shape);
  if (!found)
    llvm::report_fatal_error("kernels-gen/cpu_schedules.txt has no row for every shape of cpu:" +
                             arch.name);
  return *found;
}

CpuSchedule mlir::attn::cpuScheduleOf(tile::KernelOp kernel, const CpuArch &arch) {
  if (auto attr = kernel->getAttrOfType<DenseI64ArrayAttr>(kCpuScheduleAttr)) {
    ArrayRef<int64_t> n = attr.asArrayRef();
    if (n.size() == 5)
      return {n[0], n[1], n[2], n[3], n[4]};
  }
  KernelShape shape{};
  shape.qkDim = kernel.getQkDim();
  shape.vDim = kernel.getVDim();
  for (auto binding : kernel.getBindings().getAsRange<tile::BindingAttr>()) {
    ElementType type = elementTypeOf(binding.getElementType());
    switch (binding.getRole()) {
    case tile::Role::q:
      shape.q = type;
      break;
    case tile::Role::k:
      shape.k = type;
      break;
    case tile::Role::v:
      shape.v = type;
      break;
    default:
      break;
    }
  }
  CpuSchedule schedule = findCpuSchedule(arch, shape);
  bool merges = false;
  kernel.walk([&](tile::MergePartsOp) { merges = true; });
  if (merges) // no dots, so no register tile: one vector of rows fits every block
    schedule.vectors = 1;
  return schedule;
}

void mlir::attn::setCpuSchedule(tile::KernelOp kernel, const CpuSchedule &s) {
  kernel->setAttr(kCpuScheduleAttr,
                  DenseI64ArrayAttr::get(kernel.getContext(),
                                         {s.rows, s.vectors, s.unroll, s.subTiles, s.blockK}));
}

BlockShape mlir::attn::chooseCpuBlocks(StringRef name, const KernelShape &shape) {
  const CpuArch *arch = findCpuArch(name);
  if (!arch)
    return {};
  return blocksOf(*arch, findCpuSchedule(*arch, shape));
}

BlockShape mlir::attn::blocksOf(const CpuArch &arch, const CpuSchedule &schedule) {
  return {schedule.subTiles * schedule.vectors * arch.width, schedule.blockK};
}
