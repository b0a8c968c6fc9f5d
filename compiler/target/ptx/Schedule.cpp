// Derives the schedule from block sizes, element types and which loads feed
// which dots; see Schedule.h.
#include "compiler/target/ptx/Schedule.h"

#include "compiler/target/Target.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace mlir::attn;

SharedLayout SharedLayout::get(int64_t rows, int64_t dim, int64_t elementBytes) {
  SharedLayout layout{rows, dim, elementBytes, 0};
  // A k step of every tensor-core instruction is two chunks.
  layout.chunks = llvm::alignTo(llvm::divideCeil(dim * elementBytes, 16), 2);
  return layout;
}

int64_t SharedLayout::swizzleMask() const {
  int64_t power = chunks & -chunks;
  return std::min<int64_t>(power, 8) - 1;
}

int64_t SharedLayout::swizzleShift() const { return llvm::Log2_64(8 / (swizzleMask() + 1)); }

const StagedKeys &PtxSchedule::keysOf(int64_t binding) const {
  return *llvm::find_if(keys, [&](const StagedKeys &k) { return k.binding == binding; });
}

int64_t mlir::attn::sharedMemoryLimit(StringRef arch) {
  int64_t sm = 0;
  arch.drop_front(3).consumeInteger(10, sm);
  if (sm == 80 || sm == 87)
    return 163 * 1024;
  return sm >= 90 && sm != 120 && sm != 121 ? 227 * 1024 : 99 * 1024;
}

// Of kernels on mma.sync; a schedule of sm_90a has blocks of its own.
BlockShape mlir::attn::choosePtxBlocks(StringRef arch, const KernelShape &shape) {
  int64_t dim = std::max(shape.qkDim, shape.vDim);
  bool single = shape.k == ::attn::ElementType::f32;
  BlockShape block{64, 64};
  // Two row tiles per warp halve the traffic from shared memory, while their
  // accumulators fit the registers.
  if (!single && dim <= 64)
    block.q = 128;
  if (dim > 128 || single)
    block.k = 32;
  if (single && dim > 128)
    block = {32, 16};
  return block;
}

// The dot that a load of keys feeds first decides when it must have arrived.
static bool feedsScores(tile::LoadKeysOp load) {
  return llvm::any_of(load->getUsers(), [](Operation *user) {
    return isa<tile::DotQKOp, tile::DequantizeScoresOp>(user);
  });
}

static FailureOr<StagedKeys> stageKeys(tile::KernelOp kernel, tile::LoadKeysOp load) {
  auto binding = cast<tile::BindingAttr>(kernel.getBindings()[load.getBinding()]);
  auto type = cast<tile::TileType>(load.getType());
  Type element = binding.getElementType();
  StagedKeys staged;
  staged.binding = load.getBinding();
  staged.ahead = feedsScores(load);
  staged.vector = type.getShape().size() == 1;
  if (staged.vector) {
    if (!element.isF32())
      return load.emitOpError("loads one ") << element << " per key; ptx kernels take f32";
    staged.stageBytes = type.getShape()[0] * 4;
    return staged;
  }
  int64_t bytes = element.getIntOrFloatBitWidth() / 8, dim = type.getShape()[1];
  if (dim * bytes % 16 != 0)
    return load.emitOpError("head dim is ")
           << dim << "; ptx kernels with " << element << " take multiples of " << 16 / bytes
           << ": pad it with zeros under a `scale` clause, or leave this target out";
  staged.layout = SharedLayout::get(type.getShape()[0], dim, bytes);
  staged.stageBytes = staged.layout.bytes();
  return staged;
}

FailureOr<PtxSchedule> mlir::attn::choosePtxSchedule(tile::KernelOp kernel, int64_t sharedLimit) {
  PtxSchedule s;
  s.blockQ = kernel.getBlockQ();
  s.blockK = kernel.getBlockK();
  s.qkDim = kernel.getQkDim();
  s.vDim = kernel.getVDim();
  if (s.blockQ % 16 != 0 || s.blockK % 16 != 0 || s.blockQ > 256 || s.blockK > 256)
    return kernel.emitOpError("blocks are ")
           << s.blockQ << " x " << s.blockK << "; ptx kernels take multiples of 16 up to 256";
  if (s.vDim % 8 != 0)
    return kernel.emitOpError("value head dim is ")
           << s.vDim
           << "; ptx kernels take multiples of 8: pad it with zeros under a `scale` clause, or leave this target out";
  s.rowTiles = s.blockQ % 128 == 0 ? 2 : 1;
  s.warps = s.blockQ / (16 * s.rowTiles);

  int64_t rowBytes = 0, queryBytes = 0, quantizedBytes = 0, expandedBytes = 0;
  bool failed = false;
  s.outTiles = llvm::divideCeil(s.vDim, 16) * 2;
  kernel.walk([&](Operation *op) {
    if (auto load = dyn_cast<tile::LoadKeysOp>(op)) {
      FailureOr<StagedKeys> staged = stageKeys(kernel, load);
      if (mlir::failed(staged))
        failed = true;
      else if (llvm::none_of(s.keys, [&](auto &k) { return k.binding == staged->binding; })) {
        s.keys.push_back(*staged);
        s.singlePrecision |= staged->ahead && staged->layout.elementBytes == 4;
        if (!staged->vector && !staged->ahead)
          s.outTiles = staged->layout.elementBytes == 4 ? llvm::divideCeil(s.vDim, 8)
                                                        : llvm::divideCeil(s.vDim, 16) * 2;
      }
    } else if (auto load = dyn_cast<tile::LoadQueriesOp>(op)) {
      auto type = cast<tile::TileType>(load.getType());
      auto binding = cast<tile::BindingAttr>(kernel.getBindings()[load.getBinding()]);
      if (binding.getRole() == tile::Role::input)
        return; // read from global memory
      int64_t bytes = type.getElementType().getIntOrFloatBitWidth() / 8;
      if (type.getShape()[1] * bytes % 16 != 0) {
        load.emitOpError("head dim is ")
            << type.getShape()[1] << "; ptx kernels with " << type.getElementType()
            << " take multiples of " << 16 / bytes
            << ": pad it with zeros under a `scale` clause, or leave this target out";
        failed = true;
      }
      queryBytes = SharedLayout::get(s.blockQ, type.getShape()[1], bytes).bytes();
      rowBytes = type.getShape()[1] * bytes;
    } else if (auto quantize = dyn_cast<tile::QuantizeOp>(op)) {
      quantizedBytes = SharedLayout::get(s.blockQ, s.qkDim, 1).bytes() + s.blockQ * 4;
    } else if (auto dequantize = dyn_cast<tile::DequantizeKeysOp>(op)) {
      expandedBytes = SharedLayout::get(s.blockK, s.vDim, 2).bytes();
    }
  });
  if (failed)
    return failure();
  // Wide heads and two row tiles need the registers for accumulators. int8
  // fragments are small.
  s.queriesInRegisters = s.rowTiles == 1 && (rowBytes <= 256 || quantizedBytes);

  // Queries that stay in registers leave shared memory before the keys enter.
  s.quantizedOffset = queryBytes;
  int64_t offset = s.queriesInRegisters ? 0 : queryBytes + quantizedBytes;
  for (StagedKeys &keys : s.keys) {
    keys.offset = offset;
    offset = llvm::alignTo(offset + keys.stageBytes * keys.stages(), 128); // for the swizzles
  }
  s.expandedOffset = offset;
  offset += expandedBytes;
  s.sharedBytes = std::max(offset, queryBytes + quantizedBytes);
  if (s.sharedBytes > sharedLimit)
    return kernel.emitOpError("needs ")
           << s.sharedBytes << " bytes of shared memory for heads of " << s.qkDim << " and "
           << s.vDim << "; the device has " << sharedLimit
           << ": give smaller head dims, or leave this target out";
  return s;
}
