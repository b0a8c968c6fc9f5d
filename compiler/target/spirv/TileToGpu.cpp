// Makes the gpu.module and its function around each kernel; SpirvLowering fills it.
#include "compiler/target/spirv/TileToGpu.h"

#include "compiler/target/KernelRecord.h"
#include "compiler/target/spirv/KernelLowering.h"

#include "mlir/Dialect/SPIRV/IR/SPIRVDialect.h"
#include "mlir/Dialect/SPIRV/IR/TargetAndABI.h"

using namespace mlir;
using namespace mlir::attn;

// The words, then the buffers, each a runtime array.
static FunctionType kernelType(tile::KernelOp kernel) {
  auto buffer = [](Type element) { return MemRefType::get({ShapedType::kDynamic}, element); };
  SmallVector<Type> types{buffer(IntegerType::get(kernel.getContext(), 32))};
  for (auto binding : kernel.getBindings().getAsRange<tile::BindingAttr>())
    types.push_back(buffer(storageType(binding)));
  return FunctionType::get(kernel.getContext(), types, {});
}

static spirv::TargetEnvAttr targetEnv(MLIRContext *context) {
  auto triple =
      spirv::VerCapExtAttr::get(spirv::Version::V_1_3, {spirv::Capability::Shader},
                                {spirv::Extension::SPV_KHR_storage_buffer_storage_class}, context);
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
  module->setAttr(spirv::getTargetEnvAttrName(), targetEnv(context));
  b.setInsertionPointToStart(module.getBody());
  auto func = gpu::GPUFuncOp::create(b, kernel.getLoc(), symbol, kernelType(kernel));
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
