// Makes the gpu.module and its function around each kernel; SpirvLowering fills it.
#include "compiler/target/spirv/TileToGpu.h"

#include "compiler/target/KernelRecord.h"
#include "compiler/target/spirv/KernelLowering.h"

#include "mlir/Dialect/SPIRV/IR/SPIRVDialect.h"
#include "mlir/Dialect/SPIRV/IR/TargetAndABI.h"

using namespace mlir;
using namespace mlir::attn;

// The words, then the buffers, each a runtime array.
static FunctionType kernelType(tile::KernelOp kernel, const SpirvTier &tier) {
  auto buffer = [](Type element) { return MemRefType::get({ShapedType::kDynamic}, element); };
  SmallVector<Type> types{buffer(IntegerType::get(kernel.getContext(), 32))};
  for (auto binding : kernel.getBindings().getAsRange<tile::BindingAttr>())
    types.push_back(buffer(bufferForm(kernel, binding, tier).access));
  return FunctionType::get(kernel.getContext(), types, {});
}

// What conversion may use; the module states what it did use.
static spirv::TargetEnvAttr targetEnv(MLIRContext *context, const SpirvTier &tier) {
  using C = spirv::Capability;
  using E = spirv::Extension;
  SmallVector<C> capabilities{C::Shader};
  SmallVector<E> extensions{E::SPV_KHR_storage_buffer_storage_class};
  if (tier.narrowStorage) {
    capabilities.append({C::Int16, C::Float16, C::StorageBuffer16BitAccess});
    extensions.push_back(E::SPV_KHR_16bit_storage);
  }
  if (tier.integerDot) {
    capabilities.append({C::DotProduct, C::DotProductInput4x8BitPacked});
    extensions.push_back(E::SPV_KHR_integer_dot_product);
  }
  if (tier.broadcast)
    capabilities.append({C::GroupNonUniform, C::GroupNonUniformBallot});
  auto triple = spirv::VerCapExtAttr::get(spirv::Version::V_1_3, capabilities, extensions, context);
  return spirv::TargetEnvAttr::get(
      triple, spirv::getDefaultResourceLimits(context), spirv::ClientAPI::Vulkan,
      spirv::Vendor::Unknown, spirv::DeviceType::Unknown, spirv::TargetEnvAttr::kUnknownDeviceID);
}

static LogicalResult lowerKernel(tile::KernelOp kernel, StringRef arch) {
  FailureOr<SpirvSchedule> schedule = chooseSchedule(kernel, arch);
  if (failed(schedule))
    return failure();
  MLIRContext *context = kernel.getContext();
  std::string symbol = makeKernelRecord(kernel, ::attn::TargetKind::spirv, arch).symbol;
  OpBuilder b(kernel);
  auto module = gpu::GPUModuleOp::create(b, kernel.getLoc(), symbol + "_module");
  module->setAttr(spirv::getTargetEnvAttrName(), targetEnv(context, schedule->tier));
  b.setInsertionPointToStart(module.getBody());
  auto func = gpu::GPUFuncOp::create(b, kernel.getLoc(), symbol, kernelType(kernel, schedule->tier));
  func->setAttr(gpu::GPUDialect::getKernelFuncAttrName(), b.getUnitAttr());
  func->setAttr(spirv::getEntryPointABIAttrName(),
                spirv::getEntryPointABIAttr(context, {int32_t(schedule->workgroup), 1, 1}));
  if (failed(SpirvLowering(kernel, *schedule, func).run()))
    return failure();
  kernel.erase();
  return success();
}

LogicalResult mlir::attn::lowerTileToGpu(ModuleOp module, StringRef arch) {
  module->setAttr(gpu::GPUDialect::getContainerModuleAttrName(),
                  UnitAttr::get(module.getContext()));
  for (auto kernel : llvm::make_early_inc_range(module.getOps<tile::KernelOp>()))
    if (failed(lowerKernel(kernel, arch)))
      return failure();
  return success();
}
