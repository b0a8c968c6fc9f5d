// The gate on register allocation: no innermost loop that multiplies touches vectors
// on the stack, for any row of the shipped table.
#include "tests/target/cpu/cpu_case.h"

#include "compiler/target/cpu/CpuSchedule.h"

#include "llvm/MC/MCAsmInfo.h"
#include "llvm/MC/MCContext.h"
#include "llvm/MC/MCDisassembler/MCDisassembler.h"
#include "llvm/MC/MCInst.h"
#include "llvm/MC/MCInstPrinter.h"
#include "llvm/MC/MCInstrInfo.h"
#include "llvm/MC/MCRegisterInfo.h"
#include "llvm/MC/MCSubtargetInfo.h"
#include "llvm/MC/MCTargetOptions.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Object/ObjectFile.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/TargetSelect.h"
#include <gtest/gtest.h>
#include <map>

namespace {

struct Line {
  uint64_t address = 0, target = 0; // target: of a backward jump, else 0
  std::string text;
};

// The instructions of an image's .text section.
class Disassembler {
public:
  explicit Disassembler(const mlir::attn::CpuArch &arch) : triple(arch.triple) {
    LLVMInitializeX86TargetInfo();
    LLVMInitializeX86TargetMC();
    LLVMInitializeX86Disassembler();
    LLVMInitializeAArch64TargetInfo();
    LLVMInitializeAArch64TargetMC();
    LLVMInitializeAArch64Disassembler();
    std::string error;
    const llvm::Target *target = llvm::TargetRegistry::lookupTarget(triple, error);
    registers.reset(target->createMCRegInfo(triple));
    info.reset(target->createMCAsmInfo(*registers, triple, options));
    instructions.reset(target->createMCInstrInfo());
    subtarget.reset(target->createMCSubtargetInfo(triple, arch.cpu, arch.features));
    context =
        std::make_unique<llvm::MCContext>(triple, info.get(), registers.get(), subtarget.get());
    decoder.reset(target->createMCDisassembler(*subtarget, *context));
    printer.reset(target->createMCInstPrinter(triple, 0, *info, *instructions, *registers));
  }

  std::vector<Line> read(const std::string &image) {
    auto buffer = llvm::MemoryBuffer::getMemBuffer(image, "", false);
    auto object = llvm::object::ObjectFile::createObjectFile(*buffer);
    std::vector<Line> lines;
    if (!object)
      return lines;
    for (const auto &section : (*object)->sections()) {
      if (!section.isText())
        continue;
      llvm::StringRef code = llvm::cantFail(section.getContents());
      auto bytes = llvm::arrayRefFromStringRef(code);
      for (uint64_t at = 0, size = 0; at < bytes.size(); at += size) {
        llvm::MCInst instruction;
        uint64_t address = section.getAddress() + at;
        if (decoder->getInstruction(instruction, size, bytes.slice(at), address, llvm::nulls()) !=
            llvm::MCDisassembler::Success) {
          size = std::max<uint64_t>(size, 1); // padding
          continue;
        }
        lines.push_back(describe(instruction, address, size));
      }
    }
    return lines;
  }

private:
  Line describe(const llvm::MCInst &instruction, uint64_t address, uint64_t size) {
    Line line{address, 0, ""};
    llvm::raw_string_ostream stream(line.text);
    printer->printInst(&instruction, address, "", *subtarget, stream);
    if (!instructions->get(instruction.getOpcode()).isBranch())
      return line;
    for (const llvm::MCOperand &operand : instruction)
      if (operand.isImm()) { // x86 counts bytes from the end, aarch64 words from the start
        uint64_t target =
            triple.isAArch64() ? address + 4 * operand.getImm() : address + size + operand.getImm();
        if (target < address)
          line.target = target;
        // A condition code is an operand too; the jump distance comes first on x86 and
        // last on aarch64.
        if (!triple.isAArch64())
          break;
      }
    return line;
  }

  llvm::Triple triple;
  llvm::MCTargetOptions options;
  std::unique_ptr<llvm::MCRegisterInfo> registers;
  std::unique_ptr<llvm::MCAsmInfo> info;
  std::unique_ptr<llvm::MCInstrInfo> instructions;
  std::unique_ptr<llvm::MCSubtargetInfo> subtarget;
  std::unique_ptr<llvm::MCContext> context;
  std::unique_ptr<llvm::MCDisassembler> decoder;
  std::unique_ptr<llvm::MCInstPrinter> printer;
};

bool contains(const std::string &text, std::initializer_list<const char *> parts) {
  for (const char *part : parts)
    if (text.find(part) != std::string::npos)
      return true;
  return false;
}

bool multiplies(const std::string &text) {
  return contains(text, {"vfmadd", "vdpbf16ps", "vpdpbusd", "fmla"});
}
// A whole vector to or from the stack.
bool spills(const std::string &text) {
  return (contains(text, {"(%rsp"}) && contains(text, {"ymm", "zmm"})) ||
         (contains(text, {"[sp"}) && contains(text, {"q", "v"}));
}

// A vector to memory that is not the stack.
bool stores(const std::string &text) {
  bool x86 = text.starts_with("\tvmov") && text.ends_with(")");
  return (x86 || text.starts_with("\tst")) && !contains(text, {"(%rsp", "[sp"});
}

struct Loops {
  int count = 0;
  std::string spill; // the first one found
};

// Loops without a loop inside that hold at least `least` multiplications and store
// nothing: the products.
Loops productLoops(const std::vector<Line> &lines, int least) {
  Loops loops;
  for (size_t end = 0; end < lines.size(); ++end) {
    if (!lines[end].target)
      continue;
    size_t begin = end;
    while (begin > 0 && lines[begin].address > lines[end].target)
      --begin;
    bool product = true;
    int found = 0;
    std::string spill;
    for (size_t i = begin; i < end; ++i) {
      product &= lines[i].target == 0 && !stores(lines[i].text);
      found += multiplies(lines[i].text);
      if (spill.empty() && spills(lines[i].text))
        spill = lines[i].text;
    }
    if (!product || found < least)
      continue;
    ++loops.count;
    if (loops.spill.empty())
      loops.spill = spill;
  }
  return loops;
}

class CpuSpills : public testing::TestWithParam<const char *> {};

TEST_P(CpuSpills, ProductsStayInRegisters) {
  const mlir::attn::CpuArch &arch = *mlir::attn::findCpuArch(GetParam());
  Disassembler disassembler(arch);
  for (const char *type : {"f32", "bf16", "int8"})
    for (int dim : {64, 256}) {
      SCOPED_TRACE(testing::Message() << type << " dim " << dim);
      KernelText text;
      text.int8 = type == std::string("int8");
      text.type = text.int8 ? "bf16" : type;
      text.qk_dim = text.v_dim = dim;
      auto element = text.type == "f32" ? attn::ElementType::f32 : attn::ElementType::bf16;
      auto keys = text.int8 ? attn::ElementType::i8 : element;
      auto schedule = mlir::attn::findCpuSchedule(arch, {dim, dim, element, keys, keys});
      auto blocks = mlir::attn::cpuBlocks(arch, schedule);
      text.block_q = blocks.q, text.block_k = blocks.k;
      auto kernel = compile_cpu(text.str(), GetParam(), /*load=*/false);
      ASSERT_EQ(kernel->error, "");
      // A step of the register tile, unrolled: the loops of Q K and P V in full blocks.
      int least = schedule.rows * schedule.vectors * schedule.unroll;
      Loops loops = productLoops(disassembler.read(kernel->image), least);
      EXPECT_GE(loops.count, 2);
      EXPECT_EQ(loops.spill, "");
    }
}

INSTANTIATE_TEST_SUITE_P(Arch, CpuSpills,
                         testing::Values("avx2", "avx512", "avx512-bf16", "avx512-vnni-bf16",
                                         "neon"),
                         [](const testing::TestParamInfo<const char *> &info) {
                           std::string name = info.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

} // namespace
