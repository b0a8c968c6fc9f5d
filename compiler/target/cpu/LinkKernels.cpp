// Builds the table that names the kernels as an LLVM module of constants.
#include "compiler/target/cpu/LinkKernels.h"

#include "compiler/target/cpu/EmitObject.h"
#include "compiler/target/cpu/LinkImage.h"

#include "mlir/IR/Diagnostics.h"
#include "llvm/IR/Constants.h"
#include "llvm/IR/LLVMContext.h"
#include "llvm/IR/Module.h"

using namespace mlir;
using namespace mlir::attn;

FailureOr<std::string> mlir::attn::linkKernels(StringRef name, ArrayRef<std::string> objects,
                                               ArrayRef<::attn::KernelInfo> kernels,
                                               StringRef bundle, Location loc) {
  const CpuArch *arch = kernels.empty() ? nullptr : findCpuArch(kernels.front().arch);
  if (!arch)
    return emitError(loc, "there are no cpu kernels to link");
  llvm::LLVMContext context;
  llvm::Module module(name, context);
  auto *pointer = llvm::PointerType::get(context, 0);
  auto *word = llvm::Type::getInt32Ty(context), *wide = llvm::Type::getInt64Ty(context);
  auto constant = [&](llvm::Constant *value, const llvm::Twine &symbol, bool exported = false) {
    auto *global = new llvm::GlobalVariable(module, value->getType(), /*isConstant=*/true,
                                            exported ? llvm::GlobalValue::ExternalLinkage
                                                     : llvm::GlobalValue::PrivateLinkage,
                                            value, symbol);
    global->setAlignment(llvm::Align(64));
    return global;
  };
  auto function = [&](const std::string &symbol, bool mayLack = false) {
    auto *type = llvm::FunctionType::get(llvm::Type::getVoidTy(context), false);
    return llvm::Function::Create(
        type, mayLack ? llvm::GlobalValue::ExternalWeakLinkage : llvm::GlobalValue::ExternalLinkage,
        symbol, module);
  };

  auto *entry = llvm::StructType::get(pointer, pointer, pointer, pointer, pointer, pointer);
  llvm::SmallVector<llvm::Constant *> entries;
  for (const ::attn::KernelInfo &kernel : kernels) {
    llvm::SmallVector<llvm::Constant *> fields = {
        constant(llvm::ConstantDataArray::getString(context, kernel.symbol), "symbol"),
        function(kernel.symbol)};
    for (const char *suffix : {"_ranges", "_decode_plan", "_decode_walk", "_decode_finish"})
      fields.push_back(function(kernel.symbol + suffix, /*mayLack=*/true));
    entries.push_back(llvm::ConstantStruct::get(entry, fields));
  }
  llvm::Constant *table = constant(
      llvm::ConstantArray::get(llvm::ArrayType::get(entry, entries.size()), entries), "kernels");
  llvm::Constant *bytes =
      constant(llvm::ConstantDataArray::getString(context, bundle, /*AddNull=*/false), "bundle");
  auto *whole = llvm::StructType::get(word, word, pointer, pointer, wide, pointer);
  constant(
      llvm::ConstantStruct::get(
          whole, {llvm::ConstantInt::get(word, 2), llvm::ConstantInt::get(word, kernels.size()),
                  constant(llvm::ConstantDataArray::getString(context, name), "name"), bytes,
                  llvm::ConstantInt::get(wide, bundle.size()), table}),
      "attn_kernels_" + name, /*exported=*/true);

  FailureOr<std::string> object = emitObject(module, *arch, loc);
  if (failed(object))
    return failure();
  llvm::SmallVector<std::string> all(objects.begin(), objects.end());
  all.push_back(std::move(*object));
  return joinObjects(all, loc);
}
