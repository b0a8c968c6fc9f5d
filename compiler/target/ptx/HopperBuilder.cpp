// Emits sm_90a instructions as inline PTX; see HopperBuilder.h.
#include "compiler/target/ptx/HopperBuilder.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/raw_ostream.h"

using namespace mlir;
using namespace mlir::attn;

uint64_t mlir::attn::operandDescriptor(int64_t swizzle, int64_t leading, int64_t stride) {
  uint64_t mode = swizzle == 128 ? 1 : swizzle == 64 ? 2 : 3;
  return static_cast<uint64_t>(leading >> 4) << 16 | static_cast<uint64_t>(stride >> 4) << 32 |
         mode << 62;
}

static char constraintOf(Type type) {
  if (type.isF32())
    return 'f';
  if (type.isInteger(1))
    return 'b';
  return type.isInteger(64) || isa<LLVM::LLVMPointerType>(type) ? 'l' : 'r';
}

SmallVector<Value> HopperBuilder::inlinePtx(StringRef text, TypeRange results, ValueRange operands,
                                            unsigned tied) {
  SmallVector<std::string> constraints;
  for (Type type : results)
    constraints.push_back(std::string("=") + constraintOf(type));
  for (auto [i, operand] : llvm::enumerate(operands))
    constraints.push_back(i < tied ? std::to_string(i)
                                   : std::string(1, constraintOf(operand.getType())));
  Type type;
  if (results.size() == 1)
    type = results[0];
  else if (!results.empty())
    type = LLVM::LLVMStructType::getLiteral(getContext(), SmallVector<Type>(results));
  auto op = LLVM::InlineAsmOp::create(
      *this, loc, type ? TypeRange(type) : TypeRange(), operands, text,
      llvm::join(constraints, ","), /*has_side_effects=*/true, /*is_align_stack=*/false,
      LLVM::TailCallKind::None, LLVM::AsmDialectAttr::get(getContext(), LLVM::AsmDialect::AD_ATT),
      ArrayAttr());
  SmallVector<Value> values;
  if (results.size() == 1)
    values.push_back(op.getRes());
  else
    for (size_t i = 0; i < results.size(); ++i)
      values.push_back(LLVM::ExtractValueOp::create(*this, loc, op.getRes(), i));
  return values;
}

void HopperBuilder::barrierInit(Value barrier, int64_t arrivals) {
  inlinePtx("mbarrier.init.shared::cta.b64 [$0], $1;", {}, {barrier, i32(arrivals)});
}

void HopperBuilder::fenceBarrierInit() {
  inlinePtx("fence.mbarrier_init.release.cluster;", {}, {});
}

void HopperBuilder::barrierWait(Value barrier, Value parity) {
  inlinePtx("{\n.reg .pred done;\nagain:\n"
            "mbarrier.try_wait.parity.shared::cta.b64 done, [$0], $1;\n@!done bra again;\n}",
            {}, {barrier, parity});
}

void HopperBuilder::barrierArriveIf(Value condition, Value barrier) {
  inlinePtx("@$0 mbarrier.arrive.shared::cta.b64 _, [$1];", {}, {condition, barrier});
}

void HopperBuilder::barrierArrive(Value barrier) {
  inlinePtx("mbarrier.arrive.shared::cta.b64 _, [$0];", {}, {barrier});
}

void HopperBuilder::barrierExpect(Value barrier, int64_t bytes) {
  inlinePtx("mbarrier.arrive.expect_tx.shared::cta.b64 _, [$0], $1;", {}, {barrier, i32(bytes)});
}

void HopperBuilder::copyBulk(Value shared, Value map, ValueRange coordinates, Value barrier) {
  SmallVector<Value> operands{shared, map, barrier};
  llvm::append_range(operands, coordinates);
  std::string text;
  llvm::raw_string_ostream out(text);
  out << "cp.async.bulk.tensor." << coordinates.size()
      << "d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [$0], [$1, {";
  for (size_t i = 0; i < coordinates.size(); ++i)
    out << (i ? ", $" : "$") << i + 3;
  out << "}], [$2];";
  inlinePtx(text, {}, operands);
}

void HopperBuilder::fenceAsync() { inlinePtx("fence.proxy.async.shared::cta;", {}, {}); }

void HopperBuilder::namedSync(Value id, int64_t threads) {
  inlinePtx("barrier.sync $0, $1;", {}, {id, i32(threads)});
}

void HopperBuilder::namedArrive(Value id, int64_t threads) {
  inlinePtx("barrier.arrive $0, $1;", {}, {id, i32(threads)});
}

void HopperBuilder::setMaxRegisters(int64_t count, bool increase) {
  auto action =
      increase ? NVVM::SetMaxRegisterAction::increase : NVVM::SetMaxRegisterAction::decrease;
  NVVM::SetMaxRegisterOp::create(*this, loc, count, action);
}

// One block of text for the whole group: nothing comes between its products. The
// first one starts the sum where there is none: zeros in registers would have to be
// written before the fence, and the assembler serialises products then.
SmallVector<Value> HopperBuilder::startProduct(const Product &product, ValueRange acc) {
  int64_t registers = product.columns / 2, steps = product.bOffsets.size();
  bool inRegisters = product.aOffsets.empty();
  std::string text;
  llvm::raw_string_ostream out(text);
  out << "{\n.reg .b64 da, db;\n.reg .pred sum;\nwgmma.fence.sync.aligned;\n";
  StringRef type = product.element.isBF16() ? "bf16" : "f16";
  int64_t firstA = registers + acc.size();
  int64_t b = firstA + product.a.size();
  for (int64_t step = 0; step < steps; ++step) {
    out << "add.s64 db, $" << b << ", " << product.bOffsets[step] << ";\n";
    if (!inRegisters)
      out << "add.s64 da, $" << firstA << ", " << product.aOffsets[step] << ";\n";
    out << "setp.ne.b32 sum, " << (step || !acc.empty() ? 1 : 0) << ", 0;\n"
        << "wgmma.mma_async.sync.aligned.m64n" << product.columns << "k16.f32." << type << "."
        << type << " {";
    for (int64_t r = 0; r < registers; ++r)
      out << (r ? ", $" : "$") << r;
    out << "}, ";
    if (inRegisters) {
      for (int64_t w = 0; w < 4; ++w)
        out << (w ? ", $" : "{$") << firstA + step * 4 + w;
      out << "}";
    } else {
      out << "da";
    }
    out << ", db, sum, 1, 1" << (inRegisters ? "" : ", 0") << (product.transposedB ? ", 1" : ", 0")
        << ";\n";
  }
  out << "wgmma.commit_group.sync.aligned;\n}";
  SmallVector<Value> operands(acc);
  llvm::append_range(operands, product.a);
  operands.push_back(product.b);
  return inlinePtx(text, SmallVector<Type>(registers, getF32Type()), operands, acc.size());
}

SmallVector<Value> HopperBuilder::waitProducts(int64_t inFlight, ValueRange values) {
  return inlinePtx("wgmma.wait_group.sync.aligned " + std::to_string(inFlight) + ";",
                   values.getTypes(), values, values.size());
}
